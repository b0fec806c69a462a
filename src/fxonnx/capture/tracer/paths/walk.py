"""The walk through all ways of a model: the tree of its decisions, depth first, one run for each way.

A run that comes to a state in which Python was before, whatever was decided until then, does what is known already: its
further decisions are not asked again. Layers that each mend their result cost one way each, not 2^n.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.capture.failures import ModelStopped
from fxonnx.capture.graph.checks import ASSERTION
from fxonnx.capture.graph.views import Emit, aten, storage
from fxonnx.capture.tracer.decisions.script import Decision, is_mark
from fxonnx.capture.tracer.paths.copying import drop_idle
from fxonnx.capture.tracer.paths.join import join
from fxonnx.capture.tracer.paths.lockstep import Parted, lockstep
from fxonnx.capture.tracer.paths.raised import record
from fxonnx.capture.tracer.paths.sizes import DataSizes
from fxonnx.capture.tracer.paths.transplant import transplanted
from fxonnx.capture.tracer.paths.way import Raised, Way, copied, places_of, way_of
from fxonnx.capture.tracer.program import functional
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.sizes.data import DataSymbols
from fxonnx.errors import CaptureRefused, DataDependentControlFlow
from fxonnx.ir.dims import substitute

MOST_WAYS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """Both ways of a decision of a run; None for one that what was answered before leaves no call to take."""

    run: Run
    number: int
    yes: Tree | None
    no: Tree | None

    @property
    def decision(self) -> Decision:
        """The decision."""
        return self.run.decisions.made[self.number]


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """A run that is in a state of another from the decision with this number on: what comes then is as at the fork."""

    run: Run
    number: int
    fork: Fork


Tree: TypeAlias = "Fork | Alike | Run | Raised"


def carry_out(run: Run) -> None:
    """The model, once for each way that it can take; the run has the joined graph of all. Raises what the model raises,
    and DataDependentControlFlow where there are too many ways, or two that cannot be joined."""
    walk = _Walk(run)
    tree = walk.explore(run)
    if not run.decisions.made:
        run.finish(run.reads())
        return
    try:
        walk.finish(tree)
    except Parted:
        again = run.once_more()
        walk = _Walk(again, is_short=False)
        walk.finish(walk.explore(again))
        vars(run).update(vars(again))


@dataclass(slots=True, eq=False)
class _Walk:
    """All ways of one capture. `first` is the run that gets their graph."""

    first: Run
    is_short: bool = True  # whether what comes in a known state is asked once
    are_alike: bool = False  # whether a run was found in one
    runs: list[Run] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)  # names of symbols that come from data
    data: list[DataSymbols] = field(default_factory=list)
    forks: dict[Any, list[Fork]] = field(default_factory=dict)  # state -> what comes then
    reads: set[int] = field(default_factory=set)
    ways: dict[Run, Way] = field(default_factory=dict)
    joined: dict[Fork, Way | Raised] = field(default_factory=dict)
    recorded: list[Run] = field(default_factory=list)  # those that raise as well

    # ── runs ────────────────────────────────────────

    def explore(self, run: Run) -> Tree:
        """Record a run, and for each of its own decisions the ways with the other answer, the last decision first; up
        to one in a state that is known."""
        raised = self._record(run)
        if raised is not None:
            return self._fork(run, raised, len(run.decisions.made))
        alike = self._alike_to(run)
        self.are_alike |= alike is not None
        return self._fork(run, run, len(run.decisions.made)) if alike is None else self._fork(run, alike, alike.number)

    def _fork(self, run: Run, tree: Tree, end: int) -> Tree:
        """The tree of a run's own decisions up to one with a number, before what comes then."""
        made = run.decisions.made
        for number in range(end - 1, len(run.decisions.script) - 1, -1):
            is_implied = made[number].is_implied
            other = None if is_implied else self.explore(run.other_way(number, frozenset(self.taken)))
            tree = Fork(run, number, *((tree, other) if made[number].answer else (other, tree)))
            if made[number].state is not None and run in self.runs and self.is_short:
                self.forks.setdefault(made[number].state, []).append(tree)
        return tree

    def _alike_to(self, run: Run) -> Alike | None:
        """The first of a run's own decisions that is one of another run's, as are all calls from there on."""
        made = run.decisions.made
        for number in range(len(run.decisions.script), len(made)):
            forks, turns = self.forks.get(made[number].state, ()), made[number].turns
            if any(map(self._goes_by_what_was_said, forks)):
                continue
            for fork in sorted(forks, key=lambda fork: fork.decision.turns != turns):
                if _go_on_alike(fork, run, number) and self._knows_alike(fork, run, number):
                    return Alike(run, number, fork)
        return None

    def _goes_by_what_was_said(self, fork: Fork) -> bool:
        """Whether a fork, or a way behind it, goes by what was answered before: another run may have answered else."""
        return any(_reach_behind(fork, each.decisions.answered.uses) for each in self._behind(fork))

    def _knows_alike(self, fork: Fork, run: Run, number: int) -> bool:
        """Whether the tensors that Python holds in both runs have the same elements, where any way behind the fork asks
        for elements that are known and were made after a decision before it."""
        if not any(_reach_behind(fork, each.tape.values.uses) for each in self._behind(fork)):
            return True
        tape, held, other_held = fork.run.tape, fork.decision.mark.args[2], run.decisions.made[number].mark.args[2]
        pairs = zip(held, other_held, strict=True)
        return all(tape.elements.content(one) == run.tape.elements.content(other) for one, other in pairs)

    def _behind(self, fork: Fork) -> Iterator[Run]:
        """The runs that come to a fork, or have come to it."""
        before = fork.run.decisions.answers[: fork.number]
        return (each for each in self.recorded if each.decisions.answers[: fork.number] == before)

    def _record(self, run: Run) -> Raised | None:
        raised = record(run)
        self.recorded.append(run)
        self.taken |= run.data.hints.keys()
        self.data.append(run.data)
        if raised is None:
            self.runs.append(run)
        made = run.decisions.made
        if len(self.data) > MOST_WAYS:
            places = list(dict.fromkeys(each.location for each in made))
            raise DataDependentControlFlow(
                f"the model has more than {MOST_WAYS} ways through its decisions by data",
                cause=f"{len(made)} decisions follow each other on one of them, at {len(places)} places",
                cure="choose with torch.where(condition, a, b), which is no decision; loop with torch's while_loop",
                location=places,
            )
        return raised

    # ── their graphs ────────────────────────────────────────

    def finish(self, tree: Tree) -> None:
        """Join all ways, and give the first run their graph."""
        self.reads = set().union(*(run.reads() for run in self.runs))
        for data in self.data[1:]:
            self.first.data.join(data)
        self.first.guard_log.begin_way(self.first.data)
        way = self._way(tree, DataSizes(self.first.tape.cache))
        if isinstance(way, Raised):
            raise ModelStopped from way.error
        _check_known(self.first, self.runs)
        _check_shapes(self.first, self.runs)
        _give(way, self.first)
        self.first.ways = tuple(run.decisions.answers for run in self.runs)
        left = {run.left for run in self.runs}
        is_one = len(left) == 1 and None not in left
        self.first.leaves_by_data = not is_one and any(run.leaves_by_data for run in self.runs)
        self.first.by_layout = frozenset().union(*(run.by_layout for run in self.runs))
        changed = (name for run in self.runs for name in run.changes.others)
        self.first.changes.others = list(dict.fromkeys(changed))

    def _way(self, tree: Tree, sizes: DataSizes) -> Way | Raised:
        """The joined ways of a tree."""
        if isinstance(tree, Raised):
            return tree
        if isinstance(tree, Run):
            return self._way_of(tree)
        if isinstance(tree, Alike):
            return self._alike(tree, sizes)
        if tree not in self.joined:
            self.joined[tree] = self._join(tree, sizes)
        return self.joined[tree]

    def _way_of(self, run: Run) -> Way:
        if run not in self.ways:
            run.finish(self.reads)
            self.ways[run] = way_of(run)
        return self.ways[run]

    def _join(self, fork: Fork, sizes: DataSizes) -> Way | Raised:
        if fork.yes is None or fork.no is None:
            return self._implied(fork, sizes)
        yes, no = self._way(fork.yes, sizes), self._way(fork.no, sizes)
        if isinstance(yes, Raised):
            return no if isinstance(no, Raised) else _checked(no, fork.number, False, yes.text)
        if isinstance(no, Raised):
            return _checked(yes, fork.number, True, no.text)
        return join(fork.number, yes, no, sizes, fork.decision.location)

    def _implied(self, fork: Fork, sizes: DataSizes) -> Way | Raised:
        """The one way of a decision whose answer follows from others; calls are checked for it where a run goes on as
        another one, that may have been answered something else."""
        possible = fork.no if fork.yes is None else fork.yes
        assert possible is not None
        way = self._way(possible, sizes)
        if isinstance(way, Raised) or not self.are_alike:
            return way
        return _checked(way, fork.number, fork.no is None, f"{fork.decision.location} is answered as before")

    def _alike(self, tree: Alike, sizes: DataSizes) -> Way | Raised:
        """What a run does in a state that is known; it is asked itself where that is not the same after all."""
        after = self._way(tree.fork, sizes)
        if isinstance(after, Raised):
            raise Parted
        onto, like = self._way_of(tree.run), self._way_of(tree.fork.run)
        return transplanted(after, like, like.mark(tree.fork.number), onto, onto.mark(tree.number), sizes)


def _reach_behind(fork: Fork, uses: Iterable[tuple[int, int]]) -> bool:
    """Whether what was found at a decision before a fork is used at one behind it."""
    return any(since < fork.number <= other for since, other in uses)


def _go_on_alike(fork: Fork, run: Run, number: int) -> bool:
    """Whether a run does from a decision on what the fork's does, as far as it goes; in a state with sizes from data
    that are bounded alike."""
    made, others = fork.run.decisions.made, run.decisions.made
    if len(made) - fork.number != len(others) - number:
        return False
    try:
        pairs = lockstep(made[fork.number].mark, others[number].mark)
    except Parted:
        return False
    limits, others_limits = fork.run.data.limits, run.data.limits
    return all(
        (name in limits) == (str(other) in others_limits)
        and substitute(limits.get(name, 0), pairs.names) == others_limits.get(str(other), 0)
        for name, other in pairs.names.items()
    )


def _check_known(first: Run, runs: list[Run]) -> None:
    """Gather the weights whose values the ways ask for. Raises CaptureRefused where a way writes to one of them."""
    written = {place for run in runs for place in places_of(run, functional(run))}
    known = set[int]()
    for run in runs:
        for node, read in list(run.tape.values.reads.items()):
            key = id(read.weight.tensor)
            if ("weight", key) in written:
                run.tape.values.lose(storage(node.meta["val"]))
            if key not in known:
                known.add(key)
                first.tape.values.reads[node] = read


def _check_shapes(first: Run, runs: list[Run]) -> None:
    """Refuse inputs whose shapes are changed for good (`x.unsqueeze_(0)`) in some ways only, which is done at each
    call."""
    if any(run.reshapes != first.reshapes for run in runs):
        raise CaptureRefused(
            "an input changes its shape where a decision by data goes one way",
            cause="after a call it has one shape or the other, and which one only the data tells",
            cure="make a new tensor in its place: x.unsqueeze(0) for x.unsqueeze_(0)",
            location=[run.decisions.made[-1].location for run in runs if run.decisions.made][:1],
        )


def _checked(found: Way, number: int, truth: bool, text: str) -> Way:
    """A way that is taken where a decision is `truth`; where it is not, the model raises, with this text."""
    way = copied(found)
    mark = way.mark(number)
    condition, emit = mark.args[0], Emit(way.graph, mark.next)
    assert isinstance(condition, fx.Node)
    value = condition.meta["val"]
    is_tensor = isinstance(value, torch.Tensor)
    if not truth:
        negation = aten.logical_not.default if is_tensor else torch.sym_not
        condition = emit(negation, (condition,), {}, negation(value))
    emit(ASSERTION if is_tensor else aten._assert_scalar.default, (condition, text), {}, None)
    return way


def _give(way: Way, run: Run) -> None:
    """Make a way the run's graph."""
    for node in list(way.graph.nodes):
        if is_mark(node):
            way.graph.erase_node(node)
    drop_idle(way.graph, (*way.results, *way.written.values()))
    way.graph.output(way.results)
    run.tape.graph, run.tape.weights, run.tape.autocast, run.tape.borrowed = way.graph, way.weights, [], {}
    run.inputs, run.returned, run.states = list(way.inputs), way.returned, []
    placed = {place: way.place(place) for place in sorted(way.written)}
    run.mutations = {node: way.written[place] for place, node in placed.items() if node is not None}
