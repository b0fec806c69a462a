"""Functions that torch composes of plain numbers, or whose schemas ask for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from fxonnx.capture.tracer.size_functions import SIZE_FUNCTIONS
from fxonnx.capture.tracer.sized_operators.bodies import OfSizes, Size


def _one_hot(input: torch.Tensor, num_classes: Size = -1) -> torch.Tensor:
    return (input.unsqueeze(-1) == torch.arange(num_classes, device=input.device)).to(torch.int64)


def _unfold(self: torch.Tensor, dimension: int, size: Size, step: Size) -> torch.Tensor:
    """Windows of `size` elements, each `step` after the one before, as a new last axis."""
    axis = dimension % self.dim()
    count = (self.shape[axis] - size) // step + 1
    places = torch.arange(count, device=self.device)[:, None] * step + torch.arange(size, device=self.device)
    return self.index_select(axis, places.flatten()).unflatten(axis, (count, size)).movedim(axis + 1, -1)


def _row_starts(input: torch.Tensor, size: Size, *, out_int32: bool = False) -> torch.Tensor:
    """Of sorted numbers of rows."""
    return torch.searchsorted(
        input, torch.arange(size + 1, dtype=input.dtype, device=input.device), out_int32=out_int32
    )


def _triangle(keep: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def indices(row: Size, col: Size, offset: Size = 0, **options: Any) -> torch.Tensor:
        return keep(torch.ones(row, col, device=options.get("device")), offset).nonzero().t()

    return indices


def _scaled(func: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Sums of trapezoids `dx` wide: of the points of `x`, where those are given, it is not told."""

    def integral(y: torch.Tensor, x: Any = None, *, dx: Size = 1, dim: int = -1) -> Any:
        return NotImplemented if x is not None else func(y, dim=dim) * dx

    return integral


def _gradient(input: OfSizes, *, spacing: Size = None, dim: Any = None, edge_order: int = 1) -> Any:
    """Central differences, over one distance for all axes."""
    if isinstance(spacing, (list, tuple)) or not (input.is_floating_point() or input.is_complex()):
        return NotImplemented
    axes = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    if any(input.shape[axis] <= edge_order for axis in axes):
        return NotImplemented  # which is refused
    distance = 1 if spacing is None else spacing
    return tuple(_differences(input.movedim(axis, 0), edge_order).movedim(0, axis) / distance for axis in axes)


def _differences(x: torch.Tensor, order: int) -> torch.Tensor:
    """Along the first axis; those at the ends are of as many neighbours as the order says."""
    first, last = x[1:2] - x[:1], x[-1:] - x[-2:-1]
    if order == 2:
        first, last = 1.5 * first - (x[2:3] - x[1:2]) / 2, 1.5 * last - (x[-2:-1] - x[-3:-2]) / 2
    return torch.cat([first, (x[2:] - x[:-2]) / 2, last])


def _combinations(input: OfSizes, r: int = 2, with_replacement: bool = False) -> Any:
    """All pairs of elements, in the order of their places."""
    if r != 2:
        return NotImplemented
    count = input.shape[0]
    first, second = torch.ones(count, count, device=input.device).triu(0 if with_replacement else 1).nonzero().unbind(1)
    return torch.stack([input[first], input[second]], 1)


def _kron(input: OfSizes, other: OfSizes) -> torch.Tensor:
    """Each element of the first times all of the second, in blocks."""
    rank, whole = max(input.dim(), other.dim()), slice(None)
    one, two = (each[(None,) * (rank - each.dim())] for each in (input, other))
    blocks = one[(whole, None) * rank] * two[(None, whole) * rank]
    return blocks.reshape([block * size for block, size in zip(one.shape, two.shape, strict=True)])


def _multi_dot(tensors: OfSizes) -> torch.Tensor:
    """The product from the side that ends in a vector: which order is cheapest hangs on the sizes."""
    first, *rest = tensors
    if rest and rest[-1].dim() == 1:
        return reduce(lambda product, each: each @ product, reversed((first, *rest[:-1])), rest[-1])
    return reduce(torch.matmul, rest, first)


def _chain_matmul(matrices: OfSizes, *, out: Any = None) -> Any:
    return NotImplemented if out is not None else _multi_dot(matrices)


def _take_along_dim(input: OfSizes, indices: OfSizes, dim: int | None = None) -> Any:
    """The elements at the indices along an axis; the other axes are broadcast."""
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    if input.dim() != indices.dim():
        return NotImplemented  # which is refused
    axis = dim % input.dim()
    others = torch.broadcast_shapes(*((*each.shape[:axis], *each.shape[axis + 1 :]) for each in (input, indices)))
    taken, places = (
        each.expand(*others[:axis], each.shape[axis], *others[axis:]) for each in (input, indices)
    )
    return taken.gather(axis, places)


def _vander(x: OfSizes, N: Size = None, increasing: bool = False) -> torch.Tensor:
    """The powers from the last one down to 0, or up."""
    count = x.shape[-1] if N is None else N
    powers = torch.arange(count, device=x.device)
    base = x if x.is_floating_point() or x.is_complex() else x.to(torch.int64)
    return torch.pow(base.unsqueeze(-1), powers if increasing else powers.flip(0))


def _logspace(start: Any, end: Any, steps: Size, base: float = 10.0, **options: Any) -> torch.Tensor:
    return torch.pow(base, SIZE_FUNCTIONS[torch.linspace](torch.linspace, (start, end, steps), options))


def _istft(
    input: torch.Tensor, n_fft: int, hop_length: Any = None, win_length: Any = None, window: Any = None,
    center: bool = True, normalized: bool = False, onesided: Any = None, length: Size = None,
    return_complex: bool = False,
) -> torch.Tensor:  # fmt: skip
    """All of the signal, cut to a length."""
    whole = torch.istft(
        input, n_fft, hop_length, win_length, window, False, normalized, onesided, None, return_complex
    )
    start = n_fft // 2 if center else 0
    signal = whole[..., start : start + length]
    return F.pad(signal, (0, length - signal.shape[-1]))


def _condition(A: OfSizes, p: Any = None) -> Any:
    """A norm of each matrix times that of its inverse, an infinity where that is no number: torch looks whether there
    are elements (ATen/native/LinearAlgebra.cpp, `linalg_cond`). Without elements it is 0, the sum of none."""
    if p in (None, 2, -2):
        values = torch.linalg.svdvals(A)
        largest, smallest = values[..., :1], values[..., -1:]
        return (smallest / largest if p == -2 else largest / smallest).sum(-1)
    if p == "nuc":
        values = torch.linalg.svdvals(A)
        return values.sum(-1) * values.reciprocal().sum(-1)
    inverse, info = torch.linalg.inv_ex(A)
    inverse = torch.where(info[..., None, None] > 0, torch.inf, inverse)
    found = torch.linalg.matrix_norm(A, p) * torch.linalg.matrix_norm(inverse, p)
    return torch.where(found.isnan(), torch.inf, found)


def _diagonal(input: torch.Tensor, offset: Size = 0, dim1: int = 0, dim2: int = 1) -> torch.Tensor:
    """That of what is right of the offset, or below it."""
    right = torch.ops.aten.slice.Tensor(input, dim2, offset) if offset >= 0 else input
    below = torch.ops.aten.slice.Tensor(right, dim1, -offset) if offset < 0 else right
    return below.diagonal(0, dim1, dim2)


def _quantile(func: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def quantile(input: torch.Tensor, q: Size, *args: Any, **options: Any) -> Any:
        if isinstance(q, torch.Tensor):  # the size is in another argument
            return NotImplemented
        return func(input, torch.full((), q, dtype=input.dtype, device=input.device), *args, **options)

    return quantile


COMPOSED: dict[Any, Callable[..., Any]] = {
    torch._C._nn.one_hot: _one_hot,
    torch.Tensor.unfold: _unfold,
    torch._convert_indices_from_coo_to_csr: _row_starts,
    torch.triu_indices: _triangle(torch.triu),
    torch.tril_indices: _triangle(torch.tril),
    torch.logspace: _logspace,
    torch.istft: _istft,
    torch.combinations: _combinations,
    torch.trapezoid: _scaled(torch.trapezoid),
    torch.trapz: _scaled(torch.trapezoid),
    torch.cumulative_trapezoid: _scaled(torch.cumulative_trapezoid),
    torch.gradient: _gradient,
    torch.kron: _kron,
    torch.Tensor.kron: _kron,
    torch.linalg.multi_dot: _multi_dot,
    torch._VF.chain_matmul: _chain_matmul,
    torch.take_along_dim: _take_along_dim,
    torch.Tensor.take_along_dim: _take_along_dim,
    torch.vander: _vander,
    torch.linalg.cond: _condition,
    torch.diagonal: _diagonal,
    torch.Tensor.diagonal: _diagonal,
    torch.quantile: _quantile(torch.quantile),
    torch.Tensor.quantile: _quantile(torch.quantile),
    torch.nanquantile: _quantile(torch.nanquantile),
    torch.Tensor.nanquantile: _quantile(torch.nanquantile),
}
