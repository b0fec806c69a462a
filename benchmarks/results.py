"""What was measured, as data: every row is a frozen dataclass and goes to JSON as it is."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import Any, TypeVar

Result = TypeVar("Result")
Cells = dict[tuple[str, str], float]
ERROR_LENGTH = 200
LEAST_WEIGHTS = 50e6


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the numbers come from."""

    python: str
    machine: str
    processors: int
    threads: int
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not run: the first line of the error at the root."""

    error: str


@dataclass(frozen=True, slots=True)
class Request:
    """One compile to measure, in a process of its own."""

    model: str
    contestant: str
    dynamic: bool = False
    warm: bool = False
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a compile; `nodes` is the graph's size after it."""

    name: str
    seconds: float
    nodes: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one compile cost; `growth_bytes` is the peak of resident memory over that before, None where unknown."""

    seconds: float
    import_seconds: float
    weight_bytes: int
    growth_bytes: int | None
    nodes: int
    file_bytes: int
    stages: tuple[Stage, ...] = ()

    @property
    def growth(self) -> float | None:
        """Peak memory growth over the weights' bytes; None where unknown, or where code outweighs the weights."""
        if self.growth_bytes is None or self.weight_bytes < LEAST_WEIGHTS:
            return None
        return self.growth_bytes / self.weight_bytes


@dataclass(frozen=True, slots=True)
class CompileSample:
    """One compile: what was asked, in which round, what came of it."""

    request: Request
    round: int
    outcome: Measurement | Failure


@dataclass(frozen=True, slots=True)
class LatencySample:
    """All timed calls of one contestant on one model, and how far its outputs are from eager's.

    `operations` are those of its products and convolutions, None where no file tells.
    """

    model: str
    contestant: str
    seconds: tuple[float, ...]
    largest_difference: float
    threads: int = 1
    operations: int | None = None

    @property
    def row(self) -> str:
        """The model, and how many threads it had."""
        return row(self.model, self.threads)

    def summary(self, peak: float) -> dict[str, Any]:
        """What a line of JSON tells: milliseconds in the middle, of the quickest and of the quarters; and those that
        the operations take at `peak` of them a second."""
        first, middle, third = quantiles(self.seconds, n=4)
        told = {"median": middle, "quickest": min(self.seconds), "first_quarter": first, "third_quarter": third}
        roofline = None if self.operations is None else 1e3 * self.operations / peak
        return {
            "model": self.model, "arm": self.contestant, "threads": self.threads, "rounds": len(self.seconds),
            **{name: 1e3 * seconds for name, seconds in told.items()},
            "operations": self.operations, "roofline": roofline, "largest_difference": self.largest_difference,
        }  # fmt: skip


def row(model: str, threads: int) -> str:
    """How a model at a number of threads is called in tables."""
    return model if threads == 1 else f"{model}, {threads} threads"


@dataclass(frozen=True, slots=True)
class LatencyFailure:
    """A contestant that did not get to run a model."""

    model: str
    contestant: str
    error: str
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number per model and contestant, its ratio to the baseline's, and the geometric mean of each one's ratios."""

    title: str
    unit: str
    baseline: str
    values: Cells
    ratios: Cells
    geometric_means: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Rows instead of cells: JSON has no tuple keys."""
        rows = [
            {"model": model, "contestant": name, "value": value, "ratio": self.ratios.get((model, name))}
            for (model, name), value in self.values.items()
        ]
        fields = {"title": self.title, "unit": self.unit, "baseline": self.baseline}
        return {**fields, "rows": rows, "geometric_means": dict(self.geometric_means)}


def compare(title: str, unit: str, baseline: str, samples: Mapping[tuple[str, str], Iterable[float]]) -> Comparison:
    """Medians of the samples of each (model, contestant), and their ratios: contestant over baseline."""
    values = {key: median(numbers) for key, numbers in samples.items()}
    ratios = {
        (model, name): value / values[model, baseline]
        for (model, name), value in values.items()
        if values.get((model, baseline))
    }
    return Comparison(title, unit, baseline, values, ratios, mean_ratios(ratios))


def mean_ratios(ratios: Cells) -> dict[str, float]:
    """Geometric mean of each contestant's positive ratios."""
    by_contestant: dict[str, list[float]] = {}
    for (_, name), ratio in ratios.items():
        if ratio > 0:
            by_contestant.setdefault(name, []).append(ratio)
    return {name: geometric_mean(numbers) for name, numbers in by_contestant.items()}


def attempt(action: Callable[[], Result]) -> Result | Failure:
    """The action's result, or its failure as data."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  a contestant may fail in any way, and that is a result too
        return Failure(describe(error))


def describe(error: BaseException) -> str:
    """Type and first line of the error that caused `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:ERROR_LENGTH]


def environment(threads: int) -> Environment:
    """This machine and the installed versions of everybody who takes part."""
    packages = ("fxonnx", "torch", "onnx", "onnxscript", "onnxruntime", "transformers")
    versions = {name: installed(name) for name in packages}
    return Environment(platform.python_version(), platform.machine(), os.cpu_count() or 1, threads, versions)


def installed(package: str) -> str:
    """The package's version, or "absent"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def write(path: Path, **parts: Any) -> None:
    """Save dataclasses, comparisons, and lists of them, as one JSON object."""
    path.write_text(json.dumps({name: plain(part) for name, part in parts.items()}, indent=1) + "\n")


def plain(part: Any) -> Any:
    """The JSON form of one part."""
    match part:
        case list() | tuple():
            return [plain(item) for item in part]
        case Comparison():
            return part.as_json()
        case _ if hasattr(part, "__dataclass_fields__"):
            return asdict(part)
        case _:
            return part
