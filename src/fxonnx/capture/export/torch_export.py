"""torch.export, before any decomposition, as a Program's raw material."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from fxonnx.capture.call.example import Example
from fxonnx.capture.export.checks import asserting
from fxonnx.capture.graph.autocast import insert_casts
from fxonnx.capture.surroundings import ByteMasks, no_fast_path, quiet, unadvised


def export(example: Example) -> ExportedProgram:
    """The flat model as torch.export sees it.

    Raises whatever torch or the model raises; `failures.Translating` makes errors of ours of it.
    """
    leaves = tuple(example.leaves)
    shapes = (_torch_shapes(example),) if leaves else None
    with torch.no_grad(), quiet(), unadvised(), no_fast_path(), ByteMasks(), asserting():
        exported = torch.export.export(example.flat, leaves, dynamic_shapes=shapes, strict=False)
    insert_casts(exported.graph, torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu"))
    return exported


def _torch_shapes(example: Example) -> tuple[dict[int, Any], ...]:
    """The requests for torch.export, in which every dim is `Dim.AUTO`: it may freeze, and we see that it did and say
    where."""
    shapes: tuple[dict[int, Any], ...] = tuple({} for _ in example.leaves)
    for (index, axis), request in example.requests.items():
        low = max(request.minimum, 2) if request.maximum is not None or request.minimum > 2 else None
        shapes[index][axis] = Dim.AUTO if low is None else Dim.AUTO(min=low, max=request.maximum)
    return shapes
