"""Legal forms that an optimizer of ONNX Runtime misreads, or a kernel computes wrongly, in a form that it reads right.

A file is run with all of the runtime's optimizers on, by whoever opens it, so every target gets the safe form. Measured
with 1.32; `tests/passes/legalize/test_respell.py` shows each mistake in a bare session, and fails once it is mended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from fxonnx.dtypes import INT32, INT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr
from fxonnx.ir.graph import Graph, Node, Value, constant_ints
from fxonnx.passes.legalize.expand import call, expand
from fxonnx.passes.legalize.expansions.forms import has_axes, pad
from fxonnx.passes.legalize.integer_reductions import exact_product, exact_sum
from fxonnx.passes.pipeline import graph_pass
from fxonnx.passes.rewriting.match import constant_number
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.passes.rewriting.rewrite import rewrite
from fxonnx.passes.rules import CAST
from fxonnx.target import Target

Producers: TypeAlias = Mapping[Value | None, Node]
"""the operator that makes a value"""


@dataclass(frozen=True, slots=True)
class Misread:
    """A form of an operator that one of the runtime's optimizers takes for another, or that its kernel gets wrong
    (`optimizer` is empty), and the body that says the same otherwise."""

    optimizer: str
    op: str
    applies: Callable[[Node, Producers], bool]
    body: Callable[..., Any]


def _is_by_vector(node: Node, producers: Producers) -> bool:
    left, right = (len(value.shape) for value in node.inputs if value is not None)
    return right == 1 and left > 1


def column(op: Builder, x: Tensor, vector: Tensor) -> Tensor:
    """The vector as a matrix of one column: a transpose that is drawn into a product with a vector gets lost."""
    return op.Squeeze(op.MatMul(x, op.Unsqueeze(vector, [-1])), [-1])


def _sums_nothing(node: Node, producers: Producers) -> bool:
    x = node.inputs[0]
    return x is not None and x.shape[-1] == 0 and not (x.dtype.is_float or x.dtype.is_signed)


def with_zero(op: Builder, x: Tensor, y: Tensor) -> Tensor:
    """A zero to sum up: without any number the kernel of unsigned integers writes zeros of another dtype, and stops."""
    return op.MatMul(op.Pad(x, [0, 1], None, [-1]), op.Pad(y, [0, 1], None, [-2 if len(y.shape) > 1 else -1]))


def _is_of_range(node: Node, producers: Producers) -> bool:
    indices = producers.get(node.inputs[1])
    return indices is not None and indices.op == "Range"


def reshaped_indices(op: Builder, x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Indices that are no Range: of one the runtime makes a slice, for which -1 is not before the first element but
    the last, and nothing is out of bounds."""
    return op.Gather(x, op.Reshape(indices, [-1]), axis=axis)


def _is_one_by_integer(node: Node, producers: Producers) -> bool:
    one, divisor = node.inputs
    if one is None or divisor is None or divisor.dtype.is_float or len(one.shape) > len(divisor.shape):
        return False
    return constant_ints(one) == (1,)


def one_by_integer(op: Builder, one: Tensor, divisor: Tensor) -> Tensor:
    """1 / x of integers, which is x itself or 0: times y the runtime makes y / x of it, as if they were reals."""
    return op.Where(op.Equal(op.Abs(divisor), 1), divisor, 0)


def _divides_by_zero(node: Node, producers: Producers) -> bool:
    divisor = node.inputs[1]
    return divisor is not None and divisor.dtype.is_float and constant_number(divisor) == 0


def quotient_by_zero(op: Builder, x: Tensor, zero: Tensor) -> Tensor:
    """x / 0, see `product_by_infinity`."""
    return _by_sign(op, x, op.Reciprocal(zero))


def _is_by_infinity(node: Node, producers: Producers) -> bool:
    return any(_is_infinity(value) for value in node.inputs)


def _is_infinity(value: Value | None) -> bool:
    return abs(constant_number(value) or 0) == math.inf


def product_by_infinity(op: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x * infinity by the sign of x: drawn out of a matrix product, the factor meets sums instead of their terms, which
    may be NaN; in double it does not load."""
    return _by_sign(op, x, y) if _is_infinity(y.value) else _by_sign(op, y, x)


def _by_sign(op: Builder, x: Tensor, infinity: Tensor) -> Tensor:
    return op.Where(x > 0, infinity, op.Where(x < 0, -infinity, math.nan))


def _has_axes(node: Node, producers: Producers) -> bool:
    return has_axes(node)


def _empties(node: Node, producers: Producers) -> bool:
    return bool(_emptied_axes(node.inputs[0], node.inputs[1]))


def _emptied_axes(x: Value | None, shape: Value | None) -> list[int]:
    """The axes of one element of which an Expand to a constant shape of the same rank leaves none."""
    wanted = constant_ints(shape)
    if x is None or wanted is None or len(wanted) != len(x.shape):
        return []
    return [axis for axis, (size, other) in enumerate(zip(x.shape, wanted, strict=True)) if (size, other) == (1, 0)]


def cut_to_nothing(op: Builder, x: Tensor, shape: Tensor) -> Tensor:
    """The axes cut to size 0, then expanded: an Expand that asks for no size above the one there is gets lost."""
    axes = _emptied_axes(x.value, shape.value)
    return op.Expand(op.Slice(x, [0] * len(axes), [0] * len(axes), axes), shape)


def _is_emptied_by_halves(node: Node, producers: Producers) -> bool:
    """Whether it has a size of 0 beside one that is not known."""
    shape = node.output.shape
    return 0 in shape and any(isinstance(dim, Expr) for dim in shape)


def nothing(op: Builder, x: Tensor, shape: Tensor, **attributes: Any) -> Tensor:
    """As many elements, none: a size that is computed beside 0 becomes -1, with which 0 cannot stand; it does not
    load."""
    return op.ConstantOfShape(shape, value=np.zeros(1, x.dtype.numpy))


def _is_of_large_integers(node: Node, producers: Producers) -> bool:
    """Whether it sums int64 that were no smaller integers before: of those every sum is exact in double. Floats may be
    as large, and NaN is the least int64."""
    x = node.inputs[0]
    cast = producers.get(x)
    was = cast.inputs[0] if cast is not None and cast.op == "Cast" else x
    if x is None or was is None or x.dtype is not INT64 or not _has_known_axes(node):
        return False
    return was.dtype.is_float or (was.dtype.is_integer and was.dtype.bits == 64)


def _is_of_integers(node: Node, producers: Producers) -> bool:
    """Whether it is a product of integers, and not of sizes."""
    return node.output.dtype in (INT32, INT64) and node.output.known is None and _has_known_axes(node)


def _has_known_axes(node: Node) -> bool:
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    return axes is None or bool(constant_ints(axes))


_LAID = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"})
_ON_THE_WAY = frozenset({"Relu", "Clip", "Add", "Sub", "Mul", "Div", "BatchNormalization"}) | _LAID
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def _is_of_float_layer(node: Node, producers: Producers) -> bool:
    """Whether what is quantized comes out of a layer whose weight is in floats, in ways that the runtime fuses."""
    before = producers.get(node.inputs[0])
    while before is not None and before.op in _ON_THE_WAY and before.inputs[0] is not None:
        computed = [value for value in before.inputs if not _is_known(value, producers)]
        before = producers.get(computed[0]) if len(computed) == 1 else None
    return before is not None and before.op in _LAYERS and _is_known(before.inputs[1], producers)


def _is_known(value: Value | None, producers: Producers) -> bool:
    """Whether a value is a constant, or computed of such; but for those dequantized, of which integers are known."""
    if value is None or value.is_constant:
        return True
    made = producers.get(value)
    if made is None or made.op == "DequantizeLinear":
        return False
    return all(_is_known(each, producers) for each in made.inputs)


def least_kept(op: Builder, x: Tensor, *rest: Tensor | None, **attributes: Any) -> Tensor:
    """A layer whose result is compared with the least number before it is quantized: a weight in floats is rounded to 8
    bits, all of it on the same steps, where the layer stands between DequantizeLinear and QuantizeLinear."""
    return op.QuantizeLinear(op.Max(x, x.dtype.lowest), *rest, **attributes)


MISREAD = (
    Misread("MatmulTransposeFusion", "MatMul", _is_by_vector, column),
    Misread("GatherToSliceFusion", "Gather", _is_of_range, reshaped_indices),
    Misread("DivMulFusion", "Div", _is_one_by_integer, one_by_integer),
    Misread("ExpandElimination", "Expand", _empties, cut_to_nothing),
    Misread("TransposeOptimizer", "Pad", _has_axes, pad),  # moves a Transpose past it, and forgets the axes
    Misread("MatMulScaleFusion", "Div", _divides_by_zero, quotient_by_zero),
    Misread("MatMulScaleFusion", "Mul", _is_by_infinity, product_by_infinity),
    Misread("WeightBiasQuantization", "QuantizeLinear", _is_of_float_layer, least_kept),
    Misread("", "MatMul", _sums_nothing, with_zero),
    Misread("ReshapeFusion", "Reshape", _is_emptied_by_halves, nothing),
    Misread("", "ReduceSum", _is_of_large_integers, exact_sum),
    Misread("", "ReduceProd", _is_of_integers, exact_product),
)


def _is_int(dim: Dim) -> TypeGuard[int]:
    return isinstance(dim, int)


def _makes_nothing(node: Node) -> bool:
    """Whether all that it returns is a tensor known to have no elements. The runtime's layouts in blocks take no images
    without channels, and kernels of some windows none at all."""
    shapes = [output.shape for output in node.outputs]
    return len(shapes) == 1 and 0 in shapes[0] and all(map(_is_int, shapes[0]))


@graph_pass
def respell(graph: Graph, target: Target) -> Graph:
    """Write what the runtime misreads in forms that it reads right."""
    producers: Producers = {output: node for node in graph.all_nodes() for output in node.outputs}

    def replace(op: Builder, node: Node) -> Tensor | None:
        if _makes_nothing(node):
            return op.constant(np.zeros([*filter(_is_int, node.output.shape)], node.output.dtype.numpy))
        found = next((each for each in MISREAD if each.op == node.op and each.applies(node, producers)), None)
        return None if found is None else call(found.body, op, node)

    respelled = replace_nodes(graph, replace, rule="respell")
    return graph if respelled is graph else expand(respelled, target)  # what it is respelled in is the newest ONNX


@graph_pass
def casts_there_and_back(graph: Graph, target: Target) -> Graph:
    """Read what was cast in place of a Cast to a wider dtype and back: the runtime leaves such a pair out even where a
    body of a loop or a branch reads its end, which reads nothing then. After `widen`, which casts too."""
    return rewrite(*CAST)(graph, target)
