"""What ops are computed as where torch transforms them (vmap, grad, autograd), so that the calls that are made of them
can be recorded: torch's own kernels want plain sizes there, have gradients that nothing but they can compute, or are
not right.

    TRANSFORMED[target](*arguments) -> the result, or NotImplemented where torch's own is fine
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fxonnx.capture.tracer.sizes.twins import ORIGINALS, twin
from fxonnx.capture.tracer.torch_private import is_in_functorch

aten = torch.ops.aten
_NUMBERS = (bool, int, float, complex, torch.SymInt, torch.SymFloat)
_MEAN, _MAX = 1, 2  # modes of bags; of losses the first is the mean, too


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = input @ weight.t()
    return product if bias is None else product + bias


# ── determinants ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Determinant(torch.autograd.Function):
    """The determinant, whose gradient is A⁻ᴴ times it: by the factors of A, in which a 0 counts as a rounding error
    (torch/csrc/autograd/FunctionsManual.cpp, linalg_det_backward)."""

    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        det = torch.linalg.det(A)
        ctx.save_for_backward(A, det)
        return det

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        A, det = ctx.saved_tensors
        return _solved_by_adjoint(A, grad * det.conj())


class _LogarithmOfDeterminant(torch.autograd.Function):
    """(the sign, log |det A|) of a real matrix: of the second A⁻ᵀ is the gradient, the first has none."""

    @staticmethod
    def forward(ctx: Any, A: Tensor) -> tuple[Tensor, Tensor]:
        sign, logarithm = torch.linalg.slogdet(A)
        ctx.save_for_backward(A)
        ctx.mark_non_differentiable(sign)
        return sign, logarithm

    @staticmethod
    def backward(ctx: Any, _: Tensor, grad: Tensor) -> Tensor:
        (A,) = ctx.saved_tensors
        return _solved_by_adjoint(A, grad)


def _solved_by_adjoint(A: Tensor, scale: Tensor) -> Tensor:
    """A⁻ᴴ, each matrix times a number."""
    LU, pivots = torch.linalg.lu_factor(A)
    least = torch.finfo(A.dtype).eps
    LU = LU + torch.diag_embed(torch.where(LU.diagonal(dim1=-2, dim2=-1) == 0, least, 0.0).to(A.dtype))
    right = torch.diag_embed(scale.unsqueeze(-1).expand(A.shape[:-1]))
    return torch.linalg.lu_solve(LU, pivots, right, adjoint=True)


def _det(A: Tensor) -> Any:
    return NotImplemented if is_in_functorch() else _Determinant.apply(A)


def _slogdet(A: Tensor) -> Any:
    return NotImplemented if is_in_functorch() or A.is_complex() else _LogarithmOfDeterminant.apply(A)


def _logdet(A: Tensor) -> Any:
    if is_in_functorch() or A.is_complex():
        return NotImplemented
    sign, logarithm = _LogarithmOfDeterminant.apply(A)
    return torch.where(sign == -1, torch.nan, logarithm)


# ── losses and bags ──────────────────────────────────────────────────────────────────────────────────────────────────


def _multilabel_margin_loss(input: Tensor, target: Tensor, reduction: int = _MEAN) -> Tensor:
    """By how much scores of other classes come within 1 of each target's, up to the first -1. What torch differentiates
    counts the places behind that as targets, of class 0."""
    rows, labels = torch.atleast_2d(input), torch.atleast_2d(target)
    is_label = (labels == -1).cumsum(1) == 0
    classes = torch.where(is_label, labels, 0)
    is_target = torch.zeros_like(labels).scatter_reduce(1, classes, is_label.long(), "amax") > 0
    margins = 1 - rows.gather(1, classes).unsqueeze(2) + rows.unsqueeze(1)
    is_pair = is_label.unsqueeze(2) & ~is_target.unsqueeze(1)
    loss = torch.where(is_pair & (margins > 0), margins, 0.0).sum(2).mean(1)
    if reduction:
        return loss.mean() if reduction == _MEAN else loss.sum()
    return loss if input.dim() == 2 else loss.squeeze(0)


def _embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """Sums, means and maxima of rows in bags, without what torch notes for its gradients."""
    if scale_grad_by_freq or sparse:
        return NotImplemented
    rows = torch.embedding(weight, indices)
    rows = rows if per_sample_weights is None else rows * per_sample_weights.unsqueeze(1)
    bag = torch.searchsorted(offsets, torch.arange(indices.shape[0], dtype=offsets.dtype), right=True) - 1
    kept = torch.ones_like(indices, dtype=rows.dtype)
    if padding_idx is not None:
        kept = (indices != padding_idx % weight.shape[0]).to(rows.dtype)
    bags = offsets.shape[0]
    sums = rows.new_zeros(bags, weight.shape[1]).index_add(0, bag, rows * kept.unsqueeze(1))
    counts = rows.new_zeros(bags).index_add(0, bag, kept)
    if mode == _MAX:
        found = _greatest(rows, bag, kept, bags)
    else:
        found = sums / counts.clamp(min=1).unsqueeze(1) if mode == _MEAN else sums
    last = bags - 1 if include_last_offset else bags
    return found[:last], bag, counts[:last].long(), counts[:last].long()


def _greatest(rows: Tensor, bag: Tensor, kept: Tensor, bags: int) -> Tensor:
    """The greatest element of each column in each bag, the first of equals, and 0 where there is none."""
    count, width = rows.shape
    known = rows.detach().masked_fill(kept.unsqueeze(1) == 0, -torch.inf)
    bag = bag.unsqueeze(1).expand(count, width)
    most = known.new_full((bags, width), -torch.inf).scatter_reduce(0, bag, known, "amax")
    is_most = (known == most.gather(0, bag)) & (kept.unsqueeze(1) != 0)
    place = torch.where(is_most, torch.arange(count).unsqueeze(1), count)
    first = place.new_full((bags, width), count).scatter_reduce(0, bag, place, "amin")
    return torch.cat([rows, rows.new_zeros(1, width)]).gather(0, first)


# ── pools of as many windows as a size says ──────────────────────────────────────────────────────────────────────────

_MAX_POOLS = {count: getattr(aten, f"adaptive_max_pool{count}d").default for count in (1, 2, 3)}


def _adaptive_max_pool(count: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """The elements at the places that the op's twin finds, which has no gradient."""

    def pool(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
        _, places = twin(_MAX_POOLS[count])(input.detach(), output_size)
        return input.flatten(-count).gather(-1, places.flatten(-count)).view(places.shape), places

    return pool


def _adaptive_avg_pool(input: Tensor, output_size: Any) -> Tensor:
    """Of rows as of images of one row, whose op takes sizes."""
    return aten.adaptive_avg_pool2d.default(input.unsqueeze(-2), (1, *output_size)).squeeze(-2)


TRANSFORMED: dict[Any, Callable[..., Any]] = {
    aten.linear.default: _linear,
    aten.det.default: _det,
    aten.linalg_det.default: _det,
    aten.slogdet.default: _slogdet,
    aten.linalg_slogdet.default: _slogdet,
    aten.logdet.default: _logdet,
    aten.multilabel_margin_loss.default: _multilabel_margin_loss,
    aten.embedding_bag.default: _embedding_bag,
    aten.embedding_bag.padding_idx: _embedding_bag,
    twin(aten.adaptive_avg_pool1d.default): _adaptive_avg_pool,
    **{twin(op): _adaptive_max_pool(count) for count, op in _MAX_POOLS.items()},
}


def without_gradient(func: Any, args: Any) -> tuple[str, str, str] | None:
    """What, the cause and the cure, of a call whose gradient cannot be recorded; None where it can."""
    if func in ORIGINALS and func not in TRANSFORMED and any(isinstance(each, Tensor) for each in args):
        return (
            f"the gradient of {ORIGINALS[func]} cannot be recorded where it is given a size that varies",
            "torch differentiates it for plain numbers",
            "leave that dim static",
        )
    if func in (aten.ctc_loss.IntList, aten.ctc_loss.Tensor):
        return (
            f"the gradient of {func} cannot be recorded",
            "what torch keeps for it is as large as its lengths say, and no kernel but torch's own reads it",
            "take the loss out of what is differentiated",
        )
    return None


def transformed(func: Any, args: Any, kwargs: Any) -> Any:
    """What a transformed call returns."""
    args = _numbers_as_tensors(func, args) if is_in_functorch() else args
    form = TRANSFORMED.get(func)
    found = NotImplemented if form is None else form(*args, **kwargs)
    return func(*args, **kwargs) if found is NotImplemented else found


def _numbers_as_tensors(func: Any, args: Any) -> Any:
    """The arguments of a call, with a tensor where a number stands for one: torch.func wraps what a gradient keeps, and
    a number of a wrapper cannot be read."""
    like = next((each for each in args if isinstance(each, Tensor)), None)
    if like is None:
        return args
    wanted = (isinstance(parameter.type, torch.TensorType) for parameter in func._schema.arguments)
    return tuple(
        torch.full((), each, dtype=torch.result_type(like, each)) if wants and isinstance(each, _NUMBERS) else each
        for each, wants in zip(args, wanted, strict=False)
    )
