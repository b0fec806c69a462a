"""What nodes cost: arithmetic, memory, and the seconds that a machine takes for as much at its best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from fxonnx.ir.dims import evaluate, symbols_of
from fxonnx.ir.graph import Node, Value
from fxonnx.machines import Best

_MICROSOFT = "com.microsoft::"


@dataclass(frozen=True, slots=True)
class Cost:
    """Floating-point operations, bytes read and written, and the seconds that a machine takes for as much at its best;
    None where sizes, or the machine, are not known. `measured` are the seconds of a run."""

    flops: int | None
    bytes: int | None
    predicted: float | None = None
    measured: float | None = None

    def __str__(self) -> str:
        parts = [
            *([] if not self.flops else [f"{with_unit(self.flops)}FLOP"]),
            *([] if self.bytes is None else [f"{with_unit(self.bytes)}B"]),
            *([] if self.predicted is None else [f"{with_unit(self.predicted)}s predicted"]),
            *([] if self.measured is None else [f"{with_unit(self.measured)}s measured"]),
        ]
        return ", ".join(parts) or "not known"

    def __sub__(self, other: Cost) -> Cost:
        """How much more this is, where both are known."""

        def more(one: Any, another: Any) -> Any:
            return None if one is None or another is None else one - another

        return Cost(
            more(self.flops, other.flops), more(self.bytes, other.bytes), more(self.predicted, other.predicted)
        )

    @staticmethod
    def sum(costs: Iterable[Cost]) -> Cost:
        """All together, as far as they are known."""
        each = list(costs)

        def known(numbers: Iterable[float | None]) -> list[float]:
            return [number for number in numbers if number is not None]

        flops, read = (int(sum(known(part))) for part in ([c.flops for c in each], [c.bytes for c in each]))
        predicted, measured = known(c.predicted for c in each), known(c.measured for c in each)
        return Cost(flops, read, sum(predicted) if predicted else None, sum(measured) if measured else None)


def cost_of(
    node: Node, sizes: Mapping[str, int], best: Best | None = None, measured: float | None = None
) -> Cost:
    """The cost of a node at some sizes, on a machine with so much at its best; of a branch or a loop, without what is
    in it."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    if not all(symbols_of(value.shape) <= sizes.keys() for value in values):
        return Cost(None, None, None, measured)
    shapes = {value: tuple(max(0, evaluate(dim, sizes)) for dim in value.shape) for value in values}
    flops, moved = _flops(node, shapes), _bytes(node, shapes)
    predicted = None if best is None else best.seconds(flops, moved)
    return Cost(flops, moved, predicted, measured)


Shapes: TypeAlias = "Mapping[Any, tuple[int, ...]]"


def _flops(node: Node, shapes: Shapes) -> int:
    written = prod(shapes[node.output])
    count = _COUNTED.get(node.op.removeprefix(_MICROSOFT))
    if count is not None:
        return count(node, shapes)
    return 0 if node.op in _MOVES or node.op in _FREE else max(written, *(prod(shapes[each]) for each in _given(node)))


def _bytes(node: Node, shapes: Shapes) -> int:
    if node.op in _FREE:
        return 0
    written = sum(value.dtype.nbytes(prod(shapes[value])) for value in node.outputs)
    if node.op in _PICKS:
        return 2 * written  # of what they pick from, they read no more
    return written + sum(value.dtype.nbytes(prod(shapes[value])) for value in _given(node))


def _given(node: Node) -> list[Value]:
    return [value for value in node.inputs if value is not None]


def _product(node: Node, shapes: Shapes) -> int:
    return 2 * prod(shapes[node.output]) * shapes[node.inputs[0]][-2 if node.attributes.get("transA") else -1]


def _convolution(node: Node, shapes: Shapes) -> int:
    return 2 * prod(shapes[node.output]) * prod(shapes[node.inputs[1]][1:])


def _transposed_convolution(node: Node, shapes: Shapes) -> int:
    return 2 * prod(shapes[node.inputs[0]]) * prod(shapes[node.inputs[1]][1:])


def _attention(node: Node, shapes: Shapes) -> int:
    past = node.inputs[4] if node.op == "Attention" and len(node.inputs) > 4 else None
    keys = shapes[node.inputs[1]][-2] + (shapes[past][-2] if past is not None else 0)
    return 4 * prod(shapes[node.inputs[0]]) * keys


def _recurrent(node: Node, shapes: Shapes) -> int:
    first, second = shapes[node.inputs[0]][:2]
    return 2 * first * second * (prod(shapes[node.inputs[1]]) + prod(shapes[node.inputs[2]]))


_COUNTED: Mapping[str, Callable[[Node, Shapes], int]] = {
    "MatMul": _product, "Gemm": _product, "FusedMatMul": _product, "Conv": _convolution,
    "ConvTranspose": _transposed_convolution, "Attention": _attention, "MultiHeadAttention": _attention,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent,
}  # fmt: skip
_FREE = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Size", "Constant"})
_PICKS = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "Split", "Compress"})
_MOVES = _PICKS | {"Transpose", "Concat", "Cast", "Expand", "Tile", "Pad", "DepthToSpace", "SpaceToDepth", "Where"}


_UNITS = {1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1.0: "", 1e-3: "m", 1e-6: "µ"}


def with_unit(number: float) -> str:
    """Three digits and the prefix of a unit: `12.3 k`."""
    factor = next((factor for factor in _UNITS if number >= factor), 1.0 if number == 0 else 1e-6)
    return f"{number / factor:.3g} {_UNITS[factor]}"
