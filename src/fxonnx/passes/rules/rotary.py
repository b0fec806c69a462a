"""Rotary positions written out, in one operator; and on tensors whose heads were not split off."""

from __future__ import annotations

import numpy as np

from fxonnx.ir.data import first_half
from fxonnx.ir.graph import constant_ints, content
from fxonnx.passes.rewriting.rewrite import rule
from fxonnx.passes.rules.attention import SPLIT, runs, splits_heads


@rule
class cosine_of_doubled:
    """f, f ── Concat ── Cos ─▶        becomes        f ── Cos ─┬─ Concat ─▶
    └─┘        half as many cosines"""
    def before(op, f, *, axis): return op.Cos(op.keep(op.Concat(f, f, axis=axis)))
    def after(op, f, axis): return op.Concat(half := op.Cos(f), half, axis=axis)


@rule
class sine_of_doubled:
    """f, f ── Concat ── Sin ─▶        becomes        f ── Sin ─┬─ Concat ─▶
    └─┘        half as many sines"""
    def before(op, f, *, axis): return op.Sin(op.keep(op.Concat(f, f, axis=axis)))
    def after(op, f, axis): return op.Concat(half := op.Sin(f), half, axis=axis)


@rule
class cosine_of_repeated:
    """f ── Expand ── Reshape ── Cos ─▶        becomes        f ── Cos ── Expand ── Reshape ─▶

    half as many cosines, where each angle stands twice in a row"""
    def before(op, f, a, b): return op.Cos(op.keep(op.Reshape(op.Expand(f, a), b)))
    def after(op, f, a, b): return op.Reshape(op.Expand(op.Cos(f), a), b)
    def where(f, result): return _is_repeated(f, result)


@rule
class sine_of_repeated:
    """f ── Expand ── Reshape ── Sin ─▶        becomes        f ── Sin ── Expand ── Reshape ─▶

    half as many sines, where each angle stands twice in a row"""
    def before(op, f, a, b): return op.Sin(op.keep(op.Reshape(op.Expand(f, a), b)))
    def after(op, f, a, b): return op.Reshape(op.Expand(op.Sin(f), a), b)
    def where(f, result): return _is_repeated(f, result)


def _is_repeated(single, double):
    """Whether each element of [..., half, 1] stands twice in a row of [..., size]."""
    *leading, half, last = single.shape
    return last == 1 and isinstance(half, int) and double.shape == (*leading, 2 * half)


def _rotated(op, x, cos, sin, axes, begin, middle, end, axis):
    """x · cos + [−second half, first half] · sin."""
    first, second = op.Slice(x, begin, middle, axes), op.Slice(x, middle, end, axes)
    return x * cos + op.Concat(op.Neg(second), first, axis=axis) * sin


def _takes_halves(x, axes, begin, middle, end, axis):
    """Whether the halves that change places are those of the last axis of four."""
    if x.rank != 4 or not isinstance(x.shape[3], int):
        return False
    bounds = [constant_ints(each.value) for each in (axes, begin, middle, end)]
    if any(each is None or len(each) != 1 for each in bounds):
        return False
    (over,), (start,), (half,), (stop,) = bounds
    return over in (-1, 3) and axis in (-1, 3) and start == 0 and x.shape[3] == 2 * half and stop >= 2 * half


def _fits_positions(x, cos, sin):
    """Whether there are cosines and sines [batch or 1, length, half of the size]."""
    batch, length, half = cos.shape
    return cos.type == sin.type and x.shape[2:] == (length, 2 * half) and batch in (1, x.shape[0])


def _rotary(op, x, cos, sin, **rest):
    """RotaryEmbedding wants a row of cosines and sines for each batch."""
    if cos.shape[0] != x.shape[0]:
        wide = op.sizes([x.shape[0], 1, 1])
        cos, sin = op.Expand(cos, wide), op.Expand(sin, wide)
    return op.RotaryEmbedding(x, cos, sin, **rest)


@rule
class rotary_embedding:
    """x ─┬─────────────────────────────── × [cos, cos] ─┐
          └─ [−second half, first half] ── × [sin, sin] ─┴─ + ─▶        becomes        x ── RotaryEmbedding ─▶

    Su et al. 2021, in the order of GPT-NeoX and Llama."""
    def before(op, x, cos, sin, axes, begin, middle, end, *, axis, over, heads):
        cosines = op.keep(op.Unsqueeze(op.Concat(cos, cos, axis=over), heads))
        sines = op.keep(op.Unsqueeze(op.Concat(sin, sin, axis=over), heads))
        return _rotated(op, x, cosines, sines, axes, begin, middle, end, axis)
    def after(op, x, cos, sin): return _rotary(op, x, cos, sin)
    def where(x, cos, sin, axes, begin, middle, end, axis, over, heads):
        is_joined = cos.rank == 3 and over in (-1, 2) and heads == 1
        return is_joined and _takes_halves(x, axes, begin, middle, end, axis) and _fits_positions(x, cos, sin)
    when = runs("RotaryEmbedding")


@rule
class rotary_embedding_by_table:
    """x ─┬─────────────────────────────── × cosines ─┐
          └─ [−second half, first half] ── × sines ───┴─ + ─▶        becomes        x ── RotaryEmbedding ─▶

    for constants that hold everything twice, as they come out where all sizes are known."""
    def before(op, x, cos, sin, axes, begin, middle, end, *, axis):
        return _rotated(op, x, cos, sin, axes, begin, middle, end, axis)
    def after(op, x, cos, sin): return _rotary(op, x, _half(op, cos), _half(op, sin))
    def where(op, x, cos, sin, axes, begin, middle, end, axis):
        if not _takes_halves(x, axes, begin, middle, end, axis) or not _is_doubled(cos) or not _is_doubled(sin):
            return False
        return _fits_positions(x, _half(op, cos), _half(op, sin))
    when = runs("RotaryEmbedding")


def _is_doubled(table):
    """Whether a constant [batch, 1, length, size] holds the first half of each row again in the second."""
    if table.rank != 4 or table.shape[1] != 1 or table.shape[3] % 2 or content(table.value) is None:
        return False
    return np.array_equal(*np.split(content(table.value), 2, axis=3))


def _half(op, table):
    """[batch, length, size / 2] of a doubled [batch, 1, length, size]."""
    return op.constant(first_half(table.value.data))


@rule
class rotary_embedding_of_halves:
    """x ── Split ─┬─ first · cos − second · sin ─┐
                   └─ second · cos + first · sin ─┴─ Concat ─▶        becomes        x ── RotaryEmbedding ─▶

    the same, half by half, as in gpt-oss."""
    def before(op, x, cos, sin, sizes, *, over, axis, heads):
        first, second = op.Split(x, sizes, axis=over, _outputs=2)
        cosines, sines = (op.keep(op.Unsqueeze(each, heads)) for each in (cos, sin))
        return op.Concat(first * cosines - second * sines, second * cosines + first * sines, axis=axis)
    def after(op, x, cos, sin): return _rotary(op, x, cos, sin)
    def where(x, cos, sin, sizes, over, axis, heads):
        if x.rank != 4 or cos.rank != 3 or heads != 1 or over not in (-1, 3) or axis not in (-1, 3):
            return False
        halves = constant_ints(sizes.value) or (0, 1)
        return halves[0] == halves[1] and _fits_positions(x, cos, sin)
    when = runs("RotaryEmbedding")


@rule
class rotary_embedding_of_pairs:
    """x ─┬──────────────────────────────────────────── × cosines ─┐
          └─ [−second, first] of each two in a row ──── × sines ───┴─ + ─▶

    becomes        x ── RotaryEmbedding ─▶

    in the order of GPT-J, Cohere and GLM: each cosine and sine stands twice in a row. Heads are the second axis, or the
    third."""
    def before(op, x, cos, sin, a, b, c, d, axes, end, stop, to, *, heads, last, joined):
        def repeated(each, wide, shape):
            rows = op.Reshape(op.Expand(each, wide), shape)
            return op.keep(op.any_of(op.Unsqueeze(rows, heads), rows))

        second, first = op.Slice(x, 1, end, axes, 2), op.Slice(x, 0, stop, axes, 2)
        pairs = op.Concat(op.Unsqueeze(op.Neg(second), last), op.Unsqueeze(first, last), axis=joined)
        cosines, sines = op.bind("cosines", repeated(cos, a, b)), op.bind("sines", repeated(sin, c, d))
        return x * cosines + op.bind("turned", op.Reshape(pairs, to)) * sines
    def after(op, x, cos, sin, cosines):
        axis = _axis_of_heads(x, cosines)
        cos, sin = (op.Squeeze(each, [axis, 4] if each.rank == 5 else [3]) for each in (cos, sin))
        if axis == 1:
            return _rotary(op, x, cos, sin, interleaved=1)
        _, _, heads, size = x.shape
        rows = _rotary(op, op.Reshape(x, [0, 0, heads * size]), cos, sin, interleaved=1, num_heads=heads)
        return op.Reshape(rows, [0, 0, heads, size])
    def where(x, cos, sin, cosines, sines, axes, end, stop, turned, last, joined):
        if x.rank != 4 or not isinstance(x.shape[3], int) or turned.shape != x.shape or cos.type != sin.type:
            return False
        ends = [constant_ints(each.value) or (0,) for each in (end, stop)]
        is_last = constant_ints(axes.value) in ((-1,), (3,)) and last in (-1, 4) and joined in (-1, 4)
        if not is_last or any(each[0] < x.shape[3] for each in ends) or cosines.type != sines.type:
            return False
        axis = _axis_of_heads(x, cosines)
        single = [*cosines.shape[:3], x.shape[3] // 2, 1]
        return axis is not None and list(cos.shape) in (single, single[:axis] + single[axis + 1 :])
    when = runs("RotaryEmbedding")


def _axis_of_heads(x, cosines):
    """The axis over which cosines [batch or 1, 1, length, size] or [batch or 1, length, 1, size] are the same."""
    batch, *places, size = cosines.shape
    if batch not in (1, x.shape[0]) or size != x.shape[3]:
        return None
    if places == [1, x.shape[2]]:
        return 1
    return 2 if places == [x.shape[1], 1] and isinstance(x.shape[2], int) else None


@rule
class rotary_of_joined_heads:
    """x ── Reshape ── Transpose ── RotaryEmbedding ─▶

    becomes        x ── RotaryEmbedding ── Reshape ── Transpose ─▶

    so that the movements meet those of Attention."""
    def before(op, x, shape, cos, sin, **rest):
        heads = op.Transpose(op.bind("heads", op.Reshape(x, shape)), perm=SPLIT)
        return op.RotaryEmbedding(heads, cos, sin, **rest)
    def after(op, x, shape, cos, sin, heads, **rest):
        turned = op.RotaryEmbedding(x, cos, sin, num_heads=heads.shape[2], **rest)
        return op.Transpose(op.Reshape(turned, shape), perm=SPLIT)
    def where(x, heads): return splits_heads(x, heads)
    when = runs("RotaryEmbedding")
