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
