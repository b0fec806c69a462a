"""Lists of rows, each of a size of its own, that one loop makes and another one goes through."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx

SIZES = [(3, 6), (2, 4), (1, 5), (5, 9)]


def kept(x: Tensor) -> list[Tensor]:
    return [row[row[:, 0] > 0] for row in x]


def in_a_batch(x: Tensor) -> Tensor:
    return nn.utils.rnn.pad_sequence(kept(x), batch_first=True, padding_value=-1.0)


def written(x: Tensor) -> tuple[Tensor, Tensor]:
    rows = kept(x)
    longest = max(row.shape[0] for row in rows)
    found, mask = x.new_zeros(x.shape[0], longest, 4), torch.zeros(x.shape[0], longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        found[i, : row.shape[0]] = row
        mask[i, : row.shape[0]] = True
    return found, mask


def backwards(x: Tensor) -> tuple[Tensor, Tensor]:
    rows = kept(x)
    return torch.stack([row.sum(0) for row in reversed(rows)]), torch.cat(rows)


def through_three(x: Tensor) -> Tensor:
    turned = [(row * 2).t() for row in kept(x)]
    longest = max(row.shape[1] for row in turned)
    return torch.stack([torch.cat([row, row.new_ones(4, longest - row.shape[1])], 1) for row in turned])


def carried_on(x: Tensor) -> Tensor:
    state = x.new_zeros(4)
    for row in kept(x):
        state = 0.5 * state + row.sum(0)
    return state


def among_each_other(x: Tensor) -> Tensor:
    return torch.stack([(row @ row.t()).sigmoid().sum() for row in kept(x)])


def of_two_kinds(x: Tensor) -> tuple[Tensor, Tensor]:
    found = []
    for row in x:
        places = (row[:, 0] > 0).nonzero().squeeze(1)
        scores, order = row[places, 1].sort(descending=True)
        found.append({"scores": scores, "rows": row[places][order]})
    lengths = torch.tensor([len(each["scores"]) for each in found])
    return torch.stack([each["rows"].sum(0) for each in found]), lengths


def after_a_decision(x: Tensor) -> Tensor:
    """Each step as often as it says, once where all say never; ten symbols and more, and a check in each iteration."""
    often = x[..., 0].clamp(min=0).round().long()
    if often.sum() == 0:
        often[often.sum(1) == 0] = 1
    found = x.new_zeros(x.shape[0], often.sum(1).max(), 4)
    for i, (row, count) in enumerate(zip(x, often, strict=True)):
        steps = torch.repeat_interleave(row, count, dim=0)
        found[i, : steps.shape[0]] = steps
    return found


CASES = [after_a_decision, in_a_batch, written, backwards, through_three, carried_on, among_each_other, of_two_kinds]


def given(batch: int, time: int) -> Tensor:
    x = torch.randn(batch, time, 4)
    x[:, 0, 0] = 1.0  # each keeps a row, but those that are told to keep none
    return x


def leaves(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("model", CASES, ids=lambda case: case.__name__)
def test_rows_through_a_second_loop(model: Callable[[Tensor], Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    compiled = fxonnx.compile(model, (given(3, 6),), dynamic_shapes={"x": {0: "b", 1: "t"}})
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (name,) = (each.name for each in session.get_inputs())
    for sizes in SIZES:
        x = given(*sizes)
        wanted = model(x)
        torch.testing.assert_close(compiled(x), wanted)
        if min(sizes) > 1:  # of one row there is a program of its own
            found = session.run(None, {name: x.numpy()})  # what the model checks comes behind its results
            for one, other in zip(leaves(wanted), found, strict=False):
                np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [after_a_decision, in_a_batch, written, backwards], ids=lambda case: case.__name__)
def test_rows_of_nothing(model: Callable[[Tensor], Any]) -> None:
    compiled = fxonnx.compile(model, (given(3, 6),), dynamic_shapes={"x": {0: "b", 1: "t"}})
    x = given(4, 5)
    x[1, :, 0] = -1.0
    torch.testing.assert_close(compiled(x), model(x))
    x[..., 0] = -1.0
    torch.testing.assert_close(compiled(x), model(x))


def test_rows_of_given_lengths() -> None:
    """Also lengths beyond what there is, and such that count from the end."""

    def model(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        rows = [row[:length].cumsum(0) for row, length in zip(x, lengths.tolist(), strict=True)]
        return nn.utils.rnn.pad_sequence(rows), torch.stack([row.sum() * row.shape[0] for row in rows])

    dims = {"x": {0: "b", 1: "t"}, "lengths": {0: "b"}}
    compiled = fxonnx.compile(model, (torch.randn(3, 6, 4), torch.tensor([3, 6, 2])), dynamic_shapes=dims)
    for lengths in ([3, 6, 2], [4, 1], [5], [9, 2, 3], [-2, 4], [0, 3]):
        inputs = torch.randn(len(lengths), 6, 4), torch.tensor(lengths)
        torch.testing.assert_close(compiled(*inputs), model(*inputs))


def test_sizes_in_a_generator(tmp_path: Path) -> None:
    """`max` and `min` of one are sizes, as those of a list: the file takes them either way."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        most = max(each.shape[0] for each in (x, y))
        least = min((each.shape[0] for each in (x, y)), default=0)
        return torch.zeros(most) + least

    compiled = fxonnx.compile(model, (torch.ones(3), torch.ones(4)), dynamic_shapes=({0: "n"}, {0: "m"}))
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for sizes in ((3, 4), (5, 2), (7, 9)):
        inputs = tuple(map(torch.ones, sizes))
        wanted = model(*inputs)
        torch.testing.assert_close(compiled(*inputs), wanted)
        (found,) = session.run(None, {"x": inputs[0].numpy(), "y": inputs[1].numpy()})
        np.testing.assert_array_equal(found, wanted)
