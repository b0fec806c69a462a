"""The dtype table against onnx, numpy, ml_dtypes and torch: by name, by promotion, by value."""

import copy
import itertools
import pickle
from types import SimpleNamespace

import ml_dtypes  # registers its dtypes with numpy
import numpy as np
import onnx
import pytest
import torch

from fxonnx import dtypes
from fxonnx.dtypes import BOOL, DTYPES, FLOAT16, FLOAT32, FLOAT64, INT8, INT32, INT64, STRING, UINT8, DType, dtype

TORCH = sorted({each for each in vars(torch).values() if isinstance(each, torch.dtype)}, key=str)
KNOWN = [each for each in TORCH if str(each).removeprefix("torch.") in {row.torch for row in DTYPES}]
UNKNOWN = [each for each in TORCH if each not in KNOWN]
NUMBERS = [True, 3, 2.5, 1j]


def outcome(function, *args):
    """The result's name, or "raises"."""
    try:
        result = function(*args)
    except (RuntimeError, dtypes.DTypeError):
        return "raises"
    return result.torch if isinstance(result, DType) else str(result).removeprefix("torch.")


# ---- names


def test_codes_are_those_of_onnx():
    ours = {row.code: row.name for row in DTYPES if row.code}
    spelled = {"float": "float32", "double": "float64"}
    theirs = {code: spelled.get(name.lower(), name.lower()) for name, code in onnx.TensorProto.DataType.items() if code}
    assert {code: theirs[code] for code in ours} == ours
    assert set(theirs.values()) - set(ours.values()) <= {"float6e2m3", "float6e3m2"}  # no torch dtype has six bits


@pytest.mark.parametrize("row", DTYPES, ids=str)
def test_every_spelling_finds_the_row(row):
    spellings = [row, row.name, row.short, row.numpy or row, np.dtype(row.numpy) if row.numpy else row]
    spellings += [row.code] if row.code else []
    spellings += [f"torch.{row.torch}", getattr(torch, row.torch)] if row.torch else []
    assert [dtype(each) for each in spellings] == [row] * len(spellings)


@pytest.mark.parametrize(
    ("spelling", "row"),
    [(np.float32, FLOAT32), (np.bool_, BOOL), (bool, BOOL), ("float", FLOAT32), ("double", FLOAT64),
     (ml_dtypes.bfloat16, dtypes.BFLOAT16), (ml_dtypes.int4, dtypes.INT4), (np.dtype(">i4"), INT32),
     (onnx.TensorProto.INT64, INT64), (np.int64(7), INT64)],
)  # fmt: skip
def test_more_spellings(spelling, row):
    assert dtype(spelling) is row


@pytest.mark.parametrize("wrong", [True, False, 0, 99, "f33", "", float, int, complex, object, None, 1.5, torch.qint8])
def test_what_is_no_dtype_is_refused(wrong):
    with pytest.raises(dtypes.DTypeError):
        dtype(wrong)


@pytest.mark.parametrize("foreign", UNKNOWN, ids=str)
def test_torch_dtypes_without_a_row_are_refused(foreign):
    with pytest.raises(dtypes.DTypeError, match="names no dtype"):
        dtype(foreign)


def test_rows_stay_singletons():
    assert copy.deepcopy(FLOAT32) is FLOAT32
    assert pickle.loads(pickle.dumps(FLOAT32)) is FLOAT32
    assert (str(FLOAT32), repr(FLOAT32)) == ("f32", "FLOAT32")
    assert all(getattr(dtypes, repr(row)) is row for row in DTYPES)


def test_sizes():
    assert [dtypes.INT4.nbytes(n) for n in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert FLOAT32.nbytes(3) == 12
    for row in DTYPES:
        if row.torch and row.bits >= 8 and row.kind != "string":
            assert getattr(torch, row.torch).itemsize * 8 == row.bits


# ---- promotion


@pytest.mark.parametrize("a", KNOWN, ids=str)
def test_promotion_is_that_of_torch(a):
    for b in KNOWN:
        assert outcome(dtypes.promote, dtype(a), dtype(b)) == outcome(torch.promote_types, a, b), (a, b)


def operands(kind):
    """One operand of each dtype: dimensioned tensors, 0-dim tensors, or Python numbers."""
    if kind == "number":
        return NUMBERS
    return [torch.empty((1,) if kind == "tensor" else (), dtype=each, device="meta") for each in KNOWN]


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("kinds", list(itertools.product(("tensor", "zero-dim", "number"), repeat=2)), ids="-".join)
def test_result_type_is_that_of_torch(kinds):
    for a, b in itertools.product(*map(operands, kinds)):
        assert outcome(dtypes.result_type, a, b) == outcome(torch.result_type, a, b), (a, b)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("default", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_python_numbers_take_the_default_dtype(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        for number, each in itertools.product(NUMBERS, KNOWN):
            tensor = torch.empty(1, dtype=each, device="meta")
            ours = outcome(lambda *args: dtypes.result_type(*args, default=dtype(default)), tensor, number)
            assert ours == outcome(torch.result_type, tensor, number), (each, number)
    finally:
        torch.set_default_dtype(before)


def test_result_type_of_many_and_of_our_own():
    zero = SimpleNamespace(dtype=FLOAT64, shape=())
    assert dtypes.result_type(FLOAT16, zero, 2) is FLOAT16
    assert dtypes.result_type(UINT8, INT8, 2.0) is FLOAT32
    assert dtypes.result_type(INT32, zero) is FLOAT64
    for wrong in ((), ("f32",), (None,)):
        with pytest.raises(dtypes.DTypeError):
            dtypes.result_type(*wrong)


def test_a_pair_without_promotion_says_what_to_do():
    with pytest.raises(dtypes.DTypeError, match="uint16 with int32; cast one of them first"):
        dtypes.promote(dtypes.UINT16, INT32)


@pytest.mark.parametrize("each", [each for each in KNOWN if each.is_floating_point or each.is_complex], ids=str)
def test_complex_and_back_as_torch_pairs_them(each):
    assert outcome(dtypes.to_complex, dtype(each)) == outcome(lambda x: x.to_complex(), each)
    if each.is_complex:
        assert outcome(dtypes.to_real, dtype(each)) == outcome(lambda x: x.to_real(), each)
    assert dtypes.to_float(dtype(each)) is dtype(each)


def test_to_float():
    assert [dtypes.to_float(row) for row in (BOOL, UINT8, INT64)] == [FLOAT32] * 3
    assert dtypes.to_float(INT64, default=FLOAT64) is FLOAT64


# ---- containment


SMALL = [row for row in DTYPES if row.numpy and 0 < row.bits <= 16]
REAL = [row for row in DTYPES if row.numpy and row.kind not in ("complex", "string")]
NAN = "nan"


def values(row):
    """Every value of a dtype of 16 bits and fewer, as float64 bit patterns (so that -0 counts), nan once."""
    kind = np.dtype(row.numpy)
    if row is BOOL:
        array = np.array([False, True])
    elif row.is_integer:
        array = np.arange(row.lowest, row.highest + 1)
    else:
        array = np.arange(2**row.bits).astype(np.uint16 if row.bits == 16 else np.uint8).view(kind)
    with np.errstate(invalid="ignore"):
        exact = array.astype(np.float64)
    return set(exact[~np.isnan(exact)].view(np.int64).tolist()) | ({NAN} if np.isnan(exact).any() else set())


ALL = {row: values(row) for row in SMALL}


@pytest.mark.parametrize("row", SMALL, ids=str)
def test_containment_among_small_dtypes_is_by_value(row):
    for wide in SMALL:
        assert dtypes.contains(wide, row) == (ALL[row] <= ALL[wide]), (wide, row)


@pytest.mark.parametrize("row", SMALL, ids=str)
def test_containment_of_small_dtypes_in_large_ones_is_a_round_trip(row):
    whole = np.array([bits for bits in ALL[row] if bits != NAN], np.int64).view(np.float64)
    for wide in (row for row in REAL if row.bits > 16):
        with np.errstate(all="ignore"):
            back = whole.astype(np.dtype(wide.numpy)).astype(np.float64)
        same = (back.view(np.int64) == whole.view(np.int64)).all() and (wide.is_float or NAN not in ALL[row])
        assert dtypes.contains(wide, row) == same, (wide, row)


def test_limits_are_those_of_numpy_and_torch():
    for row in DTYPES:
        if row.is_integer and row.bits >= 8:
            limits = np.iinfo(row.numpy)
            assert (row.lowest, row.highest) == (limits.min, limits.max)
        if row.is_float and row is not dtypes.FLOAT4E2M1:
            limits = torch.finfo(getattr(torch, row.torch))
            smallest = 2.0**row.quantum
            assert (row.highest, smallest) == (limits.max, limits.smallest_normal * 2.0 ** (1 - row.digits)), row
            assert row is dtypes.FLOAT8E8M0 or row.lowest == limits.min


def test_containment_among_large_dtypes():
    large = [row for row in REAL if row.bits > 16]
    pairs = {(a.short, b.short) for a, b in itertools.permutations(large, 2) if dtypes.contains(a, b)}
    assert pairs == {("i64", "i32"), ("i64", "u32"), ("u64", "u32"), ("f64", "i32"), ("f64", "u32"), ("f64", "f32")}
    assert dtypes.contains(dtypes.COMPLEX64, FLOAT32)
    assert not dtypes.contains(FLOAT64, dtypes.COMPLEX64)
    assert dtypes.contains(dtypes.COMPLEX128, INT32)
    assert dtypes.contains(STRING, STRING)
    assert not dtypes.contains(STRING, BOOL)
