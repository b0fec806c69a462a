"""Runs of one model at several sizes, call by call: the same ops in the same order, and numbers among their arguments
that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import fx

from fxonnx.capture.equivalence.value_numbers import same_tensor
from fxonnx.capture.graph.checks import is_check, said_by_all
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import evaluate, symbols_of

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


class Unlike(Exception):
    """The runs are not one but for numbers."""


class Unknown(NamedTuple):
    """A number that has another value in each run."""

    values: tuple[Any, ...]


class Result(NamedTuple):
    """What the call at a position returned: all of it, or one of several."""

    call: int
    place: int | None = None


class Known(NamedTuple):
    """What a run was given, as it stands in the first one: an input, by its number, a weight, or a size."""

    value: Any


class Table(NamedTuple):
    """A small constant, whose elements may be unknown."""

    rows: Any
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Call:
    """A call of all runs: the node of the first, and the arguments with what is unknown in them."""

    node: fx.Node
    args: Any
    kwargs: Any


@dataclass(slots=True)
class _Reader:
    """The calls of one run, and where each stands."""

    run: Run
    calls: list[fx.Node] = field(default_factory=list)
    positions: dict[fx.Node, int] = field(default_factory=dict)
    inputs: Mapping[fx.Node, int] = field(default_factory=dict)

    @staticmethod
    def of(run: Run) -> _Reader:
        nodes = [node for node in run.tape.graph.nodes if node.op == "call_function" and not _is_size(node)]
        idle = _idle(run.tape.graph)
        calls = [node for node in nodes if isinstance(node.target, torch._ops.OpOverload) and node not in idle]
        inputs = {node: number for number, node in enumerate(run.inputs)}
        return _Reader(run, calls, {node: number for number, node in enumerate(calls)}, inputs)

    def result(self, node: fx.Node) -> Result | None:
        """What a node is, where it is the result of a call."""
        if node in self.positions:
            return Result(self.positions[node])
        if node.op == "call_function" and node.args and node.args[0] in self.positions:
            return Result(self.positions[node.args[0]], node.args[1])
        return None

    def weight(self, node: fx.Node) -> Any:
        """A weight, where a node is one."""
        return self.run.tape.weights.get(node)

    def number(self, value: Any) -> Any:
        """A plain number, or the one that a size has in the run."""
        if not isinstance(value, fx.Node):
            return value
        size = value.meta["val"]
        if isinstance(size, torch.SymInt) and symbols_of([dim_of(size)]) <= self.run.symbols.hints.keys():
            return evaluate(dim_of(size), self.run.symbols.hints)
        raise Unlike("a number that comes from no size")


def _idle(graph: fx.Graph) -> set[fx.Node]:
    """The calls whose results nobody reads, and that do nothing else: `[len(row) for row in x]` takes x apart."""
    found = set[fx.Node]()
    for node in reversed(graph.nodes):
        is_left = node.op == "call_function" and not is_check(node) and not node.is_impure()
        if is_left and found.issuperset(node.users):
            found.add(node)
    return found


def _is_size(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), _SYMBOLIC)


def make_the_same_calls(one: Run, other: Run) -> bool:
    """Whether two runs call the same ops in the same order, whatever they give them."""
    return _targets(_Reader.of(one)) == _targets(_Reader.of(other))


def _targets(reader: _Reader) -> list[Any]:
    return [node.target for node in reader.calls]


def align(runs: Sequence[Run]) -> tuple[list[Call], Any]:
    """The calls that all runs make, and their results. Raises Unlike."""
    readers = [_Reader.of(run) for run in runs]
    first = readers[0]
    if any(_targets(each) != _targets(first) for each in readers):
        raise Unlike("other calls")
    found = [_call(readers, nodes) for nodes in zip(*(each.calls for each in readers), strict=True)]
    return found, _joined(readers, [list(run.tape.graph.output_node().args[0]) for run in runs])


def _call(readers: Sequence[_Reader], nodes: Sequence[fx.Node]) -> Call:
    first, args = nodes[0], [node.args for node in nodes]
    if is_check(first):  # in what it says stand numbers that it does not compute with
        texts = zip(*(each[1:] for each in args), strict=True)
        return Call(first, [_joined(readers, [each[0] for each in args]), *map(said_by_all, texts)], {})
    return Call(first, _joined(readers, args), _joined(readers, [node.kwargs for node in nodes]))


def _joined(readers: Sequence[_Reader], values: Sequence[Any]) -> Any:
    """What stands at one place in all runs, as one."""
    first = values[0]
    if isinstance(first, (list, tuple)):
        if any(not isinstance(each, (list, tuple)) or len(each) != len(first) for each in values):
            raise Unlike("other arguments")
        return [_joined(readers, each) for each in zip(*values, strict=True)]
    if isinstance(first, dict):
        if any(each.keys() != first.keys() for each in values):
            raise Unlike("other arguments")
        return {name: _joined(readers, [each[name] for each in values]) for name in first}
    if isinstance(first, fx.Node) and not _is_size(first):
        return _tensor(readers, values)
    if any(isinstance(each, fx.Node) for each in values):
        return _size(readers, values)
    return _constant(values)


def _constant(values: Sequence[Any]) -> Any:
    first = values[0]
    if all(type(each) is type(first) and each == first for each in values) or all(each is first for each in values):
        return first
    if all(type(each) is type(first) and isinstance(each, (int, float)) for each in values) and type(first) is not bool:
        return Unknown(tuple(values))
    raise Unlike("other constants")


def _size(readers: Sequence[_Reader], values: Sequence[Any]) -> Any:
    """A size that all say alike, or what it is in each."""
    sizes = [each.meta["val"] if isinstance(each, fx.Node) else each for each in values]
    if all(isinstance(each, _SYMBOLIC) for each in sizes) and len({str(each.node) for each in sizes}) == 1:
        return Known(sizes[0])
    return _constant([reader.number(each) for reader, each in zip(readers, values, strict=True)])


def _tensor(readers: Sequence[_Reader], nodes: Sequence[Any]) -> Any:
    if not all(isinstance(each, fx.Node) for each in nodes):
        raise Unlike("other arguments")
    results = {reader.result(node) for reader, node in zip(readers, nodes, strict=True)}
    inputs = {reader.inputs.get(node) for reader, node in zip(readers, nodes, strict=True)}
    if len(results) > 1 or len(inputs) > 1:
        raise Unlike("other arguments")
    result, number = results.pop(), inputs.pop()
    if result is not None:
        return result
    if number is not None:
        return Known(number)
    return _weight([reader.weight(node) for reader, node in zip(readers, nodes, strict=True)])


def _weight(weights: Sequence[Any]) -> Any:
    first = weights[0]
    if any(each is None for each in weights):
        raise Unlike("other arguments")
    if all(each.tensor is first.tensor for each in weights):
        return Known(first.tensor)
    tensors = [each.tensor for each in weights]
    if not all(each.is_literal and each.tensor.dtype == first.tensor.dtype for each in weights):
        raise Unlike("other weights")
    if all(same_tensor(first.tensor, each) for each in tensors):
        return Known(first.tensor)
    if any(each.shape != first.tensor.shape for each in tensors) or first.tensor.numel() > 64:
        raise Unlike("other constants")
    return Table(_rows([each.tolist() for each in tensors]), first.tensor.dtype)


def _rows(values: Sequence[Any]) -> Any:
    return [_rows(each) for each in zip(*values, strict=True)] if isinstance(values[0], list) else _constant(values)


__all__ = ["Call", "Known", "Result", "Table", "Unknown", "Unlike", "align", "make_the_same_calls"]
