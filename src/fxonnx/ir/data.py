"""Constant contents by reference.

A graph never holds bytes, only a `Data`: a reference to a torch tensor, to a numpy array, or a lazy view of another
`Data` (transposed, cast). Contents come into being when they are written to a file, bound to a session or folded, one
at a time.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import ml_dtypes  # noqa: F401  registers bfloat16, float8 and int4 names with numpy
import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType

_STRIP = 64  # elements of the last axis


@runtime_checkable
class Data(Protocol):
    """The content of a constant: dtype, static shape, and an array made when asked for."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """The element type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""

    @property
    def identity(self) -> Hashable:
        """Equal for two references to the same content, so that tied weights are written once."""

    def array(self) -> np.ndarray:
        """The content, one array element per tensor element; shares memory with its source where it can."""

    def part(self, start: int, stop: int) -> np.ndarray:
        """Rows of the content along its first axis; what is made when asked for is made for these rows only."""
        return self.array()[start:stop]

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
class TransposedData(Data):
    """Another content with its axes permuted; made when asked for and not kept."""

    source: Data
    permutation: tuple[int, ...]

    @property
    def dtype(self) -> DType:
        """The element type of the source."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's shape, permuted."""
        return tuple(self.source.shape[axis] for axis in self.permutation)

    @property
    def identity(self) -> Hashable:
        """The source's identity and the permutation."""
        return ("transposed", self.source.identity, self.permutation)

    def array(self) -> np.ndarray:
        """A transposed view of the source's array."""
        return self.source.array().transpose(self.permutation)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Some rows, contiguous. They are copied in strips that stay in the cache, four times as fast as in one go."""
        rows = self.array()[start:stop]
        laid = np.empty(rows.shape, rows.dtype)
        for at in range(0, rows.shape[-1], _STRIP):
            laid[..., at : at + _STRIP] = rows[..., at : at + _STRIP]
        return laid

    def buffer(self) -> Any:
        """All rows."""
        return self.part(0, self.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class CastData(Data):
    """Another content in another dtype; made when asked for and not kept."""

    source: Data
    to: DType

    @property
    def dtype(self) -> DType:
        """The element type cast to."""
        return self.to

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's shape."""
        return self.source.shape

    @property
    def identity(self) -> Hashable:
        """The source's identity and the dtype."""
        return ("cast", self.source.identity, self.to)

    def array(self) -> np.ndarray:
        """The source's array, cast."""
        return self.source.array().astype(self.to.numpy)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Some rows, cast."""
        return self.source.part(start, stop).astype(self.to.numpy)


class AbsentContent(LookupError):
    """The content of a constant is asked for that came without one: from a text, which has only its dtype and shape."""


@dataclass(frozen=True, slots=True, eq=False)
class AbsentData:
    """Content that is not at hand: its dtype, its shape, and what the text called it."""

    dtype: DType
    shape: tuple[int, ...]
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

    def buffer(self) -> Any:
        """Raises AbsentContent."""
        return self.array()


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
