"""torch.export, before any decomposition, as a Program's raw material."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.export.checks import asserting
from fxonnx.capture.graph.autocast import insert_casts
from fxonnx.capture.state.python_state import StateChanges, preserved
from fxonnx.capture.surroundings import EagerDtypes, no_fast_path, quiet, unadvised


def export(example: Example) -> tuple[ExportedProgram, StateChanges]:
    """The flat model as torch.export sees it, and what forward has changed in the model, which is as it was.

    Raises whatever torch or the model raises; `failures.Translating` makes errors of ours of it.
    """
    flat, leaves = example.flat, tuple(example.leaves)
    shapes = (_torch_shapes(example),) if leaves else None
    with (
        preserved(flat, flat.functions) as changes, _observed(flat, changes), torch.no_grad(), quiet(), unadvised(),
        no_fast_path(), EagerDtypes(), asserting(),
    ):  # fmt: skip
        exported = torch.export.export(flat, leaves, dynamic_shapes=shapes, strict=False)
    insert_casts(exported.graph, torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu"))
    return exported, changes


@contextmanager
def _observed(flat: Flat, changes: StateChanges) -> Iterator[None]:
    """Take note of what a call of the model changes: torch has exchanged all of its tensors around the call."""

    @contextmanager
    def around() -> Iterator[None]:
        seen = StateChanges.of(flat, flat.functions)
        yield
        seen.look()
        changes.tensors, changes.others, changes.arrays = seen.tensors, seen.others, seen.arrays

    before = flat.around
    try:
        flat.around = around
        yield
    finally:
        flat.around = before


def _torch_shapes(example: Example) -> tuple[dict[int, Any], ...]:
    """The requests for torch.export, in which every dim is `Dim.AUTO`: it may freeze, and we see that it did and say
    where."""
    shapes: tuple[dict[int, Any], ...] = tuple({} for _ in example.leaves)
    for (index, axis), request in example.requests.items():
        low = max(request.minimum, 2) if request.maximum is not None or request.minimum > 2 else None
        shapes[index][axis] = Dim.AUTO if low is None else Dim.AUTO(min=low, max=request.maximum)
    return shapes
