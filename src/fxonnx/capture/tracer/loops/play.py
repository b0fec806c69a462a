"""A recipe played on a tape of symbolic sizes: each call once more, and for each loop one call of `for_loop` with the
body as its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.graph.checks import Said, is_check
from fxonnx.capture.tracer.loops.body import LoopPlayer, Played, Wanted, leaves_of
from fxonnx.capture.tracer.loops.calls import filled, result_of, settled
from fxonnx.capture.tracer.loops.flow import (
    Call,
    Counted,
    Element,
    Loop,
    Made,
    Parts,
    Recipe,
    Value,
    with_dims,
)
from fxonnx.capture.tracer.loops.lists import JOINING, Joined, Row, Rows
from fxonnx.capture.tracer.loops.measures.measured import Axis, Sized, Total
from fxonnx.capture.tracer.loops.measures.numbers import natural, sized, truth
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.recording import FEWER, FEWER_TURNS, LONGER, Recording
from fxonnx.capture.tracer.loops.replay import replayed
from fxonnx.capture.tracer.loops.steps import Outside
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.int_node import NEGATIVE
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_size
from fxonnx.ir.dims import Dim, Expr, evaluate, substitute, symbol, symbols_of

aten = torch.ops.aten


class Ending(NamedTuple):
    """What data ends: the name of its number of turns in a recipe, how great that is at most, or was seen to be, and
    whether it ends by itself then."""

    name: str
    most: int
    by_itself: bool = False


class Number(NamedTuple):
    """A number from data that loops go by: what it is called in a recipe, what tells it, and after which step."""

    name: str
    told: Any
    step: int


@dataclass(slots=True, eq=False)
class Player:
    """Plays on one tape. `outside` are the tensors that a recipe calls placeholders,
    `at` is told of the node whose place each call has."""

    tape: Tape
    outside: Callable[[Outside], Any]
    at: Callable[[fx.Node], None]
    values: list[Any] = field(default_factory=list)  # of steps outside of loops
    loops: list[Played] = field(default_factory=list)
    iterations: dict[str, Dim] = field(default_factory=dict)  # of bodies made before: name in them -> dim
    totals: dict[Total, Any] = field(default_factory=dict)  # of numbers of all iterations
    begun: dict[Joined, Any] = field(default_factory=dict)  # where each of the tensors begins
    bodies: list[Recording] = field(default_factory=list)  # that are being recorded, the innermost last
    keeps_answers: bool = False  # whether what is played is rolled up once more
    by: Number | None = None  # that loops go by
    ending: Ending | None = None
    initials: dict[tuple[Made, int], Any] = field(default_factory=dict)  # what is read of fewer turns than made it
    going: Any = None  # what was asked last outside of loops, if no loop has begun since
    known: dict[str, Dim] = field(default_factory=dict)  # its name in the recipe -> what it is here

    def play(self, recipe: Recipe) -> list[Any]:
        """Everything; what the last step takes."""
        wanted = _wanted(recipe)
        *steps, end = recipe
        for step in steps:
            each = with_dims(step, self.known)
            if isinstance(each, Loop):
                loop = self._ended(each) if each.asks else each
                self.loops.append(LoopPlayer(self, loop, len(self.loops), wanted[len(self.loops)]).play())
                self._count(each)
            else:
                self.values.append(self._call(each))
                self._learn()
        if self.going is not None:
            raise NotRolled("it asks once more behind the loop")
        args, _ = self.arguments(with_dims(end, self.known))
        return list(args)

    def _ended(self, loop: Loop) -> Loop:
        """A loop that data ends, which has a number of turns of its own. One that was not seen to end by itself has one
        turn more: calls that need it are refused."""
        assert self.ending is not None
        most = evaluate(loop.trips, {self.ending.name: self.ending.most})
        most += not self.ending.by_itself
        return replace(loop, trips=self.tape.cache.guard_log.data.new_size(most))

    def _count(self, loop: Loop) -> None:
        """Know what a recipe calls the number of turns, once the loop has ended."""
        if not loop.asks or self.ending is None:
            return
        turns, name = self.loops[-1].trips, self.ending.name
        before = loop.trips - symbol(name)
        if self.known or not isinstance(before, int):
            raise NotRolled("several loops are ended by data at once")
        self.known[name] = turns - before
        if not self.ending.by_itself:
            self.check("<=", turns - before - self.ending.most, LONGER)

    def _learn(self) -> None:
        """Know the number that loops go by, once it is told. Calls are checked for it to be no negative one: Python
        goes through nothing then, and what else it makes of it is not known."""
        if self.by is None or self.known or self.by.step != len(self.values) - 1:
            return
        found = dim_of(self.read(self.by.told))
        self.check(">=", found, NEGATIVE)
        self.known[self.by.name] = self.tape.cache.guard_log.data.simplified(found)

    def _call(self, call: Call) -> Any:
        self.at(call.step.node)
        target = call.step.token[0]
        args, kwargs = self.arguments(call)
        if call.step.is_question:
            return self._asked(args[0])
        if is_check(call.step.node):
            return self._checked(target, args)
        if target in JOINING:
            return JOINING[target](self.tape, *args, **kwargs)
        if any(isinstance(each, Rows) for each in pytree.tree_leaves((args, kwargs))):
            raise NotRolled(f"{target} takes as many tensors as the loop has iterations")
        if call.sizes and (part := self._part(args, call.sizes[0])) is not None:
            return part
        return self.call(target, args, kwargs)

    def _part(self, args: Any, sizes: Sequence[Counted | None]) -> Any:
        """One of as many parts of a tensor as the runs took, which calls are checked for: of few elements torch makes
        fewer. None where its size is not that of a slice within the tensor."""
        x, axis, start, end = args
        shape = list(map(dim_of, x.shape))
        size, begin, stop = shape[axis], dim_of(start), dim_of(end)
        said = sizes[axis]
        if said is None:
            return None
        if said.first == size - begin:
            self.require(size - begin, 1)
            self.require(stop - size, 0)
            shape[axis] = size - begin
        elif said.first == stop - begin:
            self.require(size - stop, 0)
            shape[axis] = stop - begin
        else:
            return None
        result = self.like(x, shape)
        self.tape.record(aten.slice.Tensor, args, {}, result)
        return result

    def like(self, tensor: Any, shape: Sequence[Dim]) -> Any:
        """A fake tensor of this shape."""
        return self.tape.cache(aten.new_empty.default, (tensor, list(map(self.number, shape))), {})

    def hold(self, check: Call, truths: Any) -> None:
        """A check of the model's in a loop, of what it was in each iteration."""
        self.at(check.step.node)
        text = (each for each in check.sources if isinstance(each, Said))
        self._checked(check.step.token[0], (self.tape.call(aten.all.default, (truths,), {}), *text))

    def _asked(self, condition: Any) -> None:
        """What a loop asks before its first turn; or in one that is another than the rest, which it has to have."""
        if self.going is not None:
            self.tape.check(self.going, FEWER_TURNS)
        self.going = truth(self.tape, condition)

    def _checked(self, target: Any, args: Any) -> None:
        """A check of the model's, once more."""
        condition, *text = args
        condition = self.tape.read(condition)
        is_truth = isinstance(condition, torch.SymBool)  # what a call is checked for: nothing is decided by it
        operand = self.tape.truth(condition.node) if is_truth else self.tape.operand(condition)
        node = self.tape.graph.call_function(target, (operand, *text))
        node.meta = {**self.tape.place(), "val": None}

    def call(self, target: Any, args: Any, kwargs: Any) -> Any:
        """One call: of aten it is recorded, on sizes it is computed. One row beside several that data selects went
        both ways in the runs, alone or broadcast: not to be checked."""
        last = next(iter(reversed(self.tape.graph.nodes)), None)
        result = replayed(self, self.tape, target, args, kwargs)
        if isinstance(target, torch._ops.OpOverload) and any(map(_is_of_one_row, self._since(last))):
            raise NotRolled(f"{target} broadcasts one row where data selects several")
        return result

    def _since(self, last: fx.Node | None) -> Iterator[fx.Node]:
        """The nodes after this one, the last first."""
        return takewhile(lambda node: node is not last, reversed(self.tape.graph.nodes))

    def arguments(self, call: Call) -> tuple[Any, Any]:
        """What a call is given."""
        args, kwargs = call.step.form
        sources = iter(call.sources)
        return filled(args, sources, self.read), filled(kwargs, sources, self.read)

    def read(self, source: Any) -> Any:
        """What a source is in this run."""
        match source:
            case Outside():
                return self.outside(source)
            case Value():
                return result_of(self.values[source.step], source.result)
            case Made():
                return self._made(source)
            case Parts():
                return [self.read(each) for each in source.parts]
            case Row():
                return self._rows(source)
            case Sized():
                measures = list(map(self.read, source.measures))
                return self.number(sized(source.dim, measures, self.tape.cache.guard_log))
            case Total():
                return self._total(source)
            case float() | Said():
                return source
        return self.number(source)

    def number(self, dim: Dim) -> Any:
        """A size; of two of which one is less at all sizes it is that one."""
        if self.ending is not None and self.ending.name in symbols_of([dim]) - self.known.keys():
            raise NotRolled("it uses how often a loop goes before data has ended it")
        log = self.tape.cache.guard_log
        return sym_size(settled(substitute(dim, self.iterations), log), log)

    def require(self, trips: Dim, least: int) -> None:
        """Have calls checked for sizes at which a loop has enough iterations."""
        log = self.tape.cache.guard_log
        if log.data.are_in(trips):
            self.check(">=", trips - least, FEWER)
        elif log.statically_known(">=", trips, least) is None:
            log.add(">=", trips, least, True)

    def check(self, relation: str, dim: Dim, text: str = "") -> None:
        """Have calls checked for how a dim, with numbers from data, compares with 0."""
        log = self.tape.cache.guard_log
        if log.statically_known(relation, dim, 0) is not True:
            compared: Any = RELATIONS[relation](self.number(dim), 0)
            log.check(compared.node, text)

    def _made(self, made: Made) -> Any:
        loop = self.loops[made.loop]
        least = made.iteration + 1 if made.iteration >= 0 else -made.iteration
        self.require(loop.trips, 0 if made in loop.settled else least)
        found = self._of_iteration(made, loop)
        return self.tape.call(aten.item.default, (found,), {}) if isinstance(made.result, Axis) else found

    def _of_iteration(self, made: Made, loop: Played) -> Any:
        key = made.step, made.result
        if made in loop.last:
            return loop.last[made]
        if isinstance(loop.stacks[key], Joined):
            raise NotRolled("what the loop returns has other sizes in each iteration")
        index = made.iteration if made.iteration >= 0 else self.number(loop.trips + made.iteration)
        return self.tape.call(aten.select.int, (loop.stacks[made.step, made.result], 0, index), {})

    def starts(self, joined: Joined) -> Any:
        """Where each of joined tensors begins, computed once, outside of all bodies."""
        if joined not in self.begun:
            ends = self.tape.call(aten.cumsum.default, (joined.lengths, 0), {})
            self.begun[joined] = self.tape.call(aten.sub.Tensor, (ends, joined.lengths), {})
        return self.begun[joined]

    def _total(self, total: Total) -> Any:
        """The sum or the maximum of a number of each iteration, computed once."""
        if total not in self.totals:
            self.totals[total] = self._reduced(total)
        return self.totals[total]

    def _reduced(self, total: Total) -> Any:
        loop, key = self.loops[total.loop], (total.step, total.result)
        if total.function == "amax":
            self.require(loop.trips, 1)
        reduce = aten.amax.default if total.function == "amax" else aten.sum.default
        found = self.tape.call(aten.item.default, (self.tape.call(reduce, (loop.stacks[key],), {}),), {})
        return natural(found, self.tape.cache.guard_log) if key in loop.natural else found

    def _rows(self, row: Row) -> Rows | Joined:
        stack = self.loops[row.loop].stacks[row.step, row.result]
        trips = self.loops[row.loop].trips
        first, stride, count = row.first, row.stride, row.length
        if isinstance(stack, Joined):
            if (first, stride, count) != (0, 1, trips):
                raise NotRolled("some of what a loop returns is joined, of other sizes in each iteration")
            return stack
        if stride < 0:
            stack = self.tape.call(aten.flip.default, (stack, [0]), {})
            first, stride = trips - 1 - first, -stride
        end = first + (count - 1) * stride + 1
        if (first, end, stride) != (0, trips, 1):
            stack = self.tape.call(aten.slice.Tensor, (stack, 0, self.number(first), self.number(end), stride), {})
        return Rows(stack)


def _is_of_one_row(node: fx.Node) -> bool:
    """Whether a node is a check that a size is another one, which is never more than 1."""
    condition = node.args[0] if is_check(node) else None
    value = condition.meta.get("val") if isinstance(condition, fx.Node) else None
    if not isinstance(value, torch.SymBool) or value.node.tree[0] != "==":
        return False
    log, sides = value.node.guard_log, value.node.tree[1:]
    return any(isinstance(side, Expr) and log.statically_known("<=", side, 1) is True for side in sides)


def _wanted(recipe: Recipe) -> list[Wanted]:
    """For each loop."""
    found = [Wanted() for each in recipe if isinstance(each, Loop)]
    calls = (each.body if isinstance(each, Loop) else [each] for each in recipe)
    _note_joins(recipe, found)
    for source in (source for some in calls for source in leaves_of(some)):
        if isinstance(source, (Row, Element, Total)):
            found[source.loop].stacks[source.step, source.result] = None
        elif isinstance(source, Made):
            found[source.loop].lasts[source] = None
    return found


def _note_joins(recipe: Recipe, found: Sequence[Wanted]) -> None:
    """Note what torch.cat takes outside of loops, and along which axis."""
    for call in recipe:
        if isinstance(call, Call) and call.step.token[0] is aten.cat.default:
            args, kwargs = (filled(each, iter(call.sources), lambda source: source) for each in call.step.form)
            axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
            for source in leaves_of([call]):
                if isinstance(source, Row) and isinstance(axis, int):
                    found[source.loop].joins.setdefault((source.step, source.result), axis)
