"""Attention and rotary embedding in matrix products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.passes.legalize.registry import expands


@expands("Attention", opmath=True)
def attention(
    op: Builder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    lengths: Tensor | None,
    *,
    is_causal: int,
    scale: float | None,
    q_num_heads: int | None,
    kv_num_heads: int | None,
    softcap: float,
    **rest: Any,
) -> list[Tensor | None]:
    """softmax(Q·Kᵀ·scale + mask)·V. Source: ONNX operator Attention; Vaswani et al. 2017."""
    flat = query.rank == 3
    if flat:
        query, key, value = (
            _split_heads(op, query, q_num_heads),
            _split_heads(op, key, kv_num_heads),
            _split_heads(op, value, kv_num_heads),
        )
    offset: Dim = 0
    if past_key is not None and past_value is not None:
        offset = past_key.shape[2]
        key, value = op.Concat(past_key, key, axis=2), op.Concat(past_value, value, axis=2)
    present_key, present_value = key, value
    key, value = _repeat_heads(op, key, query), _repeat_heads(op, value, query)
    root = _root_of_scale(op, query, scale)  # half of the scale on each side keeps products small
    queries = query * (-root if scale is not None and scale < 0 else root)
    scores = op.MatMul(queries, op.Transpose(key, perm=[0, 1, 3, 2]) * root)
    if softcap:
        scores = op.Tanh(scores / softcap) * softcap
    bias = _bias(op, scores, mask, bool(is_causal), offset)
    if bias is None or mask is None:  # a causal row sees at least its own key
        result = op.MatMul(op.Softmax(scores if bias is None else scores + bias, axis=-1), value)
    else:
        result = _safe_product(op, scores, bias, value)
    if flat:
        result = op.Transpose(result, perm=[0, 2, 1, 3])
        result = op.Reshape(result, [0, 0, query.shape[1] * value.shape[3]])
    return [result, present_key, present_value, None]


def _root_of_scale(op: Builder, query: Tensor, scale: float | None) -> Any:
    """√|scale|; the scale is 1/√size of a head by default."""
    if scale is not None:
        return math.sqrt(abs(scale))
    size = query.shape[3]
    if isinstance(size, int):
        return max(size, 1) ** -0.25
    return op.Reciprocal(op.Sqrt(op.Sqrt(op.Cast(op.size(size), to=query.dtype))))


def _split_heads(op: Builder, x: Tensor, heads: int | None) -> Tensor:
    """[batch, sequence, heads * size] as [batch, heads, sequence, size]."""
    assert heads is not None
    return op.Transpose(op.Reshape(x, [0, 0, heads, x.shape[2] // heads]), perm=[0, 2, 1, 3])


def _repeat_heads(op: Builder, x: Tensor, query: Tensor) -> Tensor:
    """Key or value heads shared by a group of query heads, repeated for each of them."""
    heads, shared = query.shape[1], x.shape[1]
    if heads == shared:
        return x
    wide = op.Expand(op.Unsqueeze(x, [2]), [x.shape[0], shared, heads // shared, *x.shape[2:]])
    return op.Reshape(wide, [x.shape[0], heads, *x.shape[2:]])


def _bias(op: Builder, scores: Tensor, mask: Tensor | None, causal: bool, offset: Dim) -> Tensor | None:
    """What is added to the scores: 0 where a key takes part, -∞ where not. Made of the mask alone, it is shared by all
    layers that have the same."""
    nothing, never = op.constant(0.0, scores.dtype), op.constant(-math.inf, scores.dtype)
    if mask is not None and mask.dtype is dtypes.BOOL:
        mask = op.Where(mask, nothing, never)
    if not causal:
        return mask
    rows, columns = scores.shape[2], scores.shape[3]
    row = op.Unsqueeze(op.Range(op.size(offset), op.size(rows + offset), np.array(1)), [1])
    column = op.Unsqueeze(op.Range(np.array(0), op.size(columns), np.array(1)), [0])
    triangle = op.Where(op.GreaterOrEqual(row, column), nothing, never)
    return triangle if mask is None else mask + triangle


def _safe_product(op: Builder, scores: Tensor, bias: Tensor, value: Tensor) -> Tensor:
    """softmax(scores + bias)·value with zeros in rows that see no key, where a softmax would be 0/0.

    Those rows are told by the bias, which is small and shared; the scores are passed over no more often than without.
    """
    sees = op.Greater(op.ReduceMax(bias, [-1], keepdims=1), op.constant(-math.inf, bias.dtype))
    weights = op.Softmax(scores + op.Where(sees, bias, op.constant(0.0, bias.dtype)), axis=-1)
    return op.MatMul(weights, value) * op.Cast(sees, to=value.dtype)


@expands("RotaryEmbedding", opmath=True)
def rotary_embedding(
    op: Builder,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    *,
    interleaved: int,
    num_heads: int,
    rotary_embedding_dim: int,
    **rest: Any,
) -> Tensor:
    """Pairs of features rotated by position. Source: ONNX operator RotaryEmbedding; Su et al. 2021."""
    flat = x.rank == 3
    if flat:
        x = _split_heads(op, x, num_heads)
    if positions is not None:
        cos, sin = op.Gather(cos, positions, axis=0), op.Gather(sin, positions, axis=0)
    size = x.shape[3]
    assert isinstance(size, int), "a head that is turned has a static size"
    turned = rotary_embedding_dim or size
    part, left = (op.Split(x, [turned, size - turned], axis=3, _outputs=2)) if turned < size else (x, None)
    first, second = _pairs(op, part, turned, bool(interleaved))
    cos, sin = op.Unsqueeze(cos, [1]), op.Unsqueeze(sin, [1])
    real, imaginary = first * cos - second * sin, first * sin + second * cos
    result = _join(op, real, imaginary, part, bool(interleaved))
    result = result if left is None else op.Concat(result, left, axis=3)
    return op.Reshape(op.Transpose(result, perm=[0, 2, 1, 3]), [0, 0, -1]) if flat else result


def _pairs(op: Builder, x: Tensor, size: int, interleaved: bool) -> tuple[Tensor, Tensor]:
    if not interleaved:
        first, second = op.Split(x, num_outputs=2, axis=3)
        return first, second
    return op.Slice(x, [0], [size], [3], [2]), op.Slice(x, [1], [size], [3], [2])


def _join(op: Builder, real: Tensor, imaginary: Tensor, like: Tensor, interleaved: bool) -> Tensor:
    if not interleaved:
        return op.Concat(real, imaginary, axis=3)
    pairs = op.Concat(op.Unsqueeze(real, [4]), op.Unsqueeze(imaginary, [4]), axis=4)
    return op.Reshape(pairs, like.shape)
