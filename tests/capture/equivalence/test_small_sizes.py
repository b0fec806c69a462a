"""Small models at sizes of 0, 1, 2, the example's and larger ones: a compiled model is the model there, or both refuse;
its file is right for the example itself, or there is none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "a size as a tensor": lambda x: x / torch.tensor([x.shape[1]]),
    "a shape as a tensor": lambda x: x + torch.as_tensor(x.shape).sum(),
    "steps": lambda x: x + torch.linspace(0, 1, x.shape[1]),
    "steps of one less": lambda x: torch.linspace(2, 1, x.shape[0] + 1)[: x.shape[0], None] * x,
    "the first row": lambda x: x[:1],
    "the last rows": lambda x: x[-1:] + x[:, -1:].sum(),
    "two columns": lambda x: torch.ones_like(x[:, :2]).sum() + x.sum(),
    "two columns normalized": lambda x: F.normalize(x[:, :2], dim=1),
    "without both ends": lambda x: x[1:-1] * 2,
    "second differences": lambda x: x[2:] - 2 * x[1:-1] + x[:-2],
    "put together": lambda x: torch.cat([x[:2], x[2:]]) + x,
    "squeezed": lambda x: x.squeeze(),
    "squeezed rows": lambda x: x.squeeze(0).sum(-1),
    "a branch": lambda x: x * 2 if x.shape[0] == 1 else x * 4,
    "a truth": lambda x: x + (x.shape[1] > 1),
    "a row of its own": lambda x: x - x[:1],
    "a mean": lambda x: x - x.sum(0, keepdim=True) / max(x.shape[0], 1),
    "an index": lambda x: x[x.shape[0] // 2 :].sum(0) + x[:, -1:].sum(),
    "written to": lambda x: torch.zeros(x.shape[0], 3).index_fill_(1, torch.tensor([1]), 2.0) + x.sum(),
    "expanded": lambda x: torch.arange(x.shape[1])[None].expand(x.shape[0], -1) + x,
    "transposed and joined": lambda x: x.t().reshape(-1) * 2,
}
SIZES = (0, 1, 2, 3, 6)


def agrees(model: Callable[[Tensor], Tensor], call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Both return the same, or both refuse."""
    try:
        expected = model(x)
    except (RuntimeError, IndexError):
        with pytest.raises(errors.Error):
            call(x)
        return
    torch.testing.assert_close(call(x), expected, equal_nan=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_model_is_the_model_at_small_sizes(name: str) -> None:
    model = MODELS[name]
    compiled = fxonnx.compile(model, (torch.rand(4, 5),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for n, m in product(SIZES, SIZES):
        agrees(model, compiled, torch.rand(n, m))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sizes", [(1, 5), (4, 1), (1, 1)])
def test_the_file_is_right_for_a_small_example(name: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    model, x = MODELS[name], torch.rand(sizes)
    try:
        compiled = fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "n", 1: "m"}})
    except errors.FrozenDimension as refused:
        assert "the example has" in refused.what and refused.locations[0].file == __file__
        compiled = fxonnx.compile(model, (x,), dynamic_shapes="auto")
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    given = {each.name: x.numpy() for each in session.get_inputs()}
    torch.testing.assert_close(torch.as_tensor(session.run(None, given)[0]), model(x))
    torch.testing.assert_close(compiled(x), model(x))


def test_a_part_of_one_row_has_no_rows() -> None:
    def model(x: Tensor) -> Tensor:
        return x.narrow(0, 2, 1).squeeze(0)

    compiled = fxonnx.compile(model, (torch.rand(4, 5),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for n in (3, 4, 2, 9):
        agrees(model, compiled, torch.rand(n, 3))


PINNED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "a slice": (lambda x: x[2:3].squeeze(0), 2),
    "a pool": (lambda x: F.max_pool1d(x.t()[None], 2).squeeze(-1), 3),
}


@pytest.mark.parametrize("name", PINNED)
def test_whether_a_computed_size_is_1_is_a_decision(name: str) -> None:
    model, other = PINNED[name]
    compiled = fxonnx.compile(model, (torch.rand(4, 5),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    assert compiled.program.assumptions
    for n in (4, other, 5, 9):
        x = torch.rand(n, 3)
        torch.testing.assert_close(compiled(x), model(x))


class Counting(nn.Module):
    """At a batch of 1 it only reads what it writes to otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 1:
            self.seen.add_(x.shape[0])
        return x + self.seen


def test_a_program_of_its_own_shares_the_states() -> None:
    model, reference = Counting(), Counting()
    compiled = fxonnx.compile(model, (torch.rand(3, 2),), dynamic_shapes={"x": {0: "n"}})
    for rows in (3, 1, 2, 1, 1, 4, 1):
        x = torch.rand(rows, 2)
        torch.testing.assert_close(compiled(x), reference(x))
        torch.testing.assert_close(model.seen, reference.seen)


def test_what_only_a_small_size_writes_is_refused() -> None:
    class Keeps(Counting):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[0] == 1:
                self.seen.add_(1)
            return x + self.seen

    compiled = fxonnx.compile(Keeps(), (torch.rand(3, 2),), dynamic_shapes={"x": {0: "n"}})
    with pytest.raises(errors.CallMismatch, match="writes to seen"):
        compiled(torch.rand(1, 2))


def filled(x: Tensor) -> Tensor:
    """What lay in the memory of a new tensor is nobody's."""
    rows = torch.empty(x.shape[0]).fill_(1)[:, None] + x.new_empty(x.shape).zero_()
    return rows + torch.empty_like(x).copy_(x)


def grid_of_any_shape(x: Tensor) -> Tensor:
    """Which side is the smaller one, F.affine_grid asks only to see whether there is one."""
    turned = torch.tensor([[[0.5, -1.0, 0.1], [1.0, 0.5, 0.0]]])
    corners = F.affine_grid(turned, (1, 1, *x.shape), align_corners=True)
    return corners + F.affine_grid(turned, [1, 1, x.shape[0], x.shape[1]], align_corners=False)


def divided_by_no_columns(x: Tensor) -> Tensor:
    """At 0 columns there is no such size."""
    return F.pixel_unshuffle(x[None, :, None].expand(-1, -1, 2, -1), 2).sum(1)


ANY = {each.__name__: each for each in (filled, grid_of_any_shape, divided_by_no_columns)}


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("example", [(4, 6), (1, 4)])
def test_calls_of_any_size(name: str, example: tuple[int, int]) -> None:
    model = ANY[name]
    compiled = fxonnx.compile(model, (torch.rand(example),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for sizes in ((4, 6), (7, 2), (1, 4), (1, 8), (5, 2), (2, 0), (1, 0), (0, 2)):
        x = torch.rand(sizes)
        try:
            wanted = model(x)
        except (RuntimeError, ValueError):
            with pytest.raises(errors.Error):
                compiled(x)
        else:
            torch.testing.assert_close(compiled(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(2, 3), (1, 3), (1, 1)])
def test_a_dim_that_always_is_a_sum_of_others_is_that(sizes: tuple[int, int]) -> None:
    def model(x: Tensor, past: Tensor, mask: Tensor) -> Tensor:
        both = torch.cat([past, x], 1)
        return both.masked_fill(~mask, 0.0).cumsum(1)

    def inputs(new: int, old: int) -> tuple[Tensor, ...]:
        return torch.rand(2, new), torch.rand(2, old), torch.rand(2, new + old) > 0.5

    dims = {"x": {1: "new"}, "past": {1: "old"}, "mask": {1: "total"}}
    compiled = fxonnx.compile(model, inputs(*sizes), dynamic_shapes=dims)
    assert "mask, axis 1: always new + old" in compiled.report()
    for each in ((2, 3), (1, 4), (1, 1), (5, 1)):
        given = inputs(*each)
        torch.testing.assert_close(compiled(*given), model(*given))
    with pytest.raises(errors.CallMismatch):
        compiled(torch.rand(2, 2), torch.rand(2, 3), torch.rand(2, 6) > 0.5)


def test_an_optional_dim_that_freezes_has_the_size_of_the_example() -> None:
    """The capture ran at 2 or more, where the loop would be another one."""

    def model(x: Tensor) -> Tensor:
        return sum((x[row] for row in range(x.shape[0])), torch.zeros(()))

    compiled = fxonnx.compile(model, (torch.rand(1, 4),), dynamic_shapes="auto")
    assert str(compiled.graph.inputs[0].type) == "f32[1,d0]"
    torch.testing.assert_close(compiled(torch.ones(1, 6)), torch.ones(6))


def test_a_size_that_only_other_sizes_lose_is_no_matter_for_the_example() -> None:
    def model(x: Tensor) -> Tensor:
        return x[: int(x.shape[0] ** 0.5)] if x.shape[0] % 8 else x * 2

    compiled = fxonnx.compile(model, (torch.rand(8, 5),), dynamic_shapes={"x": {0: "n"}})
    assert str(compiled.limits) == "n % 8 == 0"
    torch.testing.assert_close(compiled(torch.ones(16, 5)), torch.full((16, 5), 2.0))


def test_what_holds_for_all_sizes_is_not_said() -> None:
    def model(x: Tensor) -> Tensor:
        always = x.shape[0] % 2 <= 1 and x.shape[0] % 8 < 8 and x.shape[0] // 2 * 2 <= x.shape[0]
        return x * 2 if always else x

    compiled = fxonnx.compile(model, (torch.rand(4, 5),), dynamic_shapes={"x": {0: "n"}})
    assert not str(compiled.limits) and not compiled.program.zero_one_assumptions
