"""Contents in files: where their bytes are, and how they are laid out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fxonnx.ir.data import Data, View, byte_size


@dataclass(frozen=True, slots=True)
class Extent:
    """So many bytes of a file, from an offset on."""

    path: Path
    offset: int
    length: int

    def octets(self) -> np.ndarray:
        """The bytes u8[length], mapped: they are read when they are looked at."""
        if not self.length:
            return np.empty(0, np.uint8)
        return np.memmap(self.path, np.uint8, "r", self.offset, (self.length,))


@dataclass(frozen=True, slots=True)
class Layout:
    """How contents lie in a file: its first bytes, the contents in order, and the offset of each."""

    head: bytes
    contents: Mapping[str, Data]
    offsets: Mapping[str, int]


Extents: TypeAlias = "Mapping[Hashable, Extent]"
"""contents, by their identity -> where their bytes lie"""

NO_EXTENTS: Mapping[Any, Extent] = {}


def extent_of(data: Data, extents: Extents) -> Extent | None:
    """Where the bytes of a content lie, if they do: its own, or for a view that moves none of them, its source's."""
    found = extents.get(data.identity)
    if found is not None or not isinstance(data, View) or data.dtype.bits < 8:
        return found
    source = extent_of(data.source, extents) if data.how[0] in _UNMOVED else None
    if source is None or data.how[0] != "rows":
        return source
    row = prod(data.source.shape[1:]) * data.dtype.bits // 8
    return Extent(source.path, source.offset + data.how[1] * row, byte_size(data))  # type: ignore[operator]


def unmoved(data: Data) -> Data:
    """The content of which others are views that move no byte."""
    while isinstance(data, View) and data.how[0] in _UNMOVED:
        data = data.source
    return data


_UNMOVED = ("rows", "only row", "lengthened")
