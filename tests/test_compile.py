"""The main entry: what it accepts, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

import fxonnx
from fxonnx import errors


class Net(nn.Module):
    """A small model with a weight, a buffer, a Python branch and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor, gain: float = 1.0, mask: torch.Tensor | None = None) -> torch.Tensor:
        y = self.drop(self.fc(x)) * self.scale * gain
        return y if mask is None else y * mask


X = torch.randn(2, 4)


def test_a_stage_or_node_that_is_not_there_and_numbers_of_another_kind() -> None:
    compiled = fxonnx.compile(torch.relu, (torch.ones(2, 3),))
    for asked in (lambda: compiled.show(99), lambda: compiled.show("none"), lambda: compiled.diff(0, -99),
                  lambda: compiled.where("none")):  # fmt: skip
        with pytest.raises(errors.InvalidOption):
            asked()
    with pytest.raises(errors.CallMismatch, match="is complex"):
        compiled(torch.ones(2, 3, dtype=torch.complex64))
    with pytest.raises(errors.CallMismatch, match="is real"):
        fxonnx.compile(torch.abs, (torch.ones(2, dtype=torch.complex64),))(torch.ones(2))


def test_eval_by_default_and_mode_restored() -> None:
    net = Net().train()
    net.drop.eval()
    compiled = fxonnx.compile(net, (X,))
    assert net.training and not net.drop.training
    torch.testing.assert_close(compiled(X), net.eval()(X))


def test_a_lone_tensor_counts_as_one_argument() -> None:
    net = Net().eval()
    torch.testing.assert_close(fxonnx.compile(net, X)(X), net(X))


def test_keyword_arguments_and_scalars() -> None:
    net, mask = Net().eval(), torch.rand(2, 4)
    compiled = fxonnx.compile(net, (X,), {"gain": 3.0, "mask": mask})
    torch.testing.assert_close(compiled(X, gain=3.0, mask=mask), net(X, 3.0, mask))
    with pytest.raises(errors.CallMismatch):
        compiled(X, gain=2.0, mask=mask)


@dataclass
class Pair:
    left: torch.Tensor
    right: torch.Tensor


def test_nested_structures() -> None:
    def model(pair: Pair, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "sum": pair.left + pair.right,
            "list": [pair.left * 2, None, options["bias"]],
            "pair": Pair(pair.right, pair.left),
        }

    arguments = Pair(torch.randn(3), torch.randn(3)), {"bias": torch.ones(1)}
    result, expected = fxonnx.compile(model, arguments)(*arguments), model(*arguments)
    assert isinstance(result["pair"], Pair) and result["list"][1] is None
    torch.testing.assert_close(result["sum"], expected["sum"])
    torch.testing.assert_close(result["pair"].left, expected["pair"].left)


def test_graph_module_and_exported_program() -> None:
    net = Net().eval()
    for model in (
        torch.fx.symbolic_trace(net, concrete_args={"gain": 1.0, "mask": None}),
        torch.export.export(net, (X,)),
    ):
        torch.testing.assert_close(fxonnx.compile(model, (X,))(X), net(X))


@pytest.mark.parametrize("known", [True, False])
def test_an_exported_program_brings_its_example(known: bool) -> None:
    net = Net().eval()
    dynamic = {"x": {0: torch.export.Dim("batch")}, "mask": {0: torch.export.Dim("batch")}}
    program = torch.export.export(net, (X,), {"mask": X}, dynamic_shapes=dynamic)
    if not known:
        program.example_inputs = None
    compiled = fxonnx.compile(program, verify=True)
    x = torch.randn(7, 4)
    torch.testing.assert_close(compiled(x, mask=x), net(x, mask=x))


def test_names_in_the_file(tmp_path: Path) -> None:
    compiled = fxonnx.compile(
        Net(), (X,), dynamic_shapes={"x": {0: "batch"}}, input_names=["pixels"], output_names=["logits"]
    )
    compiled.save(tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert [value.name for value in graph.input] == ["pixels"] and [value.name for value in graph.output] == ["logits"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {tensor.name for tensor in graph.initializer} >= {"fc.weight", "fc.bias"}
    assert compiled.where(graph.node[0].name).module == "fc"


def test_same_model_same_bytes(tmp_path: Path) -> None:
    net = Net()
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    fxonnx.compile(net, (X,)).save(first)
    fxonnx.compile(net, (X,)).save(second)
    assert first.read_bytes() == second.read_bytes()


def test_verify_reports_every_output() -> None:
    report = fxonnx.compile(Net(), (X,), dynamic_shapes={"x": {0: "batch"}}, verify=True).verify()
    assert report.ok and len(report.comparisons) == 2
    assert "max error" in str(report)


def test_batch_of_one_stays_dynamic() -> None:
    compiled = fxonnx.compile(Net().eval(), (X[:1],), dynamic_shapes={"x": {0: "batch"}})
    for size in (1, 2, 5):
        x = torch.randn(size, 4)
        torch.testing.assert_close(compiled(x), compiled.model(x))


def test_state_moves_on_between_calls() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            return x * self.steps

    compiled = fxonnx.compile(Counter(), (X,))
    assert compiled.model.steps == 0
    torch.testing.assert_close(compiled(X), X)
    torch.testing.assert_close(compiled(X), 2 * X)


def test_input_written_in_place_is_written_back() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        x[:, 1] = 7.0
        return x * 2

    compiled, mine, theirs = fxonnx.compile(model, (X.clone(),)), X.clone(), X.clone()
    torch.testing.assert_close(compiled(mine), model(theirs))
    torch.testing.assert_close(mine, theirs)


def test_report_and_diff() -> None:
    compiled = fxonnx.compile(Net(), (X,), dynamic_shapes={"x": {0: "batch"}}, opset=13)
    report = compiled.report()
    assert "x: f32[batch,4]" in report and "capture" in report and "widen" in report
    assert not compiled.diff("lowered", "lowered")
    assert compiled.diff("optimized", "legalized") and "opset 28 → 13" in str(compiled.diff("optimized", "legalized"))


def test_sizes_outside_of_what_was_captured() -> None:
    table = nn.Embedding(8, 4)

    def model(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 8:
            raise ValueError("too long")
        return x + table(torch.arange(x.shape[0])) if x.shape[0] < 6 else x

    compiled = fxonnx.compile(model, (X,), dynamic_shapes={"x": {0: "n"}})
    for size in (5, 7, 3, 8):  # 7 and 8 take the other way
        torch.testing.assert_close(compiled(torch.ones(size, 4)), model(torch.ones(size, 4)))
    with pytest.raises(errors.CallMismatch, match="n = 9"):
        compiled(torch.ones(9, 4))


# ── refusals ──


def raises_inside(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no")


def branches_on_data(x: torch.Tensor) -> torch.Tensor:
    return (x + 1,) if x.sum() > 0 else x - 1


def freezes(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(2, 2, 4).sum(0)


DYNAMIC = {"dynamic_shapes": {"x": {0: "n"}}}


def test_the_report_and_the_file_say_for_which_sizes_they_hold() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if 1 < x.shape[0] <= 8 else x

    compiled = fxonnx.compile(model, torch.randn(4, 3), dynamic_shapes={"x": {0: "n"}})
    assert "holds for n <= 8" in compiled.report()
    assert "captured with n > 1" in compiled.report()
    said = {each.key: each.value for each in compiled.model_proto().metadata_props}
    assert said.pop("fxonnx.interface")
    assert said == {"fxonnx.holds_for": "n <= 8", "fxonnx.captured_with": "n > 1"}
    assert compiled.model_proto().doc_string == (
        "Made for n of 2 or more. Holds for n <= 8. "
        "Captured with n > 1: with a size of 1 the model may take another way."
    )


def test_a_file_that_is_asked_for_a_size_of_1_says_so() -> None:
    of_one = fxonnx.compile(lambda x: x * 2, torch.randn(1, 3), dynamic_shapes={"x": {0: "n"}})
    assert of_one.model_proto().doc_string == "Made for n of 2 or more. Holds for n = 1 as well."
    assert not fxonnx.compile(lambda x: x * 2, torch.randn(1, 3)).model_proto().doc_string


def test_there_is_one_way_to_capture() -> None:
    for name in ("auto", "trace"):  # that there were two
        fxonnx.compile(torch.sin, torch.randn(4), capture=name)
    with pytest.raises(errors.InvalidOption, match="capture"):
        fxonnx.compile(torch.sin, torch.randn(4), capture="export")


def test_a_model_without_a_tensor_to_return_is_refused() -> None:
    with pytest.raises(errors.CaptureRefused, match="returns no tensor"):
        fxonnx.compile(lambda x: 3, torch.randn(4))


def test_weights_without_contents_compile_and_are_not_written(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = nn.Linear(400, 300)
    compiled = fxonnx.compile(model, torch.empty(2, 400))
    assert "0.5 MB of weights" in compiled.report()
    with pytest.raises(errors.CannotWrite, match="no contents"):
        compiled.save(tmp_path / "model.onnx")


REFUSALS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], type[errors.Error]]] = {
    "no model": (None, (X,), {}, errors.NotAModel),
    "a state_dict": (Net().state_dict(), (X,), {}, errors.NotAModel),
    "wrong arity": (Net(), (), {}, errors.InputMismatch),
    "a model that raises": (raises_inside, (X,), {}, errors.ModelRaised),
    "branch on data": (branches_on_data, (X,), {}, errors.DataDependentControlFlow),
    "opset too old": (Net(), (X,), {"opset": 3}, errors.OpsetOutOfRange),
    "opset too new": (Net(), (X,), {"opset": 99}, errors.OpsetOutOfRange),
    "names that clash": (Net(), (X,), {"input_names": ["a"], "output_names": ["a"]}, errors.NameClash),
    "a dim that freezes": (freezes, (torch.randn(4, 4),), DYNAMIC, errors.FrozenDimension),
    "a dim of no input": (Net(), (X,), {"dynamic_shapes": {"z": {0: "n"}}}, errors.InvalidDynamicShapes),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_have_code_cause_and_cure(name: str) -> None:
    model, args, options, kind = REFUSALS[name]
    with pytest.raises(kind) as caught:
        fxonnx.compile(model, args, **options).emitted
    assert caught.value.code in str(caught.value) and caught.value.cure


@pytest.mark.parametrize("name", ["branch on data", "a model that raises", "a dim that freezes"])
def test_refusals_name_the_line(name: str) -> None:
    model, args, options, kind = REFUSALS[name]
    with pytest.raises(kind) as caught:
        fxonnx.compile(model, args, **options)
    assert caught.value.locations[0].source.startswith("test_compile.py:")


def test_every_unsupported_op_is_listed_once() -> None:
    with torch.library._scoped_library("fxonnx_test", "DEF") as library:
        for op in ("swoosh", "swish"):
            library.define(f"{op}(Tensor x) -> Tensor")
            library.impl(op, lambda x: x.clone(), "CompositeExplicitAutograd")

        def model(x: torch.Tensor) -> torch.Tensor:
            for _ in range(3):
                x = torch.ops.fxonnx_test.swoosh(x)
            return torch.ops.fxonnx_test.swish(x)

        with pytest.raises(errors.Failures) as caught:
            fxonnx.compile(model, (X,))
        assert len(caught.value.errors) == 4 and "(3 times)" in str(caught.value)
        compiled = fxonnx.compile(
            model,
            (X,),
            lowerings={"fxonnx_test.swoosh": lambda op, x: op.Relu(x), "fxonnx_test.swish": lambda op, x: op.Neg(x)},
        )
        torch.testing.assert_close(compiled(X), -X.relu())


def test_unwritable_path(tmp_path: Path) -> None:
    compiled = fxonnx.compile(Net(), (X,))
    with pytest.raises(errors.CannotWrite):
        compiled.save(tmp_path / "missing" / "net.onnx")


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = fxonnx.compile(Net(), (X,))
    (tmp_path / "net.onnx").write_bytes(b"the file before")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fxonnx.emit.weights.os.replace", full)
    with pytest.raises(errors.CannotWrite, match="cannot be written"):
        compiled.save(tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"] and (
        tmp_path / "net.onnx"
    ).read_bytes() == b"the file before"


def test_call_with_other_inputs_than_compiled() -> None:
    compiled = fxonnx.compile(Net(), (X,))
    for wrong in ((X.double(),), (X[0],), (torch.randn(3, 4),), ()):
        with pytest.raises(errors.CallMismatch):
            compiled(*wrong)


# ── names of ours beside names given ────────────────────────────────────────


class Counter(nn.Module):
    """Counts its calls in a buffer that is called like an argument, and writes to its argument."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("x", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.x.add_(1)
        x.mul_(2)
        return x + self.x


NAMED: dict[str, tuple[Any, tuple[torch.Tensor, ...], dict[str, Any], list[str]]] = {
    "an argument called output": (lambda output: output + 1, (X,), {}, ["output", "output.out"]),
    "an input named output": (lambda x: x + 1, (X,), {"input_names": ["output"]}, ["output", "output.out"]),
    "an input named like a weight": (nn.Linear(4, 2), (X,), {"input_names": ["weight"]}, ["weight", "output"]),
    "an output named like a weight": (nn.Linear(4, 2), (X,), {"output_names": ["bias"]}, ["input", "bias"]),
    "a state like an argument": (Counter(), (X,), {}, ["x", "x_1", "output", "x.after", "x_1.after"]),
    "an output like a state": (Counter(), (X,), {"output_names": ["x.after"]},
                               ["x", "x_1", "x.after", "x.after_1", "x_1.after"]),
    "two ways with one name": (
        lambda p: p["a.b"] - p["a"]["b"], ({"a.b": X, "a": {"b": X}},), {}, ["p.a.b", "p.a.b_1", "output"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
def test_names_of_ours_step_aside(case: str, tmp_path: Path) -> None:
    model, arguments, options, names = NAMED[case]
    compiled = fxonnx.compile(model, arguments, **options)
    compiled.save(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [each.name for each in (*graph.input, *graph.output)] == names
    onnx.checker.check_model(tmp_path / "m.onnx")
    mine, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
    expected = copy.deepcopy(model)(*theirs)
    torch.testing.assert_close(compiled(*mine), expected)
    torch.testing.assert_close(mine, theirs)
