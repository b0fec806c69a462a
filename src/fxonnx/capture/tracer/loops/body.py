"""One loop of a recipe, being played: a body recorded on a tape of its own, and a call of `for_loop`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.tracer.loops.calls import filled, result_of
from fxonnx.capture.tracer.loops.flow import (
    ITERATION,
    Along,
    Call,
    Carried,
    Counted,
    Element,
    Grown,
    Here,
    Loop,
    Made,
    Parts,
)
from fxonnx.capture.tracer.loops.lists import JOINING, Joined, Row, Rows
from fxonnx.capture.tracer.loops.measures.measured import Axis, Running, Sized
from fxonnx.capture.tracer.loops.measures.numbers import Numbers, sized, tensor_of, truth
from fxonnx.capture.tracer.loops.periods import Irregular, NotRolled
from fxonnx.capture.tracer.loops.recording import Recording
from fxonnx.capture.tracer.loops.replay import replayed
from fxonnx.capture.tracer.loops.steps import PLACED
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Dim, substitute, symbols_of

if TYPE_CHECKING:
    from fxonnx.capture.tracer.loops.play import Player

aten = torch.ops.aten


@dataclass(slots=True)
class Wanted:
    """What is read of a loop outside of it, by step and result."""

    stacks: dict[Any, None] = field(default_factory=dict)
    lasts: dict[Made, None] = field(default_factory=dict)
    joins: dict[Any, int] = field(default_factory=dict)  # what torch.cat alone takes -> the axis


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What a loop left: the last of what its steps returned, and all of it."""

    trips: Dim
    last: Mapping[Made, Any]
    settled: frozenset[Made]  # of which it is known what they are where there were fewer iterations
    stacks: Mapping[Any, Any]
    natural: set[Any]  # numbers that are never negative


@dataclass(slots=True, eq=False)
class _Slot:
    """A carried value: what a step returned `distance` iterations ago, at first an initial one."""

    initial: Any  # a fake tensor outside
    inner: Any = None  # the fake tensor that the body reads
    after: Any = None  # what the body returns for it


@dataclass(slots=True, eq=False)
class LoopPlayer:
    """One loop, being played."""

    player: Player
    loop: Loop
    number: int
    wanted: Wanted
    recording: Recording = field(init=False)
    values: list[Any] = field(default_factory=list)
    slots: dict[Any, _Slot] = field(default_factory=dict)
    grown: dict[Any, _Slot] = field(default_factory=dict)  # all that a step has returned so far
    carried: list[_Slot] = field(default_factory=list)  # all of those, in order
    checks: list[tuple[Call, Any]] = field(default_factory=list)  # of the model's, and whether they hold
    totals: dict[Any, _Slot] = field(default_factory=dict)  # numbers that grow, by what they are and what they grow by
    joined: dict[Any, tuple[_Slot, int]] = field(default_factory=dict)  # what a step has returned, along an axis
    elements: dict[Any, Any] = field(default_factory=dict)  # of other loops' stacks, each read once
    numbers: Numbers = field(init=False)
    natural: set[Any] = field(default_factory=set)  # numbers that leave the loop, and are never negative
    settled: set[Made] = field(default_factory=set)  # what is read behind the loop, right for few iterations as well
    goes_on: Any = None  # what a loop asks that data ends
    made: dict[int, Any] = field(default_factory=dict)  # id of a fake tensor outside -> what the body reads of it

    def play(self) -> Played:
        """One iteration, recorded as a body of its own."""
        self.recording = Recording(self.player, self.player.tape, self.loop.trips)
        if self.loop.asks:
            self._begin_asked()
        self.numbers = Numbers(self.recording.tape)
        self._carry()
        for each in self.loop.body:
            self.values.append(self._call(each))
        return self._leave()

    def _begin_asked(self) -> None:
        """Let it have its first turn as what was asked before says; always, where nothing was."""
        going = self.player.going
        true = {"dtype": torch.bool}
        self.recording.going = self.player.tape.call(aten.full.default, ([], True), true) if going is None else going
        self.player.going = None

    @property
    def tape(self) -> Tape:
        """Of the body."""
        return self.recording.tape

    @property
    def index(self) -> Any:
        """The number of the iteration."""
        return self.recording.index

    def _carry(self) -> None:
        """A slot for each carried value, and for each iteration that it waits."""
        for source in (*leaves_of(self.loop.body), *self._awaited()):
            if isinstance(source, Grown) and source[:2] not in self.grown:
                self.grown[source[:2]] = self._empty(source)
            if isinstance(source, Running):
                self._total(source)
            if isinstance(source, Carried):
                for distance in range(1, source.distance + 1):
                    key = *source, distance
                    if key not in self.slots:
                        self.slots[key] = self._slot(source, distance)

    def _awaited(self) -> Iterator[Carried]:
        """What is read behind the loop of an iteration before the last one, and of which it is known what it is where
        there are fewer, as the next iteration would read it."""
        for made in self.wanted.lasts:
            initial = [self.player.initials.get((made, trips)) for trips in range(-made.iteration)]
            if made.iteration < -1 and None not in initial:
                awaited = Carried(made.step, made.result, -made.iteration, tuple(initial))
                if all(self._is_alike(awaited, each) for each in initial):
                    yield awaited

    def _is_alike(self, awaited: Carried, initial: Any) -> bool:
        """Whether a tensor has the sizes that the loop makes in each iteration."""
        sizes = self.loop.body[awaited.step].sizes
        value = self.player.read(initial)
        given = tuple(map(dim_of, getattr(value, "shape", ())))
        made = sizes[awaited.result or 0] if isinstance(awaited.result, int | None) else None
        return made is not None and all(each is not None and each.step == 0 for each in made) and given == tuple(
            each.first for each in made if each is not None
        )

    def _slot(self, source: Carried, distance: int) -> _Slot:
        initial = self.player.read(source.initial[source.distance - distance])
        if isinstance(source.result, Axis):
            return self._carried(tensor_of(self.player.tape, initial), [])
        if not isinstance(initial, torch.Tensor):
            raise NotRolled("a number is carried from one iteration to the next")
        initial = self.player.tape.read(initial)
        sizes = self.loop.body[source.step].sizes[source.result or 0]
        given = [dim_of(size) for size in initial.shape]
        shape = [
            each.first + each.step * (self.index - distance) if each is not None
            else given[axis] if axis in source.steady
            else self.recording.size_of_its_own()
            for axis, each in enumerate(sizes)
        ]  # fmt: skip
        first = [substitute(dim, {self.index.name: 0}) for dim in shape]
        if any(each is not None and one != other for each, one, other in zip(sizes, first, given, strict=True)):
            raise Irregular(self.number, first=True)
        return self._carried(initial, shape)

    def _empty(self, grown: Grown) -> _Slot:
        """A slot for a stack that grows by one row with each iteration."""
        step = self.loop.body[grown.step]
        value = result_of(step.step.node.meta["val"], grown.result)
        sizes = step.sizes[grown.result or 0]
        if any(each is None or each.step != 0 for each in sizes):
            raise NotRolled("a list of tensors of other sizes grows with each iteration")
        shape: list[Dim] = [each.first for each in sizes if each and not isinstance(each.first, float)]
        rows = [0, *map(self.player.number, shape)]
        empty = self.player.tape.call(aten.zeros.default, (rows,), {"dtype": value.dtype, "device": value.device})
        return self._carried(empty, [self.index, *shape])

    def _carried(self, initial: Any, shape: Sequence[Dim]) -> _Slot:
        """A new slot, with a placeholder of the body that has this shape."""
        inner = self.recording.carry(initial, shape)
        slot = _Slot(initial, inner)
        self.carried.append(slot)
        return slot

    def _total(self, running: Running) -> None:
        """A slot for a number that grows."""
        key = running.initial, running.growth
        if key not in self.totals:
            initial = self.player.read(running.initial)
            self.totals[key] = self._carried(tensor_of(self.player.tape, initial), [])

    def _with_newest(self, key: Any) -> Any:
        """What a step has returned so far, this time included."""
        slot = self.grown[key]
        if slot.after is None:
            row = self.tape.call(aten.unsqueeze.default, (result_of(self.values[key[0]], key[1]), 0), {})
            slot.after = self.tape.call(aten.cat.default, ([slot.inner, row],), {})
        return slot.after

    # ── a call ──

    def _call(self, call: Call) -> Any:
        self.player.at(call.step.node)
        if call.step.is_question:
            condition, _ = filled(call.step.form[0], iter(call.sources), self._read)
            self.goes_on = truth(self.tape, condition)
            return None
        if is_check(call.step.node):
            return self._checked(call)
        args, kwargs = call.step.form
        sources = iter(call.sources)
        args, kwargs = filled(args, sources, self._read), filled(kwargs, sources, self._read)
        target = call.step.token[0]
        if not isinstance(target, torch._ops.OpOverload):
            return replayed(self.player, self.tape, target, args, kwargs)
        if target in JOINING:
            return JOINING[target](self.tape, *args, **kwargs)
        if any(isinstance(each, Rows) for each in pytree.tree_leaves((args, kwargs))):
            raise NotRolled(f"{target} takes as many tensors as the loop has iterations")
        if target not in PLACED or not any(isinstance(each, Counted) for each in call.sources):
            return self.tape.call(target, args, kwargs)
        return self._placed(target, args, kwargs, call.sizes[0])

    def _checked(self, call: Call) -> None:
        """A check of the model's: a truth that each iteration returns, all of which must hold after the loop."""
        args, _ = call.step.form
        condition, *_ = filled(args, iter(call.sources), self._read)
        if not isinstance(condition, torch.Tensor):
            if isinstance(condition, torch.SymBool):
                self.tape.cache.guard_log.check(condition.node, *filled(args[1:], iter(call.sources[1:]), self._read))
            elif not condition:
                raise NotRolled("what a loop checks of its sizes does not hold")
            return
        self.checks.append((call, self.tape.call(aten.all.default, (condition,), {})))

    def _placed(self, target: Any, args: Any, kwargs: Any, sizes: Sequence[Counted | None]) -> Any:
        """A part taken, or put in, where the number of the iteration says; torch would ask whether it is inside. A size
        that comes from data is that of the tensor."""
        given = list(map(dim_of, args[0].shape))
        if target is aten.select.int:
            del given[args[1]]
        elif target in (aten.slice.Tensor, aten.narrow.default) and sizes[args[1]] is None:
            return self.tape.call(target, args, kwargs)
        shape = [
            size if each is None else each.first + each.step * self.index
            for each, size in zip(sizes, given, strict=True)
        ]
        return self.recording.place(target, args, kwargs, shape)

    def _read(self, source: Any) -> Any:
        match source:
            case Here():
                return result_of(self.values[source.step], source.result)
            case Carried():
                inner = self.slots[*source, source.distance].inner
                return self.numbers.of(inner) if isinstance(source.result, Axis) else inner
            case Element():
                return self._element(source)
            case Sized():
                dim = source.dim
                dim = dim.first + dim.step * self.index if isinstance(dim, Counted) else dim
                return self.player.number(sized(dim, list(map(self._read, source.measures)), self.tape.cache.guard_log))
            case Running():
                before = self.numbers.of(self.totals[source.initial, source.growth].inner)
                return before + self._read(source.growth) if source.grown else before
            case Counted():
                return self.player.number(source.first + source.step * self.index)
            case Along():
                return self.player.number(substitute(source.dim, {ITERATION: self.index}))
            case Parts():
                return [self._read(each) for each in source.parts]
            case Grown():
                key = source[:2]
                return Rows(self._with_newest(key) if source.distance == 0 else self.grown[key].inner)
            case Row():
                return Rows(self._from_outside(self.player.read(source).stack))
        with self.recording.outside():
            value = self.player.read(source)
        return self._from_outside(value)

    def _element(self, source: Element) -> Any:
        """What an earlier loop's step returned, read once; a number as one."""
        if source not in self.elements:
            self.elements[source] = self._row(source)
        found = self.elements[source]
        if not isinstance(source.result, Axis):
            return found
        is_natural = (source.step, source.result) in self.player.loops[source.loop].natural
        return self.numbers.of(found, is_natural=is_natural)

    def _row(self, source: Element) -> Any:
        stack = self.player.loops[source.loop].stacks[source.step, source.result]
        index = self.player.number(source.first + source.stride * self.index)
        if isinstance(stack, Joined):
            return self._of_joined(stack, index, source.sizes)
        return self._of_stack(stack, index)

    def _of_stack(self, stack: Any, index: Any) -> Any:
        inner = self._from_outside(stack)
        shape = [dim_of(size) for size in inner.shape[1:]]
        return self._placed(aten.select.int, (inner, 0, index), {}, [Counted(dim, 0) for dim in shape])

    def _of_joined(self, joined: Joined, index: Any, sizes: Sequence[Sized | None]) -> Any:
        """One of tensors of sizes of their own: it begins where those before it end."""
        size = sizes[joined.axis]
        if size is None:
            raise NotRolled("what the loop returns has other sizes in each iteration")
        length = self._read(size)
        with self.recording.outside():
            starts = self.player.starts(joined)
        start = self.numbers.of(self._of_stack(starts, index), is_natural=True)
        whole = self._from_outside(joined.whole)
        shape = list(map(dim_of, whole.shape))
        shape[joined.axis] = dim_of(length)
        part = self.player.like(whole, shape)
        self.tape.record(aten.narrow.default, (whole, joined.axis, start, length), {}, part)
        return part

    def _from_outside(self, value: Any) -> Any:
        """A value of outside, as an argument of the body where it is a tensor."""
        if not isinstance(value, torch.Tensor):
            return value
        fake = self.player.tape.read(value)
        if id(fake) not in self.made:
            self.made[id(fake)] = self.recording.take(fake)
        return self.made[id(fake)]

    # ── the end ──

    def _leave(self) -> Played:
        for key, slot in self.slots.items():
            *source, distance = key
            carried = Carried(*source)
            newest = self._newest(carried)
            slot.after = newest if distance == 1 else self.slots[*source, distance - 1].inner
            if slot.after.dtype is not slot.initial.dtype:
                raise Irregular(self.number, first=True)
        for key in self.grown:
            self._with_newest(key)
        for (_, growth), slot in self.totals.items():
            slot.after = tensor_of(self.tape, self.numbers.of(slot.inner) + self._read(growth))
        self._note_natural()
        finals = self._finals()
        rows = {key: self._result(key) for key in self.wanted.stacks if not self._joins(key)}
        rows |= {("length", key): self._length(key) for key in self.joined} | dict(self.checks)
        slots = self.carried
        initial, after = [each.initial for each in slots], [each.after for each in slots]
        results = self.recording.end(initial, after, list(rows.values()), self.goes_on)
        stacks = dict(zip(rows, results[len(slots) :], strict=True))
        for check, _ in self.checks:
            self.player.hold(check, stacks[check])
        stacks |= {
            key: Joined(results[slots.index(slot)], axis, stacks["length", key])
            for key, (slot, axis) in self.joined.items()
        }
        return Played(
            self.loop.trips,
            {made: results[slots.index(slot)] for made, slot in finals.items()},
            frozenset(self.settled),
            stacks,
            self.natural,
        )

    def _note_natural(self) -> None:
        """Note which numbers of other loops are known to be 0 or more, all of them, by what this one has checked."""
        for source, found in self.elements.items():
            other = self.player.loops[source.loop]
            is_all = (source.first, source.stride, other.trips) == (0, 1, self.loop.trips)
            if is_all and isinstance(source.result, Axis) and self.numbers.is_natural(found):
                other.natural.add((source.step, source.result))

    def _newest(self, source: Carried) -> Any:
        value = result_of(self.values[source.step], source.result)
        return tensor_of(self.tape, value) if isinstance(source.result, Axis) else value

    def _joins(self, key: Any) -> bool:
        """Whether what a step returns has sizes of its own in each iteration, and is joined along that axis: so it is
        in each iteration, to what there is so far."""
        value = result_of(self.values[key[0]], key[1])
        if not isinstance(value, torch.Tensor) or not self.recording.has_own(value.shape):
            return False
        own = next(axis for axis, size in enumerate(value.shape) if self.recording.has_own([size]))
        axis = self.wanted.joins.get(key, own) % value.dim()
        sizes = list(value.shape)
        sizes[axis] = 0
        if self.recording.has_own(sizes):
            return False
        empty = self.player.tape.call(aten.zeros.default, (sizes,), {"dtype": value.dtype, "device": value.device})
        shape = list(map(dim_of, sizes))
        shape[axis] = self.recording.size_of_its_own()
        slot = self._carried(empty, shape)
        slot.after = self.tape.call(aten.cat.default, ([slot.inner, value], axis), {})
        self.joined[key] = slot, axis
        return True

    def _length(self, key: Any) -> Any:
        """How long what is joined is in this iteration."""
        _, axis = self.joined[key]
        return tensor_of(self.tape, result_of(self.values[key[0]], key[1]).shape[axis])

    def _finals(self) -> dict[Made, _Slot]:
        """The slots that bring out what steps returned in the last iterations; all of what is read of another one."""
        finals: dict[Made, _Slot] = {}
        for made in self.wanted.lasts:
            key = made.step, made.result
            slots = [each for each in self.slots if each[:2] == key and each[-1] == -made.iteration]
            settled = next((each for each in slots if self._agrees(Carried(*each[:-1]), made)), None)
            if settled is not None:
                self.settled.add(made)
                finals[made] = self.slots[settled]
            elif made.iteration == -1:
                finals[made] = self._final(made, slots)
            elif slots:
                finals[made] = self.slots[slots[0]]
            else:
                self.wanted.stacks[key] = None
        return finals

    def _agrees(self, carried: Carried, made: Made) -> bool:
        """Whether a carried value is what is read behind the loop, where it has fewer iterations than made it, too."""
        back, initials = -made.iteration, self.player.initials
        known = [trips for trips in range(back) if (made, trips) in initials]  # calls are checked to have no fewer
        return bool(known) and all(
            initials[made, trips] == carried.initial[carried.distance - back + trips] for trips in known
        )

    def _final(self, made: Made, slots: Sequence[Any]) -> _Slot:
        """A slot for what a step returned last; of what there is without an iteration, if that is known."""
        before = self.player.initials.get((made, 0))
        if before is None and slots:
            return self.slots[slots[0]]
        after = self._result((made.step, made.result))
        if before is not None:
            with self.recording.outside():
                initial = self.player.read(before)
                if isinstance(made.result, Axis):
                    initial = tensor_of(self.player.tape, initial)
                initial = self.player.tape.read(initial)
            if (initial.dtype, *map(dim_of, initial.shape)) == (after.dtype, *map(dim_of, after.shape)):
                self.settled.add(made)
                return self._returned(initial, after)
        if slots:
            return self.slots[slots[0]]
        size = list(after.shape)
        zeros = self.player.tape.call(aten.zeros.default, (size,), {"dtype": after.dtype, "device": after.device})
        return self._returned(zeros, after)

    def _returned(self, initial: Any, after: Any) -> _Slot:
        slot = self._carried(initial, list(map(dim_of, after.shape)))
        slot.after = after
        return slot

    def _result(self, key: Any) -> Any:
        value = result_of(self.values[key[0]], key[1])
        if isinstance(key[1], Axis):
            if self.tape.cache.guard_log.statically_known(">=", dim_of(value), 0):
                self.natural.add(key)
            return tensor_of(self.tape, value)
        if not isinstance(value, torch.Tensor):
            raise NotRolled("a number leaves the loop")
        if self.index.name in symbols_of(map(dim_of, value.shape)) or self.recording.has_own(value.shape):
            raise NotRolled("what the loop returns has other sizes in each iteration")
        return value


def leaves_of(calls: Iterable[Call]) -> Iterator[Any]:
    """All sources, and those in them."""
    waiting = [source for call in calls for source in call.sources]
    waiting.reverse()
    while waiting:
        source = waiting.pop()
        yield source
        waiting += _within(source)


def _within(source: Any) -> Sequence[Any]:
    """The sources of which another one is made."""
    match source:
        case Parts():
            return source.parts
        case Carried():
            return source.initial
        case Sized():
            return source.measures
        case Running():
            return source.initial, source.growth
        case Element():
            return [each for each in source.sizes if each is not None]
    return ()
