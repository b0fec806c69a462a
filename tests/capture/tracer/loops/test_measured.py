"""Loops over rows of which data says how long each one is: lengths, masks and grids, of any number of rows."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer.loops.measures.measured import Axis, Measured, Ref, Total, with_total
from fxonnx.ir.dims import maximum, symbol

LENGTHS = [(3, 5, 4), (2,), (1, 1), (6, 1, 2, 6, 3, 1, 4, 2, 5)]
PADDED = {"x": {0: "b", 1: "t"}, "lengths": {0: "b"}}
PACKED = {"x": {0: "n"}, "lengths": {0: "b"}}


def padded(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    return torch.randn(len(lengths), max(lengths) + 1, 4), torch.tensor(lengths)


def packed(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    return torch.randn(sum(lengths), 4), torch.tensor(lengths)


def means(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.stack([x[i, : lengths[i]].mean(0) for i in range(x.shape[0])])


def without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.cat([x[i, :length].cumsum(0) for i, length in enumerate(lengths)])


def each_by_itself(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.cat([part.softmax(0) for part in x.split(lengths.tolist())])


def in_a_batch(x: Tensor, lengths: Tensor) -> Tensor:
    return nn.utils.rnn.pad_sequence(x.split(lengths.tolist()), batch_first=True)


def from_a_place_on(x: Tensor, lengths: Tensor) -> Tensor:
    found, at = x.new_zeros(len(lengths), int(lengths.max()), 4), 0
    for i, length in enumerate(lengths.tolist()):
        found[i, :length] = x[at : at + length]
        at += length
    return found


def joined_first(x: Tensor, lengths: Tensor) -> Tensor:
    last = [row[:length].flip(0) for row, length in zip(x, lengths.tolist(), strict=True)]
    return torch.cat(last) * 2


def through_masks(x: Tensor, lengths: Tensor) -> Tensor:
    masks = torch.arange(x.shape[1]) < lengths[:, None]
    return torch.stack([row[mask].sum(0) for row, mask in zip(x, masks, strict=True)])


CASES = [
    (means, padded), (without_padding, padded), (joined_first, padded), (through_masks, padded),
    (each_by_itself, packed), (in_a_batch, packed), (from_a_place_on, packed),
]  # fmt: skip


@pytest.mark.parametrize(("model", "make"), CASES, ids=lambda case: case.__name__)
def test_rows_of_their_own_lengths(model: Callable[..., Tensor], make: Callable[..., tuple[Tensor, Tensor]],
                                   tmp_path: Path) -> None:  # fmt: skip
    shapes = PADDED if make is padded else PACKED
    compiled = fxonnx.compile(model, make((3, 5, 4)), dynamic_shapes=shapes)
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [each.name for each in session.get_inputs()]
    for lengths in LENGTHS:
        given = make(lengths)
        wanted = model(*given)
        torch.testing.assert_close(compiled(*given), wanted)
        if len(lengths) > 1:  # of one row there is a program of its own
            found = session.run(None, dict(zip(names, (each.numpy() for each in given), strict=True)))[0]
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


SHARES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "int": lambda x, shares: torch.stack([x[i, : int(shares[i] * 6.5)].mean(0) for i in range(x.shape[0])]),
    "rounded": lambda x, shares: torch.stack(
        [x[i, : int(torch.round(shares[i] * x.shape[1]))].std(0) for i in range(x.shape[0])]
    ),
    "of a list": lambda x, shares: torch.stack(
        [row[: int(share * len(row))].sum(0) for row, share in zip(x, shares.tolist(), strict=True)]
    ),
    "factors": lambda x, shares: torch.stack([row * share.item() for row, share in zip(x, shares, strict=True)]),
}


@pytest.mark.parametrize("name", SHARES)
def test_rows_of_relative_lengths(name: str) -> None:
    """Floats from data, which each iteration rounds, or computes with."""
    model = SHARES[name]
    dims = {"x": {0: "b", 1: "t"}, "shares": {0: "b"}}
    compiled = fxonnx.compile(model, (torch.randn(3, 8, 4), torch.tensor([1.0, 0.5, 0.8])), dynamic_shapes=dims)
    for batch, time in ((3, 8), (1, 8), (5, 13)):
        inputs = torch.randn(batch, time, 4), torch.linspace(1.0, 0.5, batch)
        torch.testing.assert_close(compiled(*inputs), model(*inputs))


def test_grids_of_any_number() -> None:
    def model(x: Tensor, grid: Tensor) -> Tensor:
        found, at = [], 0
        for t, h, w in grid:
            count = int(t * h * w)
            found.append(x[at : at + count].reshape(t, h, w, 4).mean((1, 2)))
            at += count
        return torch.cat(found)

    def given(*grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        return torch.randn(sum(t * h * w for t, h, w in grid), 4), torch.tensor(grid)

    compiled = fxonnx.compile(model, given((1, 4, 6), (2, 2, 4)), dynamic_shapes=({0: "n"}, {0: "b"}))
    for grids in ([(1, 4, 6), (2, 2, 4)], [(3, 2, 2)], [(1, 2, 2), (2, 1, 1), (1, 1, 3)]):
        inputs = given(*grids)
        torch.testing.assert_close(compiled(*inputs), model(*inputs))


def test_what_each_row_checks() -> None:
    """Lengths that do not sum up to what there is, as eager refuses them."""
    compiled = fxonnx.compile(each_by_itself, packed((3, 5, 4)), dynamic_shapes=PACKED)
    x, _ = packed((3, 5, 4))
    with pytest.raises(errors.Error, match="split"):
        compiled(x, torch.tensor([3, 5, 5]))
    with pytest.raises(errors.Error, match="split"):
        compiled(x, torch.tensor([-3, 10, 5]))


def test_totals_of_measures() -> None:
    names = ["u0", "u1", "u2"]
    measures = tuple((name, Ref(step, Axis(None, 0))) for step, name in enumerate(names))
    numbers = list(map(symbol, names))
    most = maximum(maximum(numbers[0], numbers[1]), numbers[2])
    greatest, whole = Total(0, 1, Axis(None, 0), "amax"), Total(0, 1, Axis(None, 0), "sum")

    found = with_total(Measured(most - numbers[1], measures), names, greatest)
    assert found is not None and found.refs == [greatest, measures[1][1]]
    found = with_total(Measured(2 * (numbers[0] + numbers[1] + numbers[2]) + 1, measures), names, whole)
    assert found is not None and found.refs == [whole]
    assert with_total(Measured(3 * numbers[0], measures), names, whole) is None
