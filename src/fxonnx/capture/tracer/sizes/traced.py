"""The sizes of a traced graph as dims: they carry them already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Call, Dim, Substitution, fold, of_atom


class TracedSizes:
    """Says the sizes of a graph.

    `facts` are dims that the run found to be others: with n <= 512 assumed, min(n, 512) is n. `opaque` tells what
    number a symbol of ours stands for; `nothing` has those that are 0.
    """

    def __init__(self, facts: Mapping[Dim, Dim], opaque: dict[str, str], nothing: Mapping[str, Dim]) -> None:
        self.opaque = opaque
        self._rewriting = _Facts(facts, nothing) if facts or nothing else None

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dim of a size found in a shape or in an argument."""
        return size if isinstance(size, int) else self._simple(dim_of(size))

    def expression(self, expression: Any) -> Dim:
        """The dim of a node's expression, which is one."""
        return self._simple(expression.dim)

    def _simple(self, dim: Dim) -> Dim:
        return dim if self._rewriting is None else fold(dim, self._rewriting)


class _Facts(Substitution):
    """The minima and maxima that are known to be one side, as that side."""

    def __init__(self, facts: Mapping[Dim, Dim], nothing: Mapping[str, Dim]) -> None:
        super().__init__(dict(nothing))
        self._facts = facts

    def call(self, atom: Call, left: Dim, right: Dim) -> Dim:
        known = self._facts.get(of_atom(atom))
        return super().call(atom, left, right) if known is None else known
