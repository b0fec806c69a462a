"""Operators that move, join, cut and index. Where an older opset has an attribute for an input, both are understood."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from fxonnx.ir.evaluate.call import Array, Operands, computes


@computes("Shape")
def shape(call: Operands) -> Array:
    """The sizes of the axes in [start, end)."""
    return np.array(call[0].shape[call.attribute("start", 0) : call.attribute("end")], np.int64)


@computes("Size")
def size(call: Operands) -> Array:
    """The number of elements."""
    return np.array(call[0].size, np.int64)


@computes("Reshape")
def reshape(call: Operands) -> Array:
    """0 copies a dim unless `allowzero`, -1 takes what is left."""
    source, wanted = call[0], call.ints(1, "shape") or ()
    if not call.attribute("allowzero", 0):
        wanted = tuple(source.shape[axis] if dim == 0 else dim for axis, dim in enumerate(wanted))
    if -1 in wanted and 0 in wanted:  # numpy cannot tell what is left of nothing; ONNX says nothing
        wanted = tuple(0 if dim == -1 else dim for dim in wanted)
    return source.reshape(wanted)


@computes("Flatten")
def flatten(call: Operands) -> Array:
    """The axes before `axis` as one, and the others as one."""
    axis, dims = call.attribute("axis", 1), call[0].shape
    axis = axis + len(dims) if axis < 0 else axis
    return call[0].reshape(int(np.prod(dims[:axis])), int(np.prod(dims[axis:])))


@computes("Transpose")
def transpose(call: Operands) -> Array:
    """Axes permuted, or reversed."""
    return call[0].transpose(call.attribute("perm"))


@computes("Squeeze")
def squeeze(call: Operands) -> Array:
    """Without the named axes, or all of size 1."""
    return call[0].squeeze(call.axes(1, call[0].ndim))


@computes("Unsqueeze")
def unsqueeze(call: Operands) -> Array:
    """New axes of size 1 at places of the result."""
    return np.expand_dims(call[0], call.ints(1, "axes") or ())


@computes("Expand")
def expand(call: Operands) -> Array:
    """Broadcast against a shape, which may itself be broadcast."""
    return np.broadcast_to(call[0], np.broadcast_shapes(call[0].shape, tuple(call[1].tolist())))


@computes("Tile")
def tile(call: Operands) -> Array:
    """Repeated along each axis."""
    return np.tile(call[0], call[1])


@computes("Concat")
def concat(call: Operands) -> Array:
    """Joined along an axis."""
    return np.concatenate([call[i] for i in range(len(call.arrays))], call.attribute("axis"))


@computes("Split")
def split(call: Operands) -> list[Array]:
    """By sizes, else into as many equal parts as there are outputs, the last one smaller."""
    axis, count = call.attribute("axis", 0), len(call.node.outputs)
    part = -(-call[0].shape[axis] // count)
    sizes = call.ints(1, "split") or (part,) * count
    return np.split(call[0], list(accumulate(sizes))[:-1], axis)


@computes("Slice")
def slice_(call: Operands) -> Array:
    """[start:end:step] along each named axis; bounds are clamped as Python's."""
    starts, ends = call.ints(1, "starts") or (), call.ints(2, "ends") or ()
    axes = call.axes(3, call[0].ndim) or tuple(range(len(starts)))
    steps = call.ints(4, "steps") or (1,) * len(starts)
    index = [slice(None)] * call[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = _slice(call[0].shape[axis], start, end, step)
    return call[0][tuple(index)]


def _slice(dim: int, start: int, end: int, step: int) -> slice:
    """ONNX counts a negative bound from the end once; going backwards, what is still negative is before the start."""
    if step < 0 and end + dim < 0:
        return slice(start, None, step)
    return slice(start, end, step)


@computes("Gather")
def gather(call: Operands) -> Array:
    """Elements along an axis; negative indices count from the end."""
    return np.take(call[0], call[1], call.attribute("axis", 0))


@computes("GatherElements")
def gather_elements(call: Operands) -> Array:
    """One element for each index, along an axis."""
    axis, indices = call.attribute("axis", 0), call[1].astype(np.int64)
    positions = np.indices(indices.shape, sparse=True)
    picked: list[Array] = list(positions)
    picked[axis] = indices
    result: Array = call[0][tuple(picked)]
    return result


@computes("GatherND")
def gather_nd(call: Operands) -> Array | None:
    """A slice for each index tuple."""
    if call.attribute("batch_dims", 0):
        return None
    result: Array = call[0][tuple(np.moveaxis(call[1], -1, 0))]
    return result


@computes("ConstantOfShape")
def constant_of_shape(call: Operands) -> Array:
    """Filled with `value`, float32 zero by default."""
    value = call.attribute("value", np.zeros(1, np.float32))
    return np.full(tuple(call[0].tolist()), value.reshape(-1)[0], value.dtype)


@computes("Range")
def range_(call: Operands) -> Array:
    """From start, by delta, as long as limit is not reached: start + i · delta."""
    start, limit, delta = (call[i].reshape(()) for i in range(3))
    if start.dtype.kind in "iu":
        return np.array(range(int(start), int(limit), int(delta)), start.dtype)
    length = max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))
    steps = np.arange(length).astype(start.dtype)
    return np.asarray(start + steps * delta).astype(start.dtype)


@computes("Pad")
def pad(call: Operands) -> Array | None:
    """Elements before and behind each axis; negative pads cut."""
    x, pads = call[0], call.ints(1, "pads") or ()
    axes = call.axes(3, x.ndim) or tuple(range(x.ndim))
    mode = call.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        return None
    widths = [(0, 0)] * x.ndim
    for index, axis in enumerate(axes):
        widths[axis] = (pads[index], pads[index + len(axes)])
    x = x[
        tuple(
            slice(max(0, -before), dim + min(0, behind)) for dim, (before, behind) in zip(x.shape, widths, strict=True)
        )
    ]
    longer = [(max(0, before), max(0, behind)) for before, behind in widths]
    if mode != "constant":
        return np.pad(x, longer, mode)
    value = call[2].reshape(()) if call.has(2) else np.asarray(call.attribute("value", 0), x.dtype)
    return np.pad(x, longer, constant_values=value)


@computes("NonZero")
def non_zero(call: Operands) -> Array:
    """The indices of elements that are not zero, a column each."""
    return np.array(np.nonzero(np.atleast_1d(call[0])), np.int64)


@computes("Trilu")
def trilu(call: Operands) -> Array:
    """The upper or lower triangle, the rest zero."""
    k = int(call[1].item()) if call.has(1) else 0
    return np.triu(call[0], k) if call.attribute("upper", 1) else np.tril(call[0], k)
