"""Writes that read what they write: their source lies in the memory of their place.

Where an element is read after it was written, what comes out hangs on the order of torch's kernel. torch says so of
what it sees at once, and asks for a `clone()` (ATen/MemoryOverlap.h); of other layouts it leaves what the order gives.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import fx

from fxonnx.capture.graph.views import geometry, hint_of, storage

aten = torch.ops.aten

_ELEMENTS = 1 << 24  # of a place; the indices of more would take longer than anything else


def source_in_place(node: fx.Node, place: fx.Node) -> bool:
    """Whether a call that writes into `place` reads elements of it that it has written before, at the sizes of the
    run."""
    if node.target is aten.masked_scatter_.default:  # reads as many as it selects, one after the other
        return any(True for _ in _in_memory_of(place, node.args[2:3]))
    if node.target is not aten.copy_.default and torch.Tag.pointwise not in node.target.tags:
        return False
    sources = _in_memory_of(place, (*node.args, *node.kwargs.values()))
    return any(_is_read_late(source, place.meta["val"]) for source in sources)


def _in_memory_of(place: fx.Node, arguments: tuple[object, ...]) -> Iterator[torch.Tensor]:
    memory = storage(place.meta["val"])
    for each in arguments:
        value = each.meta["val"] if isinstance(each, fx.Node) else None
        if isinstance(value, torch.Tensor) and storage(value) == memory:
            yield value


def _is_read_late(source: torch.Tensor, place: torch.Tensor) -> bool:
    """Whether an element of the source is where another element of the place is written."""
    if geometry(source) == geometry(place) or source.dtype is not place.dtype or hint_of(place.numel()) > _ELEMENTS:
        return False
    written, read = _addresses(place), _addresses(source)
    try:
        read = np.broadcast_to(read, written.shape)
    except ValueError:  # torch refuses it
        return False
    others = read[read != written]
    return bool(np.isin(others, written).any())


def _addresses(value: torch.Tensor) -> np.ndarray:
    """Where each element lies in memory."""
    shape = [hint_of(size) for size in value.shape]
    steps = [np.arange(size) * hint_of(stride) for size, stride in zip(shape, value.stride(), strict=True)]
    offset = np.asarray(hint_of(value.storage_offset()))
    return sum(np.ix_(*steps), offset) if steps else offset
