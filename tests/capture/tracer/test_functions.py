"""What goes past the dispatcher is seen or refused, also where the model catches the refusal."""

from __future__ import annotations

import ast
import copy
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor, nn
from torch.nn import functional as F

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.state.as_found import FORGETFUL

X = torch.arange(4.0)


def assigns_data(x: Tensor) -> Tensor:
    y = x * 2
    y.data = x + 5
    return y


def writes_in_a_thread(x: Tensor) -> Tensor:
    y = x * 2
    thread = threading.Thread(target=lambda: y.add_(1))
    thread.start()
    thread.join()
    return y


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda x: x * float(np.polyval([1.0, 2.0], x.numpy()).sum()),
    "array": lambda x: x * float(np.asarray(x).sum()),
    "dlpack": lambda x: torch.from_dlpack(x) * 1,
    "address": lambda x: x * 2 if x.data_ptr() == 0 else x,
    "x.data = y": assigns_data,
    "thread": writes_in_a_thread,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_refused_with_its_line_and_not_left_to_torch_export(name: str) -> None:
    with pytest.raises(errors.CaptureRefused) as caught:
        capture(REFUSED[name], (X,))
    assert caught.value.locations[0].file == __file__
    assert caught.value.cure


@pytest.mark.parametrize(
    "read",
    [
        lambda x: [1, 2][int(x.sum())],
        lambda x: np.interp(0.5, x.numpy(), x.numpy()),
    ],
    ids=["item", "numpy"],
)
def test_a_refusal_that_the_model_catches_is_raised_all_the_same(read: Callable[[Tensor], Any]) -> None:
    def model(x: Tensor) -> Tensor:
        with suppress(Exception):
            return x * read(x)
        return x

    with pytest.raises(errors.Error):
        capture(model, (X,))


def test_an_error_of_the_model_that_it_catches_is_its_own_affair() -> None:
    def model(x: Tensor) -> Tensor:
        try:
            return x.view(3, 3)
        except RuntimeError:
            return x + 1

    torch.testing.assert_close(run(capture(model, (X,)), (X,))[0], X + 1)


def test_the_data_of_tensors_and_weights_is_an_alias() -> None:
    layer = nn.Linear(4, 4)

    def model(x: Tensor) -> Tensor:
        a, b, _ = x.sin(), x.sin(), x.sin()
        a.data.add_(1)
        parts = x.chunk(2)
        return a + b.data * 2 + torch.cat([parts[1].data, parts[0]]) + layer.weight.data.sum()

    torch.testing.assert_close(run(capture(model, (X,)), (X,))[0], model(X))


def test_what_is_copied_deeply_is_another_tensor() -> None:
    layer = nn.Linear(4, 4)
    layer.register_buffer("shift", torch.ones(4))

    def model(x: Tensor) -> Any:
        own = copy.deepcopy(layer)
        own.weight.data.mul_(2)
        own.shift.add_(1)
        one, other = copy.deepcopy([x, x])
        one.add_(3)
        return own(x) + own.shift, layer(x) + layer.shift, other, x

    compiled = fxonnx.compile(model, (X[None],), dynamic_shapes={"x": {0: "n"}})
    for rows in (1, 1, 3):
        x = torch.randn(rows, 4)
        torch.testing.assert_close(compiled(x), model(x))


def test_what_shares_memory_is_not_copied_together() -> None:
    with pytest.raises(errors.CaptureRefused, match="share their memory"):
        fxonnx.compile(lambda x: copy.deepcopy([x, x[1:]])[1] + 1, (X,))


def test_gradients_within_forward() -> None:
    def model(x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x.clone().requires_grad_()
            z = y * 2 + torch.relu(y) * 3
            return torch.autograd.grad(z.sum(), y)[0]

    torch.testing.assert_close(run(capture(model, (X,)), (X,))[0], model(X))


def test_the_default_dtype_is_part_of_what_is_made() -> None:
    def model(x: Tensor) -> Tensor:
        one = torch.ones(4)
        torch.set_default_dtype(torch.float64)
        try:
            return x + one + torch.ones(4)
        finally:
            torch.set_default_dtype(torch.float32)

    found = run(capture(model, (X,)), (X,))[0]
    torch.testing.assert_close(found, model(X))
    assert found.dtype is torch.float64


class Counting(nn.Module):
    """Keeps a plain tensor between calls, and one that only tells of the last call."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.last = torch.zeros(4), torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.total = self.total + x
        self.last = x * 2
        return self.total * 2


def test_a_plain_tensor_that_forward_reads_and_replaces_is_a_state() -> None:
    model = Counting()
    program = capture(model, (X,))
    assert [state.key for state in program.states] == ["total"]
    assert model.total.sum() == 0 and model.last.shape == (1,)


def test_a_buffer_that_is_only_written_is_a_state() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.last = x * 2
            return x + 1

    program = capture(Model(), (X,))
    _, _, (after,) = run(program, (X,))
    torch.testing.assert_close(after, X * 2)


def test_a_state_of_another_kind_is_refused() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.last = x.double()
            return x + 1

    with pytest.raises(errors.CaptureRefused, match="tensor of another kind"):
        capture(Model(), (X,))


class Branching(nn.Module):
    """TorchScript with submodules, methods and a decision by data."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            x = self.twice(x)
        return self.linear(x)

    @torch.jit.export
    def twice(self, x: Tensor) -> Tensor:
        return self.linear(self.linear(x))


class AroundScript(nn.Module):
    """A method of a scripted module, called by Python that is told that it is exported, as it is not captured else."""

    def __init__(self) -> None:
        super().__init__()
        self.script = torch.jit.script(Branching())

    def forward(self, x: Tensor) -> Tensor:
        return self.script.twice(x) + self.script(x) if torch.compiler.is_exporting() else x * x.data_ptr()


@pytest.mark.parametrize("form", [torch.jit.script, lambda model: torch.jit.freeze(torch.jit.script(model))])
def test_a_scripted_module_is_recorded(form: Callable[[nn.Module], nn.Module]) -> None:
    model = Branching().eval()
    compiled = fxonnx.compile(form(model), (X,))
    for x in (X, -X):
        torch.testing.assert_close(compiled(x), model(x))


def test_python_around_a_scripted_module_is_told_that_it_is_exported() -> None:
    model = AroundScript().eval()
    torch.testing.assert_close(fxonnx.compile(model, (X,))(X), model.script.twice(X) + model.script(X))


class ByANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * int(x.sum())


def test_what_stops_in_torchscript_is_said() -> None:
    with pytest.raises(errors.ModelRaised, match="a number that comes from data"):
        fxonnx.compile(torch.jit.freeze(torch.jit.script(ByANumber().eval())), (X,))


# ── seeds ────────────────────────────────────────


def seeds(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return x + torch.rand(4)


def seeds_aside(x: Tensor) -> Tensor:
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        return x + torch.rand(4)


@pytest.mark.parametrize("model", [seeds, seeds_aside])
def test_a_seed_in_forward_is_refused_with_its_line(model: Any) -> None:
    seed, state = torch.manual_seed, torch.get_rng_state()
    with pytest.raises(errors.CaptureRefused, match="seeds") as caught:
        capture(model, (torch.ones(4),))
    (place,) = caught.value.locations
    assert place.file == __file__ and "manual_seed(0)" in place.code
    assert torch.manual_seed is torch.random.manual_seed is seed
    assert torch.equal(torch.get_rng_state(), state)


def test_the_numbers_of_a_seed_may_be_kept() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("noise", torch.rand(4, generator=torch.Generator().manual_seed(0)))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.noise

    capture(Noisy(), (torch.ones(4),))


class Converted(nn.Module):
    """Converts its modules and weights in forward to what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.scale = nn.Parameter(torch.rand(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.linear = self.linear.to(x.dtype)
        self.norm.float().to(x.device)
        assert self.linear.weight.to(x) is self.linear.weight.float() is self.linear.weight
        assert self.scale.to(x.dtype) is not self.scale is not self.scale.double().to(self.scale, copy=True)
        self.linear.weight.data = self.linear.weight
        return self.norm(self.linear(x)) * self.scale.to(x.dtype)


def test_a_weight_that_is_converted_to_what_it_is_is_itself() -> None:
    model = Converted().eval()
    compiled = fxonnx.compile(model, (torch.rand(2, 3),), dynamic_shapes={"x": {0: "n"}})
    for rows in (2, 1, 5):
        x = torch.rand(rows, 3)
        torch.testing.assert_close(compiled(x), model(x))


class Merged(nn.Module):
    """Makes the weight of one convolution of those of two others, as SPAN does (Wan et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Parameter(torch.randn(4, 3, 1, 1)), nn.Parameter(torch.randn(5, 4, 3, 3))
        self.merged = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        turned = F.conv2d(self.one.flip(2, 3).permute(1, 0, 2, 3), self.three, padding=2)
        self.merged.weight.data = turned.flip(2, 3).permute(1, 0, 2, 3)[:, :, 1:-1, 1:-1]
        return self.merged(x)


def test_a_weight_that_is_given_what_it_has_stays_a_weight() -> None:
    model, x = Merged().eval(), torch.randn(2, 3, 6, 6)
    with pytest.raises(errors.CaptureRefused, match="call the model before it is compiled"):
        fxonnx.compile(model, (x,))
    with torch.no_grad():
        model(x)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "n"}})
    assert len(compiled.program.inputs) == 1
    for batch in (2, 1, 5):
        x = torch.randn(batch, 3, 6, 6)
        torch.testing.assert_close(compiled(x), model(x))


class Written(Merged):
    """Writes to what it has given the weight, or to the weight, in place."""

    def __init__(self, weight_first: bool) -> None:
        super().__init__()
        self.weight_first = weight_first
        self.merged.weight.data = torch.ones(5, 3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        given = torch.ones(5, 3, 3, 3)
        self.merged.weight.data = given
        written = self.merged.weight.data if self.weight_first else given
        written.mul_(x.mean())
        return self.merged(x) + given.sum()


@pytest.mark.parametrize("weight_first", [True, False])
def test_a_weight_that_shares_what_is_written_to_later_is_refused(weight_first: bool) -> None:
    with pytest.raises(errors.CaptureRefused, match="cannot be recorded"):
        fxonnx.compile(Written(weight_first).eval(), (torch.randn(2, 3, 6, 6),))


class LaidOut(nn.Module):
    """Asks for weights in a layout, some of them in the one that they have."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("plain", torch.rand(2, 3, 2, 2))
        self.register_buffer("last", torch.rand(2, 3, 2, 2).to(memory_format=torch.channels_last))

    def forward(self, x: Any) -> Any:
        assert self.last.to(memory_format=torch.channels_last) is self.last
        assert self.plain.float(memory_format=torch.contiguous_format) is self.plain
        copies = self.plain.to(memory_format=torch.channels_last), self.last.to(memory_format=torch.contiguous_format)
        return [x * copy.add_(1) for copy in copies], x + self.plain, x + self.last


def test_a_weight_in_another_layout_is_another_tensor() -> None:
    model = LaidOut().eval()
    x = torch.rand(2)
    torch.testing.assert_close(fxonnx.compile(model, (x,))(x), model(x))


def test_what_torch_does_not_hand_to_a_mode() -> None:
    """F.l1_loss leaves its weight out, torch.chain_matmul its `out`."""

    def losses(x: Tensor, y: Tensor, weight: Tensor) -> Any:
        weighted = [F.l1_loss(x, y, reduction=each, weight=weight) for each in ("none", "mean", "sum")]
        return F.l1_loss(x, y), *weighted

    def product(x: Tensor, y: Tensor, weight: Tensor) -> Any:
        out = x.new_zeros(2, 2)
        return torch.chain_matmul(x, y.T, out=out), out, torch.chain_matmul(x, y.T, weight)

    x, y, weight = (torch.rand(2, 4) for _ in range(3))
    for model, sizes in ((losses, "auto"), (product, None)):
        example = [each.repeat(2, 1) if sizes else each for each in (x, y, weight)]
        found = fxonnx.compile(model, example, dynamic_shapes=sizes)(x, y, weight)
        for mine, wanted in zip(found, model(x, y, weight), strict=True):
            torch.testing.assert_close(mine, wanted)
    assert "has_torch_function_variadic" in F.l1_loss.__code__.co_names


def left_out(function: ast.FunctionDef) -> set[str]:
    """Parameters that a function does not hand on with a call that it hands to a mode."""
    every = {each.arg for each in (*function.args.args, *function.args.kwonlyargs)}
    handed = [call for call in ast.walk(function) if getattr(getattr(call, "func", None), "id", "") == HANDING]
    for call in handed:
        values = [*call.args[2:], *(each.value for each in call.keywords)]
        every -= {each.id for value in values for each in ast.walk(value) if isinstance(each, ast.Name)}
    return every if handed else set()


HANDING = "handle_torch_function"


@pytest.mark.parametrize("module", [torch, torch.functional, F, nn.init], ids=lambda module: module.__name__)
def test_no_other_function_of_torch_leaves_arguments_out(module: Any) -> None:
    functions = [each for each in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(each, ast.FunctionDef)]
    found = {each.name: left_out(each) for each in functions if left_out(each)}
    assert found.keys() <= {each.__name__ for each in FORGETFUL}
