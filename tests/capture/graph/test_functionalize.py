"""In-place writes: the functional graph computes what eager computes, for every way of sharing memory, and writes
nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.capture.interpret import run, writes
from torch import Tensor, nn

from fxonnx.capture import capture
from fxonnx.errors import CaptureRefused

X = torch.arange(24.0).reshape(4, 6)


def check(function: Callable[..., object], *args: Tensor) -> None:
    """Capture the function, and compare result and changed inputs with eager."""
    program = capture(function, tuple(arg.clone() for arg in args))
    assert not writes(program.graph)
    eager = [arg.clone() for arg in args]
    expected = function(*eager)
    result, written, _ = run(program, args)
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
    assert [type(each) for each in _leaves(result)] == [type(each) for each in _leaves(expected)]
    changed = dict(zip((each.input for each in program.writebacks), written, strict=True))
    for index, (before, after) in enumerate(zip(args, eager, strict=True)):
        torch.testing.assert_close(changed.get(index, before), after, rtol=0, atol=0, equal_nan=True)


def _leaves(value: object) -> list[object]:
    return list(torch.utils._pytree.tree_leaves(value))


def whole_value(x):
    y = x + 1
    y.relu_().mul_(2).add_(y)
    return y


def read_before_and_after(x):
    y = x * 1
    before = y + 0
    y.add_(1)
    return before, y


def view_sees_write_to_base(x):
    y = x * 1
    part = y[1]
    y.mul_(3)
    return part, y


def base_sees_write_to_view(x):
    y = x * 1
    y[:, 2:4] += 5
    return y


def view_of_view(x):
    y = x * 1
    y.t()[1:5].transpose(0, 1)[::2].mul_(-1)
    return y


def siblings_see_each_other(x):
    y = x * 1
    left, right = y[:, :4], y[:, 2:]
    left.fill_(7)
    right.add_(1)
    return left, right, y


def reshape_is_a_view(x):
    y = x * 1
    y.view(-1)[3:9] = 0
    y.reshape(6, 4)[0] = 1
    y.flatten()[-1] = 9
    return y


def reshape_is_a_copy(x):
    y = x * 1
    y.t().reshape(-1).add_(1)
    return y


def squeezed_and_expanded(x):
    y = x * 1
    y.unsqueeze(0).squeeze(0).unsqueeze(-1).expand(4, 6, 1).add_(1)
    return y


def permuted(x):
    y = (x * 1).view(2, 2, 6)
    y.permute(2, 0, 1)[1:3].add_(1)
    y.movedim(0, 2).mul_(2)
    y.mT[0].sub_(1)
    y.swapaxes(0, 1).neg_()
    return y


def unbound(x):
    y = x * 1
    first, *_, last = y.unbind(1)
    first.copy_(last)
    last.zero_()
    return y


def split_into_parts(x):
    y = x * 1
    a, b, c = y.split([1, 2, 3], dim=1)
    b.add_(a)
    c[:, 0].copy_(b[:, 1])
    p, q = y.chunk(2)
    p.add_(q)
    return y, a, c


def diagonal(x):
    y = x * 1
    y.diagonal().fill_(0)
    y.diagonal(1).add_(10)
    return y


def narrowed(x):
    y = x * 1
    y.narrow(1, 2, 3).exp_()
    return y


def indexed(x):
    y = x * 1
    y[torch.tensor([0, 2]), torch.tensor([1, 1])] = 100.0
    y[y > 50] = -1
    y[:, torch.tensor([3, 4])] += 2
    return y


def scattered(x):
    y = x * 1
    index = torch.tensor([[0, 1, 2, 0, 1, 2]])
    y.scatter_(0, index, 5.0)
    y.scatter_add_(1, torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1))
    y.index_add_(0, torch.tensor([1]), torch.ones(1, 6))
    y.index_fill_(1, torch.tensor([5]), 3.0)
    y.masked_fill_(y == 0, 8)
    return y


def copies(x):
    y = torch.zeros(4, 6, dtype=torch.float64)
    y.copy_(x)
    z = torch.zeros(2, 4, 6)
    z.copy_(x)
    z[0].copy_(x[0])
    w = torch.empty_like(x)
    w.copy_(x)
    x2 = x * 1
    w.copy_(x2)
    x2.add_(1)
    return y, z, w, x2


def copied_value_keeps_its_own_life(x):
    y, z = x * 1, torch.zeros_like(x)
    z.copy_(y)
    y.add_(1)
    z.mul_(2)
    return y, z


def fills(x):
    y = x * 1
    y[0].zero_()
    y[1].fill_(2)
    y[2].fill_(y[3, 3])
    return y


def keeps_its_dtype(x):
    y = (x * 1).to(torch.float16)
    y.add_(x)
    z = x.to(torch.int32)
    z.add_(torch.ones(6, dtype=torch.int64))
    w = x * 1
    w.gt_(5)
    h = x.to(torch.int64)
    h.eq_(3)
    return y, z, w, h


def out_overloads(x):
    y = torch.empty(4, 6)
    torch.add(x, 1, out=y)
    part = y[1:3]
    torch.mul(x[:2], 2, out=part)
    values, indices = torch.empty(4), torch.empty(4, dtype=torch.long)
    torch.max(x, 1, out=(values, indices))
    return y, values, indices


def detached(x):
    y = x * 1
    y.detach().add_(1)
    z = y.detach_()
    z.mul_(2)
    return y, z


def dropout_is_an_alias(x):
    y = x * 1
    z = nn.functional.dropout(y, 0.5, training=False)
    z.add_(1)
    return y


def to_is_an_alias_or_a_copy(x):
    y = x * 1
    y.to(torch.float32).add_(1)
    y.to(torch.float64).add_(1)
    y.contiguous().add_(1)
    return y


def squeezed_in_place(x):
    y = (x * 1).unsqueeze(0)
    y.squeeze_(0)
    y.t_()
    y.add_(1)
    return y


def one_of_several_squeezed_in_place(x):
    y, places = x.sort(0)
    y.unsqueeze_(0)
    y.add_(1)
    parts = (x * 1).split(1)
    parts[1].squeeze_(0)
    parts[1].mul_(3)
    return y, places, parts


def writes_a_literal_into_the_whole(x):
    x[...] = 7
    y = x.sum() * 2
    y[()] = 3
    return y


def takes_the_shape_of_the_result(x):
    y = torch.empty(0)
    torch.add(x, 1, out=y)
    z = torch.cat([x, y], out=torch.empty(0))
    return y * 2, z + y.shape[0]


def writes_an_input(x):
    x[0] = 5
    x.mul_(2)
    return x.sum()


def writes_an_input_through_a_view(x):
    y = x.view(-1)
    y[::3] = 0
    return x + 1


def constant_is_fresh_each_time(x):
    c = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    c.add_(1)
    return x + c


def complex_parts(x):
    z = torch.complex(x, x + 1)
    z.real.mul_(2)
    z.imag[0] = 7
    torch.view_as_real(z)[..., 0].add_(1)
    pair = torch.stack([x, x], -1)
    torch.view_as_complex(pair).mul_(2)
    return torch.view_as_real(z), pair


def in_a_loop(x):
    y = torch.zeros(4, 6)
    for row in range(4):
        y[row] = x[row] * row
        y[row, row:] += 1
    return y


def augmented(x):
    y = (x > 3) & (x < 10)
    y |= x > 20
    y &= x != 5
    z = x.to(torch.int64)
    z <<= 1
    z //= 3
    return y, z


def clamped(x):
    y = x * 1
    y.clamp_(2, 20)
    y.pow_(2)
    y.sigmoid_()
    y.lerp_(x, 0.5)
    y.addcmul_(x, x, value=0.1)
    return y


def returns_views_of_one_tensor(x):
    y = x * 1
    a, b = y[0], y[0]
    a.add_(1)
    return a, b, y[0:1]


PATTERNS = [
    each
    for each in list(globals().values())
    if isinstance(each, FunctionType) and each.__module__ == __name__ and each.__code__.co_varnames[:1] == ("x",)
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda each: each.__name__)
def test_pattern(pattern: Callable[[Tensor], object]) -> None:
    check(pattern, X)


def test_two_inputs_and_both_written() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        x.add_(y)
        y[0] = x[1]
        return x * y

    check(function, X, X + 1)


def test_buffers_become_states() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(3))
            self.register_buffer("cache", torch.zeros(4, 3), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_(1)
            self.cache[1:3] = x
            return self.count + self.cache.sum(0)

    model = Counter()
    program = capture(model, (torch.ones(3),))
    assert [state.key for state in program.states] == ["count", "cache"]
    result, _, states = run(program, (torch.ones(3),))
    assert program.states[0].tensor is model.count
    torch.testing.assert_close(result, model(torch.ones(3)))
    torch.testing.assert_close(states, [model.count, model.cache])


def test_batch_norm_in_training_updates_its_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6))
    program = capture(model, (X,), mode="train")
    assert {state.key for state in program.states} == {"0.running_mean", "0.running_var", "0.num_batches_tracked"}
    result, _, states = run(program, (X,))
    model.train()
    torch.testing.assert_close(result, model(X))
    for state, value in zip(program.states, states, strict=True):
        torch.testing.assert_close(value, model.state_dict()[state.key])


def test_dynamic_sizes_in_write_back() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 1
        y.view(-1)[1:].add_(1)
        y.split(2, dim=1)[1].zero_()
        left, right = y.chunk(2)
        right.copy_(left[: right.shape[0]])
        return y

    program = capture(function, (X,), dynamic_shapes={"x": {0: "n"}})
    for rows in (4, 6, 8):
        other = torch.randn(rows, 6)
        torch.testing.assert_close(run(program, (other,))[0], function(other))


def test_a_view_that_cannot_be_undone_is_refused_with_its_place() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 1
        y.as_strided((2, 2), (1, 1)).add_(1)
        return y

    with pytest.raises(CaptureRefused, match="as_strided") as caught:
        capture(function, (X,))
    assert caught.value.locations[0].code == "y.as_strided((2, 2), (1, 1)).add_(1)"


def test_reading_an_as_strided_view_is_fine() -> None:
    check(lambda x: x.as_strided((2, 2), (6, 1)) + 1, X)


def test_a_branch_that_writes_locally() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: (y + 1).relu_().mul_(2), lambda y: y.clone().zero_(), (x,))

    program = capture(function, (X,))
    assert not any(writes(body.graph) for body in program.subgraphs.values())
    torch.testing.assert_close(run(program, (X,))[0], (X + 1) * 2)


# ── random programs ────────────────────────────────────────

VIEWS: list[Callable[[Tensor, random.Random], Tensor]] = [
    lambda t, r: t[r.randrange(t.shape[0])] if t.dim() > 1 else t,
    lambda t, r: t[r.randrange(t.shape[0]) :],
    lambda t, r: t[..., :: r.choice([1, 2])],
    lambda t, r: t.transpose(0, -1),
    lambda t, r: t.unsqueeze(r.randrange(t.dim() + 1)),
    lambda t, r: t.view(-1) if t.is_contiguous() else t,
    lambda t, r: t.reshape(-1),
    lambda t, r: t.split(max(1, t.shape[0] // 2))[r.randrange(2) if t.shape[0] > 1 else 0],
    lambda t, r: t.unbind(-1)[0] if t.dim() > 1 else t,
    lambda t, r: t.detach(),
    lambda t, r: t.diagonal() if t.dim() == 2 else t,
    lambda t, r: t.unfold(-1, 2, 2) if t.shape[-1] > 1 else t,
    lambda t, r: torch.einsum("...->...", t),
    lambda t, r: torch.broadcast_tensors(t, t[0])[0] if t.dim() else t,
    lambda t, r: t.tensor_split((2, 1), -1)[r.choice([0, 2])],
]
WRITES: list[Callable[[Tensor, Tensor, random.Random], object]] = [
    lambda t, o, r: t.add_(1),
    lambda t, o, r: t.mul_(2),
    lambda t, o, r: t.fill_(r.randrange(5)),
    lambda t, o, r: t.copy_(o.sum()),
    lambda t, o, r: t.add_(o.max()),
    lambda t, o, r: t.copy_(o) if t.shape == o.shape else t.zero_(),
    lambda t, o, r: t.masked_fill_(t > 3, -2),
]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_random_program(seed: int) -> None:
    def program(x: Tensor) -> list[Tensor]:
        choose = random.Random(seed)
        tensors = [x * 1, x + 2]
        for _ in range(choose.randrange(2, 12)):
            tensor = choose.choice(tensors)
            action = choose.randrange(3)
            if action == 0:
                tensors.append(choose.choice(VIEWS)(tensor, choose))
            elif action == 1:
                choose.choice(WRITES)(tensor, choose.choice(tensors).clone(), choose)
            else:
                tensors.append(tensor * 2)
        return tensors

    check(program, torch.arange(12.0).reshape(3, 4))


DIAGONALS = [((3, 4), False), ((5, 2), False), ((7, 3), True), ((3, 3, 3), False), ((2, 2, 2, 2), True), ((1, 4), True)]


@pytest.mark.parametrize(("shape", "wrap"), DIAGONALS)
def test_diagonals_are_filled(shape: tuple[int, ...], wrap: bool) -> None:
    def model(x: Tensor) -> Any:
        y = x * 1
        return y[1:2].sum(), y.fill_diagonal_(3.0, wrap), y

    x = torch.randn(shape)
    torch.testing.assert_close(tuple(run(capture(model, (x,)), (x,))[0]), model(x))


def test_a_diagonal_of_any_size_is_filled() -> None:
    def model(x: Tensor) -> Tensor:
        return (x * 1).fill_diagonal_(3.0)

    program = capture(model, (torch.randn(3, 4),), dynamic_shapes=[{0: "n", 1: "m"}])
    for x in map(torch.randn, ((3, 4), (6, 2), (4, 4), (2, 5))):
        torch.testing.assert_close(run(program, (x,))[0], model(x))
