"""Linear layers and tables whose weights are stored in few bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fxonnx.dtypes import BFLOAT16, FLOAT16, FLOAT32, INT8, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.data import Data, transposed
from fxonnx.ir.few_bits import by_blocks, by_columns, by_rows
from fxonnx.ir.graph import Graph, Node, Value, has_content
from fxonnx.passes.pipeline import Pass
from fxonnx.passes.precision.request import Precision
from fxonnx.passes.precision.tied import Tied, tied_tables
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
        layers = _layers(graph, precision)
        heads = [(layer.weight, result) for result, layer in layers.items() if layer.turned]
        tied = tied_tables(graph, target, precision, heads)

        def replace(op: Builder, node: Node) -> Tensor | None:
            if precision.keeps(node.location.module):
                return None
            if node.op == "Gather" and node.attributes.get("axis", 0) == 0:
                return _rows(op, node, precision, tied)
            layer = layers.get(node.output)
            return None if layer is None else _narrowed(op, node, layer, precision, tied)

        return replace_nodes(graph, replace, rule="precision")

    return Pass("precision", run)


class _Layer(NamedTuple):
    """The weight of a layer, a known matrix, and whether it multiplies with that transposed."""

    weight: Value
    turned: bool


def _layers(graph: Graph, precision: Precision) -> dict[Value, _Layer]:
    """The layers with a weight that gets few bits, a known matrix with blocks of that size, by their results.

    One that others read as it is, a table, is transposed by a node.
    """
    producers = {output: node for node in graph.all_nodes() for output in node.outputs}
    found: dict[Value, _Layer] = {}
    for node in graph.all_nodes():
        if precision.keeps(node.location.module) or not (node.op == "MatMul" or (node.op == "Gemm" and is_plain(node))):
            continue
        weight, turned = node.reads[1], bool(node.attributes.get("transB"))
        source = producers.get(weight)
        if source is not None and source.op == "Transpose" and len(source.output.shape) == 2:
            weight, turned = source.reads[0], not turned
        if _is_narrowed(weight, precision):
            inputs = weight.shape[int(turned)]
            if precision.block is None or (isinstance(inputs, int) and inputs % precision.block == 0):
                found[node.output] = _Layer(weight, turned)
    return found


def _narrowed(op: Builder, node: Node, layer: _Layer, precision: Precision, tied: Mapping[Value, Tied]) -> Tensor:
    """x · weight + bias, with the weight in few bits."""
    x, _, bias = (*node.inputs, None)[:3]
    assert x is not None and layer.weight.data is not None
    wide = _activation(op, x, precision)
    if layer.turned and layer.weight in tied:
        product = tied[layer.weight].product(op, wide, node)
    else:
        data: Data = transposed(layer.weight.data, (1, 0)) if layer.turned else layer.weight.data
        product = op.MatMul(wide, _dequantized(op, data, layer.weight.name, precision))
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


def _rows(op: Builder, node: Node, precision: Precision, tied: Mapping[Value, Tied]) -> Tensor | None:
    """Rows of a table in int8, each scaled, or of one that is a head as well, as that is stored; None where it is no
    known matrix."""
    table, rows = node.inputs
    if table is None or rows is None or not _is_narrowed(table, precision):
        return None
    if table in tied:
        return _cast(op, tied[table].rows(op, node), table.dtype)
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
