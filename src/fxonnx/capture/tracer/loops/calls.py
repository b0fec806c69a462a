"""Calls that are made once more: arguments put where they were, branches of higher-order ops, and floats of sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import fx

from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.graph.checks import answered
from fxonnx.capture.tracer.higher_order.ops import HigherOrder
from fxonnx.capture.tracer.loops.measures.measured import Axis
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.steps import REAL, Body, Branch, Hole, Inner
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.fx_nodes import FLOATS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import CONSTANT, PLAIN
from fxonnx.capture.tracer.sizes.nodes import FloatNode, IntNode, dim_of, sym_int
from fxonnx.ir.dims import Call, Dim, Substitution, fold, symbols_of


def filled(form: Any, sources: Iterator[Any], read: Callable[[Any], Any]) -> Any:
    """Arguments, with the next sources in the holes."""
    if isinstance(form, Hole):
        return read(next(sources))
    if isinstance(form, Inner):
        return form
    if isinstance(form, Body):
        return LoopBody(form, tuple(islice(sources, form.leaves)), read)
    if isinstance(form, Branch):
        calls = [(number, target, filled(given, sources, read)) for number, target, given in form.calls]
        return Function(form.arguments, calls, filled(form.results, sources, read))
    if isinstance(form, tuple) and form[:1] == (REAL,):
        return _computed(form[1], [filled(each, sources, read) for each in form[2:]])
    if isinstance(form, tuple) and form[:1] == ("list",):
        return [filled(each, sources, read) for each in form[1:]]
    if isinstance(form, tuple) and form[:1] == ("dict",):
        return {name: filled(each, sources, read) for name, each in form[1:]}
    return tuple(filled(each, sources, read) for each in form) if isinstance(form, tuple) else form


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A branch of a higher-order op, to be called once more."""

    arguments: Sequence[Inner]
    calls: Sequence[tuple[Inner, Any, Any]]
    results: Any

    def on(self, tape: Tape) -> Callable[..., Any]:
        """What makes its calls on a tape."""

        def function(*operands: Any) -> Any:
            known: dict[Inner, Any] = dict(zip(self.arguments, operands, strict=True))
            for number, target, given in self.calls:
                args, kwargs = with_values(given, known)
                known[number] = called(tape, target, args, kwargs)
            return with_values(self.results, known)

        return function


@dataclass(frozen=True, slots=True, eq=False)
class LoopBody:
    """The body of a loop that was rolled up before, to be recorded once more: `read` its sources as soon as it has an
    iteration."""

    form: Body
    sources: Sequence[Any]
    read: Callable[[Any], Any]


def with_values(value: Any, known: Mapping[Inner, Any]) -> Any:
    """Arguments, with the values of a branch in them."""
    if isinstance(value, Inner):
        return known[value]
    if isinstance(value, dict):
        return {name: with_values(each, known) for name, each in value.items()}
    return type(value)(with_values(each, known) for each in value) if isinstance(value, (list, tuple)) else value


def called(tape: Tape, target: Any, args: Any, kwargs: Any) -> Any:
    """One call: of aten, or of a higher-order op, it is recorded, on sizes it is computed."""
    if isinstance(target, torch._ops.OpOverload):
        return tape.call(target, args, kwargs)
    if target is answered:
        return answer_alike(tape.cache.guard_log, *args)
    if not isinstance(target, torch._ops.HigherOrderOperator):
        return target(*args, **kwargs)
    given = [each.on(tape) if isinstance(each, Function) else each for each in args]
    result = HigherOrder(tape, nullcontext)(target, given, kwargs)
    if result is NotImplemented:
        raise NotRolled(f"{target} stands in a loop")
    return result


def answer_alike(log: GuardLog, relation: str, difference: int | torch.SymInt, answer: bool) -> None:
    """Hold an answer for that of all sizes, and of all iterations; where no iteration is in it, it may be a condition
    of the program. Raises NotRolled."""
    dim = dim_of(difference)
    known = log.statically_known(relation, dim, 0)
    if known is None and symbols_of([dim]) <= log.hints.keys():
        known = RELATIONS[relation](log.value(dim), 0)
        log.add(relation, dim, 0, known)
    if known is not answer:
        raise NotRolled("it decides by the number of the iteration, and at other lengths it may decide otherwise")


def settled(dim: Dim, log: GuardLog) -> Dim:
    """A dim without the minima and maxima of two of which one is so at all sizes, and in all iterations."""
    return fold(dim, _Settled(log))


class _Settled(Substitution):
    def __init__(self, log: GuardLog) -> None:
        super().__init__({})
        self._log = log

    def call(self, atom: Call, left: Dim, right: Dim) -> Dim:
        """See `Algebra`."""
        relation = {"min": "<=", "max": ">="}.get(atom.function)
        if relation is not None:
            for one, other in ((left, right), (right, left)):
                if self._is_known(relation, one - other):
                    return one
        return super().call(atom, left, right)

    def _is_known(self, relation: str, difference: Dim) -> bool:
        """Whether it is so from sizes of 1 on, as of what torch computes."""
        log = self._log
        known = log.statically_known if log.data.are_in(difference) else log.known_from_one
        return known(relation, difference, 0) is True


def _computed(name: str, parts: Sequence[Any]) -> Any:
    """A float of sizes and floats, some of which have symbols."""
    if name == "float":
        return torch.sym_float(*parts)
    operands = [torch.sym_float(each) for each in parts]
    if len(operands) == 1 and isinstance(operands[0], torch.SymFloat):
        return torch.SymFloat(operands[0].node.function(name)) if name != "neg" else -operands[0]
    return FLOATS[name](*operands)


def result_of(value: Any, index: int | Axis | None) -> Any:
    """What a call returned, or one of its results; or one of the sizes of that."""
    if isinstance(index, Axis):
        whole = result_of(value, index.result)
        return whole if index.axis is None else whole.shape[index.axis]
    return value if index is None else value[index]


class SizesAsTheyAre:
    """Sizes in the graph of a body: arguments as they are, which the graph outside knows to compute; and floats, which
    the body computes of them."""

    def __init__(self, graph: fx.Graph) -> None:
        self._graph = graph
        self.reals: dict[int, tuple[Any, fx.Node]] = {}  # id of a float -> itself, and its node

    def __call__(self, size: torch.SymInt) -> Any:
        """The size itself."""
        return size

    def real(self, number: FloatNode | IntNode) -> Any:
        """The node of a float; a plain one as itself."""
        if isinstance(number, IntNode):
            return sym_int(number.dim, number.hint, number.guard_log)
        if number.tree[0] in (CONSTANT, PLAIN):
            return number.hint
        if id(number) not in self.reals:
            name, *parts = number.tree
            operands = tuple(map(self.real, parts))
            node = self._graph.call_function(FLOATS[name])
            node.args = operands  # later, because fx warns of sizes that are no nodes
            node.meta["val"] = torch.SymFloat(number)
            self.reals[id(number)] = number, node
        return self.reals[id(number)][1]

    def forget(self, gone: Set[fx.Node]) -> None:
        """Let floats not be told by nodes that leave the graph."""
        self.reals = {key: told for key, told in self.reals.items() if told[1] not in gone}

    def tell(self, value: Any, node: fx.Node) -> None:
        """Let a float be told by the call that returns it; a body's own sizes from data are told by nobody."""
        if isinstance(value, torch.SymFloat):
            self.reals[id(value.node)] = value.node, node
