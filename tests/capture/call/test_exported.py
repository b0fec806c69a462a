"""Programs of torch.export are captured as modules are: what they compute, assume, check and write is the program's."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.export import Dim, ExportedProgram

import fxonnx
from fxonnx import errors
from fxonnx.capture.call.exported import as_module

GENERATOR = torch.Generator().manual_seed(0)
X, OTHERS = torch.randn(6, 4, generator=GENERATOR), [torch.randn(n, 4, generator=GENERATOR) for n in (3, 10)]
ROWS = {"x": {0: Dim.DYNAMIC}}


class Model(nn.Module):
    """A function of a layer and a tensor."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.fc, x)


class Counts(nn.Module):
    """Buffers that forward writes, one of them not in the state dict; a constant; and an input that it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.steps, self.shift = nn.BatchNorm1d(4), nn.Buffer(torch.zeros(())), torch.arange(4.0)
        self.register_buffer("scale", torch.ones(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.steps.add_(1)
        self.scale.mul_(2)
        x.mul_(0.5)
        return self.norm(x) * self.scale + self.steps + self.shift


def _in_bfloat16(fc: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y = fc(x)
    return y.float() + fc(x)


def _first(fc: nn.Module, x: Tensor) -> Tensor:
    count = (x > 0).sum().item()
    torch._check(count >= 1)
    return torch.arange(count) * 2


MODELS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "a layer": lambda fc, x: fc(x).relu(),
    "structure": lambda fc, x: {"y": [fc(x), None], "n": x.shape[0], "k": 3},
    "cond": lambda fc, x: torch.cond(x.sum() > 0, lambda x: fc(x), lambda x: x * 2, (x,)),
    "cond on a size": lambda fc, x: torch.cond(x.shape[0] > 4, lambda x: fc(x), lambda x: x * 2, (x,)),
    "while": lambda fc, x: while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, fc(y)), (torch.tensor(0), x)),
    "scan": lambda fc, x: scan(lambda c, y: (c + y, c * y), torch.zeros(4), x),
    "map": lambda fc, x: torch_map(lambda y: fc(y) + 1, x),
    "nonzero": lambda fc, x: (x.nonzero(), x[x > 0] * 2),
    "item": _first,
    "a view": lambda fc, x: x.view(-1, 2).sum(1, keepdim=True),
    "sizes": lambda fc, x: x * x.shape[0] ** 0.5 + torch.arange(x.shape[0]).unsqueeze(1),
    "autocast": _in_bfloat16,
    "complex": lambda fc, x: torch.view_as_real(torch.fft.rfft(x)),
    "constant": lambda fc, x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]),
}


def exported(model: nn.Module, args: Any = (X,), shapes: Any = ROWS) -> ExportedProgram:
    return torch.export.export(model.eval(), args, dynamic_shapes=shapes, strict=False)


def _loaded(program: ExportedProgram) -> ExportedProgram:
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "decomposed"), [*((name, False) for name in MODELS), ("cond", True), ("nonzero", True), ("item", True)]
)
def test_a_program_computes_what_its_module_does(name: str, decomposed: bool) -> None:
    model = Model(MODELS[name])
    program = exported(model)
    compiled = fxonnx.compile(program.run_decompositions() if decomposed else program)
    for x in (X, *OTHERS):
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [_loaded, lambda each: each.run_decompositions()], ids=["loaded", "decomposed"])
def test_what_it_writes_is_written_to_its_own_tensors(form: Callable[[ExportedProgram], ExportedProgram]) -> None:
    model = Counts().train()
    program = form(torch.export.export(copy.deepcopy(model), (X.clone(),), dynamic_shapes=ROWS, strict=False))
    compiled = fxonnx.compile(program, mode="keep")
    for x in (X, *OTHERS):
        ours, eager = x.clone(), x.clone()
        torch.testing.assert_close(compiled(ours), model(eager), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours, eager)
    torch.testing.assert_close(program.state_dict["steps"], model.steps)
    torch.testing.assert_close(program.constants["scale"], model.scale)


@pytest.mark.filterwarnings("ignore")
def test_a_draft_is_compiled_as_far_as_its_guards_allow() -> None:
    program = torch.export.draft_export(Model(MODELS["a layer"]).eval(), (X,), dynamic_shapes=ROWS)
    torch.testing.assert_close(fxonnx.compile(program)(OTHERS[0]), program.module()(OTHERS[0]))


def test_its_guards_and_ranges_are_assumptions() -> None:
    def model(fc: nn.Module, x: Tensor) -> Tensor:
        return fc(x) if x.shape[0] % 2 == 0 else x

    program = _loaded(exported(Model(model), shapes={"x": {0: Dim.AUTO(min=4, max=8)}}))
    compiled = fxonnx.compile(program, dynamic_shapes={"x": {0: "rows"}})
    assert [str(each) for each in compiled.program.assumptions] == ["rows % 2 == 0"]
    assert (compiled.program.symbols["rows"].minimum, compiled.program.symbols["rows"].maximum) == (4, 8)
    torch.testing.assert_close(compiled(X[:4]), program.module()(X[:4]))
    for wrong in (5, 2, 10):
        with pytest.raises(errors.CallMismatch):
            compiled(torch.ones(wrong, 4))


def test_what_pins_its_dims_is_said_in_the_report() -> None:
    program = exported(Model(lambda fc, x: fc(x)), shapes={"x": {0: Dim.AUTO}})
    program._guards_code = ["L['x'].size()[0] * 2 == 12"]
    compiled = fxonnx.compile(program)
    assert compiled.program.frozen and "x, axis 0" in compiled.program.frozen[0]
    torch.testing.assert_close(compiled(X), program.module()(X))


def test_what_it_checks_of_data_a_call_is_checked_for_once() -> None:
    compiled = fxonnx.compile(exported(Model(_first)))
    (text,) = [check.text for check in compiled.program.checks]
    assert "u0 >= 1" in text
    with pytest.raises(errors.CheckFailed, match="u0 >= 1"):
        compiled(-torch.ones(3, 4))


def test_places_are_those_of_the_model() -> None:
    program = exported(nn.Sequential(Model(MODELS["cond"])), shapes=({0: Dim.DYNAMIC},))
    graph = fxonnx.compile(program, optimize=False).stages[0].graph
    places = {(each.location.module, each.location.line > 0) for each in graph.nodes}
    assert places == {("0", True)}


@dataclass
class Pair:
    """Two tensors."""

    left: Tensor
    right: Tensor


torch.export.register_dataclass(Pair)


def test_arguments_in_any_form_that_binds() -> None:
    class Gated(nn.Module):
        def forward(self, pair: Pair, *rest: Tensor, gain: float = 1.0, mask: Tensor | None = None) -> Pair:
            shift = sum(rest) if mask is None else mask
            return Pair(pair.left * gain + shift, pair.right)

    args, kwargs = (Pair(X, X + 1), X, X), {"mask": X, "gain": 2.0}
    program = torch.export.export(Gated(), args, kwargs, strict=False)
    compiled = fxonnx.compile(program)
    torch.testing.assert_close(vars(compiled(*args, **kwargs)), vars(Gated()(*args, **kwargs)))
    with pytest.raises(errors.CallMismatch):
        compiled(*args, mask=X, gain=3.0)


@pytest.mark.parametrize("wrong", [X.double(), X[:, :2], X[0], (X, X)])
def test_an_example_that_it_was_not_exported_for_is_refused(wrong: Any) -> None:
    with pytest.raises(errors.InputMismatch):
        fxonnx.compile(exported(Model(MODELS["a layer"])), wrong)


def test_an_example_of_other_sizes_is_taken_and_nothing_is_left_behind() -> None:
    program = exported(Model(MODELS["a layer"]))
    before, example = str(program.graph), program.example_inputs
    torch.testing.assert_close(fxonnx.compile(program, OTHERS[0])(X), program.module()(X))
    assert str(program.graph) == before and program.example_inputs is example
    assert as_module(program).fc.weight is program.state_dict["fc.weight"]
