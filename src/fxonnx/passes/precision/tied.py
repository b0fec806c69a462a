"""Tables of four bits that are heads as well: stored once, in the bytes that both kernels of ONNX Runtime read.

A DequantizeLinear in blocks, which the runtime takes for a MatMul, has the inputs of a layer along its first axis, and
rows of a table cannot be taken from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fxonnx.dtypes import FLOAT32, INT4, UINT8
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.data import View
from fxonnx.ir.few_bits import packed_rows
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.types import TensorType
from fxonnx.passes.integer_kernels import has_many_rows
from fxonnx.passes.precision.request import Precision
from fxonnx.target import MICROSOFT, Target

_BITS = 4
_ACCURACY = 4  # of MatMulNBits: its input is rounded to eight bits, as beside the blocks of a DequantizeLinear


@dataclass(frozen=True, slots=True)
class Tied:
    """A table [rows, size] in blocks along its rows: bytes of two elements [rows, size / 2], scales [rows, blocks]."""

    integers: View
    scales: View
    block: int
    name: str | None

    @classmethod
    def of(cls, table: Value, block: int) -> Tied:
        """The values of a table that is known."""
        assert table.data is not None
        return cls(*packed_rows(table.data, block), block, table.name)

    def rows(self, op: Builder, node: Node) -> Tensor:
        """What a Gather takes from the table, in float32."""
        given = {"gather_axis": 0, "quantize_axis": 1, "block_size": self.block, "bits": _BITS}
        integers, scales = self._constants(op)
        type = TensorType(FLOAT32, node.output.shape)
        inputs = [integers, node.inputs[1], scales]
        return op.call(f"{MICROSOFT}::GatherBlockQuantized", inputs, given, 1, [type])[0]

    def product(self, op: Builder, x: Tensor, node: Node) -> Tensor:
        """x · tableᵀ for a layer, in float32."""
        count, blocks = self.scales.shape
        given = {"K": blocks * self.block, "N": count, "bits": _BITS, "block_size": self.block}
        integers, scales = self._constants(op)
        inputs = [x, op.Reshape(integers, [count, blocks, self.block // 2]), op.Reshape(scales, [-1])]
        type = TensorType(FLOAT32, node.output.shape)
        return op.call(f"{MICROSOFT}::MatMulNBits", inputs, {**given, "accuracy_level": _ACCURACY}, 1, [type])[0]

    def _constants(self, op: Builder) -> list[Tensor]:
        both = (self.integers, self.scales)
        return [op.constant(each, name=self.name and self.name + each.suffix) for each in both]


def tied_tables(
    graph: Graph, target: Target, precision: Precision, heads: Sequence[tuple[Value, Value]]
) -> dict[Value, Tied]:
    """The tables of rows that are weights of layers too, none of many rows, for a runtime with both kernels. `heads`
    are what layers multiply with, transposed, and their results."""
    block = precision.block
    if precision.dtype is not INT4 or block is None or not target.allows(MICROSOFT):
        return {}
    if not target.has_kernel(MICROSOFT, "GatherBlockQuantized", 1, {"T1": UINT8, "T2": FLOAT32}):
        return {}
    gathers = (node for node in graph.all_nodes() if node.op == "Gather" and not node.attributes.get("axis", 0))
    tables = {node.inputs[0] for node in gathers if not precision.keeps(node.location.module)}
    crowded = {table for table, result in heads if has_many_rows(result)}
    return {table: Tied.of(table, block) for table, _ in heads if table in tables - crowded}
