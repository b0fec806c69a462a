"""Each inference function against ONNX's own, against computed results, and against itself with symbols for sizes."""

import numpy as np
import pytest
from tests.ir.cases import CASES

from fxonnx import dtypes
from fxonnx.ir import schema
from fxonnx.ir.dims import Expr, evaluate, symbol
from fxonnx.ir.evaluate import CannotEvaluate
from fxonnx.ir.evaluate.reference import compute_by_reference
from fxonnx.ir.graph import Value
from fxonnx.ir.infer import Call, CannotInfer, Contradiction, broadcast, infer
from fxonnx.ir.infer.call import INFERENCE
from fxonnx.ir.infer.fallback import infer_by_onnx
from fxonnx.ir.types import TensorType, parse_type

n, m = symbol("n"), symbol("m")


def sizes(types):
    """The symbols s2, s3 … of these types at their sizes."""
    return {name: int(name[1:]) for type in types for name in type.symbols if name.startswith("s")}


def unknown(dim):
    """Whether the dim is a size that inference could not tell."""
    return isinstance(dim, Expr) and any(name.startswith("_") for name in dim.symbols)


def test_every_entry_has_a_case():
    assert sorted(INFERENCE.keys() - {case.op for case in CASES}) == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_onnx_infers(case):
    if case.op == "STFT" and "onesided" not in case.attributes:
        pytest.skip("ONNX's inference overlooks that onesided is 1 by default; its reference does not")
    call = case.call()
    try:
        expected = infer_by_onnx(call)
    except CannotInfer:
        pytest.skip("ONNX does not infer it")
    for ours, theirs in zip(infer(call), expected, strict=True):
        assert ours.dtype is theirs.dtype
        assert ours.rank == theirs.rank
        pairs = zip(ours.shape, theirs.shape, strict=True)
        assert all(a == b or unknown(a) or unknown(b) for a, b in pairs), (ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_computed(case):
    if case.op == "MaxPool" and case.attributes.get("auto_pad") == "SAME_LOWER":
        pytest.skip("the reference loses a window; ONNX Runtime and ONNX's own inference do not")
    try:
        results = compute_by_reference(case.node(), case.arrays())
    except CannotEvaluate as error:
        pytest.skip(str(error).split(":")[0])
    for type, result in zip(infer(case.call()), results, strict=False):
        assert dtypes.dtype(np.asarray(result).dtype) is type.dtype
        assert type.rank == np.ndim(result)
        pairs = zip(type.shape, np.shape(result), strict=True)
        assert all(a == b or unknown(a) for a, b in pairs), (type, np.shape(result))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_symbols_stand_for_sizes(case):
    static = infer(case.call())
    call = case.call(symbolic=True)
    known = sizes([value.type for value in call.inputs if value is not None])
    try:
        symbolic = infer(call)
    except CannotInfer as error:
        pytest.skip(str(error))
    for a, b in zip(symbolic, static, strict=True):
        assert a.dtype is b.dtype
        assert a.rank == b.rank
        for left, right in zip(a.shape, b.shape, strict=True):
            assert unknown(left) or unknown(right) or evaluate(left, known) == right, (a, b)


def types(op, *spelled, outputs=1, **attributes):
    """The inferred types of a call, as text."""
    values = tuple(Value(parse_type(each)) if isinstance(each, str) else each for each in spelled)
    new = iter(range(100))
    call = Call(op, schema.facts(op), values, attributes, outputs, lambda: symbol(f"_{next(new)}"))
    return " ".join(map(str, infer(call)))


def known(*dims):
    """An int64 tensor whose elements are these dims."""
    return Value(TensorType(dtypes.INT64, (len(dims),)), known=dims)


def test_reshape_divides_symbols_out():
    assert types("Reshape", "f32[n,m,12]", known(n, -1, 4)) == "f32[n,3*m,4]"
    assert types("Reshape", "f32[2*n,12]", known(-1, 4)) == "f32[6*n,4]"
    assert types("Reshape", "f32[n,12]", known(0, 3, 4)) == "f32[n,3,4]"
    assert types("Reshape", "f32[n,12]", "i64[3]") == "f32[_0,_1,_2]"


@pytest.mark.parametrize(("op", "inputs", "attributes", "result"), [
    ("GlobalAveragePool", ("f32[n,c+1,h,w]",), {}, "f32[n,c+1,1,1]"),
    ("ArgMax", ("f32[n,m+1,k]",), {"axis": 1, "keepdims": 0}, "i64[n,k]"),
    ("GridSample", ("f32[n,c,h,w]", "f32[n,p+1,q,2]"), {}, "f32[n,c,p+1,q]"),
    ("GatherElements", ("f32[n,3]", "i64[m+1,3]"), {}, "f32[m+1,3]"),
    ("GatherND", ("f32[n,m+1,k]", "i64[n,q,1]"), {"batch_dims": 1}, "f32[n,q,k]"),
    ("QuantizeLinear", ("f32[n,m+1]", "f32[]", "i8[]"), {}, "i8[n,m+1]"),
    ("DequantizeLinear", ("i8[n,m+1]", "f16[]"), {}, "f16[n,m+1]"),
    ("LSTM", ("f32[s+1,n,8]", "f32[2,64,8]", "f32[2,64,16]"), {"hidden_size": 16, "direction": "bidirectional"},
     "f32[s+1,2,n,16] f32[2,n,16] f32[2,n,16]"),
    ("MatMulInteger", ("u8[n,m+1]", "i8[m+1,5]"), {}, "i32[n,5]"),
    ("NonZero", ("f32[n,m]",), {}, "i64[2,_0]"),
])  # fmt: skip
def test_what_is_left_to_onnx_keeps_symbols(op, inputs, attributes, result):
    assert op not in INFERENCE
    assert types(op, *inputs, outputs=len(result.split()), **attributes) == result


def test_onnx_infers_dtypes_that_it_does_not_admit():
    assert types("GatherElements", "f32[n,3]", "u8[m,3]") == "f32[m,3]"
    assert types("GridSample", "f8e5m2[n,3,h,w]", "f8e5m2[n,p,q,2]") == "f8e5m2[n,3,p,q]"
    assert types("LSTM", "bf16[s,n,8]", "bf16[1,64,8]", "bf16[1,64,16]", hidden_size=16) == "bf16[s,1,n,16]"
    assert types("GatherND", "f32[n,3]", "i32[m,1]") == "f32[m,3]"


def test_windows_have_one_form():
    halved = types("Conv", "f32[n,3,h,w]", "f32[8,3,3,3]", pads=(1, 1, 1, 1), strides=(2, 2))
    assert halved == "f32[n,8,(h+1)//2,(w+1)//2]"
    assert (
        types("MaxPool", halved, kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(2, 2)) == "f32[n,8,(h+3)//4,(w+3)//4]"
    )


@pytest.mark.parametrize(("start", "end", "size"), [
    (1, 2**62, "max(0,n-1)"), (-3, 2**62, "min(3,n)"), (0, -1, "max(0,n-1)"), (1, -1, "max(0,n-2)"), (0, m, "min(m,n)"),
    (n, 2**62, "0"), (0, n, "n"), (n - 5, n, "_0"), (m, m + 4, "max(-m+min(m+4,n),0)"),
])  # fmt: skip
def test_slices_of_symbols(start, end, size):
    assert types("Slice", "f32[n]", known(start), known(end), known(0)) == f"f32[{size}]"


def test_backward_slices_of_symbols():
    assert types("Slice", "f32[n]", known(-1), known(-(2**62)), known(0), known(-2)) == "f32[(n+1)//2]"
    assert types("Slice", "f32[n]", known(5), known(1), known(0), known(-1)) == "f32[_0]"


def test_ranges_of_symbols():
    assert types("Range", known(0), known(n), known(2)) == "i64[(n+1)//2]"
    assert types("Range", known(n), known(0), known(-2)) == "i64[(n+1)//2]"


def test_broadcast():
    assert broadcast((n, 1, 4), (m, 1)) == (n, m, 4)
    assert [str(dim) for dim in broadcast((n, 4), (m, 1))] == ["max(m, n)", "4"]
    assert broadcast((n,), (4,)) == (4,)
    assert broadcast((0,), (1,)) == (0,)
    assert broadcast((), ()) == ()
    with pytest.raises(Contradiction, match="sizes 3 and 4"):
        broadcast((3,), (4,))


@pytest.mark.parametrize(("op", "inputs", "attributes"), [
    ("MatMul", ("f32[2,3]", "f32[4,5]"), {}),
    ("MatMul", ("f32[2,3]", "f32[]"), {}),
    ("Gemm", ("f32[2,3]", "f32[3,4]"), {"transA": 1}),
    ("Add", ("f32[2,3]", "f32[4]"), {}),
    ("Reshape", ("f32[2,3]", known(4, 2)), {}),
    ("Reshape", ("f32[2,3]", known(4, -1)), {}),
    ("Reshape", ("f32[2,3]", known(2, 3, 0)), {}),
    ("Transpose", ("f32[2,3]",), {"perm": (0, 1, 2)}),
    ("Concat", ("f32[2]",), {"axis": 3}),
    ("Unsqueeze", ("f32[2]", known(2)), {}),
    ("Squeeze", ("f32[2,1]", known(-3)), {}),
    ("Einsum", ("f32[2,3]", "f32[3]"), {"equation": "ijk,k->ij"}),
    ("Compress", ("f32[2,3]", "b8[2]"), {"axis": 7}),
])  # fmt: skip
def test_what_cannot_be_is_a_contradiction(op, inputs, attributes):
    with pytest.raises(Contradiction):
        types(op, *inputs, **attributes)


@pytest.mark.parametrize(("op", "inputs"), [
    ("ReduceSum", ("f32[2]", "i64[1]")), ("Squeeze", ("f32[1,2]", "i64[1]")),
])  # fmt: skip
def test_what_is_not_known_is_no_contradiction(op, inputs):
    with pytest.raises(CannotInfer) as info:
        types(op, *inputs)
    assert not isinstance(info.value, Contradiction)


def test_fallback_keeps_symbols():
    assert types("Det", "f32[n,3,3]") == "f32[n]"
    assert types("EyeLike", "f32[n,m]") == "f32[n,m]"
    assert types("Unique", "f32[n]", outputs=4).startswith("f32[_")
