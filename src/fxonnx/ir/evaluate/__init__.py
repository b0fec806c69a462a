"""A graph computed with numpy: what folding needs of small tensors, and the proof of a rule.

Common operators have a numpy function each, exact in dtype and rounding; the others are left to `onnx.reference`.
float16 and bfloat16 are computed in their own dtype.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.evaluate import elementwise, reduction, shaping  # noqa: F401  they fill the table
from fxonnx.ir.evaluate.call import COMPUTE, Array, CannotEvaluate, Operands
from fxonnx.ir.evaluate.control import CONTROL
from fxonnx.ir.evaluate.reference import compute_by_reference
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
        function = COMPUTE.get(node.op)
        result = function(Operands(node, tuple(arrays), opset)) if function else None
        if result is None:
            return compute_by_reference(node, arrays, opset)
        return [np.asarray(each) for each in result] if isinstance(result, (tuple, list)) else [np.asarray(result)]


__all__ = ["CannotEvaluate", "evaluate", "evaluate_node"]
