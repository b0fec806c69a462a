"""Loops that go by a number from data: as often as eager goes, at every size and number."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.errors import CheckFailed


class Decoder(nn.Module):
    """As many steps as the longest of the batch has."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        hidden, rows = x.new_zeros(x.shape[0], 4), []
        for step in range(int(lengths.max())):
            hidden = self.cell(x[:, step], hidden)
            rows.append(hidden / (step + 1))
        return torch.stack(rows, 1)


class Refined(nn.Module):
    """As many turns as are asked for, none among them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        for turn in range(turns.item()):
            x = torch.tanh(self.layer(x)) + turn
        return x


class Classes(nn.Module):
    """The mean of each class that there is."""

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        return torch.stack([x[classes == each].mean(0) for each in classes.unique()])


class Kept(nn.Module):
    """What is selected, one by one, written back."""

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        kept, result = torch.nonzero(scores > 0).squeeze(1), torch.zeros_like(x)
        for at in range(kept.numel()):
            result[kept[at]] = x[kept[at]] * 2
        return result


class Windows(nn.Module):
    def forward(self, x: Tensor, count: Tensor) -> Tensor:
        return torch.stack([x[at : at + 4].mean(0) for at in range(int(count))])


def padded(batch: int, length: int) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, length, 4), torch.randint(1, length + 1, (batch,))


CASES: dict[str, tuple[Any, list[Any], list[tuple[Tensor, Tensor]]]] = {
    "decoder": (Decoder, [{0: "b", 1: "n"}, {0: "b"}], [padded(3, 7), padded(1, 7), padded(2, 20), padded(5, 1)]),
    "refined": (
        Refined, [{0: "b"}, None],
        [(torch.randn(batch, 4), torch.tensor(turns)) for batch, turns in ((3, 4), (1, 1), (2, 40), (2, 0))],
    ),
    "classes": (
        Classes, [{0: "n"}, {0: "n"}],
        [(torch.randn(rows, 4), torch.arange(rows) % count) for rows, count in ((20, 4), (9, 9), (31, 6), (2, 1))],
    ),
    "kept": (
        Kept, [{0: "n"}, {0: "n"}],
        [
            (torch.randn(rows, 4), (torch.arange(rows) < count).float() - 0.5)
            for rows, count in ((20, 6), (9, 0), (30, 30), (1, 1))
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_goes_as_often_as_eager(name, tmp_path: Path):
    kind, dims, calls = CASES[name]
    model = kind().eval()
    compiled = fxonnx.compile(model, calls[0], dynamic_shapes=dims)
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for call in calls:
        with torch.no_grad():
            expected = model(*call)
        torch.testing.assert_close(compiled(*call), expected)
        if min(call[0].shape) > 1:
            names = (each.name for each in session.get_inputs())
            actual, *_ = session.run(None, {name: each.numpy() for name, each in zip(names, call, strict=True)})
            torch.testing.assert_close(torch.from_numpy(actual), expected)


@pytest.mark.parametrize("length", [3, 5])
def test_a_number_counts_the_elements_of_a_short_axis(length):
    model = Decoder().eval()
    compiled = fxonnx.compile(model, padded(2, length))
    for longest in range(1, length + 1):
        x, lengths = torch.randn(2, length, 4), torch.tensor([1, longest])
        with torch.no_grad():
            torch.testing.assert_close(compiled(x, lengths), model(x, lengths))
    with pytest.raises(CheckFailed):
        compiled(torch.randn(2, length, 4), torch.tensor([1, length + 1]))


def test_windows_are_whole_or_the_call_is_refused():
    """A slice beyond the end has fewer elements, in eager too: what is made of it there is another number."""
    model = Windows()
    compiled = fxonnx.compile(model, (torch.randn(9, 4), torch.tensor(3)), dynamic_shapes=[{0: "n"}, None])
    for size, count in ((9, 6), (20, 17), (9, 1)):
        call = torch.randn(size, 4), torch.tensor(count)
        torch.testing.assert_close(compiled(*call), model(*call))
    with pytest.raises(CheckFailed, match="past the end"):
        compiled(torch.randn(9, 4), torch.tensor(8))


class Paired(nn.Module):
    """A window of another input for each row of one."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        starts = [self.stride * at for at in range(x.shape[0])]
        return torch.stack([y[at : at + 4].mean(0) + row for at, row in zip(starts, x, strict=True)])


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_along_another_dim_are_as_long_as_in_eager(stride):
    model = Paired(stride)
    call = torch.randn(9, 4), torch.randn(40, 4)
    compiled = fxonnx.compile(model, call, dynamic_shapes=[{0: "n"}, {0: "m"}])
    for rows, others in ((9, 40), (9, 9 * stride + 1), (5, 5 * stride + 1)):
        call = torch.randn(rows, 4), torch.randn(others, 4)
        torch.testing.assert_close(compiled(*call), model(*call))


class Sum(nn.Module):
    """Of rows, where there are any."""

    def forward(self, x: Tensor, count: Tensor) -> Tensor:
        rows = [x[at] * (at + 1) for at in range(int(count))]
        return torch.stack(rows).sum(0) if rows else x[0]


class FirstThree(nn.Module):
    """The first turns are others than the rest."""

    def forward(self, x: Tensor, count: Tensor) -> Tensor:
        total = torch.zeros(4)
        for at in range(int(count)):
            total = total + x[min(at, 2)]
        return total


@pytest.mark.parametrize(("kind", "least"), [(Sum, 1), (FirstThree, 3)])
def test_numbers_for_which_the_model_does_something_else_are_refused_when_called(kind, least):
    model = kind()
    compiled = fxonnx.compile(model, (torch.randn(9, 4), torch.tensor(5)), dynamic_shapes=[{0: "n"}, None])
    for count in (*range(least, 6), 9):
        call = torch.randn(9, 4), torch.tensor(count)
        torch.testing.assert_close(compiled(*call), model(*call))
    with pytest.raises(CheckFailed, match="less often"):
        compiled(torch.randn(9, 4), torch.tensor(least - 1))
