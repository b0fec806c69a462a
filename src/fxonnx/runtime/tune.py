"""Tries out, on this machine and with the example, what is left open of how a model runs: forms that compete, and
optimizers of the runtime that may stand in its way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import torch

from fxonnx import machines
from fxonnx.errors import InvalidOption
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import print_graph
from fxonnx.machines import WORTH, Contested, Machine, is_worth
from fxonnx.passes.legalize.forms import forms
from fxonnx.runtime.measure import CONTESTS, Progress, timed
from fxonnx.target import Target

Call: TypeAlias = "Callable[[], Any]"

SECONDS = 60.0  # of trying, where a user names none
SWITCHES: Mapping[str, str] = {
    "NchwcTransformer": "Conv",
    "ConvAddActivationFusion": "Conv",
    "QuickGeluFusion": "Sigmoid",
    "BiasGeluFusion": "Gelu",
    "MatMulAddFusion": "MatMul",
    "MatmulTransposeFusion": "Transpose",
    "TransposeOptimizer": "Transpose",
}
"""Optimizers of the runtime that do not always gain, each with an operator without which it has nothing to do."""

_HOPES = (0.95, WORTH)  # what a form must gain alone to be tried in the model
_GAIN = 0.98  # what gains less may be chance
_RACE = 4.0  # seconds of calls of two that are compared,
_ROUNDS = range(10, 200)  # and how often each is called


class Lowered(Protocol):
    """A model half compiled, that can be finished for one machine or another."""

    @property
    def target(self) -> Target:
        """What it is compiled for."""

    def on(self, machine: Machine) -> Lowered:
        """The same for another machine."""

    def finish(self) -> Any:
        """A `Compiled`."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was found best for a model on this machine: the forms, by place; the runtime's optimizers that are left
    out; how long a call takes, of what it took before; and the seconds that were given, where they were too few."""

    forms: Mapping[Contested, bool]
    without: tuple[str, ...]
    ratio: float
    seconds: float | None = None

    def to_text(self) -> str:
        """As JSON, which `read` takes."""
        chosen = [[*place, taken] for place, taken in self.forms.items()]
        return json.dumps({**asdict(self), "forms": chosen})

    @staticmethod
    def read(text: str) -> Tuning:
        """What `to_text` wrote."""
        content = json.loads(text)
        chosen = {
            Contested(form, over, tuple(tuple((axis, size) for axis, size in each) for each in sizes)): taken
            for form, over, sizes, taken in content["forms"]
        }
        return Tuning(chosen, tuple(content["without"]), content["ratio"], content["seconds"])

    def __str__(self) -> str:
        taken = dict.fromkeys(place.form for place, is_taken in self.forms.items() if is_taken)
        said = [*taken, *(f"without the runtime's {name}" for name in self.without)]
        return f"tuned on this machine: {self.ratio:.2f} × of untuned ({', '.join(said) or 'nothing is faster'})"


def tuned(lowered: Lowered, seconds: float, progress: Progress) -> Any:
    """The model, finished as is fastest on this machine with the example: as was found before, or is found now in about
    so many seconds. `progress` is called with (trials made, trials in all).

    What is found is kept in a file of the user's cache, by graph, sizes, threads and machine; it is looked for anew
    where the time was too short, and is longer now. Raises InvalidOption for a target whose kernels are not known.
    """
    target = lowered.target
    if target.kernels is None or not target.is_measured:
        raise InvalidOption(
            f"{target} cannot be tuned",
            cause="only ONNX Runtime on the CPU is measured here; standard files run who knows where",
            cure="leave out tune, or compile for target=fxonnx.Target.onnxruntime()",
        )
    untuned = lowered.finish()
    untuned.take_example()
    path = _file(untuned.optimized, target.machine, machines.cached(target.kernels.release))
    found = Tuning.read(path.read_text()) if path.exists() else None
    if found is None or (found.seconds is not None and found.seconds < seconds):
        found = _Search(lowered, untuned, seconds, progress).run()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.to_text())
    compiled = lowered.on(replace(target.machine, chosen=found.forms)).finish()
    compiled.tuning = found
    return compiled


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A bar on the terminal, while there is one; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("tuning", total=None)
        yield lambda made, total: bar.update(task, completed=made, total=total)


def _file(graph: Graph, machine: Machine, profile: Path) -> Path:
    """Where the tuning of a graph is kept: in a folder beside the machine's profile."""
    asked = [print_graph(graph, places=False), machine.workloads, sorted(machine.without), torch.get_num_threads()]
    return profile.with_suffix("") / f"{hashlib.sha256(repr(asked).encode()).hexdigest()[:32]}.json"


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Machine):
    """A machine that notes what it is asked, with the answers of another, and prefers nothing."""

    other: Machine = field(default_factory=Machine)
    answers: dict[Contested, bool] = field(default_factory=dict)

    @property
    def has_preferences(self) -> bool:
        return True

    def prefers(self, form: str, over: str, *, worth: float = WORTH, **sizes: Sequence[Dim]) -> bool:
        place = self.place(form, over, sizes)
        if place is not None:
            self.answers[place] = self.other.prefers(form, over, worth=worth, **sizes)
        return False


@dataclass(slots=True)
class _Search:
    """A search for what is fastest, of so many seconds: equal places are tried once, what is best so far is kept."""

    lowered: Lowered
    best: Any
    seconds: float
    progress: Progress
    over: float = field(init=False)
    made: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        self.over = perf_counter() + self.seconds

    def run(self) -> Tuning:
        """What is best, of forms first, and then of the runtime's optimizers."""
        target = self.best.target
        asked = _Asked(workloads=target.machine.workloads, without=target.machine.without, other=target.machine)
        forms(self.best.optimized, replace(target, machine=asked))
        switches = [name for name, op in SWITCHES.items() if any(node.op == op for node in self.best.graph.all_nodes())]
        self.total = len(asked.answers) + len(_HOPES) + len(switches)
        chosen, ratio = self.forms(asked.answers)
        without, call = list[str](), _call(self.best)
        for name in self.trials(switches):
            other = _call(self.best, (*without, name))
            found = _gain(call, other, self.over)
            if found < _GAIN:
                without, call, ratio = [*without, name], other, ratio * found
        return Tuning(chosen, tuple(without), round(ratio, 3), self.seconds if perf_counter() > self.over else None)

    def forms(self, now: Mapping[Contested, bool]) -> tuple[Mapping[Contested, bool], float]:
        """Which forms to take, of what is taken `now`: those that gain alone, if the model is faster with them."""
        taken = {place: _seconds(place) for place in self.trials(now)}
        best, ratio, tried = now, 1.0, [now]
        for hope in self.trials(_HOPES):
            chosen = {**now, **{place: is_worth(*both, hope) for place, both in taken.items()}}
            if chosen in tried:
                continue
            tried.append(chosen)
            machine = replace(self.lowered.target.machine, chosen=chosen)
            other = self.lowered.on(machine).finish()
            found = _gain(_call(self.best), _call(other), self.over)
            if found < _GAIN:
                self.best, best, ratio = other, chosen, ratio * found
        return best, ratio

    def trials(self, of: Any) -> Iterator[Any]:
        """Those that there is time for."""
        for each in of:
            if perf_counter() < self.over:
                yield each
            self.made += 1
            self.progress(self.made, self.total)


def _seconds(place: Contested) -> tuple[list[float], list[float]]:
    """What a form takes in each workload, and what the other one does."""
    contest = next(each for each in CONTESTS if place.form in each.forms)
    found = [timed(contest, dict(sizes), torch.get_num_threads()) for sizes in place.sizes]
    return [each[place.form] for each in found], [each[place.over] for each in found]


def _call(compiled: Any, without: Sequence[str] = ()) -> Call:
    """A call with the example, in a session without some of the runtime's optimizers."""
    runs = compiled.for_sizes(compiled.examples)
    return partial(runs.new_session(without).run, runs.session_inputs())


def _gain(one: Call, other: Call, over: float) -> float:
    """What the other takes of one's time; who seems to win has to win twice."""
    first = _race(one, other, over)
    return first if first >= _GAIN else max(first, _race(one, other, over))


def _race(one: Call, other: Call, over: float) -> float:
    """What the other takes of one's time, called in turns: by the least of each, and by the pairs; what else a machine
    does seldom speaks for the same one in both, so the larger of the two counts."""
    taken: tuple[list[float], list[float]] = ([], [])
    start, calls = perf_counter(), ((one, taken[0]), (other, taken[1]))
    for call, _ in calls:
        call()
    for turn in range(_ROUNDS.stop):
        for call, times in calls if turn % 2 else reversed(calls):
            begun = perf_counter()
            call()
            times.append(perf_counter() - begun)
        if turn >= _ROUNDS.start and perf_counter() > min(start + _RACE, over):
            break
    return max(min(taken[1]) / min(taken[0]), median(theirs / mine for mine, theirs in zip(*taken, strict=True)))
