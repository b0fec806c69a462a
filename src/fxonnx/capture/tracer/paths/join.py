"""Two ways that part at a decision, joined to one.

```
 common values                     computed once, whichever way is taken
      │
   If(condition)                   the two branches, each with what only its way computes
      │  values that differ
 suffix                            the calls that both make then, once
```

What is written in one way only is what it was in the other; a check that one way makes holds in the other.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.equivalence.value_numbers import ValueNumbers
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.graph.views import Emit
from fxonnx.capture.program import Weight
from fxonnx.capture.tracer.decisions.script import is_mark
from fxonnx.capture.tracer.paths.copying import Copy, drop_idle, inputs_of, needed_for
from fxonnx.capture.tracer.paths.pairs import Pair, Pairs, Side
from fxonnx.capture.tracer.paths.results import ResultPairs, number_type, refuse_unlike
from fxonnx.capture.tracer.paths.sizes import DataSizes
from fxonnx.capture.tracer.paths.way import Place, Way
from fxonnx.location import Location

aten = torch.ops.aten

_Check: TypeAlias = tuple[Any, Any, fx.Node]
"""the conditions of a check in both ways, and the check in one of them"""


def join(number: int, yes: Way, no: Way, sizes: DataSizes, location: Location) -> Way:
    """The way that goes as `yes` where the decision with this number is true, else as `no`.

    Raises DataDependentControlFlow where they return, or write, what no value can stand for. Linear time.
    """
    return _Join(number, yes, no, sizes, location).run()


@dataclass(slots=True, eq=False)
class _Join:
    number: int
    yes: Way
    no: Way
    sizes: DataSizes
    location: Location
    sides: tuple[Side, Side] = field(init=False)
    pairs: Pairs = field(init=False)
    copy: Copy = field(default_factory=Copy)
    values: dict[Any, fx.Node] = field(default_factory=dict)  # common number -> node of the joined graph
    weights: dict[fx.Node, Weight] = field(default_factory=dict)
    joined: dict[Pair, Any] = field(default_factory=dict)  # pair of the suffix, or that differs -> its value

    def run(self) -> Way:
        """The joined way."""
        found, written, checks = ResultPairs.of(self.yes, self.no, self.location), self._written(), self._checks()
        shared = ValueNumbers(self.sizes.symbols)
        one, other = (Side.of(way, way.mark(self.number), shared, self.sizes) for way in (self.yes, self.no))
        self.sides = one, other
        self.pairs = Pairs(*self.sides, self.sizes)
        self._join([*found.pairs, *written.values(), *((one, other) for one, other, _ in checks)], checks)
        results = [self._value(pair) for pair in found.pairs]
        writes = {place: self._value(pair) for place, pair in written.items()}
        drop_idle(self.copy.graph, (*results, *writes.values()))
        inputs = tuple(self.values[self.sides[0].number(node)] for node in self.yes.inputs)
        return Way(self.copy.graph, inputs, self.weights, found.returned, results, writes)

    def _join(self, roots: list[Pair], checks: list[_Check]) -> None:
        """The joined values of these pairs, and the checks, each where the first way makes it, as iterations repeat;
        those of the second way alone last. What both have checked before they part is checked there."""
        mark = self.yes.mark(self.number)
        order = {node: at for at, node in enumerate(self.yes.graph.nodes)}
        common = self.sides[0].common
        early = {like for *_, like in checks if like in common and order.get(like, len(order)) < order[mark]}
        self._copy_common(early)
        suffix, differing = self._classify(roots)
        self._branch(mark, differing)
        checks = [each for each in checks if each[2] not in early]
        waiting = sorted(checks, key=lambda check: order.get(check[2], len(order)), reverse=True)
        for pair in sorted(suffix, key=lambda pair: order[pair[0]]):
            while waiting and order.get(waiting[-1][2], len(order)) < order[pair[0]]:
                self._check(*waiting.pop())
            self.joined[pair] = self._suffix(*pair)
        while waiting:
            self._check(*waiting.pop())

    def _check(self, one: Any, other: Any, like: fx.Node) -> None:
        self.copy.call(like, (self._value((one, other)), *like.args[1:]), {})

    # ── what is asked for ────────────────────────────────────────

    def _written(self) -> dict[Place, Pair]:
        """The new values of what either way writes to."""
        places = dict.fromkeys((*self.yes.written, *self.no.written))
        return {place: (_new_value(self.yes, place, self.no), _new_value(self.no, place, self.yes)) for place in places}

    def _checks(self) -> list[_Check]:
        """The conditions that are checked: in both ways, or in one, with a check like it."""
        found: dict[Any, list[Any]] = {}
        for at, way in enumerate((self.yes, self.no)):
            met: Counter[Any] = Counter()
            for node in way.checks:
                key = node.args[1], node.meta.get("stack_trace")
                met[key] += 1
                found.setdefault((*key, met[key]), [None, None])[at] = node
        return [_conditions(*each) for each in found.values()]

    # ── the graph ────────────────────────────────────────

    def _copy_common(self, checks: Set[fx.Node]) -> None:
        """Placeholders, and the values that both ways compute; with the marks of decisions up to this one, and these
        checks."""
        for side in self.sides:
            for node in side.way.graph.find_nodes(op="placeholder"):
                number = side.number(node)
                if number not in self.values:
                    self.values[number] = self.copy.placeholder(node)
                if node in side.way.weights:
                    self.weights.setdefault(self.values[number], side.way.weights[node])
        common = self.sides[0].common
        waiting = [
            each for each in common
            if each in checks or not (is_check(each) or (is_mark(each) and each.args[1] > self.number))
        ]  # fmt: skip
        while waiting:
            copied = len(self.values)
            waiting = [each for each in waiting if not self._copied(each, common)]
            if len(self.values) == copied:
                break

    def _copied(self, node: fx.Node, common: Mapping[fx.Node, Any]) -> bool:
        """Whether a common value is in the joined graph, now that those it is computed of may be. Of two with one
        number the later one may be the one that is computed of common values alone."""
        if common[node] not in self.values and all(common.get(each) in self.values for each in inputs_of(node)):
            self.values[common[node]] = self.copy.node(node, lambda each: self.values[common[each]])
        return common[node] in self.values

    def _classify(self, roots: list[Pair]) -> tuple[list[Pair], list[Pair]]:
        """The pairs of the suffix, and those that differ, which the roots need."""
        suffix: dict[Pair, None] = {}
        differing: dict[Pair, None] = {}
        waiting = list(reversed(roots))
        while waiting:
            pair = waiting.pop()
            if pair in suffix or pair in differing or self.pairs.is_common(*pair):
                continue
            if self.pairs.is_suffix(*pair):
                suffix[pair] = None
                nodes = (each for each in self.pairs.arguments(*pair) if isinstance(each[0], fx.Node))
                waiting.extend(each for each in nodes if each[0].op != "get_attr")
            else:
                differing[pair] = None
        return list(suffix), list(differing)

    def _suffix(self, one: fx.Node, other: fx.Node) -> fx.Node:
        """A call that both make, of joined arguments."""
        structure = pytree.tree_structure((one.args, one.kwargs))
        arguments = [self._argument(*pair) for pair in self.pairs.arguments(one, other)]
        return self.copy.call(one, *pytree.tree_unflatten(arguments, structure))

    def _argument(self, one: Any, other: Any) -> Any:
        if isinstance(one, fx.Node) and one.op == "get_attr":
            return self.copy.body(one)
        return self._value((one, other))

    def _value(self, pair: Pair) -> Any:
        """What stands for both."""
        if pair in self.joined:
            return self.joined[pair]
        one = pair[0]
        return self.values[self.sides[0].common[one]] if isinstance(one, fx.Node) else one

    # ── the branches ────────────────────────────────────────

    def _branch(self, mark: fx.Node, differing: list[Pair]) -> None:
        """The call of the two branches, whose results are the values that differ."""
        if not differing:
            return
        fakes = list(map(self._fake, differing))
        ways = [[pair[at] for pair in differing] for at in (0, 1)]
        operands: dict[fx.Node, None] = {}
        for side, values in zip(self.sides, ways, strict=True):
            operands.update(dict.fromkeys(self._read(side, values)))
        bodies = [self._body(side, values, list(operands)) for side, values in zip(self.sides, ways, strict=True)]
        condition = self.values[self.sides[0].common[mark.args[0]]]
        call = self.copy.graph.call_function(
            torch.ops.higher_order.cond, (condition, *map(self.copy.add_body, bodies), list(operands))
        )
        place = {key: mark.meta[key] for key in ("nn_module_stack", "stack_trace") if key in mark.meta}
        call.meta = {**place, "val": tuple(fakes)}
        for at, pair in enumerate(differing):
            self.joined[pair] = self._result(call, at)

    def _fake(self, pair: Pair) -> Any:
        """What stands for a result of the two branches. Raises DataDependentControlFlow where nothing can."""
        one, other = (each.meta["val"] if isinstance(each, fx.Node) else each for each in pair)
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            if one.dtype is not other.dtype or one.dim() != other.dim():
                refuse_unlike(*pair, self.location)
            return self.sizes.with_new(one, self.pairs.unlike_sizes(one, other))
        if self.pairs.is_joinable(*pair):
            return one
        if one is True and isinstance(pair[1], fx.Node):
            return other
        if other is True and isinstance(pair[0], fx.Node):
            return one
        kind = number_type(one)
        if kind is None or kind is not number_type(other):
            refuse_unlike(*pair, self.location)
        return np.asarray(kind())[()]  # a number that is known at the call, of NumPy's types: a plain one is a constant

    def _result(self, call: fx.Node, at: int) -> fx.Node:
        """One result of the two branches; a size as the number that the tensor holds."""
        node = self.copy.graph.call_function(operator.getitem, (call, at))
        value = call.meta["val"][at]
        node.meta = {**call.meta, "val": value}
        if not isinstance(value, torch.SymInt):
            return node
        node.meta["val"] = self.sizes.number()
        read = self.copy.graph.call_function(aten.item.default, (node,))
        read.meta = {**call.meta, "val": value}
        return read

    def _read(self, side: Side, values: Sequence[Any]) -> list[fx.Node]:
        """The common values that a branch reads, or returns."""
        needed = needed_for(values, side.common.__contains__)
        given = [each for each in values if isinstance(each, fx.Node)]
        reads = [*given, *(each for node in side.way.graph.nodes if node in needed for each in inputs_of(node))]
        return [self.values[side.common[each]] for each in reads if each in side.common]

    def _body(self, side: Side, values: Sequence[Any], operands: Sequence[fx.Node]) -> fx.GraphModule:
        """What only one way computes of common values."""
        body = Copy()
        given = {node: body.placeholder(node, f"operand_{at}") for at, node in enumerate(operands)}
        own: dict[fx.Node, fx.Node] = {}

        def value(node: fx.Node) -> fx.Node:
            return given[self.values[side.common[node]]] if node in side.common else own[node]

        needed = needed_for(values, side.common.__contains__)
        for node in side.way.graph.nodes:
            if node in needed:
                own[node] = body.node(node, value)
        return body.module([value(each) if isinstance(each, fx.Node) else each for each in values])


def _new_value(way: Way, place: Place, other: Way) -> fx.Node:
    """What is in a place after a way: what was there before, where it does not write."""
    if place in way.written:
        node: fx.Node = way.written[place]
        return node
    known = way.place(place)
    return known if known is not None else _add_weight(way, place, other)


def _add_weight(way: Way, place: Place, other: Way) -> fx.Node:
    """A placeholder for a weight that only the other way knows."""
    there = other.place(place)
    assert there is not None
    with way.graph.inserting_before(next(iter(way.graph.nodes))):
        node = way.graph.placeholder(str(there.target))
    node.meta = dict(there.meta)
    way.weights[node] = other.weights[there]
    return node


def _conditions(one: fx.Node | None, other: fx.Node | None) -> _Check:
    """The conditions of a check in both ways, and the check; one that only one way makes holds in the other."""
    if one is not None and other is not None:
        return one.args[0], other.args[0], one
    like = other if one is None else one
    assert like is not None
    return (True, _truth(like), like) if one is None else (_truth(like), True, like)


def _truth(check: fx.Node) -> fx.Node:
    """The condition of a check as a bool of rank 0, or as a truth of sizes."""
    condition, emit = check.args[0], Emit(check.graph, check)
    assert isinstance(condition, fx.Node)
    if isinstance(condition.meta["val"], torch.SymBool):
        return condition
    if condition.meta["val"].dtype is not torch.bool:
        condition = emit(aten.ne.Scalar, (condition, 0), {}, aten.ne.Scalar(condition.meta["val"], 0))
    if condition.meta["val"].dim() > 0:
        condition = emit(aten.reshape.default, (condition, []), {}, aten.reshape.default(condition.meta["val"], []))
    return condition
