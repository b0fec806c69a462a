"""Attention written out, in one operator; and on tensors whose heads were not split off."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.graph import content
from fxonnx.passes.rewriting.rewrite import rule

SPLIT = (0, 2, 1, 3)  # [batch, length, heads, size] <-> [batch, heads, length, size]


def runs(op):
    """Whether a target has the operator, and its runtime a kernel for it."""
    def when(target):
        facts = schema.facts(op, target.opset)
        return facts is not None and target.has_kernel("", op, facts.since, {})

    return when


@rule
class eager_attention:
    """q ─ × scale ─┐
       k ── Transpose ┴─ MatMul ── (÷ cap ── Tanh ── × cap) ── + mask ── Softmax ─┐
       v ─────────────────────────────────────────────────────────────────────────┴─ MatMul ─▶

    becomes        q, k, v, mask ── Attention ─▶

    Only for a finite mask or none, a constant or a choice of two numbers: where all keys of a row are masked by -inf,
    the one gives NaN and the other zero. Vaswani et al. 2017; Gemma Team 2024 (scores that have a cap)."""
    def before(op, q, k, v, mask, seen, shown, hidden, *, perm, scale, divisor, outer, rank, cap):
        keys = op.Transpose(k, perm=perm)
        products = op.MatMul(q, keys)
        scaled = op.any_of(
            op.MatMul(q * scale, keys), op.MatMul(q / divisor, keys), products * scale, products / divisor, products
        )
        scores = op.any_of(op.Tanh(scaled / cap) * cap, scaled)
        chosen = op.bind("choice", op.keep(op.Where(seen, shown, hidden)))
        masked = op.any_of(scores, (products + chosen) / outer, scores + chosen, scores + mask)
        return op.MatMul(op.Softmax(masked, axis=rank), v)
    def after(op, q, k, v, mask, seen, shown, hidden, perm, scale, divisor, outer, cap):
        mask = mask if seen is None else op.Where(seen, shown, _above_lowest(op, hidden, outer or 1))
        divisor = divisor if outer is None else outer
        factor = scale if scale is not None else 1 / divisor if divisor is not None else 1.0
        key = op.Transpose(k, perm=(*perm[:2], perm[3], perm[2]))
        return op.Attention(q, key, v, mask, scale=factor, softcap=cap)
    def where(q, k, v, mask, choice, shown, hidden, perm, scale, divisor, outer, rank, cap):
        if q.rank != 4 or k.rank != 4 or v.rank != 4 or rank not in (-1, 3) or perm is None or q.dtype.bits > 32:
            return False  # a scale is a float32 attribute
        key = [k.shape[axis] for axis in (*perm[:2], perm[3], perm[2])]
        alike = [*q.shape[:2]] == key[:2] == [*v.shape[:2]] and key[2] == v.shape[2]
        positive = all(factor is None or factor > 0 for factor in (scale, divisor, outer, cap))
        scores = (*q.shape[:3], key[2])
        return alike and positive and _is_finite_mask(mask, scores) and _is_finite_choice(choice, shown, hidden, scores)
    when = runs("Attention")


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
    when = runs("Attention")


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
    when = runs("Attention")


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
        return keys.shape[2] == values.shape[2] and all(splits_heads(flat, heads) for flat, heads in pairs)
    when = runs("Attention")


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
    when = runs("Attention")


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
        return keys.shape[2] == values.shape[2] and all(splits_heads(flat, heads) for flat, heads in pairs)
    when = runs("Attention")


def splits_heads(flat, heads):
    """Whether [batch, length, heads · size] is seen as [batch, length, heads, size]."""
    if flat.rank != 3 or heads.rank != 4 or not all(isinstance(dim, int) for dim in heads.shape[2:]):
        return False
    batch, length, count, size = heads.shape
    return flat.shape == (batch, length, count * size)
