"""What nearly every compile folds, in a line of numpy each: importing `onnx.reference` takes 0.1 s, these take nothing.

A function takes the operator's inputs in order and its attributes by name. It may return None to leave a case to the
reference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType

Array: TypeAlias = np.ndarray
Function: TypeAlias = Callable[..., Any]  # of arrays, to an array, several, or None


def divide(x: Array, y: Array) -> Array | None:
    """x / y; how integers round is left to the reference."""
    return None if x.dtype.kind in "iu" else np.divide(x, y)


def cast(x: Array, *, to: int, **rounding: Any) -> Array | None:
    """Another dtype; the rules of strings and of dtypes below 16 bits of float or 8 of int are the reference's."""
    wanted = dtypes.dtype(to)
    return x.astype(wanted.numpy) if _is_simple(wanted) and _is_simple(dtypes.dtype(x.dtype)) else None


def _is_simple(dtype: DType) -> bool:
    return dtype.bits >= (16 if dtype.is_float else 8)


def reshape(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    """0 copies a dim unless `allowzero`, -1 takes what is left."""
    wanted = [x.shape[axis] if dim == 0 and not allowzero else dim for axis, dim in enumerate(shape.tolist())]
    if 0 in wanted:  # numpy cannot tell what is left of nothing; ONNX says nothing
        wanted = [max(dim, 0) for dim in wanted]
    return x.reshape(wanted)


def expand(x: Array, shape: Array) -> Array:
    """Broadcast against a shape, which may itself be broadcast."""
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def split(x: Array, sizes: Array | None = None, *, axis: int = 0, num_outputs: int = 1) -> list[Array]:
    """By sizes, else into equal parts, the last one smaller."""
    part = -(-x.shape[axis] // num_outputs)
    ends = accumulate([part] * num_outputs if sizes is None else sizes.tolist())
    return np.split(x, list(ends)[:-1], axis)


def slice_(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    """[start:end:step] along each named axis; bounds are clamped as Python's."""
    index = [slice(None)] * x.ndim
    for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis, step = at if axes is None else axes.tolist()[at], 1 if steps is None else steps.tolist()[at]
        before = step < 0 and end + x.shape[axis] < 0  # ONNX counts a negative bound from the end once
        index[axis] = slice(start, None if before else end, step)
    return x[tuple(index)]


def constant_of_shape(shape: Array, *, value: Array | None = None) -> Array:
    """Filled with `value`, float32 zero by default."""
    value = np.zeros(1, np.float32) if value is None else value
    return np.full(tuple(shape.tolist()), value.reshape(-1)[0], value.dtype)


def range_(start: Array, limit: Array, delta: Array) -> Array | None:
    """From start, by delta, as long as limit is not reached; how floats round is left to the reference."""
    return np.array(range(start.item(), limit.item(), delta.item()), start.dtype) if start.dtype.kind in "iu" else None


def trilu(x: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    """The upper or lower triangle, the rest zero: causal masks."""
    return (np.triu if upper else np.tril)(x, 0 if k is None else k.item())


DIRECT: dict[str, Function] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": divide,
    "Neg": np.negative, "Sign": np.sign, "Round": np.rint, "Sqrt": np.sqrt, "Reciprocal": lambda x: x.dtype.type(1) / x,
    "Exp": np.exp, "Log": np.log, "Sin": np.sin, "Cos": np.cos,
    "Max": lambda *inputs: reduce(np.maximum, inputs), "Min": lambda *inputs: reduce(np.minimum, inputs),
    "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or,
    "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal,
    "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Identity": lambda x: x, "Where": np.where, "Cast": cast,
    "Reshape": reshape, "Expand": expand, "Split": split, "Slice": slice_,
    "ConstantOfShape": constant_of_shape, "Range": range_, "Trilu": trilu,
    "Transpose": lambda x, *, perm=None: x.transpose(perm),
    "Squeeze": lambda x, axes=None: x.squeeze(axes if axes is None else tuple(axes.tolist())),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes.tolist())),
    "Concat": lambda *inputs, axis: np.concatenate(inputs, axis),
    "Gather": lambda x, indices, *, axis=0: np.take(x, indices, axis),
}  # fmt: skip
