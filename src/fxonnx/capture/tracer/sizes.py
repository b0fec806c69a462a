"""The sizes of a traced graph as dims: they carry them already."""

from __future__ import annotations

from typing import Any

import torch

from fxonnx.capture.tracer.symbols import dim_of
from fxonnx.ir.dims import Dim


class TracedSizes:
    """What `capture.sizes.Sizes` is to a graph of torch.export."""

    def __init__(self, opaque: dict[str, str]) -> None:
        self.opaque = opaque  # symbol -> the number that it stands for

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dim of a size found in a shape or in an argument."""
        return dim_of(size)

    def expression(self, expression: Any) -> Dim:
        """The dim of a node's expression, which is one."""
        dim: Dim = expression.dim
        return dim
