"""Caches of functions, `functools.lru_cache`, wherever a model keeps them: what a run fills them with belongs to it."""

from __future__ import annotations

import functools
import gc
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fxonnx.capture.state.opaque import OPAQUE
from fxonnx.capture.state.snapshot import CONTAINERS

CACHED = type(functools.cache(len))
"""the type of a function that has a cache"""
_WRITABLE = frozenset((*CONTAINERS, defaultdict, OrderedDict, Counter, *OPAQUE, np.ndarray))
_REAL = (torch.Tensor, torch.nn.Parameter)


@dataclass(frozen=True, slots=True)
class FunctionCache:
    """The cache of a function, a name for it, and how often it had nothing."""

    cache: Any
    name: str
    misses: int

    @classmethod
    def of(cls, cache: Any, name: str) -> FunctionCache:
        """As it is now."""
        return cls(cache, name, cache.cache_info().misses)

    def has_more(self) -> bool:
        """Whether it was filled with what can be written to, which only the next call tells."""
        return self.is_filled() and bool(self.results())

    def restore(self) -> None:
        """Empty it where it was filled: what is in it belongs to the run."""
        if self.is_filled():
            self.cache.cache_clear()

    def is_filled(self) -> bool:
        """Whether it has had nothing since."""
        return bool(self.cache.cache_info().misses != self.misses)

    def results(self) -> list[Any]:
        """What it has that can be written to. CPython tells of it to the garbage collector alone: a dict of the
        results, or of links beside them where their number is limited."""
        held = [each for each in gc.get_referents(self.cache) if each is not vars(self.cache)]
        if self.cache.cache_parameters()["maxsize"] is None:
            held = [result for each in held if type(each) is dict for result in each.values()]
        return [each for each in held if _is_writable(each) and not _is_of_links(each)]


class SharedCache(FunctionCache):
    """One that others than the model may fill meanwhile: only tensors of a class of their own, as those of a run are,
    tell that the model did."""

    __slots__ = ()

    def is_filled(self) -> bool:
        """Whether the run has put something into it."""
        kinds = map(type, self.results()) if FunctionCache.is_filled(self) else ()
        return any(issubclass(kind, torch.Tensor) and kind not in _REAL for kind in kinds)


def _is_writable(value: Any) -> bool:
    """Whether that is so of a value; a tensor of a run is of torch's class for fakes."""
    return issubclass(type(value), torch.Tensor) or type(value) in _WRITABLE


def _is_of_links(value: Any) -> bool:
    return type(value) is dict and any(type(each).__name__ == "_lru_list_elem" for each in value.values())
