"""One run of a model under the recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeAlias
from weakref import WeakMethod

import torch
from torch import fx, nn

from fxonnx.capture.assumption import OPPOSITE
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Returned
from fxonnx.capture.call.memory import overlap
from fxonnx.capture.constraints import Constraints, classify
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.same_graph import is_same
from fxonnx.capture.equivalence.zero_one import Recording
from fxonnx.capture.graph.aliasing import Layouts, laying_out, read_by_layout
from fxonnx.capture.graph.checks import QUESTION, checks_of
from fxonnx.capture.graph.clean import clean
from fxonnx.capture.graph.functional_form import memories_written
from fxonnx.capture.graph.functionalize import Mutations
from fxonnx.capture.graph.reshapes import Reshape
from fxonnx.capture.graph.views import geometry, overlaps_itself, storage
from fxonnx.capture.locate import Locator, strip
from fxonnx.capture.program import Weight
from fxonnx.capture.state.python_state import StateChanges, is_of_one_kind, preserved, unwritten
from fxonnx.capture.surroundings import (
    ONE_AT_A_TIME,
    EagerDtypes,
    no_fast_path,
    one_suppression,
    quiet,
    uncompiled,
)
from fxonnx.capture.tracer.decisions.frames import Unknown, contents_of, state_of
from fxonnx.capture.tracer.decisions.script import MOST_TIMES, Decisions
from fxonnx.capture.tracer.decisions.turns import Asked
from fxonnx.capture.tracer.fake_inputs import FakeWeights, SymbolTable, fake_input, weight_keys
from fxonnx.capture.tracer.functions import FunctionMode, Refusals, whole_calls
from fxonnx.capture.tracer.higher_order.associative import associative_scan
from fxonnx.capture.tracer.higher_order.ops import HigherOrder
from fxonnx.capture.tracer.locations import Locations, asking_frames
from fxonnx.capture.tracer.python.functions import PYTHON
from fxonnx.capture.tracer.python.generators import is_new, unseeded
from fxonnx.capture.tracer.python.installed import numbers_of_sizes
from fxonnx.capture.tracer.python.iterations import counting
from fxonnx.capture.tracer.python.keys import keys_of_sizes
from fxonnx.capture.tracer.record import Recorder, Tape
from fxonnx.capture.tracer.replay import Replay
from fxonnx.capture.tracer.results.cache import FakeCache
from fxonnx.capture.tracer.sizes.data import DataSymbols
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import (
    OneThread,
    as_exporting,
    enable_python_dispatcher,
    lists_asked,
    passing_for_fake,
    powers_of_sizes,
    recorded_regions,
    unasked_masks,
)
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location

Prepare: TypeAlias = "Callable[[Example, SymbolTable], Run]"


class NothingLeft(Exception):
    """An earlier call has left nothing in the model that this one could read."""


@dataclass(eq=False)
class Run:
    """A run of a model: what it is run on, the graph it leaves on the tape, and what it decided by sizes."""

    example: Example
    symbols: SymbolTable
    guard_log: GuardLog
    locations: Locations
    tape: Tape
    fakes: list[Any]
    inputs: list[fx.Node]
    decisions: Decisions
    data: DataSymbols
    changes: StateChanges = field(init=False)
    asked: Asked = field(init=False)
    returned: Returned = field(default_factory=Returned)
    states: list[tuple[str, torch.Tensor, Any]] = field(default_factory=list)  # key, before a call, after it
    earlier: Run | None = None  # a call that comes before this one
    ways: tuple[tuple[bool, ...], ...] = ((),)  # the answers of each way whose graph this is
    leaves_by_data: bool = False  # whether forward has changed what is no state after it decided by data
    left: Any = None  # what is no state as forward leaves it, as a key; None where it cannot be told
    by_layout: Set[int] = frozenset()  # the inputs, by place, of which it matters how they lie in memory
    mutations: Mutations | None = None  # what the graph writes to its placeholders, once it is functional
    reshapes: tuple[Reshape, ...] = ()  # how inputs change their shapes for good
    passed_for_fake: list[bool] = field(default_factory=list)  # what was answered, in turn
    _results: list[Any] = field(default_factory=list)
    _left_gradients: list[torch.Tensor] = field(default_factory=list)  # of weights
    _left_before: Any = None  # the first decision

    @staticmethod
    def prepare(example: Example, symbols: SymbolTable, script: tuple[bool, ...] = ()) -> Run:
        """Fake tensors for the inputs, where they have symbols at the sizes that those have in this run."""
        locations = Locations(example.flat)
        refuse = Refusals(locations)
        guard_log = GuardLog(
            dict(symbols.lows), symbols.highs, symbols.hints, locations, symbols.at_once, symbols.takes_plain,
            symbols.counts,
        )  # fmt: skip
        guard_log.refused = refuse.met
        guard_log.data.given, guard_log.is_by_numbers = symbols.numbers, symbols.is_by_numbers
        mode = OneThread(lambda: _in_a_thread(refuse))
        return _prepared(example, symbols, FakeCache(mode, guard_log), refuse, locations, script)

    def other_way(self, number: int, taken: Set[str]) -> Run:
        """Another run, which goes as this one until the decision with this number, and the other way there.

        What this one has noted of sizes the other goes on with: both are one capture. Symbols of data have other names
        than those that are `taken`, as soon as the ways part.
        """
        decision = self.decisions.made[number]
        script = (*self.decisions.answers[:number], not decision.answer)
        return self._another(script, self.data.in_another_way(decision.symbols, taken))

    def once_more(self) -> Run:
        """A run that goes as this one."""
        return self._another(self.decisions.script, self.data.in_another_way(0, frozenset()))

    def _another(self, script: tuple[bool, ...], data: DataSymbols) -> Run:
        log, refuse = self.guard_log, self.tape.refuse
        log.locate = refuse.locate = locations = Locations(self.example.flat)
        log.begin_way(data)
        cache = FakeCache(self.tape.cache.mode, log, self.tape.cache.before_data)
        run = _prepared(self.example, self.symbols, cache, refuse, locations, script)
        run.earlier = self.earlier
        run.tape.values.written = self.tape.values.written
        return run

    def preparation(self) -> Prepare:
        """What prepares another run of this kind, which does not keep this one."""
        return Run.prepare

    def __call__(self) -> None:
        """The model, once. Raises what it raises; the model is left as it was found."""
        self.record()
        self.finish(self.reads())

    def record(self) -> None:
        """The model's calls, without the end of the graph."""
        with self._preserved():
            if self.earlier is not None:
                self._call_earlier(self.earlier)
            with self._recorded():
                self._results = self.example.flat(*self.fakes)
                if beyond := self.guard_log.beyond:
                    raise self.guard_log.specialize(beyond[0])
            self.returned = replace(self.example.flat.returned)
            self.left = self._left()
            is_changed = self.left is None or self.left != self._left_before
            self.leaves_by_data = bool(self.decisions.made) and is_changed
        self.tape.refuse.raise_swallowed()

    def finish(self, reads: Set[int]) -> None:
        """End the graph with the results and the states; `reads` are the ids of the weights that forward reads."""
        self._keep_states(reads)
        self.tape.output([*self._results, *(value for _, _, value in self.states)])
        self._keep_aliasing()
        self._refuse_left_gradients()

    def _refuse_left_gradients(self) -> None:
        """Raise CaptureRefused where the results hang on gradients that the run leaves in weights: the next call of the
        model adds to them."""
        left = self.tape.nodes_of(self._left_gradients)
        waiting, seen = [self.tape.graph.output_node()] if left else [], set[fx.Node]()
        while waiting:
            node = waiting.pop()
            seen.add(node)
            waiting.extend(each for each in node.all_input_nodes if each not in seen)
        if left & seen:
            raise self.tape.refuse(
                "the model reads the .grad of its weights, and leaves it there",
                cause="the next call in PyTorch adds its gradients to those of this one",
                cure="take them by torch.autograd.grad(), or set .grad = None at the end of forward",
            )

    def _keep_aliasing(self) -> None:
        """Note the sizes for which what is a view here is one, and what is a copy is none, where it is written to."""
        layouts = Layouts(dim_of, self.symbols.hints, self.guard_log.statically_known)
        for guard in layouts.guards(self.tape.graph):
            self.guard_log.keep(guard)
        read = read_by_layout(self.tape.graph) | laying_out(self.tape.layouts_asked)
        self.by_layout = {at for at, node in enumerate(self.inputs) if node in read}

    def reads(self) -> set[int]:
        """The ids of the weights that the run has read."""
        return {id(weight.tensor) for weight in self.tape.weights.values()}

    def decide(self, condition: Any) -> bool:
        """The way that the run goes where Python asks for the truth of a tensor, or of a comparison of what comes from
        data. A loop that asks too often is taken to end, which a call is checked for. Raises CaptureRefused in the body
        of a higher-order op."""
        if self.tape.depth:
            raise self.tape.refuse(
                "a branch or body of a higher-order op decides in Python by data",
                cause="it is recorded once, whatever the data",
                cure="choose with torch.where(condition, a, b), or with another torch.cond",
            )
        implied = self.decisions.implied(condition)
        turn = self.asked.turn(self._state_now) if implied is None else None
        if turn is not None:
            self.tape.take_for(condition, self.symbols.turns.goes_on, QUESTION)
            self.tape.values.decided += 1
            return turn
        if implied is None and self.asked.is_to_be_rolled(self.symbols, self.decisions.answers):
            why, cure = "a file has a graph for each turn, unless all are alike", "let all turns make the same"
            raise self.tape.refuse("a loop asks data in each turn whether it goes on", cause=why, cure=cure)
        end = self.decisions.end_of_loop() if implied is None else None
        if end is not None:
            self.tape.take_for(condition, end, f"{self.locations().source} asks more than {MOST_TIMES} times")
            return end
        if not self.decisions.made:
            self._left_before = self._left()
        state, live = self._state()
        mark = partial(self.tape.mark, live=live)
        self.asked.note()
        return self.decisions.answer(condition, implied, mark, len(self.data.names), state)

    def _state(self) -> tuple[Any, list[torch.Tensor]]:
        """The state that Python is in, and the tensors that it holds; None and none where that cannot be told, or the
        answer stands in the script."""
        return self._state_now() if self.decisions.is_own else (None, [])

    def _state_now(self) -> tuple[Any, list[torch.Tensor]]:
        self.changes.look()
        if self.changes.contents is None:
            return None, []
        try:
            knows = self.asked.holding(self.tape.knows)
            key, live = state_of(asking_frames(), knows, self.decisions.asked, self.changes.contents)
        except Unknown:
            return None, []
        changed = [(name, after) for name, _, after, _ in self.changes.tensors if self.tape.knows(after)]
        return (key, tuple(name for name, _ in changed)), [*live, *(after for _, after in changed)]

    def _left(self) -> Any:
        """What forward has left in Python by now, as a key; None where that cannot be told."""
        self.changes.look()
        with suppress(Unknown):
            return None if self.changes.contents is None else (contents_of(self.changes.contents),)
        return None

    def parting(self, *, after_another_way: bool) -> Location | None:
        """Where the model, called twice with inputs of its own each time, does something else at the second call; None
        where nothing depends on what the first left in attributes. With `after_another_way` it is the third call that
        is to do what the first did, where the second went another way. The graph is of no use afterwards."""
        replay, others = Replay(self.tape), _fresh_inputs(self.example, self.symbols, self.tape)
        if after_another_way:
            with self._preserved(), self._recorded():
                replay.call(self.example.flat, self.fakes, self.inputs)
            self.tape.rewind()
        with self._preserved(), self._recorded():
            replay.call(self.example.flat, self.fakes, self.inputs)
            self.changes.look()
            self.changes.put_back(self._states())
            self.tape.rewind()
            self.decisions.forget()
            replay.call(self.example.flat, *others)
        self.tape.refuse.raise_swallowed()
        return replay.parting()

    def _call_earlier(self, earlier: Run) -> None:
        """Another call, which leaves what it leaves, but for states: those are as they were. Raises NothingLeft."""
        earlier.changes = self.changes
        with earlier._recorded():
            earlier.example.flat(*earlier.fakes)
        self.changes.look()
        if not earlier.caches():
            raise NothingLeft
        self.changes.put_back(earlier._states())

    def caches(self) -> list[str]:
        """The names of what forward has changed in the model that is no state of it."""
        states = self._states()
        return [*self.changes.others, *(key for key, _, after, _ in self.changes.tensors if id(after) not in states)]

    @contextmanager
    def _preserved(self) -> Iterator[None]:
        """The model is left as it was found."""
        flat = self.example.flat
        with ONE_AT_A_TIME, keys_of_sizes(), unwritten(flat), preserved(flat, flat.functions) as self.changes:
            self.tape.held = {id(tensor) for tensor in self.changes.held()}
            try:
                yield
            finally:
                self._left_gradients = self.tape.gradients.put_back()

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """What surrounds a call of the model."""
        self.tape.gradients.of_weights = self.symbols.with_gradients > 1
        self.decisions.forget()
        surroundings = (
            quiet(), no_fast_path(), torch.set_grad_enabled(self.symbols.with_gradients > 0), self.locations.followed(),
            enable_python_dispatcher(), self._answers_of_exports(), unasked_masks(), lists_asked(), one_suppression(),
            uncompiled(), self.tape.cache.mode, whole_calls(), unseeded(self.tape.refuse), Recorder(self.tape),
            recorded_regions(associative_scan), powers_of_sizes(), self._function_modes(), self._functions_of_sizes(),
        )  # fmt: skip
        with ExitStack() as stack:
            for each in surroundings:
                stack.enter_context(each)
            stack.callback(setattr, self.guard_log, "in_model", False)
            self.guard_log.in_model = True
            yield

    @contextmanager
    def _function_modes(self) -> Iterator[None]:
        """What stands before torch's functions, in the model and in the functions that its higher-order ops call."""
        tape = self.tape
        higher_order = HigherOrder(tape, self._function_modes)
        with (
            FunctionMode(
                tape.refuse, self.guard_log, tape.check, tape.known, self.decide, tape.selected,
                tape.quantized.stands_for, self._is_seeded, higher_order, tape.ask_layout,
            ),  # fmt: skip
            EagerDtypes(),
        ):
            yield

    def _is_seeded(self, generator: torch.Generator) -> bool:
        """Whether a generator gives the same numbers at each call, because forward makes or seeds it."""
        return is_new(generator) or self.changes.is_seeded(generator)

    @contextmanager
    def _answers_of_exports(self) -> Iterator[None]:
        """What the model is told when it asks whether it is exported, or a tensor fake."""
        asked = partial(setattr, self.symbols, "asked", True)
        with as_exporting(self.symbols.exporting, asked), passing_for_fake(self._passes_for_fake):
            yield

    def _passes_for_fake(self, tensor: torch.Tensor) -> bool:
        """Whether the model is to leave out what it does by the values of a tensor: it holds data, and what is left out
        makes no difference."""
        is_fake = not self.symbols.shortcuts and self.tape.is_data(tensor)
        self.passed_for_fake.append(is_fake)
        return is_fake

    def _functions_of_sizes(self) -> AbstractContextManager[None]:
        """`int`, `len` and the like that know sizes, in the files of the model."""
        if self.symbols.own_python:
            return nullcontext()
        builtins = PYTHON | counting(self.guard_log, PYTHON) if self.symbols.counts else PYTHON
        return numbers_of_sizes(self._functions(), builtins)

    def _functions(self) -> list[Any]:
        """The functions that the model is made of, as far as they are known before it runs."""
        flat = self.example.flat
        kinds = dict.fromkeys(type(module) for module in flat.modules())
        return [*flat.functions, *(getattr(kind, "forward", None) for kind in kinds)]

    def _keep_states(self, reads: Set[int]) -> None:
        """Note the tensors that forward replaced as the states that they are: buffers, and other attributes that it
        reads too. An attribute that is only written tells of the last call, and nothing depends on it."""
        states = self._states(reads)
        for key, before, after, _ in self.changes.tensors:
            if id(after) in states and not self._is_itself(before, after):
                self._check_state(key, self.tape.read(before), after)
                self._check_memory(key, before)
                self.tape.values.lose(storage(self.tape.read(before)))
                self.states.append((key, before, after))

    def _states(self, reads: Set[int] | None = None) -> set[int]:
        """The ids of the tensors that forward put in the place of buffers, or of attributes of their kind that it
        reads: one of another kind is a cache, which a first call prepares."""
        read = self.reads() if reads is None else reads
        return {
            id(after) for _, before, after, is_buffer in self.changes.tensors
            if is_buffer or (id(before) in read and is_of_one_kind(before, after))
        }  # fmt: skip

    def _is_itself(self, before: torch.Tensor, after: torch.Tensor) -> bool:
        """Whether a tensor was replaced by what torch returned for it as it was, as `self.mean.type_as(x)` does."""
        one, other = self.tape.read(before), self.tape.read(after)
        strided = one.layout is other.layout is torch.strided
        return strided and storage(one) == storage(other) and geometry(one) == geometry(other)

    def _check_state(self, key: str, before: Any, after: Any) -> None:
        if before.shape != after.shape or before.dtype is not after.dtype:
            raise CaptureRefused(
                f"forward replaces {strip(key)} by a tensor of another kind",
                cause=f"{before.dtype} of {list(before.shape)} becomes {after.dtype} of {list(after.shape)}",
                cure="write into it instead, with copy_()",
            )

    def _check_memory(self, key: str, before: torch.Tensor) -> None:
        """The new value is written where the one before lies, and would be seen by whatever else lies there."""
        held = [each for each in self.changes.held() if _is_plain(each) and overlap(each, before)]
        if overlaps_itself(before) or len(held) > 1:
            raise CaptureRefused(
                f"forward replaces {strip(key)}, which shares memory with itself or another tensor of the model",
                cause="from the first call on they are two values, and a file has one input for both",
                cure=f"give it memory of its own before the first call: {strip(key)}.clone()",
            )

    def captured_graph(self) -> CapturedGraph:
        """What the run left, to be compared with another; the graph is cleaned."""
        graph = self.tape.graph
        clean(graph, keep_checks=True)
        written = () if self.mutations is None else self.mutations.values()
        outputs = (*graph.output_node().args[0], *(each.node for each in checks_of(graph, Locator())), *written)
        returned, symbols = self.returned, frozenset(self.symbols.hints)
        return CapturedGraph(
            graph, tuple(self.inputs), self._compared_weights(), outputs, returned.tree, returned.effects, Locator(),
            dim_of, symbols,
        )  # fmt: skip

    def _compared_weights(self) -> dict[fx.Node, Weight]:
        """The weights; what the model holds and never changes, a table of a call before, is as good as a literal."""
        written = memories_written(self.tape.graph.nodes)
        replaced = {id(before) for _, before, _ in self.states}
        states = {
            node for node, each in self.tape.weights.items()
            if id(each.tensor) in replaced or node in (self.mutations or ()) or storage(node.meta["val"]) in written
        }  # fmt: skip
        return {
            node: each if node in states else replace(each, is_held=False) for node, each in self.tape.weights.items()
        }

    def recording(self, fixed: Mapping[str, int]) -> Recording:
        """What the run has left, with some dims at fixed sizes, and what it decided by the sizes of the others."""
        assumed = [*self.constraints.equalities, *self.constraints.assumptions]
        return Recording(self.captured_graph(), fixed, assumed)

    def forgets(self, other: Run) -> bool:
        """Drop the guard that the other run, which left the same graph, took the other way: it does not matter.

        What the other run asked on that way holds from then on: further ways may begin there. Of several such guards
        each may matter while all together do not; none is dropped then, nor where the rest does not hold for the sizes
        of both runs.
        """
        mine, theirs = self.guard_log.entries, other.guard_log.entries
        idle = {(relation, dim) for relation, dim in mine if (OPPOSITE[relation], dim) in theirs}
        if len(idle) > 1 or not is_same(self.captured_graph(), other.captured_graph()):
            return False
        taken = idle | {(OPPOSITE[relation], dim) for relation, dim in idle}
        rest = {key: guard for key, guard in (theirs | mine).items() if key not in taken}
        constraints = classify(rest.values(), self.symbols.hints)
        if not constraints.holds(other.symbols.hints) or not constraints.holds(self.symbols.hints):
            return False
        self.guard_log.entries = rest
        self.__dict__.pop("constraints", None)
        return True

    @cached_property
    def constraints(self) -> Constraints:
        """What the guards mean."""
        return classify(self.guard_log.entries.values(), self.symbols.hints)


def _prepared(
    example: Example, symbols: SymbolTable, cache: FakeCache, refuse: Refusals, locations: Locations,
    script: tuple[bool, ...],
) -> Run:  # fmt: skip
    mode, log = cache.mode, cache.guard_log
    tape = Tape(cache, FakeWeights(mode), weight_keys(example.flat), locations.meta, refuse)
    tape.values.states, tape.most_calls = symbols.states, symbols.most_calls
    fakes, inputs = _fresh_inputs(example, symbols, tape)
    run = Run(example, symbols, log, locations, tape, fakes, inputs, Decisions(script, locations), log.data)
    run.asked = Asked(symbols.turns)
    log.decide = WeakMethod(run.decide)
    return run


def _fresh_inputs(example: Example, symbols: SymbolTable, tape: Tape) -> tuple[list[Any], list[fx.Node]]:
    """Fake tensors like the example, and placeholders for them."""
    mode, log = tape.cache.mode, tape.cache.guard_log
    fakes = [fake_input(mode, leaf, number, symbols, log) for number, leaf in enumerate(example.leaves)]
    return fakes, [tape.input(name, fake) for name, fake in zip(example.names, fakes, strict=True)]


def _in_a_thread(refuse: Refusals) -> CaptureRefused:
    return refuse(
        "the model computes in another thread",
        cause="what a thread of its own calls is not recorded",
        cure="compute in the thread that calls the model",
    )


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether it has an address, and elements by strides."""
    return type(tensor) in (torch.Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_nested
