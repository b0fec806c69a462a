"""Recording a call of `for_loop`: the tape of its body, the number of the iteration, and the call itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import torch
from torch import fx, nn

from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.graph.for_loop import FOR_LOOP
from fxonnx.capture.tracer.functions import Refusals
from fxonnx.capture.tracer.locations import said
from fxonnx.capture.tracer.loops.calls import SizesAsTheyAre
from fxonnx.capture.tracer.loops.measures.numbers import truth_of
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Dim, Expr, minimum, substitute, symbols_of

if TYPE_CHECKING:
    from fxonnx.capture.tracer.loops.play import Player

aten = torch.ops.aten
_ORDERED = ("<", "<=", ">", ">=")
FEWER = "a loop that goes by a number from data goes less often than its turns were seen to be alike"
FEWER_TURNS = "a loop that data ends has fewer turns than the first ones, which are others than the rest"
LONGER = "a loop that data ends goes on longer than it was seen to do"
BEYOND = "a loop that goes by a number from data goes beyond what it was seen to do, as past the end of a tensor"


def _slice(x: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> tuple[int, Dim, Dim]:
    size = dim_of(x.shape[axis])
    if step != 1:
        raise NotRolled("a slice takes some elements only")
    is_open = end is None or dim_of(end) == sys.maxsize
    return axis, 0 if start is None else dim_of(start), size if is_open else dim_of(end)


def _narrow(x: Any, axis: int, start: Any, length: Any) -> tuple[int, Dim, Dim]:
    return axis, dim_of(start), dim_of(start) + dim_of(length)


_PARTS: dict[Any, Callable[..., tuple[int, Dim, Dim]]] = {
    aten.slice.Tensor: _slice, aten.narrow.default: _narrow,
    aten.slice_scatter.default: lambda x, _, *rest: _slice(x, *rest),
}  # fmt: skip


@dataclass(slots=True, eq=False, weakref_slot=True)
class Recording:
    """The body of one loop of so many `trips`, whose call stands `on` a tape."""

    player: Player
    on: Tape
    trips: Dim
    tape: Tape = field(init=False)
    index: Expr = field(init=False)  # the number of the iteration
    carried: list[Any] = field(default_factory=list)  # what the body reads of them: fake tensors
    outer: list[Any] = field(default_factory=list)  # what it reads of outside: fake tensors there
    checks: list[tuple[Any, str]] = field(default_factory=list)  # truths of each iteration, and what they say
    going: Any = None  # outside, whether a loop that data ends has a first turn
    later: list[tuple[str, Dim]] = field(default_factory=list)  # what is held of dims once such a loop has ended
    _known: frozenset[str] = field(init=False)  # symbols from data outside

    def __post_init__(self) -> None:
        on = self.on
        self.tape = Tape(on.cache, on.fake, {}, on.place, Refusals(on.refuse.locate))
        log = on.cache.guard_log
        log.must_hold = WeakMethod(self.must_hold)
        self._known = frozenset(log.data.hints)
        self.player.bodies.append(self)
        self.tape.sizes = SizesAsTheyAre(self.tape.graph)
        fake = self.tape.cache(aten.zeros.default, ([],), {"dtype": torch.int64})
        node = self.tape.placeholder("iteration", fake)
        self.index = self.tape.cache.guard_log.data.new_iteration(self.trips)
        read = self.tape.graph.call_function(aten._local_scalar_dense.default, (node,))
        read.meta["val"] = self.player.number(self.index)

    def carry(self, initial: Any, shape: Sequence[Dim]) -> Any:
        """What the body reads of one more carried value, which has this shape in it."""
        inner = self.player.like(initial, shape)
        self.tape.placeholder(f"carried_{len(self.carried)}", inner)
        self.carried.append(inner)
        if not self.has_own(inner.shape):
            return inner
        named = self.player.like(initial, shape)
        self.tape.record(aten.alias.default, (inner,), {}, named)  # which tells the sizes that it has here
        return named

    def size_of_its_own(self) -> Dim:
        """A size that a carried value has in each iteration."""
        return self.on.cache.guard_log.data.new_size()

    def has_own(self, shape: Sequence[Any]) -> bool:
        """Whether there are sizes in it that the body alone knows, and that are others in each iteration."""
        own = self.on.cache.guard_log.data.hints.keys() - self._known - {self.index.name}
        return not symbols_of(map(dim_of, shape)).isdisjoint(own)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """What is recorded outside of the body meanwhile, and checked there."""
        log, bodies = self.on.cache.guard_log, self.player.bodies
        before, check = set(log.data.hints), log.must_hold
        at = bodies.index(self) if self in bodies else len(bodies)  # left already: within another one
        inside, bodies[at:] = bodies[at:], []
        log.must_hold = self._around()
        yield
        log.must_hold = check
        bodies += inside
        self._known |= log.data.hints.keys() - before

    def _around(self) -> WeakMethod[Callable[[Any, str], None]]:
        """What keeps checks outside of this body."""
        return WeakMethod(self.player.bodies[-1].must_hold if self.player.bodies else self.on.must_hold)

    def must_hold(self, condition: Any, text: str) -> None:
        """Keep that an op, or the model, takes what it asks of sizes and numbers from data for true: see `Tape`."""
        truth = truth_of(self.tape, condition)
        if truth is None:
            raise NotRolled("a loop checks what it makes of its sizes in each iteration")
        self.checks.append((truth, text or said()))

    def _leave(self) -> None:
        """Let what is checked from here on be checked outside."""
        self.player.bodies.pop()
        self.on.cache.guard_log.must_hold = self._around()

    def _hold(self, truths: Sequence[Any]) -> None:
        """Check outside what was checked in each iteration."""
        bodies = self.player.bodies
        for truth, (_, text) in zip(truths, self.checks, strict=True):
            whole = self.on.call(aten.all.default, (truth,), {})
            if bodies:
                bodies[-1].checks.append((whole, text))
            else:
                self.on.check(whole, text)

    def take(self, tensor: Any) -> Any:
        """What the body reads of a tensor outside."""
        self.outer.append(tensor)
        inner = self.player.like(tensor, list(map(dim_of, tensor.shape)))
        self.tape.placeholder(f"outer_{len(self.outer)}", inner)
        return inner

    def place(self, target: Any, args: Any, kwargs: Any, shape: Sequence[Dim]) -> Any:
        """A part taken, or put in, where the number of the iteration says."""
        self._hold_within(target, args, shape)
        result = self.player.like(args[0], shape)
        self.tape.record(target, args, kwargs, result)
        return result

    def _hold_within(self, target: Any, args: Any, shape: Sequence[Dim]) -> None:
        """Keep that a part has this many elements in each iteration: one that reaches beyond the end has fewer. What a
        single element is taken from, or put into, asks for itself when it runs."""
        if target not in _PARTS:
            return
        axis, start, end = _PARTS[target](*args)
        size = dim_of(args[0].shape[axis])
        elements = dim_of(args[1].shape[axis]) if target is aten.slice_scatter.default else shape[axis]
        if elements == end - start:
            self.hold("<=", end - size)
        elif elements == size - start:
            self.hold(">=", end - size)
            self.hold("<=", start - size)
        elif elements != minimum(end, size) - minimum(start, size):  # as Python cuts it, in every iteration
            raise NotRolled("a part of a tensor has another number of elements than its ends say")

    def hold(self, relation: str, dim: Dim) -> None:
        """Keep how a dim compares with 0 in each iteration of this loop and of those around: for sizes that a call has,
        or where numbers from data are in it, as a check of the call."""
        log, player = self.on.cache.guard_log, self.player
        for body in reversed(player.bodies):
            worst = body.worst(relation, dim)
            if worst is None:
                raise NotRolled("what it takes of a tensor may be outside of it in some iteration")
            dim = worst
        known = log.statically_known(relation, dim, 0)
        if known is None and symbols_of([dim]) <= log.hints.keys():
            known = RELATIONS[relation](log.value(dim), 0)
            log.add(relation, dim, 0, known)
        if known is False:
            raise NotRolled("what it takes of a tensor is outside of it in some iteration")
        if known is None and player.bodies[0].going is not None:
            player.bodies[0].later.append((relation, dim))
        elif known is None:
            with player.bodies[0].outside():
                player.check(relation, dim, BEYOND)

    def worst(self, relation: str, dim: Dim) -> Dim | None:
        """A dim in the iteration in which a comparison with 0 is the least so; None where that may be any."""
        name = str(self.index)
        step = substitute(dim, {name: self.index + 1}) - dim
        if step == 0:
            return dim
        known = self.on.cache.guard_log.statically_known
        grows = known(">=", step, 0)
        if relation not in _ORDERED or name in symbols_of([step]) or (not grows and not known("<=", step, 0)):
            return None
        return substitute(dim, {name: self.trips - 1 if grows is relation.startswith("<") else 0})

    def end(
        self, initial: Sequence[Any], after: Sequence[Any], rows: Sequence[Any], goes_on: Any = None
    ) -> list[Any]:
        """The call: of these initial carried values; its body returns those that come `after`, and a row of each stack.
        The last carried values, and the stacks. One that data ends `goes_on` by a truth, whose stack tells its turns.
        """
        asked = [] if goes_on is None else [goes_on]
        rows = [*rows, *asked, *(truth for truth, _ in self.checks)]
        self.tape.output([*asked, *after, *rows])
        self._in_order()
        self._leave()
        cache = self.on.cache
        self.player.require(self.trips, 0)
        trips = self.player.number(self.trips)
        most = trips if goes_on is None else cache.guard_log.data.highs[str(self.trips)]
        results = [self.player.like(each, self._at_the_end(each)) for each in after]
        results += [cache(aten.new_empty.default, (each, [trips, *each.shape]), {}) for each in rows]
        owner = _owner(self.on.graph)
        name = f"loop_{len(owner._modules)}"
        owner.add_module(name, fx.GraphModule(_owner(self.tape.graph), self.tape.graph))
        attribute = self.on.graph.create_node("get_attr", name)
        operands = list(map(self.on.operand, (most, list(initial), self.outer)))
        node = self.on.graph.call_function(FOR_LOOP)
        node.args = (attribute, *operands)  # later, because fx warns of sizes that are no nodes
        if cache.guard_log.statically_known(">=", self.trips, 1) is None:
            node.kwargs = {"may_be_empty": True}
        if goes_on is not None:
            node.kwargs = {**node.kwargs, "condition": self.on.operand(self.going)}
        node.meta = {**self.on.place(), "val": tuple(results)}
        self.on._note(node, node.meta["val"])
        count = len(results) - len(self.checks)
        for relation, dim in self.later:
            self.player.check(relation, dim, BEYOND)
        self._hold(results[count:])
        return results[: count - len(asked)]

    def _at_the_end(self, tensor: Any) -> list[Dim]:
        """The sizes that a carried value has after the last iteration."""
        last = {str(self.index): self.trips - 1}
        return [
            self.size_of_its_own() if self.has_own([size]) else substitute(dim_of(size), last) for size in tensor.shape
        ]

    def _in_order(self) -> None:
        """The placeholders as the op gives them: the iteration, what is carried, what comes from outside."""
        inputs = self.tape.graph.find_nodes(op="placeholder")
        names = [inputs[0], *(each for each in inputs if str(each.target).startswith("carried_"))]
        rest = [each for each in inputs if each not in names]
        assert len(names) == len(self.carried) + 1
        for before, after in zip([*names, *rest], [*names, *rest][1:], strict=False):
            before.append(after)


def _owner(graph: fx.Graph) -> nn.Module:
    """The module that has the bodies of a graph's higher-order ops."""
    if graph.owning_module is None:
        graph.owning_module = nn.Module()
    assert graph.owning_module is not None
    return graph.owning_module
