"""Operators that move, join, cut and index."""

from __future__ import annotations

import math

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.dims import Dim, Expr, Shape, ceil_divide, floor_divide, maximum, minimum, non_negative, product
from fxonnx.ir.graph import content
from fxonnx.ir.infer.call import Call, CannotInfer, Contradiction, broadcast, infers
from fxonnx.ir.types import TensorType


def unknown(call: Call, rank: int) -> Shape:
    """A shape of which only the rank is known."""
    return tuple(call.new_dim() for _ in range(rank))


def normalize(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Axes counted from the front. Raises Contradiction for one that is not there."""
    if strange := [axis for axis in axes if not -rank <= axis < rank]:
        raise Contradiction(f"axis {strange[0]} of {rank} axes")
    return tuple(axis + rank if axis < 0 else axis for axis in axes)


def _length(call: Call, index: int) -> int:
    """The number of elements of a 1-D input, which is a rank here and so must be static."""
    length = call.shape(index)[0]
    if not isinstance(length, int):
        raise CannotInfer(f"{call.op} gets its rank from input {index}, whose length is {length}")
    return length


@infers("Shape")
def shape(call: Call) -> TensorType:
    """The number of axes in [start, end)."""
    rank = call.rank()
    first, last, _ = slice(call.attribute("start", 0), call.attributes.get("end")).indices(rank)
    return TensorType(dtypes.INT64, (max(0, last - first),))


@infers("Reshape")
def reshape(call: Call) -> TensorType:
    """0 copies a dim (unless `allowzero`), -1 takes what is left."""
    wanted = call.known(1)
    if wanted is None:
        return TensorType(call.dtype(), unknown(call, _length(call, 1)))
    source = call.shape()
    if not call.attribute("allowzero", 0):
        wanted = tuple(source[axis] if dim == 0 else dim for axis, dim in enumerate(wanted))
    size, rest = product(source), product(dim for dim in wanted if dim != -1)
    missing = floor_divide(size, rest) if -1 in wanted and rest != 0 else 0
    result = tuple(missing if dim == -1 else dim for dim in wanted)
    if isinstance(size, int) and isinstance(found := product(result), int) and size != found:
        raise Contradiction(f"{size} elements do not make the shape {wanted}")
    return TensorType(call.dtype(), result)


@infers("Flatten")
def flatten(call: Call) -> TensorType:
    """Two axes: those before `axis` together, and the others together."""
    axis = call.axis(default=1)
    return TensorType(call.dtype(), (product(call.shape()[:axis]), product(call.shape()[axis:])))


@infers("Transpose")
def transpose(call: Call) -> TensorType:
    """Axes permuted; reversed when no `perm` is given."""
    order = call.attributes.get("perm") or tuple(reversed(range(call.rank())))
    return TensorType(call.dtype(), tuple(call.shape()[axis] for axis in order))


@infers("Squeeze")
def squeeze(call: Call) -> TensorType:
    """Without the named axes; without all of size 1 when none is named."""
    axes = call.ints(1)
    if axes is None and call.has(1):
        raise CannotInfer("Squeeze of axes that are not constant")
    if axes is None:
        gone = {axis for axis, dim in enumerate(call.shape()) if dim == 1}
    else:
        gone = set(normalize(axes, call.rank()))
    return TensorType(call.dtype(), tuple(dim for axis, dim in enumerate(call.shape()) if axis not in gone))


@infers("Unsqueeze")
def unsqueeze(call: Call) -> TensorType:
    """With new axes of size 1 at the named positions of the result."""
    axes = call.ints(1)
    if axes is None:
        return TensorType(call.dtype(), unknown(call, call.rank() + _length(call, 1)))
    rank = call.rank() + len(axes)
    new, old = set(normalize(axes, rank)), iter(call.shape())
    return TensorType(call.dtype(), tuple(1 if axis in new else next(old) for axis in range(rank)))


@infers("Expand")
def expand(call: Call) -> TensorType:
    """Broadcast against a shape."""
    wanted = call.known(1)
    if wanted is None:
        return TensorType(call.dtype(), unknown(call, max(call.rank(), _length(call, 1))))
    return TensorType(call.dtype(), broadcast(call.shape(), wanted))


@infers("Tile")
def tile(call: Call) -> TensorType:
    """Each dim times its repeats."""
    repeats = call.known(1)
    if repeats is None:
        return TensorType(call.dtype(), unknown(call, call.rank()))
    return TensorType(call.dtype(), tuple(dim * count for dim, count in zip(call.shape(), repeats, strict=True)))


@infers("Concat")
def concat(call: Call) -> TensorType:
    """The sizes along `axis` added up."""
    axis = call.axis()
    total: Dim = sum((call.shape(index)[axis] for index in range(len(call.inputs))), 0)
    return TensorType(call.dtype(), (*call.shape()[:axis], total, *call.shape()[axis + 1 :]))


@infers("Split")
def split(call: Call) -> tuple[TensorType, ...]:
    """By the sizes in input 1, else into `num_outputs` parts, the last one smaller."""
    axis, source = call.axis(default=0), call.shape()
    sizes = call.known(1)
    if sizes is None and call.has(1):
        sizes = unknown(call, call.outputs)
    if sizes is None:
        part = ceil_divide(source[axis], call.outputs)
        sizes = (*[part] * (call.outputs - 1), source[axis] - part * (call.outputs - 1))
    return tuple(TensorType(call.dtype(), (*source[:axis], size, *source[axis + 1 :])) for size in sizes)


@infers("Slice")
def slice_(call: Call) -> TensorType:
    """Each named axis cut to [start, end) by step, bounds clamped (ONNX spec, Slice)."""
    dims = list(call.shape())
    starts, ends = call.known(1), call.known(2)
    axes = call.ints(3) if call.has(3) else tuple(range(_length(call, 1)))
    steps = call.ints(4) if call.has(4) else (1,) * len(axes or ())
    if axes is None:
        return TensorType(call.dtype(), unknown(call, call.rank()))
    for index, axis in enumerate(normalize(axes, call.rank())):
        size = None
        if starts is not None and ends is not None and steps is not None:
            size = sliced_size(dims[axis], starts[index], ends[index], steps[index])
        dims[axis] = call.new_dim() if size is None else size
    return TensorType(call.dtype(), tuple(dims))


def sliced_size(dim: Dim, start: Dim, end: Dim, step: int) -> Dim | None:
    """How many elements `[start:end:step]` takes of `dim`, by Python's rules; None where a sign is not known."""
    if isinstance(dim, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*slice(start, _open_end(end, step), step).indices(dim)))
    if step < 0:
        whole = start == -1 and isinstance(end, int) and end < -(2**31)
        return ceil_divide(dim, -step) if whole else None
    span = _span(dim, start, dim if isinstance(end, int) and end >= 2**31 else end)
    return None if span is None else ceil_divide(span, step)


def _span(dim: Dim, start: Dim, end: Dim) -> Dim | None:
    """How many elements `[start:end]` takes. A position past the end needs clamping only on the right side."""
    if not all(non_negative(bound) or non_negative(-bound) for bound in (start, end)):
        return None  # whether it counts from the end shows only when the model runs
    last = minimum(end, dim) if non_negative(end) else end + dim
    if non_negative(start):
        return maximum(last - start, 0)
    return minimum(-start, dim) if last == dim else maximum(last - maximum(start + dim, 0), 0)


def _open_end(end: int, step: int) -> int | None:
    """INT_MIN as the end of a backward slice means past the first element."""
    return None if step < 0 and end < -(2**31) else end


@infers("Gather")
def gather(call: Call) -> TensorType:
    """The indices' shape in the place of the axis."""
    axis, source = call.axis(default=0), call.shape()
    return TensorType(call.dtype(), (*source[:axis], *call.shape(1), *source[axis + 1 :]))


@infers("ConstantOfShape")
def constant_of_shape(call: Call) -> TensorType:
    """The shape in input 0, in the dtype of `value` (float32 by default)."""
    value = call.attributes.get("value")
    dtype = dtypes.FLOAT32 if value is None else dtypes.dtype(value.dtype)
    wanted = call.known(0)
    return TensorType(dtype, unknown(call, _length(call, 0)) if wanted is None else wanted)


@infers("Range")
def range_(call: Call) -> TensorType:
    """⌈(limit - start) / delta⌉ elements."""
    start, limit, delta = (_scalar(call, index) for index in range(3))
    if start is None or limit is None or delta is None:
        return TensorType(call.dtype(), unknown(call, 1))
    if isinstance(start, float) or isinstance(limit, float) or isinstance(delta, float):
        return TensorType(call.dtype(), _float_range(start, limit, delta, call))
    return TensorType(call.dtype(), (maximum(ceil_divide(limit - start, delta), 0),))


def _scalar(call: Call, index: int) -> Dim | float | None:
    """The one element of an input as far as it can be told."""
    value, known = call.value(index), call.known(index)
    if known is not None:
        return known[0]
    array = content(value) if value.dtype.is_float else None
    return None if array is None else float(array.reshape(()))


def _float_range(start: Dim | float, limit: Dim | float, delta: Dim | float, call: Call) -> Shape:
    numbers = [float(item) for item in (start, limit, delta) if isinstance(item, (int, float))]
    if len(numbers) < 3:
        return unknown(call, 1)
    return (max(math.ceil((numbers[1] - numbers[0]) / numbers[2]), 0),)


@infers("Pad")
def pad(call: Call) -> TensorType:
    """Each named axis longer by what is put before and behind it."""
    pads = call.known(1)
    if pads is None:
        return TensorType(call.dtype(), unknown(call, call.rank()))
    axes = call.ints(3) if call.has(3) else tuple(range(call.rank()))
    if axes is None:
        return TensorType(call.dtype(), unknown(call, call.rank()))
    dims = list(call.shape())
    for index, axis in enumerate(normalize(axes, call.rank())):
        dims[axis] = dims[axis] + pads[index] + pads[index + len(axes)]
    return TensorType(call.dtype(), tuple(dims))


@infers("OneHot")
def one_hot(call: Call) -> TensorType:
    """A new axis of size `depth`."""
    depth = call.known(1)
    axis = call.axis(default=-1, rank=call.rank() + 1)
    dim = call.new_dim() if depth is None else depth[0]
    return TensorType(call.dtype(2), (*call.shape()[:axis], dim, *call.shape()[axis:]))


@infers("DepthToSpace", "SpaceToDepth")
def blocks(call: Call) -> TensorType:
    """Channels into blocks, or blocks into channels."""
    batch, channels, height, width = call.shape()
    side = call.attributes["blocksize"]
    if call.op == "DepthToSpace":
        return TensorType(call.dtype(), (batch, channels // (side * side), height * side, width * side))
    return TensorType(call.dtype(), (batch, channels * side * side, height // side, width // side))


@infers("Resize")
def resize(call: Call) -> TensorType:
    """By `sizes` where given, else ⌊size * scale⌋."""
    axes = normalize(call.attributes.get("axes") or tuple(range(call.rank())), call.rank())
    stretched = call.attribute("keep_aspect_ratio_policy", "stretch") == "stretch"
    sizes = call.known(3) if call.has(3) and stretched else None
    scales = call.value(2).data if call.has(2) and not call.has(3) else None
    factors = None if scales is None else scales.array().tolist()
    dims = list(call.shape())
    for index, axis in enumerate(axes):
        if sizes is not None:
            dims[axis] = sizes[index]
        else:
            dims[axis] = _scaled(call, dims[axis], None if factors is None else factors[index])
    return TensorType(call.dtype(), tuple(dims))


def _scaled(call: Call, dim: Dim, factor: float | None) -> Dim:
    if factor is not None and factor.is_integer():
        return dim * int(factor)
    return call.new_dim() if factor is None or isinstance(dim, Expr) else int(np.float32(dim) * np.float32(factor))
