"""The walk through all ways of a model: the tree of its decisions, depth first, one run for each way."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

import torch
from torch import fx

from fxonnx.capture.failures import ModelStopped, innermost, translate
from fxonnx.capture.graph.checks import ASSERTION
from fxonnx.capture.graph.views import Emit, aten, storage
from fxonnx.capture.locate import is_users
from fxonnx.capture.tracer.decisions import Decision
from fxonnx.capture.tracer.paths.join import join
from fxonnx.capture.tracer.paths.sizes import DataSizes
from fxonnx.capture.tracer.paths.way import Raised, Way, places_of, way_of
from fxonnx.capture.tracer.run import Run, functional
from fxonnx.capture.tracer.sizes.data import DataSymbols
from fxonnx.errors import DataDependentControlFlow, ModelRaised

MOST_WAYS = 64


@dataclass(frozen=True, slots=True)
class Fork:
    """Both ways of a decision."""

    number: int
    decision: Decision
    yes: Tree
    no: Tree


Tree: TypeAlias = "Fork | Run | Raised"


def carry_out(run: Run) -> None:
    """The model, once for each way that it can take; the run has the joined graph of all. Raises what the model raises,
    and DataDependentControlFlow where there are too many ways, or two that cannot be joined."""
    walk = _Walk(run)
    tree = walk.explore(run)
    if not run.decisions.made:
        if isinstance(tree, Raised):
            raise ModelStopped from tree.error
        run.finish(run.reads())
        return
    walk.finish(tree)


@dataclass(slots=True, eq=False)
class _Walk:
    """All ways of one capture. `first` is the run that gets their graph."""

    first: Run
    count: int = 0
    taken: set[str] = field(default_factory=set)  # names of symbols that come from data
    data: list[DataSymbols] = field(default_factory=list)

    def explore(self, run: Run) -> Tree:
        """Record a run, and for each of its own decisions the ways with the other answer, the last decision first."""
        given = len(run.decisions.script)
        raised = _record(run)
        self.taken |= run.data.hints.keys()
        self.data.append(run.data)
        made = run.decisions.made
        self._count(made)
        tree: Tree = run if raised is None else raised
        for number in range(len(made) - 1, given - 1, -1):
            decision = made[number]
            other = self.explore(run.other_way(number, frozenset(self.taken)))
            yes, no = (tree, other) if decision.answer else (other, tree)
            tree = Fork(number, decision, yes, no)
        return tree

    def _count(self, made: list[Decision]) -> None:
        self.count += 1
        if self.count > MOST_WAYS:
            places = list(dict.fromkeys(each.location for each in made))
            with self._final():
                raise DataDependentControlFlow(
                    f"the model has more than {MOST_WAYS} ways through its decisions by data",
                    cause=f"{len(made)} decisions follow each other on one of them, at {len(places)} places",
                    cure="choose with torch.where(condition, a, b), which is no decision; loop with torch's while_loop",
                    location=places,
                )

    @contextmanager
    def _final(self) -> Iterator[None]:
        """What is refused here torch.export does not take either."""
        try:
            yield
        except DataDependentControlFlow:
            self.first.tape.refuse.final = True
            raise

    def finish(self, tree: Tree) -> None:
        """Join all ways, and give the first run their graph."""
        runs = list(_runs(tree))
        reads = set[int]().union(*(run.reads() for run in runs))
        for run in runs:
            run.finish(reads)
        _check_known(runs)
        for data in self.data[1:]:
            self.first.data.join(data)
        self.first.guard_log.begin_way(self.first.data)
        sizes = DataSizes(self.first.tape.cache)
        with self._final():
            way = self._joined(tree, sizes)
        if isinstance(way, Raised):
            raise ModelStopped from way.error
        _give(way, self.first)
        self.first.ways = tuple(run.decisions.answers for run in runs)
        self.first.changes.others = list(dict.fromkeys(name for run in runs for name in run.changes.others))

    def _joined(self, tree: Tree, sizes: DataSizes) -> Way | Raised:
        if isinstance(tree, Raised):
            return tree
        if isinstance(tree, Run):
            return way_of(tree)
        yes, no = self._joined(tree.yes, sizes), self._joined(tree.no, sizes)
        if isinstance(yes, Raised):
            return no if isinstance(no, Raised) else _checked(no, tree.number, False, yes)
        if isinstance(no, Raised):
            return _checked(yes, tree.number, True, no)
        return join(tree.number, yes, no, sizes, tree.decision.location)


def _check_known(runs: list[Run]) -> None:
    """Gather the weights whose values the ways ask for. Raises CaptureRefused where a way writes to one of them."""
    written = {place for run in runs for place in places_of(run, functional(run))}
    first, *_ = runs
    known = set[int]()
    for run in runs:
        for node, read in list(run.tape.values.reads.items()):
            key = id(read.weight.tensor)
            if ("weight", key) in written:
                run.tape.values.lose(storage(node.meta["val"]))
            if key not in known:
                known.add(key)
                first.tape.values.reads[node] = read


def _runs(tree: Tree) -> list[Run]:
    if isinstance(tree, Fork):
        return [*_runs(tree.yes), *_runs(tree.no)]
    return [tree] if isinstance(tree, Run) else []


def _checked(way: Way, number: int, truth: bool, other: Raised) -> Way:
    """A way that is taken where a decision is `truth`; where it is not, the model raises."""
    mark = way.mark(number)
    condition, emit = mark.args[0], Emit(way.graph, mark)
    assert isinstance(condition, fx.Node)
    value = condition.meta["val"]
    is_tensor = isinstance(value, torch.Tensor)
    if not truth:
        negation = aten.logical_not.default if is_tensor else torch.sym_not
        condition = emit(negation, (condition,), {}, negation(value))
    emit(ASSERTION if is_tensor else aten._assert_scalar.default, (condition, other.text), {}, None)
    way.graph.erase_node(mark)
    return way


def _give(way: Way, run: Run) -> None:
    """Make a way the run's graph."""
    way.graph.output(way.results)
    run.tape.graph, run.tape.weights, run.tape.autocast, run.tape.borrowed = way.graph, way.weights, [], {}
    run.inputs, run.returned, run.states = list(way.inputs), way.returned, []
    placed = {place: way.place(place) for place in sorted(way.written)}
    run.mutations = {node: way.written[place] for place, node in placed.items() if node is not None}


# ── ways that raise ────────────────────────────────────────


def _record(run: Run) -> Raised | None:
    """Record a run; what the model raises on purpose after a decision. Raises whatever else it raises."""
    try:
        run.record()
    except ModelStopped as stopped:
        error = stopped.__cause__
        if error is None or not run.decisions.made or not _is_on_purpose(error):
            raise
        run.tape.refuse.raise_swallowed()
        return Raised(str(error) or type(error).__name__, innermost(error)[0], error)
    return None


def _is_on_purpose(error: BaseException) -> bool:
    """Whether a raise statement of the user's raised it, not torch, nor Python."""
    trace = _last(error.__traceback__)
    if trace is None or not isinstance(translate(error, in_model=True), ModelRaised):
        return False
    code = trace.tb_frame.f_code
    return is_users(code.co_filename) and dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _last(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace
