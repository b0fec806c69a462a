"""What a requested precision loses: of each output, and by each layer alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch

from fxonnx.capture import Program
from fxonnx.capture.call.tree import flatten
from fxonnx.capture.surroundings import training_mode
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.passes.optimize import pipeline_for
from fxonnx.passes.pipeline import Stage
from fxonnx.passes.precision import Precision, is_layer
from fxonnx.runtime.observe import observed
from fxonnx.runtime.shapes import as_real
from fxonnx.target import Target

_SHOWN = 8


class Narrowed(Protocol):
    """A compiled model, as far as it is asked; it is called like the model."""

    model: Any
    mode: str
    program: Program
    target: Target
    stages: tuple[Stage, ...]
    examples: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """The error of an output, or of a layer that alone is narrowed and reads what the exact model gives it: the root
    mean square of the difference, relative to that of the exact values. `name` is what `keep` takes."""

    name: str
    error: float

    def __str__(self) -> str:
        return f"{self.name} {self.error:.2%}"


@dataclass(frozen=True, slots=True)
class Losses:
    """The errors of all outputs, in order, and of all layers, those that lose most first; on the example's inputs."""

    outputs: tuple[Loss, ...]
    layers: tuple[Loss, ...]

    def __str__(self) -> str:
        lines = [f"  precision: error of {', '.join(map(str, self.outputs)) or 'nothing'}"]
        most = ", ".join(map(str, self.layers[:_SHOWN]))
        lines += [f"  layers that lose most by themselves, for keep=[…]: {most}"] if most else []
        return "\n".join(lines)


def losses(compiled: Narrowed, precision: Precision) -> Losses:
    """What a model loses by its precision, on its example. Each layer is run by itself. Raises RuntimeFailed."""
    (before,) = [earlier.graph for earlier, stage in pairwise(compiled.stages) if stage.name == "precision"]
    layers = [node for node in before.nodes if is_layer(node, precision)]
    values = list(dict.fromkeys(value for node in layers for value in (node.reads[0], node.output)))
    real = [*map(as_real, compiled.examples)]
    states = [state.tensor for state in compiled.program.states]
    arrays = next(iter(observed([[*real, *states]], before, compiled.target, values)), []) if values else []
    exact = dict(zip(values, arrays, strict=True))
    found = [_of_layer(node, exact, before, compiled.target, precision) for node in layers]
    return Losses(_of_outputs(compiled), tuple(sorted(found, key=lambda loss: loss.error, reverse=True)))


def _of_layer(
    node: Node, exact: dict[Value, np.ndarray], graph: Graph, target: Target, precision: Precision
) -> Loss:
    """The loss of a layer that stands alone."""
    x = node.reads[0]
    alone = Graph((x,), (node,), (node.output,), graph.opset, ("result",))
    inputs = [[torch.from_numpy(exact[x])]]
    narrowed = pipeline_for((), precision, partial(observed, inputs), optimize=False)(alone, target)
    ((result,),) = observed(inputs, narrowed, target, narrowed.outputs)
    return Loss(node.location.module or node.op, _error(result, exact[node.output]))


def _of_outputs(compiled: Narrowed) -> tuple[Loss, ...]:
    """The losses of what a call returns."""
    args, kwargs = compiled.program.signature.arguments_for(compiled.examples)
    with torch.set_grad_enabled(compiled.program.with_gradients), training_mode(compiled.model, compiled.mode):
        both: tuple[Any, Any] = (compiled, compiled.model)
        results = [flatten(each(*args, **kwargs))[0] for each in both]
    names = compiled.program.signature.output_names()
    pairs = zip(names, *results, strict=False)
    return tuple(
        Loss(name, _error(one.double().numpy(), other.double().numpy()))
        for name, one, other in pairs
        if isinstance(other, torch.Tensor) and other.is_floating_point()
    )


def _error(result: np.ndarray, wanted: np.ndarray) -> float:
    size = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64)))) if wanted.size else 0.0
    difference = np.asarray(result, np.float64) - wanted
    return float(np.sqrt(np.mean(np.square(difference)))) / size if size else 0.0
