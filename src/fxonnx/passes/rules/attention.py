"""Attention and rotary positions written out, in one operator; and both on tensors whose heads were not split off."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.data import first_half
from fxonnx.ir.graph import constant_ints
from fxonnx.passes.rewriting.match import content
from fxonnx.passes.rewriting.rewrite import rule

SPLIT = (0, 2, 1, 3)  # [batch, length, heads, size] <-> [batch, heads, length, size]


def _runs(op):
    """Whether a target has the operator, and its runtime a kernel for it."""
    def when(target):
        facts = schema.facts(op, target.opset)
        return facts is not None and target.has_kernel("", op, facts.since, {})

    return when


# ── attention ────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule
class eager_attention:
    """q ─ × scale ─┐
       k ── Transpose ┴─ MatMul ── + mask ── Softmax ─┐
       v ─────────────────────────────────────────────┴─ MatMul ─▶        becomes        q, k, v, mask ── Attention ─▶

    Only for a finite mask or none, a constant or a choice of two numbers: where all keys of a row are masked by -inf,
    the one gives NaN and the other zero. Vaswani et al. 2017."""
    def before(op, q, k, v, mask, seen, shown, hidden, *, perm, scale, divisor, outer, rank):
        keys = op.Transpose(k, perm=perm)
        products = op.MatMul(q, keys)
        scores = op.any_of(
            op.MatMul(q * scale, keys), op.MatMul(q / divisor, keys), products * scale, products / divisor, products
        )
        chosen = op.bind("choice", op.keep(op.Where(seen, shown, hidden)))
        masked = op.any_of(scores, (products + chosen) / outer, scores + chosen, scores + mask)
        return op.MatMul(op.Softmax(masked, axis=rank), v)
    def after(op, q, k, v, mask, seen, shown, hidden, perm, scale, divisor, outer):
        mask = mask if seen is None else op.Where(seen, shown, _above_lowest(op, hidden, outer or 1))
        divisor = divisor if outer is None else outer
        factor = scale if scale is not None else 1 / divisor if divisor is not None else 1.0
        key = op.Transpose(k, perm=(*perm[:2], perm[3], perm[2]))
        return op.Attention(q, key, v, mask, scale=factor)
    def where(q, k, v, mask, choice, shown, hidden, perm, scale, divisor, outer, rank):
        if q.rank != 4 or k.rank != 4 or v.rank != 4 or rank not in (-1, 3) or perm is None or q.dtype.bits > 32:
            return False  # a scale is a float32 attribute
        key = [k.shape[axis] for axis in (*perm[:2], perm[3], perm[2])]
        alike = [*q.shape[:2]] == key[:2] == [*v.shape[:2]] and key[2] == v.shape[2]
        positive = all(factor is None or factor > 0 for factor in (scale, divisor, outer))
        scores = (*q.shape[:3], key[2])
        return alike and positive and _is_finite_mask(mask, scores) and _is_finite_choice(choice, shown, hidden, scores)
    when = _runs("Attention")


def _is_finite_mask(mask, scores):
    """Whether a mask is none, or a constant that hides nothing entirely and has the last two axes of the scores."""
    if mask is None:
        return True
    array = content(mask.value)
    if array is None or not _fits_scores(mask, scores):
        return False
    lowest = ml_dtypes.finfo(array.dtype).min  # ONNX Runtime takes it for -inf
    return bool(np.isfinite(array).all() and np.all(array > lowest))


def _is_finite_choice(choice, shown, hidden, scores):
    """Whether a mask is none, or zero or a finite constant for each key."""
    if choice is None:
        return True
    zero, lowest = (content(each.value) for each in (shown, hidden))
    if zero is None or lowest is None or lowest.size != 1 or not np.isfinite(lowest).all():
        return False
    return not zero.any() and _fits_scores(choice, scores)


def _fits_scores(mask, scores):
    """Whether a mask has the last two axes of the scores, and spreads over the others."""
    leading = zip(mask.shape[:-2], scores[:2], strict=False)
    return mask.rank in (2, 4) and mask.shape[-2:] == scores[2:] and all(dim in (1, size) for dim, size in leading)


def _above_lowest(op, hidden, divisor):
    """The quotient, or the number next to the lowest one, which ONNX Runtime takes for -inf."""
    array = (content(hidden.value) / divisor).astype(hidden.value.dtype.numpy)
    lowest = ml_dtypes.finfo(array.dtype).min
    return op.constant(np.where(array == lowest, np.nextafter(lowest, lowest.dtype.type(0)), array).astype(array.dtype))


@rule
class one_head_for_all:
    """k ── Expand ─┐
       v ── Expand ─┴─ Attention ─▶        becomes        k, v ── Attention ─▶

    The key head that all query heads have needs no copies. Shazeer 2019."""
    def before(op, q, k, v, a, b, mask=None, **rest):
        return op.Attention(q, op.bind("keys", op.Expand(k, a)), op.bind("values", op.Expand(v, b)), mask, **rest)
    def after(op, q, k, v, mask, **rest): return op.Attention(q, k, v, mask, **rest)
    def where(q, k, v, keys, values):
        if q.rank != 4 or not isinstance(q.shape[1], int):
            return False
        pairs = (k, keys), (v, values)
        alike = ((few.shape[0], q.shape[1], *few.shape[2:]) == many.shape for few, many in pairs if few.rank == 4)
        return k.rank == v.rank == 4 and k.shape[1] == v.shape[1] == 1 and all(alike)
    when = _runs("Attention")


@rule
class grouped_heads:
    """k ── Unsqueeze ── Expand ── Reshape ─┐
       v ── Unsqueeze ── Expand ── Reshape ─┴─ Attention ─▶        becomes        k, v ── Attention ─▶

    A key head serves as many query heads as come to it, in a row. Ainslie et al. 2023."""
    def before(op, q, k, v, a, b, c, d, mask=None, *, axis, **rest):
        key = op.bind("keys", op.Reshape(op.bind("wide", op.Expand(op.Unsqueeze(k, axis), a)), c))
        value = op.bind("values", op.Reshape(op.bind("broad", op.Expand(op.Unsqueeze(v, axis), b)), d))
        return op.Attention(q, key, value, mask, **rest)
    def after(op, q, k, v, mask, **rest): return op.Attention(q, k, v, mask, **rest)
    def where(q, k, v, axis, wide, broad, keys, values):
        return q.rank == 4 and axis == 2 and _repeats(k, wide, keys) and _repeats(v, broad, values)
    when = _runs("Attention")


def _repeats(few, wide, many):
    """Whether each head of [batch, heads, length, size] is repeated in a row, and nothing else is done to it."""
    if few.rank != 4 or wide.rank != 5 or many.rank != 4:
        return False
    batch, heads, *size = few.shape
    return wide.shape == (batch, heads, wide.shape[2], *size) and many.shape == (batch, heads * wide.shape[2], *size)


@rule
class joined_heads:
    """q ── Reshape ── Transpose ─┐
       k ── Reshape ── Transpose ─┤
       v ── Reshape ── Transpose ─┴─ Attention ── Transpose ── Reshape ─▶        becomes        q, k, v ── Attention ─▶

    which takes heads as they lie in the last axis: no data moves."""
    def before(op, q, k, v, a, b, c, to, mask=None, **rest):
        def split(name, x, shape):
            return op.Transpose(op.bind(name, op.Reshape(x, shape)), perm=SPLIT)

        heads = op.Attention(split("queries", q, a), split("keys", k, b), split("values", v, c), mask, **rest)
        return op.Reshape(op.bind("rows", op.Transpose(heads, perm=SPLIT)), to)
    def after(op, q, k, v, mask, queries, keys, **rest):
        return op.Attention(q, k, v, mask, q_num_heads=queries.shape[2], kv_num_heads=keys.shape[2], **rest)
    def where(q, k, v, queries, keys, values, rows, result):
        pairs = ((q, queries), (k, keys), (v, values), (result, rows))
        return keys.shape[2] == values.shape[2] and all(_splits_heads(flat, heads) for flat, heads in pairs)
    when = _runs("Attention")


@rule
class grouped_queries:
    """q: heads · length ── Attention ─▶

    becomes        q ── Reshape: key heads · (group · length) ── Attention ── Reshape ─▶

    where each key head serves a group of queries and has a past: it is read once for all of them, while a kernel that
    goes head by head reads it anew for each. The mask is repeated for the group, once for all layers."""
    def before(op, q, k, v, past_key, past_value, mask=None, **rest):
        return op.Attention(q, k, v, mask, past_key, past_value, _outputs=3, **rest)
    def after(op, q, k, v, past_key, past_value, mask, **rest):
        heads, few = q.shape[1], k.shape[1]
        rows = None if mask is None else _rows_of_groups(op, mask, few, heads // few)
        queries = op.Reshape(q, [0, few, -1, q.shape[3]])
        result, *present = op.Attention(queries, k, v, rows, past_key, past_value, _outputs=3, **rest)
        return op.Reshape(result, [0, heads, -1, v.shape[3]]), *present
    def where(q, k, v, is_causal=0):
        if q.rank != 4 or is_causal:
            return False
        sizes = (q.shape[1], k.shape[1], q.shape[3], v.shape[3])
        return all(isinstance(size, int) for size in sizes) and q.shape[1] > k.shape[1]
    when = _runs("Attention")


def _rows_of_groups(op, mask, few, group):
    """A mask for [batch, key heads, group · length, total]: of each head if it has one for each, else repeated."""
    *_, length, total = mask.shape
    if mask.rank < 4:
        mask = op.Unsqueeze(mask, list(range(4 - mask.rank)))
    if mask.shape[1] != 1:
        return op.Reshape(mask, op.sizes([mask.shape[0], few, length * group, total]))
    wide = op.Expand(op.Unsqueeze(mask, [2]), [1, 1, group, 1, 1])
    return op.Reshape(wide, op.sizes([mask.shape[0], 1, length * group, total]))


@rule
class joined_heads_with_past:
    """q ── Reshape ── Transpose ─┐
       k ── Reshape ── Transpose ─┤
       v ── Reshape ── Transpose ─┤
                             past ┴─ Attention ─▶    becomes    q, k, v, past ── Attention ── Reshape ── Transpose ─▶

    as in joined_heads; the keys and values that it leaves for later are the same."""
    def before(op, q, k, v, a, b, c, past_key, past_value, mask=None, **rest):
        def split(name, x, shape):
            return op.Transpose(op.bind(name, op.Reshape(x, shape)), perm=SPLIT)

        heads = (split("queries", q, a), split("keys", k, b), split("values", v, c))
        return op.Attention(*heads, mask, past_key, past_value, _outputs=3, **rest)
    def after(op, q, k, v, mask, past_key, past_value, queries, keys, values, **rest):
        heads = {"q_num_heads": queries.shape[2], "kv_num_heads": keys.shape[2]}
        flat, *present = op.Attention(q, k, v, mask, past_key, past_value, _outputs=3, **heads, **rest)
        shape = [0, 0, queries.shape[2], values.shape[3]]
        return op.Transpose(op.Reshape(flat, shape), perm=SPLIT), *present
    def where(q, k, v, queries, keys, values):
        pairs = ((q, queries), (k, keys), (v, values))
        return keys.shape[2] == values.shape[2] and all(_splits_heads(flat, heads) for flat, heads in pairs)
    when = _runs("Attention")


def _splits_heads(flat, heads):
    """Whether [batch, length, heads · size] is seen as [batch, length, heads, size]."""
    if flat.rank != 3 or heads.rank != 4 or not all(isinstance(dim, int) for dim in heads.shape[2:]):
        return False
    batch, length, count, size = heads.shape
    return flat.shape == (batch, length, count * size)


# ── rotary positions ─────────────────────────────────────────────────────────────────────────────────────────────────


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


def _rotary(op, x, cos, sin):
    """RotaryEmbedding wants a row of cosines and sines for each batch."""
    if cos.shape[0] != x.shape[0]:
        wide = op.sizes([x.shape[0], 1, 1])
        cos, sin = op.Expand(cos, wide), op.Expand(sin, wide)
    return op.RotaryEmbedding(x, cos, sin)


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
    when = _runs("RotaryEmbedding")


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
    when = _runs("RotaryEmbedding")


def _is_doubled(table):
    """Whether a constant [batch, 1, length, size] holds the first half of each row again in the second."""
    if table.rank != 4 or table.shape[1] != 1 or table.shape[3] % 2 or content(table.value) is None:
        return False
    return np.array_equal(*np.split(content(table.value), 2, axis=3))


def _half(op, table):
    """[batch, length, size / 2] of a doubled [batch, 1, length, size]."""
    return op.constant(first_half(table.value.data))


@rule
class rotary_of_joined_heads:
    """x ── Reshape ── Transpose ── RotaryEmbedding ─▶

    becomes        x ── RotaryEmbedding ── Reshape ── Transpose ─▶

    so that the movements meet those of Attention."""
    def before(op, x, shape, cos, sin):
        return op.RotaryEmbedding(op.Transpose(op.bind("heads", op.Reshape(x, shape)), perm=SPLIT), cos, sin)
    def after(op, x, shape, cos, sin, heads):
        turned = op.RotaryEmbedding(x, cos, sin, num_heads=heads.shape[2])
        return op.Transpose(op.Reshape(turned, shape), perm=SPLIT)
    def where(x, heads): return _splits_heads(x, heads)
    when = _runs("RotaryEmbedding")
