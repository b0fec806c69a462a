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
    if found is not None or not isinstance(data, View):
        return found
    source = None if data.dtype.bits < 8 else extent_of(data.source, extents)
    if source is None:
        return None
    kind, *how = data.how
    if kind in ("lengthened", "only row"):
        return source
    if kind == "rows":
        row = prod(data.source.shape[1:]) * data.dtype.bits // 8
        return Extent(source.path, source.offset + how[0] * row, byte_size(data))  # type: ignore[operator]
    return None


def turned_extent(data: Data, extents: Extents) -> tuple[Data, tuple[int, ...]] | None:
    """A content in a file and the permutation that makes another one of it; None of what is no transposed one."""
    if isinstance(data, View) and data.how[0] == "transposed" and extent_of(data.source, extents) is not None:
        return data.source, data.how[1]  # type: ignore[return-value]
    return None
