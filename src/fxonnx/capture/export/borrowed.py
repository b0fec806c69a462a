"""Constants of the code in the memory of NumPy arrays. torch.export copies each, as a literal, which makes what forward
writes into one a write into nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fxonnx.capture.export.assemble import Exported, read_ports
from fxonnx.capture.graph.functional_form import memories_written
from fxonnx.capture.graph.views import storage
from fxonnx.capture.locate import Locator
from fxonnx.capture.state.arrays import is_borrowed, lies_in, refuse_borrowed

_COPY = torch.ops.aten.lift_fresh_copy.default


def check_borrowed(exported: Exported, changed: Sequence[np.ndarray]) -> None:
    """Raise CaptureRefused where a graph writes into an array, or reads one of those that forward has `changed`."""
    weights, written, locator = (
        read_ports(exported, wrapped=True).weights,
        memories_written(exported.graph.nodes),
        Locator(),
    )
    copies = [each for each in exported.graph.nodes if each.target is _COPY and each.args[0] in weights]
    borrowed = ((each, weights[each.args[0]].tensor) for each in copies)
    refuse_borrowed(
        locator(copy)
        for copy, tensor in borrowed
        if is_borrowed(tensor) and (storage(copy.meta["val"]) in written or lies_in(tensor, changed))
    )
