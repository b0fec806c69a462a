"""What values of a graph are while the model runs on given inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from fxonnx.emit.onnx import emit
from fxonnx.ir.graph import Graph, Value
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.runtime.session import Session
from fxonnx.target import Target


def observed(
    inputs: Iterable[Sequence[torch.Tensor]], graph: Graph, target: Target, wanted: Sequence[Value]
) -> Iterator[list[np.ndarray]]:
    """The wanted values of a graph that is not legalized yet, in float32, in a run on each of the inputs.

    Raises CallMismatch for inputs that do not fit, RuntimeFailed.
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
    for tensors in inputs:
        yield [each.float().numpy() for each in session.run(tensors)]
