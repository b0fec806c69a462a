"""Linear layers and tables whose weights are stored in few bits."""

from __future__ import annotations

from collections.abc import Mapping

from fxonnx.dtypes import BFLOAT16, FLOAT16, FLOAT32, INT8, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.data import Data, transposed
from fxonnx.ir.few_bits import by_blocks, by_columns, by_rows
from fxonnx.ir.graph import Graph, Node, Value, has_content
from fxonnx.passes.pipeline import Pass
from fxonnx.passes.precision.request import Precision
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target

_NARROWED = (FLOAT32, FLOAT16, BFLOAT16)
LINEAR = ("MatMul", "Gemm")
_LEAST = 1024  # elements of a weight that is worth it


def narrow(precision: Precision) -> Pass:
    """The pass that writes weights of linear layers, and tables of embeddings, as `precision` says.

    x ── MatMul weight ─▶   becomes   x ── MatMul (q ── DequantizeLinear) ─▶
    """

    def run(graph: Graph, target: Target) -> Graph:
        producers = {output: node for node in graph.all_nodes() for output in node.outputs}

        def replace(op: Builder, node: Node) -> Tensor | None:
            if precision.keeps(node.location.module):
                return None
            if node.op == "Gather" and node.attributes.get("axis", 0) == 0:
                return _rows(op, node, precision)
            is_layer = node.op == "MatMul" or (node.op == "Gemm" and is_plain(node))
            return _layer(op, node, producers, precision) if is_layer else None

        return replace_nodes(graph, replace, rule="precision")

    return Pass("precision", run)


def _layer(op: Builder, node: Node, producers: Mapping[Value, Node], precision: Precision) -> Tensor | None:
    """x · weight + bias, with the weight in few bits; None where it is no known matrix, or has no blocks of that size.

    A weight that others read as it is, a table, is transposed by a node.
    """
    x, weight, bias = (*node.inputs, None)[:3]
    turned = bool(node.attributes.get("transB"))
    source = producers.get(weight) if weight is not None else None
    if source is not None and source.op == "Transpose" and len(source.output.shape) == 2:
        weight, turned = source.inputs[0], not turned
    if x is None or weight is None or not _is_narrowed(weight, precision):
        return None
    assert weight.data is not None
    data: Data = transposed(weight.data, (1, 0)) if turned else weight.data
    if precision.block is not None and data.shape[0] % precision.block:
        return None
    product = op.MatMul(_activation(op, x, precision), _dequantized(op, data, weight.name, precision))
    product = _cast(op, product, x.dtype)
    return product if bias is None else product + op.use(bias)


def _dequantized(op: Builder, data: Data, name: str | None, precision: Precision) -> Tensor:
    """The weight [inputs, outputs] from its integers."""
    blocks = {} if precision.block is None else {"block_size": precision.block}
    make = by_columns(data, precision.dtype) if precision.block is None else by_blocks(
        data, precision.dtype, precision.block)  # fmt: skip
    integers, scales = (op.constant(each, name=name and name + each.suffix) for each in make)
    weight: Tensor = op.DequantizeLinear(integers, scales, axis=0 if blocks else 1, **blocks)
    return weight


def _activation(op: Builder, x: Value, precision: Precision) -> Tensor:
    """The input in float32, on the steps of its range where that is asked for."""
    wide = _cast(op, op.use(x), FLOAT32)
    if not precision.dynamic:
        return wide
    found: Tensor = op.DequantizeLinear(*op.DynamicQuantizeLinear(wide))
    return found


def _cast(op: Builder, x: Tensor, dtype: DType) -> Tensor:
    return x if x.dtype is dtype else op.Cast(x, to=dtype)


def _rows(op: Builder, node: Node, precision: Precision) -> Tensor | None:
    """Rows of a table in int8, each scaled; None where it is no known matrix."""
    table, rows = node.inputs
    if table is None or rows is None or not _is_narrowed(table, precision):
        return None
    assert table.data is not None
    name = table.name
    integers, scales = (op.constant(each, name=name and f"{name}.rows{each.suffix}")
                        for each in by_rows(table.data, INT8))  # fmt: skip
    found = op.Cast(op.Gather(integers, op.use(rows)), to=FLOAT32)
    return _cast(op, found * op.Unsqueeze(op.Gather(scales, op.use(rows)), [-1]), table.dtype)


def _is_narrowed(weight: Value, precision: Precision) -> bool:
    """Whether a value is a known matrix of up to 32 bits, large enough, that is not to stay as it is."""
    fits = has_content(weight) and weight.dtype in _NARROWED and len(weight.shape) == 2
    if not fits or precision.keeps(weight.name):
        return False
    size = weight.type.size
    return isinstance(size, int) and size >= _LEAST


def is_layer(node: Node, precision: Precision) -> bool:
    """Whether a node multiplies a value with a known weight that is not to stay as it is."""
    if node.op not in ("Conv", *LINEAR) or (node.op == "Gemm" and not is_plain(node)):
        return False
    x, weight = node.reads[:2]
    axes = len(x.shape) if node.op == "Conv" else 2
    fits = has_content(weight) and weight.dtype in _NARROWED and len(weight.shape) == axes
    return fits and not x.is_constant and not precision.keeps(weight.name) and not precision.keeps(node.location.module)


def is_plain(node: Node) -> bool:
    """Whether a Gemm is x · weight, or · weightᵀ, + bias."""
    given = node.attributes
    return given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
