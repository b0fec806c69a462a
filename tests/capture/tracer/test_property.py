"""Random small models with size arithmetic, views, writes and branches on sizes, against eager at random sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from tests.capture.interpret import run
from torch import Tensor

from fxonnx import errors
from fxonnx.capture import Program, capture

Step = Callable[[Tensor], Tensor]


def write_rows(x: Tensor) -> Tensor:
    x[: x.shape[0] // 2] += 1
    return x


def write_column(x: Tensor) -> Tensor:
    x[:, -1].mul_(2)
    return x


def write_view(x: Tensor) -> Tensor:
    x.view(-1)[1:].sub_(3)
    return x


def write_transposed(x: Tensor) -> Tensor:
    x.t()[0].zero_()
    return x


def branch_small(x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] > 6 else x + 1


def branch_compare(x: Tensor) -> Tensor:
    return x - 1 if x.shape[0] > x.shape[1] else x.neg()


def branch_parity(x: Tensor) -> Tensor:
    return x.abs() if x.shape[1] % 2 == 0 else x.exp().clamp(max=9)


def pad_to_multiple(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x, (0, -x.shape[1] % 4, 0, 1))


def fold(x: Tensor) -> Tensor:
    rows = x.shape[0] - x.shape[0] % 2
    return x[:rows].reshape(rows // 2, -1)


def positions(x: Tensor) -> Tensor:
    return x + torch.arange(x.shape[1], dtype=x.dtype) * x.shape[0]


def mean_rows(x: Tensor) -> Tensor:
    return x.sum(0, keepdim=True) / x.shape[0] + x


def halves(x: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=0)
    return torch.cat([right, left])


def outer(x: Tensor) -> Tensor:
    return (x[:, :1] * x[:1]).contiguous()


def drop_first(x: Tensor) -> Tensor:
    return x[1:] if x.shape[0] > 2 else x


def first_rows(x: Tensor) -> Tensor:
    return x[:3] * x.shape[0]


def last_columns(x: Tensor) -> Tensor:
    return x[:, -3:]


def branch_quotient(x: Tensor) -> Tensor:
    return x + 2 if x.shape[0] / 3 > 2 else x * x.shape[1]


def branch_single(x: Tensor) -> Tensor:
    return x.cumsum(0) if x.shape[0] != 1 else x - 3


def middle_row(x: Tensor) -> Tensor:
    return x - x[x.shape[0] // 2]


def write_last(x: Tensor) -> Tensor:
    x[x.shape[0] - 1] = x.shape[1]
    return x


def size_tensor(x: Tensor) -> Tensor:
    return x + torch.tensor(x.shape, dtype=x.dtype).sum()


def shift(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[1:].copy_(x[:-1])
    return y


def turned(x: Tensor) -> Tensor:
    return x.t() * x.shape[0]


def softened(x: Tensor) -> Tensor:
    return x.t().softmax(0).t() @ x.t()


def thirds(x: Tensor) -> Tensor:
    return torch.cat(x.tensor_split(3)[::-1])


def convolved(x: Tensor) -> Tensor:
    return torch.nn.functional.conv1d(x[:, None], torch.ones(1, 1, 3), stride=2, padding=1)[:, 0]


def pooled(x: Tensor) -> Tensor:
    return torch.nn.functional.max_pool2d(x[None], (1, 2), stride=1, padding=(0, 1))[0]


def columns(x: Tensor) -> Tensor:
    return torch.nn.functional.unfold(x[None, None], (2, 2), stride=(1, 2), padding=1)[0]


def tiled(x: Tensor) -> Tensor:
    return x.repeat(2, 1).roll(1, 0)


def normed(x: Tensor) -> Tensor:
    return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1)


def transformed(x: Tensor) -> Tensor:
    return torch.fft.fft(x, n=6).real


def windows(x: Tensor) -> Tensor:
    return x.unfold(1, 2, 1).flatten(1)


def merged(x: Tensor) -> Tensor:
    return torch.stack([x, x * 2], 1).view(x.shape[0] * 2, x.shape[1])


STEPS: list[Step] = [
    turned, softened, thirds, convolved, pooled, columns, tiled, normed, transformed, windows, merged,
    first_rows, last_columns, branch_quotient, branch_single, middle_row, write_last, size_tensor, shift,
    write_rows, write_column, write_view, write_transposed, branch_small, branch_compare, branch_parity,
    pad_to_multiple, fold, positions, mean_rows, halves, outer, drop_first,
]  # fmt: skip


def model_of(steps: list[Step]) -> Step:
    def model(x: Tensor) -> Tensor:
        x = x * 1
        for step in steps:
            x = step(x)
        return x

    return model


def holds(program: Program, sizes: dict[str, int]) -> bool:
    """Whether the program says that it is right for these sizes; it asks the model about those of 1."""
    ranges = (
        info.minimum <= sizes[info.name] <= (sizes[info.name] if info.maximum is None else info.maximum)
        for info in program.symbols.values()
    )
    known = all(ranges) and all(each.holds(sizes) for each in program.assumptions)
    try:
        return known and (min(sizes.values()) > 1 or program.variant(sizes) is None)
    except errors.CallMismatch:
        return False


def traced(model: Step, example: tuple[int, int]) -> Program | None:
    """The model captured with both dims free; None where it is said, with its place, that it cannot be, or where it
    does not take the example either."""
    try:
        return capture(model, (torch.randn(*example),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    except errors.FrozenDimension:
        return None
    except errors.ModelRaised as raised:
        if "Cannot view" in raised.what:  # what is written to is a view at the example's size, and at no other
            return None
        with pytest.raises((RuntimeError, ValueError, IndexError)):
            model(torch.randn(*example))
        return None
    except errors.Failures as failures:
        assert all(isinstance(each, errors.FrozenDimension) for each in failures.errors)
        return None


def compared(program: Program, model: Step, shape: tuple[int, int]) -> bool:
    """Whether the program says that it is right for this shape, and the model takes it; then it is."""
    if not holds(program, dict(zip("nm", shape, strict=True))):
        return False
    x = torch.randn(*shape)
    try:
        expected = model(x.clone())
    except RuntimeError:  # a view of memory that is laid out otherwise at this size: nothing to compare with
        return False
    torch.testing.assert_close(run(program, (x,))[0], expected, equal_nan=True)
    return True


def test_a_traced_model_is_the_model() -> None:
    """Nearly all models are captured with both dims free, and nearly all shapes are compared."""
    count: Counter[str] = Counter()

    @settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=5),
        example=st.tuples(st.integers(2, 12), st.integers(2, 12)),
        others=st.lists(st.tuples(st.integers(1, 24), st.integers(1, 24)), min_size=4, max_size=4),
    )
    def check(steps: list[Step], example: tuple[int, int], others: list[tuple[int, int]]) -> None:
        model = model_of(steps)
        program = traced(model, example)
        count.update(models=1, captured=program is not None)
        for shape in (example, *others) if program is not None else ():
            count.update(shapes=1, compared=compared(program, model, shape))

    check()
    assert count["captured"] >= 0.95 * count["models"]
    assert count["compared"] >= 0.85 * count["shapes"]
