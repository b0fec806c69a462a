"""Scaled dot-product attention, kept whole: one ONNX Attention, whatever the rank, mask and number of heads.

What is relied on, here and in whatever Attention is expanded into: a boolean mask is True where a key takes part, a
float mask is added; `is_causal` is only used where queries and keys are equally many, so that no alignment of the
triangle can be meant but one; a row that sees no key gives zeros, as torch's does (its `_safe_softmax`).

Sources: Vaswani et al. 2017; Ainslie et al. 2023 (grouped queries); ONNX operator Attention.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, Shape, product
from fxonnx.ir.infer import broadcast
from fxonnx.lowering.aten.math.matmul import linear
from fxonnx.lowering.aten.math.reduction import any_
from fxonnx.lowering.aten.nn.dropout import dropout
from fxonnx.lowering.aten.nn.normalization import layer_norm
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, expand, full, number, reshape, swapped


@lower("aten.scaled_dot_product_attention", runtime={"scale"})
def scaled_dot_product_attention(
    op: Builder, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, *, scale: Any = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(query · keyᵀ · scale + mask) · value; leading axes broadcast, and are batches and heads.

    With dropout of the softmax, which ONNX's Attention has none of, it is written out; so it is where sizes may be 0
    in the midst of a model, which the runtime's kernel refuses.
    """
    length, keys = query.shape[-2], key.shape[-2]
    if any(0 in x.shape for x in (query, key, value)):  # torch asks for no more, not even that batches fit
        return full(op, (*query.shape[:-1], value.shape[-1]), 0, dtype_of(query))
    if is_causal and length != keys:
        attn_mask, is_causal = _triangle(op, length, keys), False  # torch admits no other mask beside
    if enable_gqa and key.shape[-3] != value.shape[-3]:
        key, value = (_repeat_heads(op, x, query.shape[-3]) for x in (key, value))
    heads = 3 if enable_gqa else 2  # with grouped queries, key and value have fewer heads, and nothing broadcasts there
    batch = broadcast(*(tuple(x.shape)[:-heads] for x in (query, key, value)))
    query, key, value = (expand(op, x, (*batch, *x.shape[-heads:])) for x in (query, key, value))
    leading = tuple(query.shape)[:-2]
    sizes = (*leading, length, keys, query.shape[-1], value.shape[-1])
    if dropout_p or any(op.may_vanish(dim) for dim in sizes if isinstance(dim, Expr)):
        key, value = (_repeat_heads(op, x, query.shape[-3]) for x in (key, value)) if enable_gqa else (key, value)
        logits = scores(op, query, key, attn_mask, is_causal, factor_of(op, query, scale))
        weights = safe_softmax(op, logits, -1)
        return (dropout(op, weights, dropout_p, train=True) if dropout_p else weights) @ value
    if query.shape[-1] == 0:  # all scores are 0; the runtime takes no heads of size 0
        query, key = (full(op, (*x.shape[:-1], 1), 0, dtype_of(x)) for x in (query, key))
    query, scale = _positive_scale(op, query, scale)
    mask = None if attn_mask is None else _mask(op, attn_mask, leading, length, keys, query)
    result = op.Attention(
        *(_four_axes(op, x) for x in (query, key, value)), mask, scale=scale, is_causal=int(is_causal) or None
    )
    if len(leading) < 2:
        return op.Squeeze(result, list(range(2 - len(leading))))
    return reshape(op, result, (*leading, length, value.shape[-1]))


@lower(
    "aten._scaled_dot_product_flash_attention_for_cpu", "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention", "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable", "aten._scaled_dot_product_attention_math",
    "aten._scaled_dot_product_attention_math_for_mps", runtime={"scale"})  # fmt: skip
def attention_of_a_device(
    op: Builder, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    attn_bias: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False, dropout_mask: None = None,
    return_debug_mask: bool = False, compute_log_sumexp: bool = False, *, scale: Any = None, enable_gqa: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The same, as a graph traced for one device spells it, and the logarithms of the sums that its softmax divides by,
    for the backward pass; so is what it returns besides."""
    if dropout_mask is not None:
        raise Unsupported("dropout_mask: attention with dropout belongs to training; compile with mode='eval'")
    mask = attn_mask if attn_mask is not None else attn_bias
    result = scaled_dot_product_attention(
        op, query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    if enable_gqa or key.shape[:-2] != query.shape[:-2]:
        return (result, *[None] * 8)
    logits = cast(op, scores(op, query, key, mask, is_causal, factor_of(op, query, scale)), dtypes.FLOAT32)
    largest = op.ReduceMax(logits, [-1])
    sums = op.Log(op.ReduceSum(op.Exp(logits - largest), [-1])) + largest
    return (result, op.Squeeze(sums, [-1]), *[None] * 7)


# ── what TorchScript of nn.MultiheadAttention and nn.TransformerEncoderLayer calls where nothing is to be trained ─────


@lower("aten._masked_softmax")
def masked_softmax(
    op: Builder, self: Tensor, mask: Tensor, dim: int | None = None, mask_type: int | None = None
) -> Tensor:
    """Softmax of what the mask does not hide, NaN where it hides all. A mask of type 0 is [queries, keys], of type 1
    [batch, keys], any other one as large as the scores."""
    by_key = op.Unsqueeze(mask, [1, 2]) if mask_type == 1 else mask
    return op.Softmax(op.Where(by_key, number(op, -math.inf, self), self), axis=-1 if dim is None else dim)


@lower("aten._native_multi_head_attention")
def native_multi_head_attention(
    op: Builder, query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_head: int, qkv_weight: Tensor,
    qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor, mask: Tensor | None = None, need_weights: bool = True,
    average_attn_weights: bool = True, mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention of [batch, length, embed_dim] by heads, between projections; and its weights, those of all heads or
    their mean. Of a mask that is no bool each number but 0 hides a key."""
    weights, biases = (op.Split(each, axis=0, num_outputs=3) for each in (qkv_weight, qkv_bias))
    projected = map(partial(linear, op), (query, key, value), weights, biases)
    q, k, v = (_by_heads(op, each, num_head, embed_dim // num_head) for each in projected)
    logits = scores(op, q, k, None, False, factor_of(op, q, None))
    if mask is None:
        shares = op.Softmax(logits, axis=-1)
    else:
        shares = masked_softmax(op, logits, cast(op, mask, dtypes.BOOL), -1, mask_type)
    joined = reshape(op, op.Transpose(shares @ v, perm=[0, 2, 1, 3]), (*query.shape[:2], embed_dim))
    result = linear(op, joined, proj_weight, proj_bias)
    if not need_weights:
        return result, None
    return result, op.ReduceMean(shares, [1], keepdims=0) if average_attn_weights else shares


@lower("aten._transformer_encoder_layer_fwd")
def transformer_encoder_layer(
    op: Builder, src: Tensor, embed_dim: int, num_heads: int, qkv_weight: Tensor, qkv_bias: Tensor,
    proj_weight: Tensor, proj_bias: Tensor, use_gelu: bool, norm_first: bool, eps: float, norm_weight_1: Tensor,
    norm_bias_1: Tensor, norm_weight_2: Tensor, norm_bias_2: Tensor, ffn_weight_1: Tensor, ffn_bias_1: Tensor,
    ffn_weight_2: Tensor, ffn_bias_2: Tensor, mask: Tensor | None = None, mask_type: int | None = None,
) -> Tensor:  # fmt: skip
    """Attention and two linear layers, each added to what it reads, and normalized before or after it."""

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return layer_norm(op, x, [embed_dim], weight, bias, eps)

    x = norm(src, norm_weight_1, norm_bias_1) if norm_first else src
    projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
    attended, _ = native_multi_head_attention(
        op, x, x, x, embed_dim, num_heads, *projections, mask, need_weights=False, mask_type=mask_type
    )
    first = src + attended
    first = first if norm_first else norm(first, norm_weight_1, norm_bias_1)
    x = norm(first, norm_weight_2, norm_bias_2) if norm_first else first
    hidden = linear(op, x, ffn_weight_1, ffn_bias_1)
    hidden = op.Gelu(hidden) if use_gelu else op.Relu(hidden)
    second = first + linear(op, hidden, ffn_weight_2, ffn_bias_2)
    return second if norm_first else norm(second, norm_weight_2, norm_bias_2)


def _by_heads(op: Builder, x: Tensor, heads: int, size: int) -> Tensor:
    """[batch, length, heads · size] as [batch, heads, length, size]."""
    return op.Transpose(reshape(op, x, (*x.shape[:2], heads, size)), perm=[0, 2, 1, 3])


# ── parts of attention ───────────────────────────────────────────────────────────────────────────────────────────────


def factor_of(op: Builder, query: Tensor, scale: Any) -> Any:
    """What scores are multiplied by: the scale, by default 1 / √(the size of a head)."""
    if scale is None and isinstance(query.shape[-1], int):
        scale = 1 / math.sqrt(query.shape[-1])
    if scale is None:
        return number(op, 1, query) / op.Sqrt(cast(op, op.size(query.shape[-1]), dtype_of(query)))
    return number(op, scale, query) if isinstance(scale, (int, float)) else cast(op, scale, dtype_of(query))


def scores(op: Builder, query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, factor: Tensor) -> Tensor:
    """query · keyᵀ · factor + mask: what the softmax is taken of."""
    logits = query * factor @ swapped(op, key)
    if is_causal:
        mask = _triangle(op, query.shape[-2], key.shape[-2])
    if mask is None:
        return logits
    if dtype_of(mask).name == "bool":
        return op.Where(mask, logits, number(op, -math.inf, logits))
    return logits + cast(op, mask, dtype_of(logits))


@lower("aten._safe_softmax")
def safe_softmax(op: Builder, self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Softmax along `dim`, with zeros where all elements are -inf: asked of each, for of nothing else OpenVINO finds
    another maximum."""
    x = self if dtype is None else cast(op, self, dtype)
    is_masked = any_(op, op.Equal(x, number(op, -math.inf, x)), dim, keepdim=True, operator="ReduceMin")
    return op.Where(is_masked, number(op, 0.0, x), op.Softmax(x, axis=dim))


def _positive_scale(op: Builder, query: Tensor, scale: Any) -> tuple[Tensor, float | None]:
    """A query and a scale with the same product, whose scale is a positive number: Attention takes its square root."""
    if scale is None or (isinstance(scale, (int, float)) and scale > 0):
        return query, scale
    return query * factor_of(op, query, scale), 1.0


def _triangle(op: Builder, length: Dim, keys: Dim) -> Tensor:
    """Query i sees keys 0 … i: torch aligns the triangle to the first query and key, however many there are."""
    rows, columns = (op.Range(0, dim, 1) for dim in (length, keys))
    return columns <= op.Unsqueeze(rows, [1])


def _mask(op: Builder, mask: Tensor, leading: Shape, length: Dim, keys: Dim, query: Tensor) -> Tensor:
    """The mask with rank 2 to 4, its last two axes whole: a short last one means absent keys, ORT refuses the other."""
    if dtype_of(mask).name != "bool":
        mask = _above_lowest(op, cast(op, mask, dtype_of(query)))
    if len(leading) > 2 and len(mask.shape) > 2:
        return _four_axes(op, expand(op, mask, (*leading, length, keys)))
    return expand(op, mask, (*tuple(mask.shape)[:-2], length, keys))


def _above_lowest(op: Builder, mask: Tensor) -> Tensor:
    """The mask with the number next to it where it has its dtype's lowest, with which many models hide a key.

    ONNX Runtime takes that number for -inf: a row of nothing else gives zeros there, and the mean of all values in
    torch, as by the definition of softmax.
    """
    lowest = ml_dtypes.finfo(np.dtype(dtype_of(mask).numpy)).min
    beside = np.nextafter(lowest, lowest.dtype.type(0))
    return op.Where(op.Equal(mask, number(op, float(lowest), mask)), number(op, float(beside), mask), mask)


def _four_axes(op: Builder, x: Tensor) -> Tensor:
    """[batch, heads, length, size]: missing axes in front, superfluous ones joined to the batch."""
    rank = len(x.shape)
    if rank < 4:
        return op.Unsqueeze(x, list(range(4 - rank)))
    return reshape(op, x, (product(x.shape[:-3]), *x.shape[-3:]))


def _repeat_heads(op: Builder, x: Tensor, heads: Dim) -> Tensor:
    """Every head of [..., heads, length, size] as often in a row as makes `heads` of them."""
    *batch, few, length, size = x.shape
    if few == heads:
        return x
    repeated = expand(op, op.Unsqueeze(x, [-3]), (*batch, few, heads // few, length, size))
    return reshape(op, repeated, (*batch, heads, length, size))
