"""torch.export, before any decomposition, as a Program's raw material."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.export import ExportedProgram

from fxonnx.capture.call.dynamic import Requests, torch_shapes
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.graph.autocast import insert_casts
from fxonnx.capture.surroundings import no_fast_path, quiet, unadvised


def export(flat: Flat, leaves: Sequence[torch.Tensor], table: Requests) -> ExportedProgram:
    """The flat model as torch.export sees it.

    Raises whatever torch or the model raises; `failures.Translating` makes errors of ours of it.
    """
    shapes = (torch_shapes(table, leaves),) if leaves else None
    with torch.no_grad(), quiet(), unadvised(), no_fast_path():
        exported = torch.export.export(flat, tuple(leaves), dynamic_shapes=shapes, strict=False)
    insert_casts(exported.graph, torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu"))
    return exported
