"""A recipe played on a tape of symbolic sizes: each call once more, and for each loop one call of `for_loop` with the
body as its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakMethod

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.checks import Said, is_check
from fxonnx.capture.graph.for_loop import FOR_LOOP
from fxonnx.capture.tracer.functions import Refusals
from fxonnx.capture.tracer.loops.calls import SizesAsTheyAre, called, filled, result_of, settled
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
    Made,
    NotRolled,
    Parts,
    Recipe,
    Row,
    Value,
)
from fxonnx.capture.tracer.loops.lists import JOINING, Rows
from fxonnx.capture.tracer.loops.steps import Outside
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_size
from fxonnx.ir.dims import Dim, substitute, symbols_of

aten = torch.ops.aten


@dataclass(slots=True, eq=False)
class Player:
    """Plays on one tape. `outside` are the tensors that a recipe calls placeholders,
    `at` is told of the node whose place each call has."""

    tape: Tape
    outside: Callable[[Outside], Any]
    at: Callable[[fx.Node], None]
    values: list[Any] = field(default_factory=list)  # of steps outside of loops
    loops: list[_Played] = field(default_factory=list)

    def play(self, recipe: Recipe) -> list[Any]:
        """Everything; what the last step takes."""
        wanted = _wanted(recipe)
        *steps, end = recipe
        for each in steps:
            if isinstance(each, Loop):
                self.loops.append(_Body(self, each, len(self.loops), wanted[len(self.loops)]).play())
            else:
                self.values.append(self._call(each))
        assert isinstance(end, Call)
        args, _ = self.arguments(end)
        return list(args)

    def _call(self, call: Call) -> Any:
        self.at(call.step.node)
        target = call.step.token[0]
        args, kwargs = self.arguments(call)
        if is_check(call.step.node):
            return self._checked(target, args)
        if target in JOINING:
            return JOINING[target](self.tape, *args, **kwargs)
        if any(isinstance(each, Rows) for each in pytree.tree_leaves((args, kwargs))):
            raise NotRolled(f"{target} takes as many tensors as the loop has iterations")
        if call.sizes and (part := self._part(args, call.sizes[0])) is not None:
            return part
        return self.call(target, args, kwargs)

    def _part(self, args: Any, sizes: Sequence[Counted]) -> Any:
        """One of as many parts of a tensor as the runs took, which calls are checked for: of few elements torch makes
        fewer. None where its size is not that of a slice within the tensor."""
        x, axis, start, end = args
        shape = list(map(dim_of, x.shape))
        size, begin, stop = shape[axis], dim_of(start), dim_of(end)
        if sizes[axis].first == size - begin:
            self.require(size - begin, 1)
            self.require(stop - size, 0)
            shape[axis] = size - begin
        elif sizes[axis].first == stop - begin:
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

    def _checked(self, target: Any, args: Any) -> None:
        """A check of the model's, once more."""
        condition, *text = args
        operand = self.tape.operand(self.tape.read(condition))
        node = self.tape.graph.call_function(target, (operand, *text))
        node.meta = {**self.tape.place(), "val": None}

    def call(self, target: Any, args: Any, kwargs: Any) -> Any:
        """One call: of aten it is recorded, on sizes it is computed."""
        return called(self.tape, target, args, kwargs)

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
            case float() | Said():
                return source
        return self.number(source)

    def number(self, dim: Dim) -> Any:
        """A size; of two of which one is less at all sizes it is that one."""
        log = self.tape.cache.guard_log
        return sym_size(settled(dim, log), log)

    def require(self, trips: Dim, least: int) -> None:
        """Have calls checked for sizes at which a loop has enough iterations."""
        log = self.tape.cache.guard_log
        if log.statically_known(">=", trips, least) is None:
            log.add(">=", trips, least, True)

    def _made(self, made: Made) -> Any:
        loop = self.loops[made.loop]
        key = made.step, made.result
        self.require(
            loop.trips, 0 if key in loop.carried else made.iteration + 1 if made.iteration >= 0 else -made.iteration
        )
        if made.iteration == -1:
            return loop.last[key]
        index = made.iteration if made.iteration >= 0 else self.number(loop.trips + made.iteration)
        return self.tape.call(aten.select.int, (loop.stacks[made.step, made.result], 0, index), {})

    def _rows(self, row: Row) -> Rows:
        stack = self.loops[row.loop].stacks[row.step, row.result]
        trips = self.loops[row.loop].trips
        first, stride, count = row.first, row.stride, row.length
        if stride < 0:
            stack = self.tape.call(aten.flip.default, (stack, [0]), {})
            first, stride = trips - 1 - first, -stride
        end = first + (count - 1) * stride + 1
        if (first, end, stride) != (0, trips, 1):
            stack = self.tape.call(aten.slice.Tensor, (stack, 0, self.number(first), self.number(end), stride), {})
        return Rows(stack)


@dataclass(frozen=True, slots=True, eq=False)
class _Played:
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
class _Body:
    """One loop, being played."""

    player: Player
    loop: Loop
    number: int
    wanted: _Wanted
    tape: Tape = field(init=False)
    index: Any = field(init=False)
    values: list[Any] = field(default_factory=list)
    slots: dict[Any, _Slot] = field(default_factory=dict)
    grown: dict[Any, _Slot] = field(default_factory=dict)  # all that a step has returned so far
    carried: list[_Slot] = field(default_factory=list)  # all of those, in order
    checks: list[tuple[Call, Any]] = field(default_factory=list)  # of the model's, and whether they hold
    outer: dict[int, Any] = field(default_factory=dict)  # id -> fake tensor of outside
    made: dict[int, Any] = field(default_factory=dict)  # id of a real one -> fake

    def play(self) -> _Played:
        """One iteration, recorded as a body of its own."""
        outer = self.player.tape
        self.tape = Tape(outer.cache, outer.fake, {}, outer.place, Refusals(outer.refuse.locate))
        outer.cache.guard_log.must_hold = WeakMethod(outer.must_hold)
        self.tape.sizes = SizesAsTheyAre(self.tape.graph)
        self.index = self._iteration()
        self._carry()
        for each in self.loop.body:
            self.values.append(self._call(each))
        return self._leave()

    def _iteration(self) -> Any:
        """The number of the iteration, as a size of its own."""
        log = self.tape.cache.guard_log
        fake = self.tape.cache(aten.zeros.default, ([],), {"dtype": torch.int64})
        node = self.tape.placeholder("iteration", fake)
        index = log.data.new_iteration(self.loop.trips)
        read = self.tape.graph.call_function(aten._local_scalar_dense.default, (node,))
        read.meta["val"] = self.player.number(index)
        return index

    def _carry(self) -> None:
        """A slot for each carried value, and for each iteration that it waits."""
        for source in _leaves(self.loop.body):
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
        inner = self._placeholder(f"carried_{len(self.carried)}", self.player.like(initial, shape))
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

    def _like(self, tensor: Any, shape: Sequence[Dim]) -> Any:
        """A fake tensor of this shape."""
        return self.tape.cache(aten.new_empty.default, (tensor, list(map(self.player.number, shape))), {})

    def _placeholder(self, name: str, fake: Any) -> Any:
        self.tape.placeholder(name, fake)
        return fake

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
            return called(self.tape, target, args, kwargs)
        if target in JOINING:
            return JOINING[target](self.tape, *args, **kwargs)
        if any(isinstance(each, Rows) for each in pytree.tree_leaves((args, kwargs))):
            raise NotRolled(f"{target} takes as many tensors as the loop has iterations")
        if target not in _PLACED or not any(isinstance(each, Counted) for each in call.sources):
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
        result = self.player.like(args[0], [each.first + each.step * self.index for each in sizes])
        self.tape.record(target, args, kwargs, result)
        return result

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
        if id(fake) not in self.outer:
            self.outer[id(fake)] = fake
            inner = self.player.like(fake, list(map(dim_of, fake.shape)))
            self.made[id(fake)] = self._placeholder(f"outer_{len(self.outer)}", inner)
        return self.made[id(fake)]

    # ── the end ──

    def _leave(self) -> _Played:
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
        self.tape.output([*(each.after for each in slots), *rows.values()])
        results = self._record(slots, list(rows.values()))
        stacks = dict(zip(rows, results[len(slots) :], strict=True))
        for check, _ in self.checks:
            self.player.hold(check, stacks[check])
        return _Played(
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

    def _record(self, slots: Sequence[_Slot], rows: Sequence[Any]) -> list[Any]:
        tape = self.player.tape
        self._in_order(len(slots))
        cache = tape.cache
        self.player.require(self.loop.trips, 0)
        trips = self.player.number(self.loop.trips)
        results = [self.player.like(each.after, self._at_the_end(each.after)) for each in slots]
        results += [cache(aten.new_empty.default, (each, [trips, *each.shape]), {}) for each in rows]
        name = f"loop_{self.number}"
        body = _owner(tape.graph)
        body.add_module(name, fx.GraphModule(_owner(self.tape.graph), self.tape.graph))
        attribute = tape.graph.create_node("get_attr", name)
        args = trips, [each.initial for each in slots], list(self.outer.values())
        node = tape.graph.call_function(FOR_LOOP)
        node.args = (attribute, *map(tape.operand, args))
        if tape.cache.guard_log.statically_known(">=", self.loop.trips, 1) is None:
            node.kwargs = {"may_be_empty": True}
        node.meta = {**tape.place(), "val": tuple(results)}
        tape._note(node, node.meta["val"])
        return results

    def _at_the_end(self, tensor: Any) -> list[Dim]:
        """The sizes that a carried value has after the last iteration."""
        last = {self.index.name: self.loop.trips - 1}
        return [substitute(dim_of(size), last) for size in tensor.shape]

    def _in_order(self, carried: int) -> None:
        """The placeholders as the op gives them: the iteration, what is carried, what comes from outside."""
        graph = self.tape.graph
        inputs = graph.find_nodes(op="placeholder")
        names = [inputs[0], *(each for each in inputs if str(each.target).startswith("carried_"))]
        rest = [each for each in inputs if each not in names]
        assert len(names) == carried + 1
        for before, after in zip([*names, *rest], [*names, *rest][1:], strict=False):
            before.append(after)


@dataclass(slots=True)
class _Wanted:
    """What is read of a loop outside of it, by step and result."""

    stacks: dict[Any, None] = field(default_factory=dict)
    lasts: set[Any] = field(default_factory=set)


def _wanted(recipe: Recipe) -> list[_Wanted]:
    """For each loop."""
    found = [_Wanted() for each in recipe if isinstance(each, Loop)]
    calls = (each.body if isinstance(each, Loop) else [each] for each in recipe)
    for source in (source for some in calls for source in _leaves(some)):
        if isinstance(source, (Row, Element)) or (isinstance(source, Made) and source.iteration != -1):
            found[source.loop].stacks[source.step, source.result] = None
        elif isinstance(source, Made):
            found[source.loop].lasts.add((source.step, source.result))
    return found


def _leaves(calls: Iterable[Call]) -> Iterator[Any]:
    """All sources, and those in them."""
    waiting = [source for call in calls for source in call.sources]
    waiting.reverse()
    while waiting:
        source = waiting.pop()
        yield source
        waiting += source.parts if isinstance(source, Parts) else source.initial if isinstance(source, Carried) else ()


def _owner(graph: fx.Graph) -> nn.Module:
    """The module that has the bodies of a graph's higher-order ops."""
    if graph.owning_module is None:
        graph.owning_module = nn.Module()
    assert graph.owning_module is not None
    return graph.owning_module


_PLACED = frozenset(
    {aten.select.int, aten.slice.Tensor, aten.select_scatter.default, aten.slice_scatter.default, aten.narrow.default}
)
