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
    Irregular,
    Loop,
    NotRolled,
    Parts,
    Row,
)
from fxonnx.capture.tracer.loops.lists import JOINING, Rows
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
    lasts: set[Any] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What a loop left: the last of what its steps returned, and all of it."""

    trips: Dim
    last: Mapping[Any, Any]
    carried: frozenset[Any]  # of which there is a last where there was no iteration
    stacks: Mapping[Any, Any]


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
    made: dict[int, Any] = field(default_factory=dict)  # id of a fake tensor outside -> what the body reads of it

    def play(self) -> Played:
        """One iteration, recorded as a body of its own."""
        self.recording = Recording(self.player, self.player.tape, self.loop.trips)
        self._carry()
        for each in self.loop.body:
            self.values.append(self._call(each))
        return self._leave()

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
        for source in leaves_of(self.loop.body):
            if isinstance(source, Grown) and source[:2] not in self.grown:
                self.grown[source[:2]] = self._empty(source)
            if isinstance(source, Carried):
                for distance in range(1, source.distance + 1):
                    key = *source, distance
                    if key not in self.slots:
                        self.slots[key] = self._slot(source, distance)

    def _slot(self, source: Carried, distance: int) -> _Slot:
        initial = self.player.read(source.initial[source.distance - distance])
        if not isinstance(initial, torch.Tensor):
            raise NotRolled("a number is carried from one iteration to the next")
        initial = self.player.tape.read(initial)
        sizes = self.loop.body[source.step].sizes[source.result or 0]
        shape = [each.first + each.step * (self.index - distance) for each in sizes]
        first = [substitute(dim, {self.index.name: 0}) for dim in shape]
        if first != [dim_of(size) for size in initial.shape]:
            raise Irregular(self.number, first=True)
        return self._carried(initial, shape)

    def _empty(self, grown: Grown) -> _Slot:
        """A slot for a stack that grows by one row with each iteration."""
        step = self.loop.body[grown.step]
        value = result_of(step.step.node.meta["val"], grown.result)
        sizes = step.sizes[grown.result or 0]
        if any(each.step != 0 for each in sizes):
            raise NotRolled("a list of tensors of other sizes grows with each iteration")
        shape: list[Dim] = [each.first for each in sizes if not isinstance(each.first, float)]
        rows = [0, *map(self.player.number, shape)]
        empty = self.player.tape.call(aten.zeros.default, (rows,), {"dtype": value.dtype, "device": value.device})
        return self._carried(empty, [self.index, *shape])

    def _carried(self, initial: Any, shape: Sequence[Dim]) -> _Slot:
        """A new slot, with a placeholder of the body that has this shape."""
        inner = self.recording.carry(initial, shape)
        slot = _Slot(initial, inner)
        self.carried.append(slot)
        return slot

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
            raise NotRolled("a loop checks its sizes in each iteration")
        self.checks.append((call, self.tape.call(aten.all.default, (condition,), {})))

    def _placed(self, target: Any, args: Any, kwargs: Any, sizes: Sequence[Counted]) -> Any:
        """A part taken, or put in, where the number of the iteration says; torch would ask whether it is inside."""
        shape = [each.first + each.step * self.index for each in sizes]
        return self.recording.place(target, args, kwargs, shape)

    def _read(self, source: Any) -> Any:
        match source:
            case Here():
                return result_of(self.values[source.step], source.result)
            case Carried():
                return self.slots[*source, source.distance].inner
            case Element():
                stack = self._from_outside(self.player.loops[source.loop].stacks[source.step, source.result])
                index = self.player.number(source.first + source.stride * self.index)
                shape = [dim_of(size) for size in stack.shape[1:]]
                return self._placed(aten.select.int, (stack, 0, index), {}, [Counted(dim, 0) for dim in shape])
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
        return self._from_outside(self.player.read(source))

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
            newest = result_of(self.values[carried.step], carried.result)
            slot.after = newest if distance == 1 else self.slots[*source, distance - 1].inner
            if slot.after.dtype is not slot.initial.dtype:
                raise Irregular(self.number, first=True)
        for key in self.grown:
            self._with_newest(key)
        finals = self._finals()
        rows = {key: self._result(key) for key in self.wanted.stacks}
        rows |= dict(self.checks)
        slots = self.carried
        initial, after = [each.initial for each in slots], [each.after for each in slots]
        results = self.recording.end(initial, after, list(rows.values()))
        stacks = dict(zip(rows, results[len(slots) :], strict=True))
        for check, _ in self.checks:
            self.player.hold(check, stacks[check])
        return Played(
            self.loop.trips,
            {key: results[slots.index(slot)] for key, slot in finals.items()},
            frozenset(key[:2] for key in self.slots if len(key) > 2 and key[-1] == 1),
            stacks,
        )

    def _finals(self) -> dict[Any, _Slot]:
        """The slots that bring out the last of what a step returned."""
        finals: dict[Any, _Slot] = {}
        for key, slot in self.slots.items():
            if key[-1] == 1:
                finals.setdefault(key[:2], slot)
        for key in self.wanted.lasts - finals.keys():
            after = self._result(key)
            size = list(after.shape)
            zeros = self.player.tape.call(aten.zeros.default, (size,), {"dtype": after.dtype, "device": after.device})
            finals[key] = self.slots[key] = self._carried(zeros, list(map(dim_of, after.shape)))
            finals[key].after = after
        return finals

    def _result(self, key: Any) -> Any:
        value = result_of(self.values[key[0]], key[1])
        if not isinstance(value, torch.Tensor):
            raise NotRolled("a number leaves the loop")
        if self.index.name in symbols_of(map(dim_of, value.shape)):
            raise NotRolled("what the loop returns has other sizes in each iteration")
        return value


def leaves_of(calls: Iterable[Call]) -> Iterator[Any]:
    """All sources, and those in them."""
    waiting = [source for call in calls for source in call.sources]
    waiting.reverse()
    while waiting:
        source = waiting.pop()
        yield source
        waiting += source.parts if isinstance(source, Parts) else source.initial if isinstance(source, Carried) else ()
