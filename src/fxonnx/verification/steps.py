"""Quantized values lie on steps: which graphs round to them, and how large they are.

Two right runtimes may round what lies between two steps to either one, so such a value may be off by a step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from fxonnx.capture import Program
from fxonnx.ir.graph import Graph, Node, Value

ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "com.microsoft::MatMulNBits"})
"""Operators that round; ONNX Runtime rounds what is multiplied with dequantized weights as well."""

_QUANTIZING = re.compile(r"quantized_decomposed::|torchao::|aten::_?fake_quantize|aten::_int_mm")  # calls of a model


def rounds_to_steps(program: Program, graph: Graph) -> bool:
    """Whether a model rounds to few steps, or a graph that was made of it does."""
    calls = (getattr(node.target, "_schema", None) for node in program.graph.nodes)
    if any(schema is not None and _QUANTIZING.match(schema.name) for schema in calls):
        return True
    return any(node.op in ROUNDING for node in graph.all_nodes())


def steps_of(graph: Graph) -> Mapping[Value, float]:
    """The step of each value that lies on steps of a known size; the largest of several."""
    found = ((node.output, _step(node)) for node in graph.nodes if node.op in ROUNDING)
    return {value: step for value, step in found if step is not None}


def _step(node: Node) -> float | None:
    if node.op == "QuantizeLinear":
        return 1.0
    scale = node.inputs[1] if node.op == "DequantizeLinear" else None
    if scale is None or scale.data is None:
        return None
    return float(np.abs(np.asarray(scale.data.array(), np.float64)).max(initial=0.0)) or None
