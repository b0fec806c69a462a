"""Contents that passes make of other contents: lazy, so that no weight is copied before it is written."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxonnx.dtypes import DType
from fxonnx.ir.data import Data


@dataclass(frozen=True, slots=True, eq=False)
class ScaledData:
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
        product: np.ndarray = self.source.array().astype(np.float64) * self.factor
        return product.astype(self.dtype.numpy)

    def buffer(self) -> Any:
        """The product, contiguous."""
        return np.ascontiguousarray(self.array())


@dataclass(frozen=True, slots=True, eq=False)
class HalfData:
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
        return self.source.array()[:, 0, :, : self.shape[2]]

    def buffer(self) -> Any:
        """The half, contiguous."""
        return np.ascontiguousarray(self.array())
