"""Sizes as keys: of dicts, of sets, and of the caches of functions.

Where a key is looked up Python asks for its hash, which is a plain number of the size. einops takes a size for what has
none, and goes without its caches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from types import FrameType
from typing import Any

import torch

from fxonnx.capture.tracer.sizes.int_node import IntNode
from fxonnx.capture.tracer.sizes.text import keys_around
from fxonnx.capture.tracer.torch_private import hashes_of_sizes

_WITHOUT = frozenset({"einops", "torch"})
_DEPTH = 4  # frames from where a key is hashed to where a cache is called


@contextmanager
def keys_of_sizes() -> Iterator[None]:
    """Sizes have hashes in the model's files. A cache of a function that was asked for one is emptied at the end: what
    is in it belongs to the run."""
    caches: dict[int, Any] = {}

    def hash_of(size: torch.SymInt) -> int | None:
        """The hash of a size where the model asks for one, None where it has none."""
        node, frame = size.node, sys._getframe(2)
        if not isinstance(node, IntNode) or _package(frame) in _WITHOUT:
            return None
        if not node.guard_log.in_model:  # what the model has kept is put back
            return hash(node.hint)
        caches.update((id(each), each) for each in _caches(frame))
        node.guard_log.keys.update(keys_around(frame))
        node.guard_log.hashed.add(node.dim)
        return hash(node.guard_log.as_plain(node.dim, node.hint))

    try:
        with hashes_of_sizes(hash_of):
            yield
    finally:
        for cache in caches.values():
            cache.cache_clear()


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _caches(frame: FrameType | None) -> Iterator[Any]:
    """The caches that are in the hands of the code that runs."""
    for _ in range(_DEPTH):
        if frame is None:
            return
        for names in (frame.f_locals, frame.f_globals):
            yield from (each for each in list(names.values()) if type(each) is _lru_cache_wrapper)
        frame = frame.f_back
