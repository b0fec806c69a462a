"""Sizes from data in two ways: of one value they are one symbol, whatever each way calls it.

A symbol of the joined graph is what the way that is taken gives it. So one of the second way's own may take the name of
one of the first way's own, and keeps it: u1 is the size of what either of two selections has selected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import fx

from fxonnx.capture.tracer.results.cache import FakeCache
from fxonnx.capture.tracer.results.meta import CachedTensor, TensorMeta
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_int
from fxonnx.ir.dims import Dim, product, substitute, symbol, symbols_of


class DataSizes:
    """The symbols that come from data in all ways of a model; `renamed` are those that have another's name now."""

    def __init__(self, cache: FakeCache) -> None:
        self._cache, self._data = cache, cache.guard_log.data

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols of the inputs' sizes."""
        return frozenset(self._data.sizes)

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dim of a size, with the names that symbols have now."""
        return self.now(dim_of(size))

    def now(self, dim: Dim) -> Dim:
        """A dim with the names that symbols have now."""
        return substitute(dim, self._data.renamed)

    def names(self, graph: fx.Graph) -> set[str]:
        """The names of the symbols in a graph."""
        values = (node.meta.get("val") for node in graph.nodes)
        return set(symbols_of(dim for value in values for dim in self.dims(value))) & self._data.hints.keys()

    def dims(self, value: Any) -> Sequence[Dim]:
        """The sizes of a tensor, of several, or a number."""
        if isinstance(value, torch.Tensor):
            return list(map(self.dim, value.shape))
        if isinstance(value, (list, tuple)):
            return [dim for each in value for dim in self.dims(each)]
        return [self.dim(value)] if isinstance(value, torch.SymInt) else []

    def rename(self, names: dict[str, Dim]) -> None:
        """Give symbols the names of others."""
        known = {name: substitute(dim, names) for name, dim in self._data.renamed.items()}
        self._data.renamed = known | names

    def number(self) -> Any:
        """A whole number, as a tensor."""
        return self._tensor(torch.int64, torch.device("cpu"), ())

    def with_new(self, tensor: Any, is_new: Iterable[bool]) -> Any:
        """A tensor like another, with new symbols for some sizes."""
        sizes = zip(is_new, tensor.shape, strict=True)
        shape = tuple(self._data.new_size() if new else self.dim(size) for new, size in sizes)
        return self._tensor(tensor.dtype, tensor.device, shape)

    def _tensor(self, dtype: torch.dtype, device: torch.device, shape: tuple[Dim, ...]) -> Any:
        log = self._cache.guard_log
        strides = [product(shape[axis + 1 :]) for axis in range(len(shape))]
        sizes, steps = ([sym_int(dim, self._data.value(dim), log) for dim in each] for each in (shape, strides))
        log.sizes.update(dim for dim in shape if not isinstance(dim, int))
        meta = TensorMeta(dtype, device, shape, tuple(strides), 0, False, False)
        like = CachedTensor(meta, (tuple(sizes), tuple(steps), 0), None)
        return like.instantiate(self._cache.mode, (), self._cache.metas)


class Agreement:
    """What two ways have for one size each, found out pair by pair; linear in the sizes that are compared."""

    def __init__(self, sizes: DataSizes, one: set[str], other: set[str]) -> None:
        self._sizes = sizes
        self._own, self._others = one - other, other - one  # symbols that nothing stands for yet

    def __call__(self, one: Dim, other: Dim) -> bool:
        """Whether one dim can stand for both; symbols that only one way has are one from then on."""
        other = self._sizes.now(other)
        if one == other:
            return True
        mine, theirs = (_in_order(symbols_of([dim]) & own) for dim, own in ((one, self._own), (other, self._others)))
        names: dict[str, Dim] = {theirs: symbol(mine) for theirs, mine in zip(theirs, mine, strict=False)}
        if not names or len(mine) != len(theirs) or substitute(other, names) != one:
            return False
        self._own.difference_update(mine)
        self._others.difference_update(theirs)
        self._sizes.rename(names)
        return True


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (int("".join(re.findall(r"\d+", name)) or 0), name))
