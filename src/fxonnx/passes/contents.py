"""Contents that passes make of other contents: lazy, so that no weight is copied before it is written."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from fxonnx.dtypes import DType
from fxonnx.ir.data import Data


@dataclass(frozen=True, slots=True, eq=False)
class ScaledData(Data):
    """A weight times factors that broadcast along some of its axes: multiplied in float64, rounded once, not kept."""

    source: Data
    factor: np.ndarray

    @property
    def dtype(self) -> DType:
        """The element type of the source."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the source."""
        return tuple(self.source.shape)

    @property
    def identity(self) -> Hashable:
        """The source's identity and the factors."""
        return ("scaled", self.source.identity, self.factor.tobytes())

    def array(self) -> np.ndarray:
        """The product."""
        return self.part(0, self.shape[0])

    def part(self, start: int, stop: int) -> np.ndarray:
        """Some rows of the product."""
        factor = np.broadcast_to(self.factor, self.shape)[start:stop]
        product: np.ndarray = self.source.part(start, stop).astype(np.float64) * factor
        return product.astype(self.dtype.numpy)


@dataclass(frozen=True, slots=True, eq=False)
class HalfData(Data):
    """The first half of each row of a table [batch, 1, length, size], as [batch, length, size / 2]."""

    source: Data

    @property
    def dtype(self) -> DType:
        """The element type of the source."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's shape without its axis of one, the last axis halved."""
        batch, _, length, size = self.source.shape
        return (batch, length, size // 2)

    @property
    def identity(self) -> Hashable:
        """The source's identity: all layers of a model halve the same table."""
        return ("half", self.source.identity)

    def array(self) -> np.ndarray:
        """The half, a view of the source's array."""
        return self.part(0, self.shape[0])

    def part(self, start: int, stop: int) -> np.ndarray:
        """Some rows of the half."""
        return self.source.part(start, stop)[:, 0, :, : self.shape[2]]
