"""Higher-order ops, and what torch transforms, compute what eager does, at all sizes; what bodies check is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_over
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.utils.checkpoint import checkpoint

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture

X = torch.arange(24.0).reshape(2, 3, 4) / 24 - 0.3
SIZES = ((2, 3), (5, 7), (1, 1))


class Model(nn.Module):
    """A linear layer, and a forward that is given."""

    def __init__(self, forward: Callable[[Model, Tensor], Any]) -> None:
        super().__init__()
        self.body = forward
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def reads_the_outer_scope(self: Model, x: Tensor) -> Any:
    scaled, ones = x * 3, torch.ones(4)
    return torch.cond(x.sum() > 0, lambda: self.linear(scaled) + ones, lambda: scaled - x, ())


def nested(self: Model, x: Tensor) -> Any:
    def inner(x: Tensor) -> Tensor:
        return torch.cond(x.max() > 0.5, lambda x: x * 2, self.linear, (x,))

    return torch.cond(x.sum() > 0, inner, lambda x: x - 1, (x,))


def writes_to_its_own(self: Model, x: Tensor) -> Any:
    def zeroed(x: Tensor) -> Tensor:
        y = x.clone()
        y[..., 0] = 0.0
        return y

    return torch.cond(x.sum() > 0, zeroed, lambda x: x.clone(), (x,))


def recurrent(self: Model, x: Tensor) -> Any:
    def step(state: Tensor, element: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.tanh(self.linear(element) + state)
        return state, state * 2

    return scan(step, torch.zeros(x.shape[0], 4), x, dim=1)


def counted(self: Model, x: Tensor) -> Any:
    count, y = while_loop(
        lambda count, y: count < 3, lambda count, y: (count + 1, self.linear(y).tanh()), (torch.tensor(0), x)
    )
    return y + count


def under_autocast(self: Model, x: Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cond(x.sum() > 0, lambda x: self.linear(x).float(), lambda x: x.clone(), (x,))


@torch.compiler.nested_compile_region
def region(x: Tensor) -> Tensor:
    return x.tanh() + 1


def forces(self: Model, x: Tensor) -> Any:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad((self.linear(x).tanh() ** 2).sum(), x)
    return found


class Cube(torch.autograd.Function):
    """x³, with a gradient that is its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 3 * grad * ctx.saved_tensors[0] ** 2


def masked(self: Model, x: Tensor) -> Tensor:
    """As transformers makes its masks: a function of the places of a query and a key, which indexes under vmap."""
    valid, rows, steps = x.sum(-1) > 0, torch.arange(x.shape[0]), torch.arange(x.shape[1])
    mask = torch.vmap(lambda row, query, key: valid[row, key] & (key <= query), in_dims=(None, None, 0))
    for dims in ((None, 0, None), (0, None, None)):
        mask = torch.vmap(mask, in_dims=dims)
    with TransformGetItemToIndex():
        return torch.where(mask(rows, steps, steps), x @ x.mT, -1.0).softmax(-1) @ x


MODELS: dict[str, Callable[[Model, Tensor], Any]] = {
    "vmap of a mask": masked,
    "vmap of a function with a gradient of its own": lambda self, x: torch.vmap(Cube.apply)(x),
    "grad of one": lambda self, x: torch.func.grad(lambda y: Cube.apply(self.linear(y)).sum())(x),
    "vmap of grad of one": lambda self, x: torch.vmap(torch.func.grad(lambda y: Cube.apply(y).sum()))(x),
    "cond": lambda self, x: torch.cond(x.sum() > 0, lambda x: self.linear(x) * 2, lambda x: x - 1, (x,)),
    "cond on sizes": lambda self, x: torch.cond(x.shape[0] > 2, lambda x: x * 2, lambda x: x - 1, (x,)),
    "cond reads the outer scope": reads_the_outer_scope,
    "cond in cond": nested,
    "cond writes to its own": writes_to_its_own,
    "cond under autocast": under_autocast,
    "while_loop": counted,
    "scan": recurrent,
    "map": lambda self, x: map_over(lambda each, w: self.linear(each * w), x, torch.ones(4)),
    "associative_scan": lambda self, x: associative_scan(lambda a, b: a * b, x, dim=1, combine_mode="generic"),
    "checkpoint": lambda self, x: checkpoint(self.linear, x, use_reentrant=False),
    "nested_compile_region": lambda self, x: region(region(x)),
    "vmap": lambda self, x: torch.vmap(lambda each: self.linear(each).softmax(-1) * each.sum())(x),
    "grad": lambda self, x: torch.func.grad(lambda y: (self.linear(y).tanh() ** 2).sum())(x),
    "vmap of grad": lambda self, x: torch.vmap(torch.func.grad(lambda y: self.linear(y).sigmoid().sum()))(x),
    "jacrev": lambda self, x: torch.vmap(torch.func.jacrev(lambda y: self.linear(y).sin()))(x[:, 0]),
    "vjp, by a function that outlives its transform": lambda self, x: torch.func.vjp(self.linear, x)[1](x)[0],
    "jvp": lambda self, x: torch.func.jvp(lambda y: torch.where(y > 0, self.linear(y), 0.0).sin(), (x,), (x * 2,)),
    "grad over numbers": lambda self, x: torch.func.grad(lambda y: (3 / (1 + y * y) / 7).sum() / y.shape[0])(x),
    "autograd": forces,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_higher_order_op_is_that_of_eager(name: str) -> None:
    model = Model(MODELS[name]).eval()
    compiled = fxonnx.compile(model, (X,), dynamic_shapes={"x": {0: "n", 1: "t"}})
    with torch.no_grad():
        for rows, steps in SIZES:
            for x in (torch.rand(rows, steps, 4), -torch.rand(rows, steps, 4)):
                torch.testing.assert_close(compiled(x), model(x), rtol=2e-2 if "autocast" in name else 1e-4, atol=1e-4)


def test_what_a_branch_checks_must_hold_where_it_is_taken() -> None:
    def forward(self: Model, x: Tensor) -> Any:
        def checked(x: Tensor) -> Tensor:
            torch._assert_async(x.max() < 10, "too large")
            return x * 2

        return torch.cond(x.sum() > 0, checked, lambda x: x - 1, (x,))

    compiled = fxonnx.compile(Model(forward), (X,))
    assert torch.equal(compiled(-20 - X), -21 - X)
    with pytest.raises(errors.CheckFailed, match="too large"):
        compiled(X + 20)


def test_what_each_step_checks_must_hold() -> None:
    def forward(self: Model, x: Tensor) -> Any:
        def step(each: Tensor) -> Tensor:
            torch._assert_async(each.max() < 10, "too large")
            return each * 2

        return map_over(step, x)

    compiled = fxonnx.compile(Model(forward), (X,))
    assert torch.equal(compiled(X), X * 2)
    with pytest.raises(errors.CheckFailed, match="too large"):
        compiled(torch.cat((X[:1], X[1:] + 20)))


REFUSED: dict[str, Callable[[Model, Tensor], Any]] = {
    "unlike branches": lambda self, x: torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x[0], (x,)),
    "decides by data": lambda self, x: torch.cond(
        x.sum() > 0, lambda x: x * 2 if x.max() > 1 else x, lambda x: x - 1, (x,)
    ),
    "writes to the outside": lambda self, x: torch.cond(x.sum() > 0, lambda x: x.add_(1), lambda x: x - 1, (x,)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_body_can_hold_is_refused_with_its_line(name: str) -> None:
    with pytest.raises(errors.Error) as caught:
        capture(Model(REFUSED[name]), (X,))
    assert caught.value.locations[0].file == __file__


def test_a_body_is_recorded_once_whatever_it_reads() -> None:
    program = capture(Model(recurrent), (X,), dynamic_shapes={"x": {0: "n", 1: "t"}})
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert calls.count(torch.ops.higher_order.scan) == 1
    assert torch.ops.aten.linear.default not in calls
