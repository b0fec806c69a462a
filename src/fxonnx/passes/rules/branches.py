"""Branches that are all linear in one input, as one convolution: how RepVGG, MobileOne and their kind are meant to run.

A convolution, a normalization by known statistics, an average of windows, a factor per channel and the input itself
all add up to one kernel. They are added where one of them reads all that the others read: the sum costs what that one
does, and NaN goes where it went. Numbers differ by rounding, and where infinite elements of one input would meet as
∞ − ∞. Ding et al. 2021.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fxonnx.ir.computed import met_by, multiplied, scaled
from fxonnx.ir.graph import has_content
from fxonnx.passes.linear import Branch, branch_of, finite_per_channel, folded_name, itself, total, wide, written
from fxonnx.passes.rewriting.rewrite import rule

BRANCHES = ("Conv", "AveragePool", "BatchNormalization", "Mul")


def _sum(one, plus, less) -> Branch | None:
    """one + plus, or one − less, of nodes."""
    return total(branch_of(one), branch_of(plus or less), sign=1 if plus else -1)


def _sum_with_input(one, plus, less, whole=None) -> Branch | None:
    """one + plus, one − less or whole − one, of a node and its input."""
    branch, x = branch_of(one), next(each for each in (plus, less, whole) if each is not None)
    if branch is None or x.value is not branch.input:
        return None
    first, second = (itself(branch), branch) if whole is not None else (branch, itself(branch))
    return total(first, second, sign=1 if plus is not None else -1)


@rule
class sum_of_branches:
    """x ─┬─ Conv ─┐
          └─ Conv ─┴─ + ─▶        becomes        x ── Conv ─▶        where one reads all that the other reads"""
    def before(op):
        one = op.call("one", *BRANCHES)
        return op.any_of(one + op.call("plus", *BRANCHES), one - op.call("less", *BRANCHES))
    def after(op, one, plus, less): return written(op, _sum(one, plus, less))
    def where(one, plus, less): return _sum(one, plus, less) is not None


@rule
class branch_beside_input:
    """x ─┬─ Conv ─┐
          └────────┴─ + ─▶        becomes        x ── Conv ─▶"""
    def before(op, plus, less, whole):
        one = op.call("one", *BRANCHES)
        return op.any_of(one + plus, one - less, whole - one)
    def after(op, one, plus, less, whole): return written(op, _sum_with_input(one, plus, less, whole))
    def where(one, plus, less, whole): return _sum_with_input(one, plus, less, whole) is not None


@rule
class branches_around:
    """x ─┬─ Conv ── + y ─┐
          └─ Conv ────────┴─ + ─▶        becomes        x ── Conv ── + y ─▶"""
    def before(op, y):
        nearer = op.call("one", *BRANCHES) + y
        return op.any_of(nearer + op.call("plus", *BRANCHES), nearer - op.call("less", *BRANCHES))
    def after(op, y, one, plus, less): return written(op, _sum(one, plus, less)) + y
    def where(y, one, plus, less, result):
        return y.type == result.type and _sum(one, plus, less) is not None


@rule
class branch_around_input:
    """x ─┬─ Conv ── + y ─┐
          └───────────────┴─ + ─▶        becomes        x ── Conv ── + y ─▶"""
    def before(op, y, plus, less):
        nearer = op.call("one", *BRANCHES) + y
        return op.any_of(nearer + plus, nearer - less, (plus + y) + op.call("one", *BRANCHES))
    def after(op, y, one, plus, less): return written(op, _sum_with_input(one, plus, less)) + y
    def where(y, one, plus, less, result):
        return y.type == result.type and _sum_with_input(one, plus, less) is not None


@rule
class scaled_branch:
    """x ── Conv ── × factor ─▶        becomes        x ── Conv ─▶        for a finite factor per channel: layer scale

    Touvron et al. 2021."""
    def before(op, factor, divisor):
        one = op.call("one", "Conv", "BatchNormalization")
        return op.any_of(one * factor, one / divisor, op.Neg(one))
    def after(op, one, factor, divisor):
        return written(op, branch_of(one).scaled(_factor(one, factor, divisor)))
    def where(one, factor, divisor):
        return branch_of(one) is not None and _factor(one, factor, divisor) is not None


def _factor(node, factor, divisor):
    """What each channel of the node's result is multiplied by; None where that is not known."""
    if factor is None and divisor is None:
        return np.full(node.output.shape[1], -1.0)
    return finite_per_channel((divisor if factor is None else factor).value, node.output, inverse=factor is None)


@rule
class shifted_branch:
    """x ── Conv ── + shift ─▶        becomes        x ── Conv ─▶        for a finite shift per channel"""
    def before(op, plus, less, whole):
        one = op.call("one", "Conv", "BatchNormalization")
        return op.any_of(one + plus, one - less, whole - one)
    def after(op, one, plus, less, whole):
        branch, shift = branch_of(one), _shift(one, plus, less, whole)
        turned = branch if whole is None else branch.scaled(np.array([-1.0]))
        return written(op, replace(turned, offset=turned.offset + (shift if less is None else -shift)))
    def where(one, plus, less, whole):
        return branch_of(one) is not None and _shift(one, plus, less, whole) is not None


def _shift(node, *operands):
    constant = next(each for each in operands if each is not None)
    return finite_per_channel(constant.value, node.output)


@rule
class branch_before_conv:
    """x ── BatchNormalization ── Conv ─▶        becomes        x ── Conv ─▶

    with weights scaled per input channel; of a shift only where no pads, which are zeros behind it, are read."""
    def before(op, weight, bias=None, **rest):
        return op.Conv(op.call("one", "BatchNormalization", "Mul"), op.one_use(weight), bias, **rest)
    def after(op, one, weight, bias, **rest):
        branch, groups = branch_of(one), rest.get("group", 1)
        factor = branch.kernel.weight.wide(0, weight.shape[1] * groups).reshape(groups, 1, weight.shape[1])
        of_outputs = np.broadcast_to(factor, (groups, weight.shape[0] // groups, weight.shape[1]))
        kernel = scaled(weight.value.data, of_outputs.reshape(*weight.shape[:2], *[1] * (weight.rank - 2)))
        given = met_by(weight.value.data, branch.offset, groups, _offset(weight, bias))
        return op.Conv(op.use(branch.input), op.constant(kernel, name=folded_name(weight.value.name)),
                       op.constant(given, name=folded_name(weight.value.name, "bias")), **rest)  # fmt: skip
    def where(one, weight, bias, pads, auto_pad):
        branch = branch_of(one)
        if branch is None or not has_content(weight.value) or not (bias is None or has_content(bias.value)):
            return False
        is_padded = any(pads or ()) or auto_pad not in (None, "NOTSET", "VALID")
        return not (is_padded and branch.offset.any())


@rule
class conv_of_conv:
    """x ── Conv ── Conv ─▶        becomes        x ── Conv ─▶

    where one of them looks at single positions, and both together multiply as often as one or more."""
    def before(op, weight, bias=None, *, strides, pads, dilations):
        one = op.call("one", "Conv")
        return op.Conv(one, op.one_use(weight), bias, strides=strides, pads=pads, dilations=dilations)
    def after(op, one, weight, bias, strides, pads, dilations):
        first, moves = branch_of(one), {"strides": strides, "pads": pads, "dilations": dilations}
        told = first.attributes if _is_pointwise(weight, strides, pads) else moves
        sizes = (max(pair) for pair in zip(first.kernel.weight.shape[2:], weight.shape[2:], strict=True))
        shape = (weight.shape[0], first.kernel.weight.shape[1], *sizes)
        kernel = multiplied(weight.value.data, first.kernel.weight, shape)
        offset = met_by(weight.value.data, first.offset, 1, _offset(weight, bias))
        return op.Conv(op.use(first.input), op.constant(kernel, name=folded_name(weight.value.name)),
                       op.constant(offset, name=folded_name(weight.value.name, "bias")),
                       **{name: item for name, item in told.items() if item})  # fmt: skip
    def where(one, weight, bias, strides, pads):
        first, is_known = branch_of(one), has_content(weight.value) and (bias is None or has_content(bias.value))
        if first is None or first.kernel.groups != 1 or not is_known:
            return False
        behind = _is_pointwise(weight, strides, pads)
        ahead = prod(first.kernel.weight.shape[2:]) == 1 and not any(first.attributes.get("pads", ()))
        exact = ahead and set(first.strides) == {1} and not (any(pads or ()) and first.offset.any())
        return (behind or exact) and _costs_no_more(first.kernel.weight.shape, weight.shape)


def _is_pointwise(weight, strides, pads):
    """Whether a convolution looks at single positions, at each of them."""
    return prod(weight.shape[2:]) == 1 and set(strides or (1,)) == {1} and not any(pads or ())


def _costs_no_more(first, second):
    """Whether one layer of two multiplies no more often than both, for each place of a result."""
    taps = max(prod(first[2:]), prod(second[2:]))
    return second[0] * first[1] * taps <= prod(first) + prod(second)


def _offset(weight, bias):
    """A bias in float64; zeros where there is none."""
    return np.zeros(weight.shape[0]) if bias is None else wide(bias.value)
