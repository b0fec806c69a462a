"""Writes through views: whatever takes the view, the whole has the written part in its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.capture.interpret import run, writes
from torch import Tensor

import fxonnx
from fxonnx.capture import capture

X = torch.arange(24.0).reshape(2, 3, 4) + 1

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "einsum permutes": lambda y: torch.einsum("ijk->kij", y),
    "einsum takes a diagonal": lambda y: torch.einsum("iij->ij", y[:, :2]),
    "one of broadcast tensors": lambda y: torch.broadcast_tensors(y, y[0])[0],
    "another of broadcast tensors": lambda y: torch.broadcast_tensors(y[0], y[1])[1],
    "one of broadcast tensors of two dtypes": lambda y: torch.broadcast_tensors(torch.ones(3, 1).int(), y[0])[1],
    "one of several": lambda y: torch.atleast_2d([y[0, 0], y[1, 0]])[1],
    "meshgrid of one": lambda y: torch.meshgrid(y[0, 0], indexing="ij")[0],
    "diagonal": lambda y: y.diagonal(1, 1, 2),
    "linalg.diagonal": lambda y: torch.linalg.diagonal(y),
    "unfold": lambda y: y.unfold(2, 2, 2),
    "unfold with gaps": lambda y: y.unfold(2, 1, 3),
    "as_strided": lambda y: y.as_strided((2, 2), (4, 2), 3),
    "unbind": lambda y: y.unbind(1)[1],
    "split": lambda y: y.split(2, 1)[1],
    "chunk": lambda y: y.chunk(2, 2)[1],
    "tensor_split": lambda y: y.tensor_split(2, 1)[1],
    "tensor_split at points that descend": lambda y: y.tensor_split((3, 1), 2)[2],
    "hsplit": lambda y: y.hsplit(3)[1],
    "vsplit": lambda y: y.vsplit([1])[1],
    "dsplit": lambda y: y.dsplit([1, 3])[1],
    "squeeze": lambda y: y[:1].squeeze(),
    "movedim": lambda y: y.movedim((0, 1), (1, 2)),
    "expand that repeats nothing": lambda y: y.expand(1, 2, 3, 4),
    "narrow at a negative place": lambda y: y.narrow(2, -2, 2),
    "narrow at a tensor": lambda y: y.narrow(1, torch.tensor(1), 2),
    "adjoint": lambda y: y.adjoint(),
    "real": lambda y: torch.view_as_complex(y.unflatten(2, (2, 2))).real,
    "view_as_real": lambda y: torch.view_as_real(torch.view_as_complex(y.unflatten(2, (2, 2))))[..., 1],
    "view.dtype": lambda y: y.view(torch.int32),
    "a view of views": lambda y: y.unfold(2, 2, 2).diagonal(0, 1, 3).transpose(0, 1)[1:],
    "a part of windows that overlap": lambda y: y.unfold(2, 3, 1)[..., 1],
    "a diagonal of windows that overlap": lambda y: y.flatten().unfold(0, 3, 1)[3:].diagonal(0),
    "windows that overlap, taken apart": lambda y: y.unfold(2, 3, 1).unfold(2, 1, 2)[..., 0],
    "a row of one that is expanded": lambda y: y.expand(5, 2, 3, 4)[2],
    "flatten": lambda y: y.flatten(),
    "a copy": lambda y: y.mT.ravel(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_write_reaches_the_whole(view: Callable[[Tensor], Tensor]) -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.clone()
        part = view(y)
        part.mul_(3)
        part[..., :1] += 1
        y.sub_(2)
        return y, part

    program = capture(function, (X,))
    assert not writes(program.graph)
    torch.testing.assert_close(run(program, (X,))[0], function(X), rtol=0, atol=0)


BROADCAST: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "parts of one": lambda y: torch.broadcast_tensors(*y.split([1, 1])),
    "a part of nothing": lambda y: torch.broadcast_tensors(*reversed(y[:1].split([1, 0]))),
    "a row and the whole": lambda y: torch.broadcast_tensors(y[:1, :, :1], y),
    "two dtypes": lambda y: torch.broadcast_tensors(torch.ones(2, 1, 1).int(), y[:, 1:]),
}


@pytest.mark.parametrize("views", BROADCAST.values(), ids=BROADCAST)
def test_of_several_tensors_each_is_a_view_of_its_own(views: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    def function(x: Tensor) -> tuple[Tensor, ...]:
        y = x.clone()
        found = views(y)
        found[1].add_(2)
        return y, *found

    compiled = fxonnx.compile(function, (X,))
    for found, wanted in zip(compiled(X), function(X), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


ROWS = torch.arange(12.0).view(3, 4)
WRITES: dict[str, Callable[[Tensor], object]] = {
    "in place": lambda x: x.triu_(0),
    "running": lambda x: x.cumsum_(1),
    "of another tensor": lambda x: x.copy_(ROWS),
    "of all of it": lambda x: x.__setitem__(slice(None), ROWS * 2),
    "of some rows": lambda x: x.index_copy_(0, torch.tensor([1]), ROWS[:1]),
    "to a place for results": lambda x: torch.add(x, ROWS, out=x),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_lies_in_memory_as_its_place(write: Callable[[Tensor], object]) -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.t().clone().t()
        first = y.as_strided((5,), (1,))
        write(y)
        return first, y

    x = torch.randn(3, 4)
    for found, wanted in zip(fxonnx.compile(function, (x,))(x), function(x), strict=True):
        torch.testing.assert_close(found, wanted)
