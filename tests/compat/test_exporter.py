"""Calls of torch.onnx.export, as they stand in people's code: the same file, or an error that says what to write."""

from __future__ import annotations

import inspect
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxscript import opset18 as op
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.compat.refused import MODULE, REFUSED
from fxonnx.errors.arguments import PROGRAM_NAMES, TORCH_NAMES

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two inputs, of which one may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        y = self.norm(self.fc(x)).relu()
        return y if scale is None else y * scale


MODEL = Net().eval()


def written(*args: Any, **options: Any) -> onnx.ModelProto:
    file = io.BytesIO()
    fxonnx.compat.export(*args, file, **options)
    return onnx.load_from_string(file.getvalue())


def names(values: Any) -> list[str]:
    return [each.name for each in values]


def test_a_call_of_the_first_generation(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    fxonnx.compat.export(
        MODEL, X, str(path), export_params=True, opset_version=13, do_constant_folding=True, verbose=False,
        input_names=["input"], output_names=["output"], training=torch.onnx.TrainingMode.EVAL,
        operator_export_type=torch.onnx.OperatorExportTypes.ONNX, keep_initializers_as_inputs=None,
        dynamic_axes={"input": {0: "batch_size"}, "output": {0: "batch_size"}}, custom_opsets=None, dynamo=False,
        export_modules_as_functions=False, autograd_inlining=True,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(path)
    for count in (2, 1, 7):
        x = torch.randn(count, 3)
        np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], MODEL(x).detach(), atol=1e-5)
    assert onnx.load(path).opset_import[0].version == 13


def test_a_call_of_the_second_generation(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch")
    program = fxonnx.compat.export(
        MODEL, (X,), kwargs={"scale": torch.ones(2, 1)}, dynamo=True, report=True, profile=True, verify=True,
        dynamic_shapes={"x": {0: batch}, "scale": {0: batch}}, artifacts_dir=tmp_path, dump_exported_program=False,
    )  # fmt: skip
    program.save(tmp_path / "model.onnx")
    assert "x: f32[batch,3]" in repr(program) and program(X, torch.ones(2, 1)).shape == (2, 4)
    assert "fuse" in (tmp_path / "fxonnx_report.md").read_text()


def test_keywords_may_end_the_arguments() -> None:
    assert names(written(MODEL, (X, {"scale": torch.ones(1)})).graph.input) == ["x", "scale"]
    assert names(written(MODEL, (X, {})).graph.input) == ["x"]


def test_axes_are_named_by_the_names_in_the_file() -> None:
    """input_names may be those of other arguments."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        return x.sum() + y

    axes = {"y": {0: "rows"}, "x": [1]}
    graph = written(model, (X, X), input_names=["y", "x"], dynamic_axes=axes).graph
    dims = [[dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in graph.input]
    assert dims == [["rows", 3], [2, "x_dynamic_axes_1"]]


def test_axes_of_tensors_inside_of_an_argument() -> None:
    def model(pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0].sum() + pair[1]

    graph = written(model, ((X, X),), input_names=["a", "b"], dynamic_axes={"b": {0: "rows"}}).graph
    assert graph.input[1].type.tensor_type.shape.dim[0].dim_param == "rows"


def test_axes_of_names_that_there_are_not_are_told_of() -> None:
    with pytest.warns(UserWarning, match="dynamic_axes names 'x': inputs and outputs are data, output"):
        written(MODEL, X, input_names=["data"], dynamic_axes={"x": {0: "rows"}, "output": {0: "rows"}})
    with pytest.raises(errors.InvalidDynamicShapes, match="dynamic_axes is a list"):
        fxonnx.compat.export(MODEL, X, dynamic_axes=["x"])


@pytest.mark.parametrize(
    "options",
    [
        {"dynamic_axes": {"a": [0], "b": [0]}},
        {"dynamic_axes": {"a": {0: "rows"}, "b": {0: "lines"}}},
        {"dynamic_shapes": ({0: "rows"}, {0: "lines"})},
        {"dynamic_shapes": {"a": ["rows", None], "b": {0: "rows"}}},
    ],
)
def test_names_of_dims_promise_nothing(options: dict[str, Any]) -> None:
    """Two dims that the model makes one are one, whatever they were called; `torch.export.Dim` keeps its promise."""

    def model(a: Tensor, b: Tensor) -> Tensor:
        return a + b

    file = written(model, (X, X), input_names=["a", "b"], **options)
    dims = {each.type.tensor_type.shape.dim[0].dim_param for each in (*file.graph.input, *file.graph.output)}
    assert len(dims) == 1 and "" not in dims
    session = onnxruntime.InferenceSession(file.SerializeToString())
    rows = np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(session.run(None, {"a": rows, "b": rows})[0], rows * 2)
    promised = {name: {0: torch.export.Dim(name)} for name in ("a", "b")}
    with pytest.raises(errors.FrozenDimension, match="is always"):
        fxonnx.compat.export(model, (X, X), dynamic_shapes=promised)


def test_an_exported_program_brings_its_example(tmp_path: Path) -> None:
    program = torch.export.export(MODEL, (X,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    for call in ((program, None), (program, ()), (program,)):
        fxonnx.compat.export(*call, f=tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        assert session.run(None, {"x": np.ones((5, 3), np.float32)})[0].shape == (5, 4)


def test_arguments_without_names_are_answered_with_their_names() -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        fxonnx.compat.export(MODEL, X, "model.onnx", True, False)
    assert caught.value.cure == "export(model, args, f, export_params=True, verbose=False)"
    with pytest.raises(errors.InvalidOption) as caught:
        fxonnx.compat.export()
    assert caught.value.cure == "help(fxonnx.compat.export)"


@pytest.mark.parametrize("kind", ["ONNX", "ONNX_FALLTHROUGH", "ONNX_ATEN_FALLBACK"])
def test_fallbacks_change_nothing_where_every_op_has_a_lowering(kind: str) -> None:
    given = getattr(fxonnx.compat.OperatorExportTypes, kind)
    assert written(MODEL, X, operator_export_type=given, example_outputs=X) == written(MODEL, X)


def test_the_module_stands_for_torchs() -> None:
    for name in ("OperatorExportTypes", "TrainingMode", "is_in_onnx_export", "select_model_mode_for_export"):
        assert getattr(fxonnx.compat, name) is getattr(torch.onnx, name)
    for name in MODULE:
        with pytest.raises(AttributeError, match=re.escape(MODULE[name])):
            getattr(fxonnx.compat, name)
    assert not hasattr(fxonnx.compat, "nothing") and fxonnx.compat.OnnxExporterError is errors.Error


def test_what_an_onnx_program_has_is_said_in_other_words() -> None:
    compiled = fxonnx.compat.export(MODEL, X)
    for name in PROGRAM_NAMES:
        with pytest.raises(AttributeError, match=re.escape(PROGRAM_NAMES[name])):
            getattr(compiled, name)
    assert not hasattr(compiled, "nothing")


def test_a_file_that_is_open_for_text_is_refused() -> None:
    with pytest.raises(errors.CannotWrite, match="as text"):
        fxonnx.compat.export(MODEL, X, io.StringIO())


def test_weights_may_be_inputs() -> None:
    keys = [*dict(MODEL.named_parameters()), "norm.running_mean", "norm.running_var"]
    without = written(MODEL, X, export_params=False)
    assert set(names(without.graph.input)) == {"x", *keys} and not without.graph.initializer
    session = onnxruntime.InferenceSession(without.SerializeToString())
    feeds = {key: value.numpy() for key, value in MODEL.state_dict().items() if key in keys}
    np.testing.assert_allclose(session.run(None, {"x": X.numpy(), **feeds})[0], MODEL(X).detach(), atol=1e-5)
    kept = written(MODEL, X, keep_initializers_as_inputs=True)
    assert set(names(kept.graph.initializer)) < set(names(kept.graph.input))
    session = onnxruntime.InferenceSession(kept.SerializeToString())
    np.testing.assert_allclose(session.run(None, {"x": X.numpy()})[0], MODEL(X).detach(), atol=1e-5)


@pytest.mark.parametrize("mode, expected", [("EVAL", 0), ("TRAINING", 1), ("PRESERVE", 0)])
def test_training_modes(mode: str, expected: int) -> None:
    model = nn.Dropout(0.999999).eval()
    compiled = fxonnx.compat.export(model, torch.ones(64), training=getattr(torch.onnx.TrainingMode, mode))
    assert (compiled(torch.ones(64)).sum() == 64) is not bool(expected) and not model.training


def quick_gelu(self: Any, approximate: str = "none") -> Any:
    return op.Mul(self, op.Sigmoid(op.Mul(self, 1.702)))


def test_a_translation_table() -> None:
    for body in (quick_gelu, [quick_gelu]):
        table = {torch.ops.aten.gelu.default: body}
        compiled = fxonnx.compat.export(lambda x: nn.functional.gelu(x), (X,), custom_translation_table=table)
        torch.testing.assert_close(compiled(X), X * torch.sigmoid(1.702 * X))


def test_every_argument_of_torchs_is_taken_or_refused() -> None:
    parameters = set(inspect.signature(torch.onnx.export).parameters)
    assert parameters <= {*inspect.signature(fxonnx.compat.export).parameters, *REFUSED}


@pytest.mark.parametrize(
    "options, cure",
    [
        ({"operator_export_type": torch.onnx.OperatorExportTypes.ONNX_ATEN}, "register_lowering"),
        ({"training": "eval"}, "TrainingMode.EVAL"),
        ({"input_names": ["x", "scale", "fc.weight"]}, "input_names=['x']"),
        ({"custom_translation_table": [quick_gelu]}, "torch.ops.mylib.fancy.default"),
        ({"custom_opsets": [2]}, "target.knowing"),
        ({"dump_exported_program": True}, "torch.export.save"),
        ({"autograd_inlining": False}, "custom_op"),
        ({"opset_versoin": 17}, "help(fxonnx.compat.export)"),
        ({"external_data": True, "keep_initializers_as_inputs": True}, "leave out external_data"),
        ({"opset_version": 7}, "opset=9"),
        ({"dynamic_axes": {"x": 0}}, "dynamic_axes="),
        ({"custom_translation_table": {"aten.gelu": quick_gelu}}, "torch.ops.mylib.fancy.default"),
    ],
)
def test_what_has_no_meaning_says_what_to_write(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(errors.Error) as caught:
        fxonnx.compat.export(MODEL, X, **options)
    assert cure in caught.value.cure and caught.value.cause


def test_a_symbolic_function_is_answered_with_the_head_of_a_lowering() -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        fxonnx.compat.register_custom_op_symbolic("aten::gelu", lambda g, x: g.op("Relu", x), 9)
    head = '@fxonnx.register_lowering("aten.gelu") over def gelu(op, self, *, approximate)'
    assert caught.value.cure.startswith(head)


@pytest.mark.parametrize("name", TORCH_NAMES)
def test_compile_knows_torchs_names(name: str) -> None:
    with pytest.raises(errors.InvalidOption, match=re.escape(f"no option {name!r}")) as caught:
        fxonnx.compile(MODEL, (X,), **{name: None})
    assert caught.value.cure.startswith(TORCH_NAMES[name])


def test_torchs_order_of_arguments() -> None:
    with pytest.raises(errors.InputMismatch) as caught:
        fxonnx.compile(MODEL, X, "m.onnx")
    assert "fxonnx.export(model, (x,), 'm.onnx')" in caught.value.cure


def test_the_page_has_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "coming_from_torch_onnx.md").read_text(encoding="utf-8")
    parameters = set(inspect.signature(torch.onnx.export).parameters) - {"model"}
    assert [name for name in sorted(parameters) if f"`{name}`" not in page and f"{name})" not in page] == []
