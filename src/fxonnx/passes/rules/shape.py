"""Movements of data that cancel out, or happen in one step. No element changes.

Reshape, Squeeze, Unsqueeze and Flatten keep the elements in their order: a result of the type that x has is x.
"""

from __future__ import annotations

from fxonnx.ir.graph import constant_ints, known_dims
from fxonnx.passes.rewriting.rewrite import rule


@rule
class transpose_of_nothing:
    """x ── Transpose 0 1 2 ─▶        becomes        x ─▶"""
    def before(op, x, *, perm): return op.Transpose(x, perm=perm)
    def after(x): return x
    def where(perm): return perm is not None and list(perm) == sorted(perm)


@rule
class double_transpose:
    """x ── Transpose ── Transpose ─▶        becomes        x ── Transpose ─▶"""
    def before(op, x, *, first, second): return op.Transpose(op.Transpose(x, perm=first), perm=second)
    def after(op, x, *, first, second): return op.Transpose(x, perm=[first[axis] for axis in second])
    def where(first, second): return first is not None and second is not None


@rule
class view_of_nothing:
    """x: T ── Reshape ─▶ T        becomes        x ─▶"""
    def before(op, x, to, **rest):
        return op.any_of(op.Reshape(x, to, **rest), op.Squeeze(x, to), op.Unsqueeze(x, to), op.Flatten(x, **rest))
    def after(x): return x
    def where(x, result, to): return x.type == result.type and _is_told(to)


@rule
class view_and_back:
    """x: T ── Unsqueeze ── Squeeze ─▶ T        becomes        x ─▶"""
    def before(op, x, first, second, *, zeros, allowzero, **rest):
        def views(it, to, zeros):
            return op.Reshape(it, to, allowzero=zeros), op.Squeeze(it, to), op.Unsqueeze(it, to)

        inner = op.any_of(*views(x, first, zeros), op.Flatten(x, **rest))
        return op.any_of(*views(inner, second, allowzero))
    def after(x): return x
    def where(x, first, second, result): return x.type == result.type and _is_told(first) and _is_told(second)


def _is_told(to):
    """Whether it is known what a view is to be: where the runtime finds out how many axes there are, the type of the
    result is one of several (`squeeze` of what data says)."""
    return to is None or known_dims(to.value) is not None


@rule
class double_reshape:
    """x ── Reshape ── Reshape ─▶        becomes        x ── Reshape ─▶        where no size is copied from the first"""
    def before(op, x, first, to, *, zeros, **rest):
        views = op.Reshape(x, first, allowzero=zeros), op.Squeeze(x, first), op.Unsqueeze(x, first), op.Flatten(x)
        inner = op.any_of(*views)
        return op.Reshape(op.bind("view", inner), to, **rest)
    def after(op, x, to, **rest): return op.Reshape(x, to, **rest)
    def where(x, view, to, allowzero): return _copies_nothing(x, view, to, allowzero)


def _copies_nothing(x, view, to, allowzero):
    """Whether Reshape to `to` gives the same of x as of a view of it.

    A 0 copies a size from the same axis, and a size that is known only when the model runs may turn out to be 0.
    """
    wanted = known_dims(to.value)
    if wanted is None:
        return False
    kept = [axis for axis in range(min(x.rank, view.rank)) if x.shape[axis] == view.shape[axis]]
    return bool(allowzero) or all((type(dim) is int and dim != 0) or axis in kept for axis, dim in enumerate(wanted))


@rule
class double_unsqueeze:
    """x ── Unsqueeze ── Unsqueeze ─▶        becomes        x ── Unsqueeze ─▶"""
    def before(op, x, first, second): return op.Unsqueeze(op.bind("view", op.Unsqueeze(x, first)), second)
    def after(op, x, first, second, view, result):
        outer = {axis % result.rank for axis in constant_ints(second.value)}
        kept = [axis for axis in range(result.rank) if axis not in outer]
        inner = {kept[axis % view.rank] for axis in constant_ints(first.value)}
        return op.Unsqueeze(x, sorted(outer | inner))
    def where(first, second): return constant_ints(first.value) is not None and constant_ints(second.value) is not None


@rule
class expand_of_nothing:
    """x: T ── Expand ─▶ T        becomes        x ─▶"""
    def before(op, x, to): return op.Expand(x, to)
    def after(x): return x
    def where(x, result): return x.type == result.type


@rule
class slice_of_everything:
    """x: T ── Slice forwards ─▶ T        becomes        x ─▶"""
    def before(op, x, start, end, axes=None, step=None): return op.Slice(x, start, end, axes, step)
    def after(x): return x
    def where(x, result, step): return x.type == result.type and _is_forward(step)


def _is_forward(step):
    """Whether a Slice keeps the order: one that turns an axis round has the type of its input, too."""
    steps = (1,) if step is None else constant_ints(step.value)
    return steps is not None and min(steps, default=1) > 0
