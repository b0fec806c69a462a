"""Targets: their opsets, and whether what they say of kernels is what the runtime does."""

import onnx
import pytest
import torch

import fxonnx
from fxonnx import errors
from fxonnx.dtypes import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT32,
    DType,
)  # fmt: skip
from fxonnx.passes.legalize import support
from fxonnx.target import NEWEST_OPSET, OLDEST_OPSET, Target

DTYPES = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT32, BOOL]

# operator -> dtypes of its inputs and outputs: "t" is the dtype under test, "i" int64, "b" bool, "-" an absent input
OPERATORS = {
    "Abs": ("t", "t"), "Add": ("tt", "t"), "ArgMax": ("t", "i"), "Clip": ("ttt", "t"), "CumSum": ("ti", "t"),
    "Equal": ("tt", "b"), "Erf": ("t", "t"), "EyeLike": ("t", "t"), "Floor": ("t", "t"), "GatherElements": ("ti", "t"),
    "Gemm": ("tt", "t"), "Identity": ("t", "t"), "Less": ("tt", "b"), "MatMul": ("tt", "t"), "Max": ("tt", "t"),
    "Mod": ("tt", "t"), "Neg": ("t", "t"), "NonZero": ("t", "i"), "Pad": ("ti", "t"), "ReduceMax": ("t", "t"),
    "ReduceMean": ("t", "t"), "ReduceSum": ("t", "t"), "Sign": ("t", "t"), "Sin": ("t", "t"), "Sqrt": ("t", "t"),
    "Tile": ("ti", "t"), "TopK": ("ti", "ti"), "Trilu": ("t", "t"), "Unique": ("t", "t"), "Where": ("btt", "t"),
}  # fmt: skip
ATTRIBUTES = {"Mod": {"fmod": 1}}


@pytest.fixture(scope="module")
def target():
    return Target.onnxruntime("1.32")


def test_defaults():
    assert Target.onnxruntime().opset == 24
    assert Target.onnxruntime().domains == {"com.microsoft"}
    assert Target.onnx().kernels is None
    assert Target.onnxruntime() == Target.onnxruntime()
    assert hash(Target.onnxruntime(opset=17)) == hash(Target.onnxruntime().at(17))
    assert str(Target.onnx(17)) == "ONNX opset 17"
    assert str(Target.onnxruntime()) == "onnxruntime 1.32.0 (CPUExecutionProvider), opset 24"
    assert Target.onnxruntime("1.99").kernels.version.startswith("1.32")


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset(opset):
    assert Target.onnx(opset).opset == Target.onnxruntime(opset=opset).opset == opset


@pytest.mark.parametrize("opset", [-1, 0, 8, NEWEST_OPSET + 1])
def test_opsets_out_of_range(opset):
    for make in (Target.onnx, Target.onnx().at, lambda opset: Target.onnxruntime(opset=opset)):
        with pytest.raises(errors.OpsetOutOfRange) as caught:
            make(opset)
        assert f"opset={OLDEST_OPSET if opset < OLDEST_OPSET else NEWEST_OPSET}" in caught.value.cure


def test_runtimes_older_than_all_snapshots():
    with pytest.raises(errors.NoKernel, match=r"onnxruntime 1\.5"):
        Target.onnxruntime("1.5")


def test_domains(target):
    assert target.allows("")
    assert target.allows("com.microsoft")
    assert not target.allows("ai.onnx.ml")
    assert not Target.onnx().allows("com.microsoft")


def test_names_of_variables_and_of_parameters(target):
    assert target.has_kernel("", "MatMul", 13, {"T": FLOAT32})
    assert target.has_kernel("", "MatMul", 13, {"A": FLOAT32, "B": FLOAT32, "Y": FLOAT32})
    assert not target.has_kernel("", "MatMul", 13, {"A": FLOAT16})
    assert target.has_kernel("", "Reshape", 25, {"T": FLOAT32, "shape": INT64})
    assert not target.has_kernel("", "Reshape", 25, {"data": FLOAT32, "shape": INT32})
    assert target.has_kernel("com.microsoft", "Gelu", 1, {"X": FLOAT32})
    assert not target.has_kernel("com.microsoft", "Gelu", 1, {"X": FLOAT64})
    assert target.has_kernel("", "Constant", 25, {})
    assert not target.has_kernel("", "Frobnicate", 1, {})
    assert Target.onnx().has_kernel("", "Frobnicate", 1, {})


def test_versions(target):
    assert target.has_kernel("", "Attention", 24, {"T1": FLOAT32})
    assert not target.has_kernel("", "Attention", 25, {"T1": FLOAT32})
    assert target.opsets_with_kernel("RoiAlign", {"T1": FLOAT32}) == tuple(range(10, 22))
    assert target.opsets_with_kernel("TensorScatter", {}) == (24, 25, 26, 27, 28)


def test_float16_that_only_an_attribute_asks_for(target):
    assert not target.loads("", "RandomNormal", 1, {"T": FLOAT16})
    assert target.loads("", "RandomNormalLike", 1, {"T1": FLOAT16, "T2": FLOAT16})
    assert not target.loads("", "EyeLike", 22, {"T1": FLOAT32, "T2": FLOAT16})
    assert _loads(_node("RandomNormalLike", "t", "t"), "t", "t", FLOAT16, 21)
    assert not _loads(
        onnx.helper.make_node("RandomNormal", [], ["y0"], dtype=FLOAT16.code, shape=[2]), "", "t", FLOAT16, 21
    )
    assert not _loads(onnx.helper.make_node("EyeLike", ["x0"], ["y0"], dtype=FLOAT16.code), "f", "t", FLOAT16, 23)


@pytest.mark.parametrize("opset", [13, 21, 24])
@pytest.mark.parametrize("op", OPERATORS)
def test_the_runtime_does_what_the_target_says(target, op, opset):
    """Every dtype that the schema admits.

    The target says that a node loads exactly where a session can be made of it.
    """
    inputs, outputs = OPERATORS[op]
    if not onnx.defs.has(op, opset, ""):
        pytest.skip("not yet in this opset")
    schema = onnx.defs.get_schema(op, opset)
    if schema.has_function or schema.has_context_dependent_function:
        pytest.skip("inlined where there is no kernel")
    for row in DTYPES:
        dtypes = {
            p.name: _row(c, row)
            for p, c in (*zip(schema.inputs, inputs, strict=False), *zip(schema.outputs, outputs, strict=False))
        }
        admitted = all(_type(_row(c, row)) in p.types for p, c in zip(schema.inputs, inputs, strict=False))
        if admitted:
            said = target.loads("", op, schema.since_version, dtypes)
            assert said == _loads(_node(op, inputs, outputs), inputs, outputs, row, opset), row


def _node(op: str, inputs: str, outputs: str) -> onnx.NodeProto:
    names = [f"x{index}" for index in range(len(inputs))]
    return onnx.helper.make_node(op, names, [f"y{index}" for index in range(len(outputs))], **ATTRIBUTES.get(op, {}))


def _row(letter: str, row: DType) -> DType:
    return {"t": row, "i": INT64, "b": BOOL, "f": FLOAT32}[letter]


def _type(row: DType) -> str:
    return f"tensor({ {'float32': 'float', 'float64': 'double'}.get(row.name, row.name) })"


def _loads(node: onnx.NodeProto, inputs: str, outputs: str, row: DType, opset: int) -> bool:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    names = [*zip(node.input, inputs, strict=False)], [*zip(node.output, outputs, strict=False)]
    values = [
        [onnx.helper.make_tensor_value_info(name, _row(letter, row).code, None) for name, letter in side]
        for side in names
    ]
    graph = onnx.helper.make_graph([node], "graph", *values)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options)
    except NoKernel:
        return False
    return True


NAMED = {
    "onnx": "ONNX opset 21",
    "onnx:17": "ONNX opset 17", "onnxruntime:1.20": "onnxruntime 1.20.1 (CPUExecutionProvider)",
    "onnxruntime:1.31:cuda": "onnxruntime 1.31.1 (CUDAExecutionProvider)", "openvino:2026.4": "openvino 2026.4.1 (CPU)",
    "onnxruntime::CUDAExecutionProvider": "(CUDAExecutionProvider)",
    "onnxruntime:1.32:DirectML": "onnxruntime 1.24.4 (DmlExecutionProvider), opset 21",
    "tensorrt:10.15": "tensorrt 10.15.0 (GPU)",
    "reference:13": "(reference), opset 13",
}  # fmt: skip


@pytest.mark.parametrize("text", NAMED)
def test_targets_by_name(text):
    assert NAMED[text] in str(Target.named(text))


STRANGE = ["openvinno", "onnx:new", "onnx:17:18", "onnxruntime:new", "onnxruntime::npu"]


@pytest.mark.parametrize("text", STRANGE)
def test_targets_that_there_are_not(text):
    with pytest.raises(errors.InvalidOption) as caught:
        Target.named(text)
    assert caught.value.cure


SPELLED = {
    "openvino": "fxonnx.Target.openvino()", "openvinno": "fxonnx.Target.openvino()",
    "onnx:17": "fxonnx.Target.onnx(17)", "opset13": "fxonnx.Target.onnx(13)", "17": "fxonnx.Target.onnxruntime(\"17\")",
    "ort 1.20 cuda": 'fxonnx.Target.onnxruntime("1.20", provider="CUDA")', "trt": "fxonnx.Target.tensorrt()",
    "reference": "fxonnx.Target.reference()",
}  # fmt: skip


@pytest.mark.parametrize("text", SPELLED)
def test_a_text_for_a_target_is_an_error_with_the_target_in_it(text):
    with pytest.raises(errors.InvalidOption) as caught:
        fxonnx.compile(torch.relu, (torch.ones(2),), target=text)
    assert caught.value.cure == f"target={SPELLED[text]}"


def test_opsets_of_releases():
    assert [Target.onnxruntime(f"1.{minor}").opset for minor in (17, 19, 23, 32)] == [20, 21, 23, 24]
    with pytest.raises(errors.OpsetOutOfRange, match="no opset 21"):
        Target.onnxruntime("1.17", opset=21)


def test_what_a_provider_lacks_runs_on_the_cpu():
    cuda, cpu = Target.onnxruntime("1.31", "CUDA"), Target.onnxruntime("1.31")
    assert cuda.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert cuda.has_kernel("", "MatMul", 13, {"T": FLOAT16})
    assert not cpu.has_kernel("", "MatMul", 13, {"T": FLOAT16})
    assert cuda.has_kernel("", "Det", 11, {})


def test_directml_stops_at_the_newest_opset_that_it_has_kernels_of():
    directml = Target.onnxruntime(provider="DmlExecutionProvider")
    assert directml.opset == 21
    assert directml.providers == ("DmlExecutionProvider", "CPUExecutionProvider")
    assert directml.has_kernel("", "MatMul", 13, {"T": FLOAT16})
    assert directml.kernels.of("", "Conv", 11) and not directml.kernels.of("", "Conv", 22)
    compiled = fxonnx.compile(torch.nn.Linear(3, 4), (torch.ones(2, 3),), target=directml)
    assert compiled.target.opset == 21


class Several(torch.nn.Module):
    """What an old runtime lacks, and what TensorRT and OpenVINO lack."""

    def forward(self, x):
        return torch.nn.functional.gelu(x) + x.amax(), x.double().sum(), x.int() & 3


def test_what_a_target_cannot_run_is_one_list_of_errors():
    model, x = Several(), torch.eye(3)
    compiled = fxonnx.compile(model, (x,), target=Target.onnxruntime("1.17"))
    assert "Gelu" not in [node.op for node in compiled.graph.nodes]
    torch.testing.assert_close(compiled(x), model(x))
    for target, lacking in ((Target.tensorrt(), {"BitwiseAnd", "ReduceSum"}), (Target.openvino(), {"ReduceSum"})):
        with pytest.raises(errors.Error) as caught:
            fxonnx.compile(model, (x,), target=target)
        found = getattr(caught.value, "errors", [caught.value])
        assert all(isinstance(each, errors.NoKernel) and each.locations for each in found)
        assert all(any(op in each.cause for each in found) for op in lacking)


def test_compiling_again_keeps_nothing() -> None:
    """What is asked of a target is asked once, whatever a compile knows of the machine."""
    x = torch.rand(2, 4)
    sizes = []
    for _ in range(3):
        fxonnx.compile(torch.tanh, (x,), dynamic_shapes=({0: "n"},))
        sizes.append([each.cache_info().currsize for each in (support.runs, support.runs_somehow, support.widened)])
    assert sizes[1] == sizes[2]
