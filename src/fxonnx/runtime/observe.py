"""What values of a graph are while the model runs on given inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fxonnx.capture import Program
from fxonnx.emit.onnx import emit
from fxonnx.ir.graph import Graph, Value
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.precision.request import Precision
from fxonnx.runtime.session import Session
from fxonnx.target import Target


def observed(
    precision: Precision | None, program: Program, graph: Graph, target: Target, wanted: Sequence[Value]
) -> Iterator[list[np.ndarray]]:
    """The wanted values in a run on each batch of a calibration, states as they are.

    Raises CallMismatch for a batch that does not fit, RuntimeFailed.
    """
    names = tuple(f"observed_{index}" for index, _ in enumerate(wanted))
    *_, last = LEGALIZE.stages(replace(graph, outputs=tuple(wanted), output_names=names), target)
    emitted = emit(last.graph)
    session = Session(
        emitted.proto,
        {name: data.buffer() for name, data in emitted.weights.items()},
        inputs=[value.type for value in last.graph.inputs],
        outputs=[value.type for value in last.graph.outputs],
    )
    states = [state.tensor for state in program.states]
    batches = precision.calibration.batches if precision and precision.calibration else ()
    for batch in batches:
        yield [each.float().numpy() for each in session.run([*_leaves(batch, program), *states])]


def _leaves(batch: Any, program: Program) -> list[torch.Tensor]:
    """The flat tensors of a batch: a tensor, positional arguments, or keyword arguments by name."""
    kwargs = batch if isinstance(batch, dict) else {}
    args = () if kwargs else tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    leaves = program.signature.flatten(args[: len(program.signature.names)], kwargs)
    return [torch.view_as_real(each) if each.is_complex() else each for each in leaves]
