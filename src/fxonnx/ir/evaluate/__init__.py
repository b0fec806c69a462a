"""A graph computed with numpy: what folding needs of small tensors, and the proof of a rule.

`onnx.reference` computes the operators. Functions of our own stand before it: `direct` for the few that nearly every
compile folds, which need not wait for its import, and `gaps` for what it computes wrongly or refuses.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.evaluate.control import CONTROL
from fxonnx.ir.evaluate.direct import DIRECT, SINCE, Array, Function
from fxonnx.ir.evaluate.gaps import GAPS
from fxonnx.ir.evaluate.reference import CannotEvaluate, compute_by_reference
from fxonnx.ir.graph import Graph, Node, Value

Environment = MutableMapping[Value, Array]


def evaluate_node(node: Node, arrays: Sequence[Array | None], opset: int = schema.NEWEST) -> list[Array]:
    """The node's outputs for its inputs, of which absent ones are None. Its subgraphs may read constants only.

    Raises CannotEvaluate for an operator nobody here knows.
    """
    return _compute(node, arrays, opset, {})


def evaluate(graph: Graph, inputs: Mapping[str, Array] | Sequence[Array]) -> list[Array]:
    """The graph's outputs for its inputs, by name or in order.

    Raises CannotEvaluate for an operator nobody here knows, and AbsentContent for a constant without content.
    """
    arrays = [inputs[value.name or ""] for value in graph.inputs] if isinstance(inputs, Mapping) else inputs
    return _run(graph, arrays, {})


def _run(graph: Graph, arrays: Sequence[Array], around: Environment) -> list[Array]:
    """A graph inside its surroundings. Contents are read once."""
    environment = ChainMap(dict(zip(graph.inputs, arrays, strict=True)), around)

    def read(value: Value) -> Array:
        if value.data is not None and value not in environment:
            environment[value] = value.data.array()
        return environment[value]

    for node in graph.nodes:
        inputs = [None if value is None else read(value) for value in node.inputs]
        results = _compute(node, inputs, graph.opset, environment)
        environment.update(zip(node.outputs, results, strict=False))
    return [read(value) for value in graph.outputs]


def _compute(node: Node, arrays: Sequence[Array | None], opset: int, environment: Environment) -> list[Array]:
    """One node, by the first that knows it. Overflow and invalid arithmetic give what the dtype gives, silently."""
    with np.errstate(all="ignore"):
        control = CONTROL.get(node.op)
        if control is not None:
            return control(node, arrays, lambda graph, inputs: _run(graph, inputs, environment))
        function = _own_function(node.op, opset)
        result = None if function is None else function(*arrays, **node.attributes)
        if result is None:
            return compute_by_reference(node, arrays, opset)
        return [np.asarray(each) for each in (result if isinstance(result, list) else [result])]


def _own_function(op: str, opset: int) -> Function | None:
    """The function that computes the operator here; None where the reference does."""
    found = GAPS.get(op)
    if found is not None:
        return found.function if opset in found.opsets else None
    return DIRECT.get(op) if opset >= SINCE else None


__all__ = ["CannotEvaluate", "evaluate", "evaluate_node"]
