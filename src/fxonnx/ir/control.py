"""If, Loop and Scan recorded from Python functions: their subgraphs, and the types of what comes out.

A branch or body is a function of a nested builder and returns tensors. It may read what the builder around it has
recorded: such reads are the subgraph's captures, and need no argument. Inside, work with the nested builder; a tensor
from outside joins it by `inner.use(tensor.value)`.

Source: ONNX operators If, Loop and Scan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder
from fxonnx.ir.calls import InvalidCall
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import Graph, known_dims
from fxonnx.ir.tensor import Tensor
from fxonnx.ir.types import TensorType, compatible

_INDEX = TensorType(dtypes.INT64, ())
_GOING = TensorType(dtypes.BOOL, ())


def record_if(
    op: Builder,
    condition: Tensor,
    then: Callable[[Builder], Sequence[Tensor]],
    otherwise: Callable[[Builder], Sequence[Tensor]],
) -> tuple[Tensor, ...]:
    """What `then` returns where the scalar bool `condition` holds, else what `otherwise` returns.

    A dim that the branches do not agree on becomes a new one. Raises InvalidCall where they return different counts,
    dtypes or ranks.
    """
    graphs = [_branch(op, "then", then), _branch(op, "else", otherwise)]
    left, right = (graph.outputs for graph in graphs)
    if len(left) != len(right):
        raise InvalidCall(f"the branches of If return {len(left)} and {len(right)} values")
    types = [_known_outside(op, join(op, a.type, b.type)) for a, b in zip(left, right, strict=True)]
    attributes = {"then_branch": graphs[0], "else_branch": graphs[1]}
    return op.call("If", [condition], attributes, len(types), types)


def record_loop(
    op: Builder,
    carried: Sequence[Tensor],
    body: Callable[..., Sequence[Tensor]],
    trips: Tensor | None = None,
    condition: Tensor | None = None,
    may_be_empty: bool = False,
) -> tuple[Tensor, ...]:
    """The last values of `carried`, then everything else the body returns, stacked along a new first axis.

    `body(inner, iteration, going, *carried)` returns whether to go on (a scalar bool), the new carried values, and what
    is to be stacked. It runs at most `trips` times, and not at all where `condition` is false.
    Where it may run no times (`may_be_empty`), the stacks are reshaped to what they would be: ONNX Runtime takes 0 for
    every size that only the body could tell.
    A carried value whose shape changes from one iteration to the next gets new dims where it does. Raises InvalidCall
    where its dtype or rank changes.
    """
    types = [tensor.type for tensor in carried]
    while True:
        inner, graph = _body(op, [("iteration", _INDEX), ("going", _GOING), *(("carried", t) for t in types)], body)
        found = [value.type for value in graph.outputs[1 : 1 + len(types)]]
        wider = [_widen(inner, before, after) for before, after in zip(types, found, strict=True)]
        if wider == types:
            break
        types = wider
    length = _trips(graph, trips) if condition is None else None
    stacked = [_stack(op, value.type, length) for value in graph.outputs[1 + len(types) :]]
    results = [_known_outside(op, type) for type in types]
    results += [_unknown(op, type) for type in stacked] if may_be_empty else stacked
    if not results:
        return ()  # the iterations leave nothing
    if condition is None and not carried:
        condition = op.constant(True)  # of a Loop's first two inputs none may be left out where no other comes after
    after = op.call("Loop", [trips, condition, *carried], {"body": graph}, len(results), results)
    if not may_be_empty:
        return after
    pairs = zip(after[len(types) :], stacked, strict=True)
    shapes = ((each, (each.shape[0] if length is None else length, *type.shape[1:])) for each, type in pairs)
    return (*after[: len(types)], *(op.Reshape(each, op.sizes(shape), allowzero=1) for each, shape in shapes))


def _unknown(op: Builder, type: TensorType) -> TensorType:
    return TensorType(type.dtype, tuple(dim if isinstance(dim, int) else op.new_dim() for dim in type.shape))


def record_scan(
    op: Builder,
    carried: Sequence[Tensor],
    sequences: Sequence[Tensor],
    body: Callable[..., Sequence[Tensor]],
    reverse: bool = False,
) -> tuple[Tensor, ...]:
    """The last values of `carried`, then everything else the body returns, stacked along a new first axis.

    `body(inner, *carried, *elements)` runs once for each element of the sequences' first axis, from the last one on
    with `reverse`, and returns the new carried values, of unchanging types, and what is to be stacked.
    """
    elements = [TensorType(tensor.dtype, tensor.shape[1:]) for tensor in sequences]
    arguments = [*(("carried", tensor.type) for tensor in carried), *(("element", type) for type in elements)]
    _, graph = _body(op, arguments, body)
    for tensor, value in zip(carried, graph.outputs, strict=False):
        if not compatible(tensor.type, value.type):
            raise InvalidCall(f"a value carried through Scan changes from {tensor.type} to {value.type}")
    stacked = [_stack(op, value.type, sequences[0].shape[0]) for value in graph.outputs[len(carried) :]]
    attributes: dict[str, Any] = {"body": graph, "num_scan_inputs": len(sequences)}
    if reverse:
        attributes |= {"scan_input_directions": [1] * len(sequences), "scan_output_directions": [1] * len(stacked)}
    types = [*(tensor.type for tensor in carried), *stacked]
    return op.call("Scan", [*carried, *sequences], attributes, len(types), types)


def join(op: Builder, left: TensorType, right: TensorType) -> TensorType:
    """A type that both are; new dims where they differ. Raises InvalidCall for other dtypes or ranks."""
    if left.dtype is not right.dtype or left.rank != right.rank:
        raise InvalidCall(f"{left} and {right} are to be one value")
    dims = (a if a == b else op.new_dim() for a, b in zip(left.shape, right.shape, strict=True))
    return TensorType(left.dtype, tuple(dims))


def _branch(op: Builder, name: str, branch: Callable[[Builder], Sequence[Tensor]]) -> Graph:
    inner = op.nested()
    return inner.finish(branch(inner), name=name)


def _body(
    op: Builder, arguments: Sequence[tuple[str, TensorType]], body: Callable[..., Sequence[Tensor]]
) -> tuple[Builder, Graph]:
    inner = op.nested()
    outputs = body(inner, *(inner.input(type, name) for name, type in arguments))
    return inner, inner.finish(outputs, name="body")


def _widen(inner: Builder, before: TensorType, after: TensorType) -> TensorType:
    """The type before an iteration that also holds after it; a dim that is already free stays."""
    joined = join(inner, before, after)
    dims = (a if _is_free(inner, a) else b for a, b in zip(before.shape, joined.shape, strict=True))
    return TensorType(before.dtype, tuple(dims))


def _is_free(inner: Builder, dim: Dim) -> bool:
    """Whether the dim is a symbol of its own, which only an argument of this subgraph defines."""
    name = getattr(dim, "name", None)
    assert inner.parent is not None
    return name is not None and name in inner.sources and name not in inner.parent.sources


def _known_outside(op: Builder, type: TensorType) -> TensorType:
    """The type with new dims in the place of those that only the subgraph can tell."""
    dims = (dim if op.tells([dim]) else op.new_dim() for dim in type.shape)
    return TensorType(type.dtype, tuple(dims))


def _trips(graph: Graph, trips: Tensor | None) -> Dim | None:
    """How often a body runs that never asks to stop; None where it may, or nobody knows."""
    going, asked = graph.inputs[1], graph.outputs[0]
    passed_on = any(node.op == "Identity" and node.output is asked and node.inputs[0] is going for node in graph.nodes)
    known = known_dims(trips.value) if trips is not None and (asked is going or passed_on) else None
    return None if known is None else known[0]


def _stack(op: Builder, type: TensorType, length: Dim | None) -> TensorType:
    outside = _known_outside(op, type)
    return TensorType(type.dtype, (op.new_dim() if length is None else length, *outside.shape))
