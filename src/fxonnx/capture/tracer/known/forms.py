"""Calls that take sizes or ways from the values of an argument, in the form that they have where the value is known;
and those that torch's fake tensors tell another dtype or shape of than its kernels.

    x[:, mask]                     x[:, rows], the rows where the mask is true
    x.repeat_interleave(counts)    x.index_select(0, rows)
    x.tensor_split(places)         x.tensor_split([2, 5])
    x.narrow(0, start, 2)          x.narrow(0, start.item(), 2)
    x.split(n // 2)                x.split([n // 2, n - n // 2]), for n of which there are two parts
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Protocol

import torch

from fxonnx.capture.tracer.python.pieces import check_size, is_from_data
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import eager
from fxonnx.errors import CaptureRefused

aten = torch.ops.aten


class Recording(Protocol):
    """What calls are recorded on."""

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A call: its result, recorded."""

    def known(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What a tensor holds, or None."""


def _index(tape: Recording, x: Any, indices: Any) -> Any:
    """Masks as the positions where they are true: those that are known, and those beside places or another mask, of
    which there have to be as many."""
    found: list[Any] = []
    masks = [each for each in indices if each is not None and _is_mask(each)]
    beside = [each for each in indices if each is not None and not _is_mask(each) and each.dim() == 1]
    lengths = [each.shape[0] for each in beside if not _is_one(each.shape[0])]
    taken: list[tuple[int, int]] = []  # where the places of a mask stand among what is found
    for each in indices:
        is_taken = each is not None and _is_mask(each) and (lengths or len(masks) > 1 or tape.known(each) is not None)
        if not is_taken or not _agree(each.shape, x.shape[len(found) :]):
            found.append(each)
            continue
        places = tape.call(aten.nonzero.default, (each,), {})
        taken.append((len(found), len(found) + each.dim()))
        lengths.append(places.shape[0])
        found.extend(tape.call(aten.select.int, (places, 1, axis), {}) for axis in range(each.dim()))
    if not taken:
        return NotImplemented
    return tape.call(aten.index.Tensor, (x, _of_one_length(tape, found, lengths)), {})


def _of_one_length(tape: Recording, indices: list[Any], lengths: list[Any]) -> list[Any]:
    """Vectors of places, repeated where they are as long as one: which is what a mask may have selected, as it turns
    out. A length that does not come from data is the one of all."""
    several = {dim_of(each): each for each in lengths if not _is_one(each)}
    if len(several) < 2:
        return indices
    given = [each for each in several.values() if not is_from_data(each)]
    common = given[0] if given else _broadcast(list(several.values()))
    return [_repeated(tape, each, common) if each is not None and each.dim() == 1 else each for each in indices]


def _broadcast(lengths: list[Any]) -> Any:
    """The greatest, and 0 where one is: beside places in nothing even a single one is none."""
    least, greatest = (reduce(choose, lengths) for choose in (torch.sym_min, torch.sym_max))
    return greatest * torch.sym_min(1, least)


def _repeated(tape: Recording, places: Any, length: Any) -> Any:
    size = places.shape[0]
    if _is_mask(places) or _is_one(size) or not (is_from_data(size) or is_from_data(length)):
        return places
    torch._check((size - length) * (size - 1) == 0)
    order = tape.call(aten.arange.default, (length,), {})
    order = tape.call(aten.clamp.default, (order, None, size - 1), {})
    return tape.call(aten.index_select.default, (places, 0, order), {})


def _is_one(size: Any) -> bool:
    """Whether it is known to be 1, which broadcasts."""
    return type(size) is int and size == 1


def _is_mask(index: Any) -> bool:
    return index.dtype in (torch.bool, torch.uint8) and index.dim() > 0


def _masked_select(tape: Recording, x: Any, mask: Any) -> Any:
    is_whole = mask.dim() == x.dim() and _fits(mask.shape, x.shape)
    return _index(tape, x, [mask]) if is_whole else NotImplemented


def _repeat_interleave(tape: Recording, x: Any, repeats: Any, dim: int | None = None, output_size: Any = None) -> Any:
    counts = _numbers(tape, repeats)
    if counts is None:
        return NotImplemented
    if repeats.numel() == 1:
        return tape.call(aten.repeat_interleave.self_int, (x, counts[0] if repeats.dim() else counts, dim), {})
    flat = tape.call(aten.flatten.using_ints, (x,), {}) if dim is None else x
    if not _fits(repeats.shape, [flat.shape[dim or 0]]):
        return NotImplemented
    rows = tape.call(aten.repeat_interleave.Tensor, (repeats,), {})
    return tape.call(aten.index_select.default, (flat, dim or 0, rows), {})


def _tensor_split(tape: Recording, x: Any, places: Any, dim: int = 0) -> Any:
    known = _numbers(tape, places)
    if known is None and not places.dim():
        raise CaptureRefused(
            "a tensor is split into as many as a number in a tensor says",
            cause="a graph of ONNX returns a fixed number of tensors",
            cure="give the number as an int: x.tensor_split(3)",
        )
    if known is None:
        return NotImplemented
    form = aten.tensor_split.indices if places.dim() else aten.tensor_split.sections
    return tape.call(form, (x, known, dim), {})


def _sections(tape: Recording, x: Any, count: Any, dim: int = 0) -> Any:
    """As many parts, the first ones larger by one where they do not divide the axis: torch asks inside whether they
    do."""
    size = x.shape[dim] if x.dim() else None
    if not isinstance(size, torch.SymInt) or not isinstance(count, int) or count < 1:
        return NotImplemented
    sizes = [(size + after) // count for after in reversed(range(count))]
    return tape.call(aten.split_with_sizes.default, (x, sizes, dim), {})


def _chunk(tape: Recording, x: Any, count: Any, dim: int = 0) -> Any:
    """As many parts of a size from data. Of few elements torch makes fewer, which is a check of each call."""
    size: Any = x.shape[dim] if x.dim() else 1
    if not is_from_data(size) or type(count) is not int or count < 2:
        return NotImplemented
    part = (size + count - 1) // count
    last = size - part * (count - 1)
    sizes = [part, last] if count == 2 else _filled(size, part, count)  # before it is known that all are whole
    is_whole = (last >= torch.sym_min(size, 1)).node
    if is_whole.statically_known() is False:
        raise CaptureRefused(
            f"chunk({count}) of {dim_of(size)} elements makes fewer parts",
            cause="a graph of ONNX returns a fixed number of tensors, and how many these are only the data says",
            cure="split into parts of one size, x.split(size), or give the number of elements with torch._check",
        )
    if is_whole.statically_known() is None:
        size.node.guard_log.check(is_whole, f"chunk({count}) makes fewer parts of so few elements")
    return tape.call(aten.split_with_sizes.default, (x, sizes, dim), {})


def _filled(size: Any, part: Any, count: int) -> list[Any]:
    """So many sizes, each of one part as long as that many elements are left: no kernel splits into less than nothing,
    before the check of the call is read."""
    left = [size - torch.sym_min(part * number, size) for number in range(count)]
    return [torch.sym_min(part, each) for each in left]


def _narrow(tape: Recording, x: Any, axis: int, start: Any, length: Any) -> Any:
    """From a number on that a tensor holds, which torch reads as a plain one."""
    from_the_end = tape.call(aten.add.Tensor, (start, x.shape[axis]), {})
    place = tape.call(aten.where.self, (tape.call(aten.lt.Scalar, (start, 0), {}), from_the_end, start), {})
    return tape.call(aten.narrow.default, (x, axis, tape.call(aten.item.default, (place,), {}), length), {})


def _split(tape: Recording, x: Any, size: Any, dim: int = 0) -> Any:
    """Parts of a size that varies, or as many as one that does makes: how many they are is a decision. Where runs go on
    with plain numbers, loops over them are found by the call as it is."""
    total = x.shape[dim] if x.dim() else 1
    varying = [each for each in (size, total) if isinstance(each, torch.SymInt)]
    if not varying:
        return NotImplemented
    log = varying[0].node.guard_log
    if not isinstance(size, torch.SymInt) and (size < 1 or log.takes_plain):
        return NotImplemented
    count = _count_of_parts(log, total, size)
    sizes = [*[size] * (count - 1), total - size * (count - 1)]
    return tape.call(aten.split_with_sizes.default, (x, sizes, dim), {})


def _count_of_parts(log: GuardLog, total: Any, size: Any) -> int:
    """How many parts of a size there are: a decision of the op's. Of a size from data each number is a way of the
    model."""
    check_size(size)
    if is_from_data(size) and type(total) is int:
        return next((count for count in range(1, total) if count * size >= total), max(total, 1))
    before, log.op = log.op, "aten.split.Tensor"
    try:
        return max(int((total + size - 1) // size), 1)
    finally:
        log.op = before


def _binary_cross_entropy(tape: Recording, x: Any, target: Any, weight: Any = None, reduction: int = 1) -> Any:
    """Weights of another dtype, which torch's kernel multiplies by in place; its decomposition promotes."""
    if weight is None or weight.dtype is x.dtype:
        return NotImplemented
    loss = tape.call(aten.binary_cross_entropy.default, (x, target, None, 0), {})
    loss = tape.call(aten.mul_.Tensor, (loss, weight), {})
    reduce = (None, aten.mean.default, aten.sum.default)[reduction]
    return loss if reduce is None else tape.call(reduce, (loss,), {})


def _multilabel_margin_loss(tape: Recording, x: Any, target: Any, reduction: int = 1) -> Any:
    """Of one row or score, a number; fake tensors tell a vector of it."""
    if x.dim() > 1 or reduction:
        return NotImplemented
    rows = [tape.call(aten.unsqueeze.default, (each, 0), {}) for each in (x, target)]
    loss = tape.call(aten.multilabel_margin_loss.default, (*rows, reduction), {})
    return tape.call(aten.squeeze.dim, (loss, 0), {})


def _multi_margin_loss(
    tape: Recording, x: Any, target: Any, p: Any = 1, margin: Any = 1, weight: Any = None, reduction: int = 1
) -> Any:
    """Of one class, a number; likewise."""
    if target.dim() or reduction:
        return NotImplemented
    row = tape.call(aten.unsqueeze.default, (target, 0), {})
    loss = tape.call(aten.multi_margin_loss.default, (x, row, p, margin, weight, reduction), {})
    return tape.call(aten.squeeze.dim, (loss, 0), {})


def _normal(tape: Recording, mean: Any, std: Any, **options: Any) -> Any:
    """Deviations of another dtype, which torch's kernel takes in that of the means."""
    if std.dtype is mean.dtype:
        return NotImplemented
    return tape.call(aten.normal.Tensor_Tensor, (mean, tape.call(aten.to.dtype, (std, mean.dtype), {})), options)


def _observed(tape: Recording, x: Any, *args: Any) -> Any:
    """A fake quantization that observes no more, and whose scales are those of the range that it has seen; one that
    changes its state by the op that has a functional form."""
    *state, _, quant_min, quant_max, axis = args[:10]
    per_row = args[10] if len(args) > 10 else False
    known = [tape.known(each) for each in state]
    if any(each is None for each in known) or not _is_settled(known, x.dim(), args[6:], axis if per_row else None):
        return tape.call(aten._fused_moving_avg_obs_fq_helper.default, (x, *args), {})[0]
    if _numbers(tape, state[1]) not in (1, [1]):
        return tape.call(aten.alias.default, (x,), {})
    form = aten.fake_quantize_per_channel_affine.default if per_row else _PER_TENSOR
    return tape.call(form, (x, *state[4:], *((axis,) if per_row else ()), quant_min, quant_max), {})


def _is_settled(state: list[Any], rank: int, options: Any, axis: int | None) -> bool:
    """Whether a call writes to its state what is there: tried with an input that says nothing."""
    with eager():
        copies = [each.clone() for each in state]
        sizes = [state[4].numel() if at == axis else 1 for at in range(rank)]
        aten.fused_moving_avg_obs_fake_quant.default(torch.zeros(sizes), *copies, *options)
        return not state[0].any() and all(map(torch.equal, copies, state))


def _to_copy(tape: Recording, x: Any, *, dtype: Any = None, **options: Any) -> Any:
    """A cast of a plain number, which vmap makes of one."""
    return NotImplemented if isinstance(x, torch.Tensor) else tape.call(aten.full.default, ((), x), {"dtype": dtype})


def _numbers(tape: Recording, tensor: Any) -> Any:
    """What is in a tensor, as a list or a number; None where that is not known."""
    known = tape.known(tensor)
    if known is None:
        return None
    with eager():
        return known.tolist()


def _fits(sizes: Any, given: Any) -> bool:
    """Whether sizes are those of the first axes, all of them plain."""
    return len(sizes) <= len(given) and all(
        isinstance(each, int) and isinstance(other, int) and each == other
        for each, other in zip(sizes, given, strict=False)
    )


def _agree(sizes: Any, given: Any) -> bool:
    """Whether sizes may be those of the first axes, which is a condition of those that vary."""
    pairs = list(zip(sizes, given, strict=False))
    if len(sizes) > len(given) or any(type(one) is type(other) is int and one != other for one, other in pairs):
        return False
    for one, other in pairs:
        torch._check(one == other)
    return True


_PER_TENSOR = aten.fake_quantize_per_tensor_affine.tensor_qparams

KNOWN_FORMS: dict[Any, Callable[..., Any]] = {
    aten._to_copy.default: _to_copy,
    aten.binary_cross_entropy.default: _binary_cross_entropy,
    aten.chunk.default: _chunk,
    aten.index.Tensor: _index,
    aten.masked_select.default: _masked_select,
    aten.multi_margin_loss.default: _multi_margin_loss,
    aten.multilabel_margin_loss.default: _multilabel_margin_loss,
    aten.narrow.Tensor: _narrow,
    aten.normal.Tensor_Tensor: _normal,
    aten.repeat_interleave.self_Tensor: _repeat_interleave,
    aten.split.Tensor: _split,
    aten.tensor_split.sections: _sections,
    aten.tensor_split.tensor_indices_or_sections: _tensor_split,
    aten.fused_moving_avg_obs_fake_quant.default: _observed,
}
"""op -> (tape, *arguments) -> its result, or NotImplemented where nothing is known"""
