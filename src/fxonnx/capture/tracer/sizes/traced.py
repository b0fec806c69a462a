"""The sizes of a traced graph as dims: they carry them already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Call, Dim, Expr, floor_divide, maximum, minimum, modulo

_FUNCTIONS = {"//": floor_divide, "%": modulo, "max": maximum, "min": minimum}


class TracedSizes:
    """What `capture.sizes.Sizes` is to a graph of torch.export.

    `facts` are dims that the run found to be others: with n <= 512 assumed, min(n, 512) is n. `opaque` tells what
    number a symbol of ours stands for.
    """

    def __init__(self, facts: Mapping[Dim, Dim], opaque: dict[str, str]) -> None:
        self.opaque = opaque
        self._facts = facts
        self._known: dict[Dim, Dim] = {}

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dim of a size found in a shape or in an argument."""
        return size if isinstance(size, int) else self._simple(dim_of(size))

    def expression(self, expression: Any) -> Dim:
        """The dim of a node's expression, which is one."""
        return self._simple(expression.dim)

    def _simple(self, dim: Dim) -> Dim:
        if isinstance(dim, int) or not self._facts:
            return dim
        known = self._known.get(dim)
        if known is None:
            known = self._known[dim] = self._rewritten(dim)
        return known

    def _rewritten(self, dim: Expr) -> Dim:
        total: Dim = 0
        for monomial, factor in dim.terms:
            term: Dim = factor
            for atom in monomial:
                alone: Dim = Expr((((atom,), 1),))
                if isinstance(atom, Call):
                    made = _FUNCTIONS[atom.function](self._simple(atom.left), self._simple(atom.right))
                    alone = self._facts.get(alone, made)
                term = term * alone
            total = total + term
        return total
