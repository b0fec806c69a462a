"""What stands before and behind a convolution or a linear layer, moved into its weights and padding.

New weights take the place of old ones that nobody else reads, so the model never grows. They are computed in float64
and rounded once, when they are written.
"""

from __future__ import annotations

import numpy as np

from fxonnx.ir.computed import rounded, scaled
from fxonnx.ir.graph import constant_ints, content, has_content
from fxonnx.passes.linear import wide
from fxonnx.passes.rewriting.match import constant_number
from fxonnx.passes.rewriting.rewrite import rule


def _channels(scale, shift, mean, variance, epsilon, bias):
    """(factor, offset) per channel, in float64: normalized(y + bias) is factor · y + offset. Ioffe & Szegedy 2015."""
    scale, shift, mean, variance = (wide(each.value) for each in (scale, shift, mean, variance))
    factor = scale / np.sqrt(variance + np.float32(epsilon))  # ONNX keeps attributes in float32
    return factor, shift + ((0.0 if bias is None else wide(bias.value)) - mean) * factor


def _constant(op, like, array):
    """A new bias, in the dtype of the weight."""
    return op.constant(rounded(array, like.dtype), name=_renamed(like, "bias"))


def _scaled(op, weight, factor):
    """The weight with each of its channels scaled, as a view of it."""
    return op.constant(scaled(weight.value.data, factor), name=_renamed(weight, "folded"))


def _renamed(like, suffix):
    return like.value.name and f"{like.value.name}.{suffix}"


def _can_fold(weight, bias, *statistics):
    """Whether all are constant, and the weight has the bits to take a factor without overflow."""
    given = (weight, *statistics, *([] if bias is None else [bias]))
    return weight.dtype.bits >= 32 and all(has_content(each.value) for each in given)


@rule
class conv_batch_norm:
    """x ── Conv ── BatchNormalization ─▶        becomes        x ── Conv ─▶

    with weights scaled per output channel."""
    def before(op, x, weight, scale, shift, mean, variance, bias=None, *, epsilon, **rest):
        conv = op.Conv(x, op.one_use(weight), bias, **rest)
        return op.BatchNormalization(conv, scale, shift, mean, variance, epsilon=epsilon)
    def after(op, x, weight, scale, shift, mean, variance, bias, epsilon, **rest):
        factor, offset = _channels(scale, shift, mean, variance, epsilon, bias)
        kernel = _scaled(op, weight, factor.reshape(-1, *[1] * (weight.rank - 1)))
        return op.Conv(x, kernel, _constant(op, weight, offset), **rest)
    def where(weight, bias, scale, shift, mean, variance): return _can_fold(weight, bias, scale, shift, mean, variance)


@rule
class conv_transpose_batch_norm:
    """x ── ConvTranspose ── BatchNormalization ─▶        becomes        x ── ConvTranspose ─▶"""
    def before(op, x, weight, scale, shift, mean, variance, bias=None, *, epsilon, **rest):
        conv = op.ConvTranspose(x, op.one_use(weight), bias, **rest)
        return op.BatchNormalization(conv, scale, shift, mean, variance, epsilon=epsilon)
    def after(op, x, weight, scale, shift, mean, variance, bias, epsilon, **rest):
        factor, offset = _channels(scale, shift, mean, variance, epsilon, bias)
        kernel = _scaled(op, weight, _by_input_channel(factor, weight.shape, rest.get("group", 1)))
        return op.ConvTranspose(x, kernel, _constant(op, weight, offset), **rest)
    def where(weight, bias, scale, shift, mean, variance): return _can_fold(weight, bias, scale, shift, mean, variance)


def _by_input_channel(factor, shape, groups):
    """Factors of output channels beside a weight [input channels, output channels / groups, …]."""
    per_group = np.repeat(factor.reshape(groups, shape[1]), shape[0] // groups, axis=0)
    return per_group.reshape(*shape[:2], *[1] * (len(shape) - 2))


@rule
class gemm_batch_norm:
    """x ── Gemm ── BatchNormalization ─▶        becomes        x ── Gemm ─▶"""
    def before(op, x, weight, scale, shift, mean, variance, bias=None, *, epsilon, transB):
        gemm = op.Gemm(x, op.one_use(weight), bias, transB=transB)
        return op.BatchNormalization(gemm, scale, shift, mean, variance, epsilon=epsilon)
    def after(op, x, weight, scale, shift, mean, variance, bias, epsilon, transB):
        factor, offset = _channels(scale, shift, mean, variance, epsilon, bias)
        matrix = _scaled(op, weight, factor.reshape((-1, 1) if transB else (1, -1)))
        return op.Gemm(x, matrix, _constant(op, weight, offset), transB=transB)
    def where(weight, bias, scale, shift, mean, variance):
        vector = bias is None or bias.shape == scale.shape
        return vector and _can_fold(weight, bias, scale, shift, mean, variance)


@rule
class batch_norm_of_rows:
    """x ── Transpose ── BatchNormalization ── Transpose back ─▶        becomes        x ── × factor ── + offset ─▶

    for an axis of x, which a linear layer before it may take in."""
    def before(op, x, scale, shift, mean, variance, *, there, back, epsilon):
        turned = op.Transpose(x, perm=there)
        return op.Transpose(op.BatchNormalization(turned, scale, shift, mean, variance, epsilon=epsilon), perm=back)
    def after(op, x, scale, shift, mean, variance, there, epsilon):
        factor, offset = _channels(scale, shift, mean, variance, epsilon, None)
        shape = (-1, *[1] * (x.rank - 1 - there[1]))
        return x * _constant(op, scale, factor.reshape(shape)) + _constant(op, shift, offset.reshape(shape))
    def where(x, scale, shift, mean, variance, there, back):
        undone = there is not None and back is not None and [there[axis] for axis in back] == list(range(x.rank))
        return undone and _can_fold(scale, None, shift, mean, variance)


@rule
class conv_bias:
    """x ── Conv ── + bias ─▶        becomes        x ── Conv ─▶        for a bias per channel"""
    def before(op, x, weight, bias, **rest): return op.Conv(x, weight, **rest) + op.one_use(bias)
    def after(op, x, weight, bias, **rest):
        return op.Conv(x, weight, op.constant(content(bias.value).reshape(-1), name=bias.value.name), **rest)
    def where(weight, bias, result):
        per_channel = (weight.shape[0], *[1] * (weight.rank - 2))
        return content(bias.value) is not None and bias.shape in (per_channel, (1, *per_channel))


@rule
class pad_conv:
    """x ── Pad 0 ── Conv ─▶        becomes        x ── Conv ─▶        for pads of spatial axes"""
    def before(op, x, weight, amounts, zero=None, bias=None, **rest):
        return op.Conv(op.Pad(x, amounts, zero), weight, bias, **rest)
    def after(op, x, weight, amounts, bias, pads, **rest):
        before, behind = _spatial_pads(x, amounts)
        present = pads or [0] * (len(before) + len(behind))
        return op.Conv(x, weight, bias, pads=[a + b for a, b in zip(present, before + behind, strict=True)], **rest)
    def where(x, amounts, zero, auto_pad):
        given = constant_ints(amounts.value)
        if given is None or min(given) < 0 or auto_pad not in (None, "NOTSET"):
            return False
        is_zero = zero is None or constant_number(zero.value) == 0
        return is_zero and not any(given[axis] or given[axis + x.rank] for axis in (0, 1))


def _spatial_pads(x, amounts):
    """Pads before and behind each spatial axis."""
    given = list(constant_ints(amounts.value))
    return given[2 : x.rank], given[x.rank + 2 :]
