"""Normalizations written out, in one operator."""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.graph import constant_ints
from fxonnx.passes.rewriting.rewrite import rule


def _over_root(op, x, variance, epsilon):
    """x / √(variance + ε)."""
    root = op.Sqrt(variance + epsilon)
    return op.any_of(x / root, x * op.Reciprocal(root))


def _is_norm(x, axes, epsilon, *weights):
    """Whether all is as one operator has it.

    The last axis is reduced and no other, each weight has an element for each of its elements, and ε, an attribute of
    float32 and statistics of that dtype are precise enough.
    """
    is_last = [axis % x.rank for axis in constant_ints(axes.value) or ()] == [x.rank - 1]
    return is_last and all(each.shape == x.shape[-1:] for each in weights) and epsilon >= 0 and x.dtype.bits <= 32


@rule
class rms_norm:
    """x ─┬─ x² ── Mean ── +ε ── √ ─┐
          └─────────────────────────┴─ ÷ ── × weight ─▶        becomes        x ── RMSNormalization ─▶

    Zhang & Sennrich 2019; in Llama's order."""
    def before(op, x, weight, axes, *, epsilon): return _over_root(op, x, op.ReduceMean(x * x, axes), epsilon) * weight
    def after(op, x, weight, *, epsilon):
        return op.RMSNormalization(x, weight, axis=-1, epsilon=epsilon)
    def where(x, weight, axes, epsilon): return _is_norm(x, axes, epsilon, weight)


@rule
class rms_norm_in_float32:
    """x: f16 ── Cast f32 ─┬─ x² ── Mean ── +ε ── √ ─┐
                           └─────────────────────────┴─ ÷ ── Cast f16 ── × weight ─▶

    becomes        x ── RMSNormalization ─▶        which computes in float32 itself, and rounds in the same place"""
    def before(op, x, weight, axes, *, epsilon, to):
        wide = op.Cast(x, to=dtypes.FLOAT32)
        return op.Cast(_over_root(op, wide, op.ReduceMean(wide * wide, axes), epsilon), to=to) * weight
    def after(op, x, weight, *, epsilon): return op.RMSNormalization(x, weight, axis=-1, epsilon=epsilon)
    def where(x, weight, axes, epsilon, to):
        return x.dtype.code == to and _is_norm(x, axes, epsilon, weight)


@rule
class layer_norm:
    """x ── − Mean ── RMSNormalization ─▶        becomes        x ── LayerNormalization ─▶

    Ba et al. 2016."""
    def before(op, x, weight, axes, *, epsilon):
        return op.RMSNormalization(x - op.ReduceMean(x, axes), weight, axis=-1, epsilon=epsilon)
    def after(op, x, weight, *, epsilon): return op.LayerNormalization(x, weight, axis=-1, epsilon=epsilon)
    def where(x, weight, axes, epsilon): return _is_norm(x, axes, epsilon, weight)


@rule
class layer_norm_bias:
    """x ── LayerNormalization ── + bias ─▶        becomes        x, bias ── LayerNormalization ─▶"""
    def before(op, x, weight, bias, **rest): return op.LayerNormalization(x, weight, **rest) + bias
    def after(op, x, weight, bias, **rest): return op.LayerNormalization(x, weight, bias, **rest)
    def where(weight, bias): return bias.type == weight.type


@rule
class layer_norm_of_channels:
    """x ── − Mean ─┬─ x² ── Mean ── +ε ── √ ─┐
                    └─────────────────────────┴─ ÷ ── × weight ── + bias ─▶        over the second axis of images

    becomes        x ── Transpose ── LayerNormalization ── Transpose ─▶

    which goes over the image three times instead of seven, and leaves transposes that may meet others."""
    def before(op, x, weight, bias, axes, *, epsilon):
        centred = x - op.ReduceMean(x, axes)
        variance = op.ReduceMean(op.any_of(centred * centred, op.Pow(centred, 2)), axes)
        return _over_root(op, centred, variance, epsilon) * weight + bias
    def after(op, x, weight, bias, *, epsilon):
        rows = op.Transpose(x, perm=(0, *range(2, x.rank), 1))
        normal = op.LayerNormalization(rows, _vector(op, weight), _vector(op, bias), axis=-1, epsilon=epsilon)
        return op.Transpose(normal, perm=(0, x.rank - 1, *range(1, x.rank - 1)))
    def where(x, weight, bias, axes, epsilon):
        per_channel = (x.shape[1], *[1] * (x.rank - 2)) if x.rank > 2 else ()
        are_vectors = all(each.shape in (per_channel, (1, *per_channel)) for each in (weight, bias))
        return are_vectors and constant_ints(axes.value) == (1,) and epsilon >= 0 and x.dtype.bits <= 32


def _vector(op, weight):
    """An element for each channel, without the axes of the image."""
    return op.Reshape(weight, [-1])


@rule
class residual_layer_norm:
    """x, y ── + ── LayerNormalization ─▶        becomes        x, y ── Sum ── LayerNormalization ─▶

    which is the same, and ONNX Runtime does not make a SkipLayerNormalization of it: on the CPU that takes three to
    seven times as long as the two."""
    def before(op, x, y, weight, bias=None, **rest): return op.LayerNormalization(x + y, weight, bias, **rest)
    def after(op, x, y, weight, bias, **rest): return op.LayerNormalization(op.Sum(x, y), weight, bias, **rest)
    def where(x, y): return x.type == y.type
    def when(target): return target.kernels is not None
