"""The pieces that split() and unbind() give of an axis of any size, beside eager at sizes that give other numbers of
them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors


def _written(x: Tensor) -> Tensor:
    x = x.clone()
    x.unbind(1)[0].fill_(3)
    x.split(2)[-1].mul_(2)
    x.unbind()[0].add_(1)
    return x


def _by_number(x: Tensor) -> Tensor:
    pieces = x.split(1)
    return torch.cat([pieces[place] * place for place in range(len(pieces))])


def _kept(x: Tensor) -> Tensor:
    pieces = x.split(2)
    first = pieces[0]
    return torch.stack([piece.sum() for piece in pieces]) + first.sum()


def _turned_after(x: Tensor) -> Any:
    x = x.clone()
    rows, halves = x.unbind(0), x.split(2)
    x.t_().unsqueeze_(0)
    return rows[0], halves[0], torch.stack(rows), x


MODELS: dict[str, Callable[[Tensor], Any]] = {
    "the first": lambda x: x.split(1)[0] * 2,
    "the first, of two": lambda x: (x.split(2)[0], torch.split(x, 2, dim=0)[0]),
    "of a size": lambda x: (x.split(x.shape[0] // 2 + 1)[0], x.split(x.shape[0])[0]),
    "the last": lambda x: (x.unbind()[-1], torch.unbind(x, 0)[-1] * 2),
    "the last, of what is left": lambda x: x.split(3)[-1],
    "others": lambda x: (x.unbind(0)[1], x.split(2)[-2], x.split(2)[1]) if x.shape[0] > 2 else x,
    "stacked": lambda x: (torch.stack(x.unbind(0)), torch.stack(x.unbind(0), -1), torch.stack(x.split(1), dim=1)),
    "joined": lambda x: (torch.cat(x.unbind(0)), torch.cat(x.split(1), -1), torch.concat(x.split(1))),
    "joined and written": lambda x: (torch.stack(x.unbind(0)).mul_(2), x),
    "joined in twos": lambda x: torch.cat(x.split(2)),
    "unpacked": lambda x: torch.stack([*x.unbind(0), x[0]]),
    "in a loop": lambda x: torch.cat([piece.cumsum(0) for piece in x.split(2)]),
    "by number": _by_number,
    "written": _written,
    "all and the first": _kept,
    "of what is turned after": _turned_after,
}


@pytest.mark.parametrize("name", MODELS)
def test_pieces(name: str) -> None:
    model = MODELS[name]
    compiled = fxonnx.compile(model, torch.randn(5, 3), dynamic_shapes={"x": {0: "n"}})
    for size in (5, 8, 3, 2, 1, 0):
        x = torch.randn(size, 3)
        try:
            wanted = model(x.clone())
        except (IndexError, RuntimeError, ValueError):
            continue
        torch.testing.assert_close(compiled(x.clone()), wanted)


def test_a_result_of_pieces_is_a_tuple() -> None:
    compiled = fxonnx.compile(lambda x: x.split(x.shape[0]), torch.randn(6, 3), dynamic_shapes={"x": {0: "n"}})
    x = torch.randn(7, 3)
    found = compiled(x)
    assert type(found) is tuple
    torch.testing.assert_close(found, (x,))


def test_beyond_the_pieces() -> None:
    with pytest.raises(fxonnx.errors.ModelRaised, match="tuple index out of range"):
        fxonnx.compile(lambda x: x.split(1)[x.dim() + 10**4], torch.randn(5, 3), dynamic_shapes={"x": {0: "n"}})


BY_DATA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "the first": lambda x, k: x.split(int(k.max()), 1)[0],
    "the last": lambda x, k: x.split(int(k.max()), 1)[-1],
    "the first, of a rest": lambda x, k: x[:, :2].split(int(k.max()) % 5, 1)[0],
    "of one more than a count": lambda x, k: x[:, :2].split(int((k > 3).sum()) + 1, 1)[0],
    "all": lambda x, k: torch.cat([2 * each.sum(1) for each in x.split(int(k.max()), 1)]),
    "how many": lambda x, k: torch.tensor(len(x.split(int(k.max()), 1))),
}


@pytest.mark.parametrize("dynamic_shapes", [None, {"x": {0: "n"}}])
@pytest.mark.parametrize("name", BY_DATA)
def test_pieces_of_a_size_from_data_are_of_it(name: str, dynamic_shapes: Any) -> None:
    """Pieces of 1 too, of which there are more than of any larger size."""

    class Cut(torch.nn.Module):
        def forward(self, x: Tensor, k: Tensor) -> Tensor:
            return BY_DATA[name](x, k)

    x, model = torch.randn(3, 4), Cut()
    compiled = fxonnx.compile(model, (x, torch.tensor([1, 3])), dynamic_shapes=dynamic_shapes)
    for numbers in ([1, 3], [2, 2], [1, 1], [4, 3], [6, 7]):
        k = torch.tensor(numbers)
        torch.testing.assert_close(compiled(x, k), model(x, k))


def test_pieces_of_no_size_are_refused_as_torch_refuses_them() -> None:
    """The number is one that the call brings."""

    class Cut(torch.nn.Module):
        def forward(self, x: Tensor, k: Tensor) -> Tensor:
            return x.split(int(k), 1)[0]

    compiled = fxonnx.compile(Cut(), (torch.randn(3, 4), torch.tensor(2)))
    with pytest.raises(errors.CheckFailed, match="split_size can only be 0"):
        compiled(torch.randn(3, 4), torch.tensor(0))
