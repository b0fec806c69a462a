"""Constant contents by reference.

A graph never holds bytes, only a `Data`: a reference to a torch tensor, to a numpy array, or a lazy `View` of another
`Data` (transposed, cast, and what `computed` makes). Contents come into being when they are written to a file, bound to
a session or folded, one at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16, float8 and int4 names with numpy
import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType

_STRIP = 64  # elements of the last axis


class Data(ABC):
    """The content of a constant: dtype, static shape, and an array made when asked for."""

    __slots__ = ()

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """The element type."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The static shape."""

    @property
    @abstractmethod
    def identity(self) -> Hashable:
        """Equal for two references to the same content, so that tied weights are written once."""

    @abstractmethod
    def array(self) -> np.ndarray:
        """The content, one array element per tensor element; shares memory with its source where it can."""

    def part(self, start: int, stop: int) -> np.ndarray:
        """Rows of the content along its first axis; what is made when asked for is made for these rows only."""
        return self.array()[start:stop]

    def wide(self, start: int, stop: int) -> np.ndarray:
        """Rows in float64; of what is computed, as they are before they are rounded."""
        return self.part(start, stop).astype(np.float64)

    def buffer(self) -> Any:
        """The content, contiguous, as an object that speaks DLPack: for binding to a session without a copy."""
        return np.ascontiguousarray(self.array())


def byte_size(data: Data) -> int:
    """Bytes that the content takes in a file; elements below a byte are packed (ONNX spec, "Packed element types")."""
    return -(-math.prod(data.shape) * data.dtype.bits // 8)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayData(Data):
    """Content that is a numpy array, in the numpy dtype of the table (`dtypes.DType.numpy`)."""

    content: np.ndarray

    @property
    def dtype(self) -> DType:
        """The element type."""
        return dtypes.dtype(self.content.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return self.content.shape

    @property
    def identity(self) -> Hashable:
        """Small arrays are the same when their bytes are; large ones only when they are one object."""
        if self.content.dtype.hasobject:  # strings: their bytes are addresses
            return ("strings", self.content.shape, tuple(self.content.reshape(-1).tolist()))
        if self.content.nbytes <= 1024:
            return (self.content.dtype.name, self.content.shape, self.content.tobytes())
        return id(self.content)

    def array(self) -> np.ndarray:
        """The array itself."""
        return self.content


@dataclass(frozen=True, slots=True, eq=False)
class View(Data):
    """What is made of another content, whenever it is asked for and for these rows only; it is not kept.

    `how` tells it from other views of the same source, and `suffix` is what its name adds to the source's. `exact` are
    the rows in float64, where they are computed.
    """

    source: Data
    how: tuple[Hashable, ...]
    dtype: DType = field()  # no default, though the base has a property
    shape: tuple[int, ...] = field()
    rows: Callable[[int, int], np.ndarray]
    suffix: str = ""
    exact: Callable[[int, int], np.ndarray] | None = None

    @property
    def identity(self) -> Hashable:
        """The source's identity and what is made of it."""
        return (*self.how, self.source.identity)

    def wide(self, start: int, stop: int) -> np.ndarray:
        """Rows in float64; of what is computed, as they are before they are rounded."""
        return (self.exact or self.part)(start, stop).astype(np.float64, copy=False)

    def array(self) -> np.ndarray:
        """All rows; a view of the source's array where it can be."""
        return self.rows(0, self.shape[0])

    def part(self, start: int, stop: int) -> np.ndarray:
        """Some rows, contiguous. They are copied in strips that stay in the cache, four times as fast as in one go."""
        rows = self.rows(start, stop)
        if rows.flags.c_contiguous:
            return rows
        laid = np.empty(rows.shape, rows.dtype)
        for at in range(0, rows.shape[-1], _STRIP):
            laid[..., at : at + _STRIP] = rows[..., at : at + _STRIP]
        return laid

    def buffer(self) -> Any:
        """All rows, contiguous."""
        return self.part(0, self.shape[0])


def transposed(source: Data, permutation: tuple[int, ...]) -> Data:
    """Another content with its axes permuted; what was transposed before, and is turned back, is what it was."""
    if isinstance(source, View) and source.how == ("transposed", tuple(np.argsort(permutation).tolist())):
        return source.source
    shape = tuple(source.shape[axis] for axis in permutation)

    def rows(start: int, stop: int) -> np.ndarray:
        return source.array().transpose(permutation)[start:stop]

    return View(source, ("transposed", permutation), source.dtype, shape, rows, ".T")


def lengthened(source: Data, count: int) -> View:
    """Another content with further axes of size 1 at its end."""
    shape = (*source.shape, *(1,) * count)

    def rows(start: int, stop: int) -> np.ndarray:
        part = source.array()[start:stop]
        return part.reshape(*part.shape, *(1,) * count)

    return View(source, ("lengthened", count), source.dtype, shape, rows)


def rows_of(source: Data, start: int, stop: int) -> View:
    """Some rows of another content: a matrix of many."""

    def rows(first: int, last: int) -> np.ndarray:
        return source.part(start + first, start + last)

    return View(source, ("rows", start, stop), source.dtype, (stop - start, *source.shape[1:]), rows, f".{start}")


def only_row(source: Data) -> View:
    """The only row of another content, without the first axis."""

    def rows(start: int, stop: int) -> np.ndarray:
        return source.part(0, 1)[0, start:stop]

    return View(source, ("only row",), source.dtype, tuple(source.shape[1:]), rows)


def cast(source: Data, to: DType) -> View:
    """Another content in another dtype."""

    def rows(start: int, stop: int) -> np.ndarray:
        return source.part(start, stop).astype(to.numpy)

    return View(source, ("cast", to), to, tuple(source.shape), rows, f".{to.short}")


def unsigned(source: Data) -> View:
    """Another content of int8 as uint8, all numbers 128 higher."""

    def rows(start: int, stop: int) -> np.ndarray:
        return source.part(start, stop).view(np.uint8) ^ np.uint8(128)

    return View(source, ("unsigned",), dtypes.UINT8, tuple(source.shape), rows, ".u8")


def unwidened(source: Data) -> Data:
    """A content in the dtype that it was cast from, where this one holds all of that; itself where it was not cast."""
    if not isinstance(source, View):
        return source
    if source.how[0] == "cast" and dtypes.contains(source.dtype, source.source.dtype):
        return unwidened(source.source)
    narrow = unwidened(source.source) if source.how[0] in _MOVED else source.source
    return source if narrow is source.source else _MOVED[source.how[0]](narrow, *source.how[1:])


def padded(source: Data, shape: tuple[int, ...], fill: int | None) -> View:
    """Another content in a larger shape: further elements at the ends of its axes, all of them one number; or, for
    None, further rows like the last one."""

    def rows(start: int, stop: int) -> np.ndarray:
        last = source.shape[0]
        found = np.full((stop - start, *shape[1:]), fill or 0, source.dtype.numpy)
        if start < last:
            kept = source.part(start, min(stop, last))
            found[tuple(map(slice, kept.shape))] = kept
        if fill is None and stop > last:
            found[max(last - start, 0) :] = source.part(last - 1, last)
        return found

    return View(source, ("padded", shape, fill), source.dtype, shape, rows, ".padded")


def first_half(source: Data) -> View:
    """The first half of each row of a table [batch, 1, length, size], as [batch, length, size / 2]."""
    batch, _, length, size = source.shape

    def rows(start: int, stop: int) -> np.ndarray:
        return source.part(start, stop)[:, 0, :, : size // 2]

    return View(source, ("first half",), source.dtype, (batch, length, size // 2), rows)


_MOVED: Mapping[Hashable, Callable[..., Data]] = {
    "transposed": transposed, "lengthened": lengthened, "rows": rows_of, "only row": only_row, "first half": first_half,
}  # fmt: skip


class AbsentContent(LookupError):
    """The content of a constant is asked for that came without one: from a text, which has only its dtype and shape."""


@dataclass(frozen=True, slots=True, eq=False)
class AbsentData(Data):
    """Content that is not at hand: its dtype, its shape, and what the text called it."""

    dtype: DType = field()  # no default, though the base has a property
    shape: tuple[int, ...] = field()
    name: str

    @property
    def identity(self) -> Hashable:
        """Its own: nothing says that two absent contents are the same."""
        return ("absent", id(self))

    def array(self) -> np.ndarray:
        """Raises AbsentContent."""
        raise AbsentContent(f"the content of {self.name} is not at hand: parse_graph(text, {{{self.name!r}: array}})")

    def part(self, start: int, stop: int) -> np.ndarray:
        """Raises AbsentContent."""
        return self.array()

    def wide(self, start: int, stop: int) -> np.ndarray:
        """Raises AbsentContent."""
        return self.array()

    def buffer(self) -> Any:
        """Raises AbsentContent."""
        return self.array()


@dataclass(frozen=True, slots=True, eq=False)
class ReplaceableData(AbsentData):
    """Content that whoever runs the file may replace: passes do not look at it, and it is written as a default."""

    default: Data

    @property
    def identity(self) -> Hashable:
        """The default's, apart from contents that are not replaced."""
        return ("replaceable", self.default.identity)

    def array(self) -> np.ndarray:
        """The default."""
        return self.default.array()

    def part(self, start: int, stop: int) -> np.ndarray:
        """Rows of the default."""
        return self.default.part(start, stop)

    def buffer(self) -> Any:
        """The default, contiguous."""
        return self.default.buffer()


def array_of(value: object, dtype: DType | None = None) -> np.ndarray:
    """A Python number, list or array as numpy.

    What has a dtype keeps it and Python's ints become int64, floats float32, as in onnxscript, unless `dtype` says
    otherwise.
    """
    if isinstance(value, (np.ndarray, np.generic)) and dtype is None:
        return np.asarray(value)
    if dtype is not None:
        return np.asarray(value, dtype=np.dtype(dtype.numpy))
    array = np.asarray(value)
    if array.size == 0 and isinstance(value, (list, tuple)):
        return array.astype(np.int64)
    return array.astype({"f": np.float32, "i": np.int64}.get(array.dtype.kind, array.dtype))
