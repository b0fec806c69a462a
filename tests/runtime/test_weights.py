"""Weights: shared where that is safe, handed over where it is not, and right everywhere."""

import gc
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from tests.runtime.models import binary, model, node, placeholder, value
from torch.nn import functional as F

from fxonnx import errors
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.session import Session
from fxonnx.runtime.weights import attach


def attached(proto, weights):
    import onnxruntime

    return attach(proto, weights, onnxruntime.SessionOptions())


def conv_batch_norm():
    weights = {"w": torch.randn(16, 16, 3, 3)} | {name: torch.rand(512)[:16] + 0.5 for name in ("s", "b", "m", "v")}
    x = torch.randn(1, 16, 8, 8)
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"]),
    ]
    y = F.batch_norm(F.conv2d(x, weights["w"], padding=1), weights["m"], weights["v"], weights["s"], weights["b"])
    return nodes, weights, x, y


def matmul_batch_norm():
    weights = {"w": torch.randn(32, 512)} | {name: torch.rand(512) + 0.5 for name in ("s", "b", "m", "v")}
    x = torch.randn(4, 32)
    nodes = [node("MatMul", ["x", "w"], ["c"]), node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"])]
    return nodes, weights, x, F.batch_norm(x @ weights["w"], weights["m"], weights["v"], weights["s"], weights["b"])


def transposed():
    weights = {"w": torch.randn(48, 32)}
    x = torch.randn(4, 32)
    return [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])], weights, x, x @ weights["w"].T


def tied():
    weights = {"w": torch.randn(48, 32)}
    x = torch.tensor([1, 5])
    nodes = [node("Gather", ["w", "x"], ["e"]), node("Gemm", ["e", "w"], ["y"], transB=1)]
    return nodes, weights, x, weights["w"][x] @ weights["w"].T


def transpose_optimizer():
    """The optimizer transposes the constant and keeps its name: a shared value under that name would be wrong."""
    weights = {"w": torch.randn(40, 8)}
    x = torch.randn(2, 8, 4, 40)
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        node("Add", ["t", "w"], ["u"]),
        node("Transpose", ["u"], ["y"], perm=[0, 3, 1, 2]),
    ]
    return nodes, weights, x, (x.permute(0, 2, 3, 1) + weights["w"]).permute(0, 3, 1, 2)


def dequantized():
    weights = {"w": torch.randint(-127, 127, (64, 128), dtype=torch.int8), "s": torch.rand(2, 128) * 0.01}
    x = torch.randn(4, 64)
    nodes = [node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=32), node("MatMul", ["x", "d"], ["y"])]
    return nodes, weights, x, x @ (weights["w"] * weights["s"].repeat_interleave(32, 0))


def reshaped():
    weights = {"w": torch.tensor([4, 32])}
    x = torch.randn(128)
    return [node("Reshape", ["x", "w"], ["y"])], weights, x, x.reshape(4, 32)


def half_matmul():
    weights = {"w": torch.randn(32, 64).half()}
    x = torch.randn(4, 32).half()
    return [node("MatMul", ["x", "w"], ["y"])], weights, x, x @ weights["w"]


def in_a_branch():
    weights = {"w": torch.randn(32, 64)}
    x = torch.randn(4, 32)
    bodies = {}
    for key, op in (("then_branch", "MatMul"), ("else_branch", "Gemm")):
        out = value(f"{key}_y", torch.float32, None)
        bodies[key] = onnx.helper.make_graph([node(op, ["x", "w"], [f"{key}_y"])], key, [], [out])
    true = node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True)))
    return [true, node("If", ["c"], ["y"], **bodies)], weights, x, x @ weights["w"]


CASES = [
    conv_batch_norm,
    matmul_batch_norm,
    transposed,
    tied,
    transpose_optimizer,
    dequantized,
    reshaped,
    half_matmul,
    in_a_branch,
]


@pytest.mark.parametrize("prepack", [True, False], ids=["prepack", "plain"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_numbers_are_right_whatever_the_optimizer_does(case, prepack):
    torch.manual_seed(0)
    nodes, weights, x, expected = case()
    placeholders = [placeholder(name, weight.dtype, weight.shape) for name, weight in weights.items()]
    proto = model(nodes, [value("x", x.dtype, x.shape)], [value("y", expected.dtype, expected.shape)], placeholders)
    before = proto.SerializeToString()
    (y,) = Session(proto, weights, configuration=Configuration(prepack=prepack)).run([x])
    # int8 weights are multiplied with activations rounded to 8 bits, as onnxruntime does by default
    torch.testing.assert_close(y, expected, rtol=1e-2, atol=0.2 if case is dequantized else 1e-3)
    assert proto.SerializeToString() == before


def test_matrices_are_shared_and_the_rest_handed_over():
    proto = binary("MatMul", torch.randn(64, 64), torch.randn(2, 64), 2)
    shared = attached(proto, {"w": torch.randn(64, 64)})
    assert (len(shared.kept), len(shared.passing)) == (1, 0)
    handed = attached(binary("Add", torch.randn(64, 64), torch.randn(64, 64), 2), {"w": torch.randn(64, 64)})
    assert (len(handed.kept), len(handed.passing)) == (0, 1)
    written = attached(binary("Add", torch.randn(4), torch.randn(4), 1), {"w": torch.randn(4)})
    assert (len(written.kept), len(written.passing)) == (0, 0)


def test_a_shared_weight_is_torchs_own_memory():
    table = torch.zeros(100, 8)
    session = Session(_gather(table), {"w": table})
    table.fill_(7)  # not for users: it shows where the kernel reads
    assert session.run([torch.tensor([3])])[0].eq(7).all()


def _gather(table):
    return model(
        [node("Gather", ["w", "x"], ["y"])],
        [value("x", torch.int64, ["n"])],
        [value("y", table.dtype, ["n", *table.shape[1:]])],
        [placeholder("w", table.dtype, table.shape)],
    )


def test_a_shared_weight_is_kept_alive():
    session = Session(_gather(torch.zeros(1000, 8)), {"w": torch.arange(8000.0).reshape(1000, 8)})
    gc.collect()
    torch.randn(1000, 8)
    assert session.run([torch.tensor([999])])[0].tolist() == [[float(n) for n in range(7992, 8000)]]


ODD = {
    "bool": torch.rand(100, 16) > 0.5,
    "bfloat16": torch.randn(100, 16).bfloat16(),
    "float16": torch.randn(100, 16).half(),
    "transposed": torch.randn(16, 100).T,
    "expanded": torch.randn(1, 16).expand(100, 16),
    "requires_grad": torch.nn.Parameter(torch.randn(100, 16)),
    "negative view": torch._neg_view(torch.randn(100, 16)),
    "offset": torch.randn(101, 16)[1:],
    "uint16": torch.arange(1600).reshape(100, 16).to(torch.uint16),
    "int64": torch.arange(1600).reshape(100, 16),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "handed"])
def test_weights_of_every_kind(name, shared):
    weight = ODD[name]
    second = [] if shared else [node("Identity", ["w"], ["z"])]  # a reader that optimizers may look into
    outputs = [value("y", weight.dtype, [2, 16]), value("z", weight.dtype, [100, 16])][: 1 + len(second)]
    proto = model(
        [node("Gather", ["w", "x"], ["y"]), *second],
        [value("x", torch.int64, [2])],
        outputs,
        [placeholder("w", weight.dtype, weight.shape)],
    )
    plain = weight.detach().resolve_neg()
    results = Session(proto, {"w": weight}).run([torch.tensor([99, 0])])
    assert all(result.equal(wanted) for result, wanted in zip(results, (plain[[99, 0]], plain), strict=False))


def test_float8_weights():
    weight = torch.randn(100, 16).to(torch.float8_e4m3fn)
    proto = model(
        [node("Cast", ["w"], ["y"], to=1)],
        [],
        [value("y", torch.float32, [100, 16])],
        [placeholder("w", weight.dtype, weight.shape)],
    )
    assert Session(proto, {"w": weight}).run([])[0].equal(weight.float())


@pytest.mark.parametrize("form", ["packed torch", "packed numpy", "one per byte", "int8 numpy"])
@pytest.mark.parametrize("row", ["int4", "uint4"])
@pytest.mark.parametrize("shape", [(64, 128), (2, 4), (1, 2305)], ids=str)
def test_four_bit_weights(row, form, shape):
    low, high = (-8, 8) if row == "int4" else (0, 16)
    single = np.random.default_rng(0).integers(low, high, shape)
    flat = np.pad(single.reshape(-1), (0, single.size % 2)) & 15
    packed = (flat[0::2] | flat[1::2] << 4).astype(np.uint8)
    weight = {
        "packed torch": torch.from_numpy(packed),
        "packed numpy": packed,
        "one per byte": single.astype(getattr(ml_dtypes, row)),
        "int8 numpy": single.astype(np.int8),
    }[form]
    scale = placeholder("s", torch.float32, [])
    proto = model(
        [node("DequantizeLinear", ["w", "s"], ["d"]), node("Add", ["d", "x"], ["y"])],
        [value("x", torch.float32, [])],
        [value("y", torch.float32, shape)],
        [placeholder("w", row, shape), scale],
    )
    (y,) = Session(proto, {"w": weight, "s": torch.tensor(0.5)}).run([torch.tensor(0.0)])
    assert y.equal(torch.from_numpy(single * 0.5).float())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(4000.0, dtype=np.float32).reshape(100, 40),
        np.ones((100, 40), ml_dtypes.bfloat16),
        np.arange(4000).reshape(40, 100).T,
        np.ones((100, 40), bool),
    ],
    ids=lambda a: a.dtype.name,
)
def test_numpy_weights(array):
    array = array.copy("K")
    array.flags.writeable = False
    tensor = torch.from_numpy(array.astype(np.float32) if array.dtype.name == "bfloat16" else array.copy())
    row = "bfloat16" if array.dtype.name == "bfloat16" else tensor.dtype
    proto = model([node("Gather", ["w", "x"], ["y"])], [value("x", torch.int64, [1])], [value("y", row, [1, 40])])
    (y,) = Session(proto, {"w": array}).run([torch.tensor([2])])  # and no placeholder: it is made
    assert y.float().equal(tensor[[2]].float())


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_dtypes_that_onnx_lacks_are_refused():
    with pytest.raises(errors.UnsupportedDtype):
        Session(_gather(torch.zeros(10, 64)), {"other": torch.zeros(99, 9, dtype=torch.complex32)})


def test_no_file_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    weight = torch.randn(64, 64)
    Session(binary("MatMul", weight, torch.randn(2, 64), 2), {"w": weight}).run([torch.randn(2, 64)])
    assert not list(tmp_path.iterdir())


def test_the_working_directory_may_be_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    weight = torch.randn(64, 64)
    proto = binary("MatMul", weight, torch.randn(2, 64), 2)
    assert len(attached(proto, {"w": weight}).kept) == 1
    x = torch.randn(2, 64)
    torch.testing.assert_close(Session(proto, {"w": weight}).run([x])[0], x @ weight, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's own figures")
def test_sharing_takes_no_memory():
    """96 MB of matrices: below 16 MB more with prepack off, and never two copies with it on."""
    script = Path(__file__).with_name("memory.py")
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, script, "96"], capture_output=True, text=True, check=True, cwd=root)
    off, on = (float(line) for line in run.stdout.split())
    assert off < 16
    assert on < 128
