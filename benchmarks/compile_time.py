"""Compile time, memory and graph size: each compile in its own process, contestants interleaved round by round."""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from statistics import median

from benchmarks.models import find
from benchmarks.processes import run
from benchmarks.results import Comparison, CompileSample, Failure, Measurement, Request, compare

Metric = Callable[[Measurement], float | None]

METRICS: tuple[tuple[str, str, Metric], ...] = (
    ("compile and save", "s", lambda measured: measured.seconds),
    ("imports beforehand, over torch", "s", lambda measured: measured.import_seconds),
    ("peak memory growth over weights", "x", lambda measured: measured.growth),
    ("nodes", "", lambda measured: measured.nodes),
    ("file", "MB", lambda measured: measured.file_bytes / 1e6 or None),
)


def measure(
    models: list[str], contestants: list[str], *, rounds: int, dynamic: bool, warm: bool, threads: int, timeout: float
) -> Iterator[CompileSample]:
    """Samples as they come. Each round meets every model and contestant; who goes first changes from round to round."""
    for turn in range(rounds):
        shift = turn % len(contestants)
        for model in models:
            for contestant in contestants[shift:] + contestants[:shift]:
                with tempfile.TemporaryDirectory() as folder:
                    request = Request(model, contestant, dynamic=dynamic, warm=warm, threads=threads)
                    yield CompileSample(request, turn, run(request, folder, timeout))


def without_dynamic_dims(models: Iterable[str]) -> dict[str, str]:
    """The models that have none, and why."""
    cases = [find(model) for model in models]
    return {case.name: case.dynamic_reason for case in cases if case.dynamic is None}


def comparisons(samples: Iterable[CompileSample], baseline: str) -> list[Comparison]:
    """One comparison per metric, over the samples that did not fail."""
    samples = list(samples)
    return [compare(title, unit, baseline, grouped(samples, metric)) for title, unit, metric in METRICS]


def grouped(samples: Iterable[CompileSample], metric: Metric) -> dict[tuple[str, str], list[float]]:
    """The metric's known values by (model, contestant)."""
    groups: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        if isinstance(sample.outcome, Measurement) and (value := metric(sample.outcome)) is not None:
            groups.setdefault((sample.request.model, sample.request.contestant), []).append(value)
    return groups


def failures(samples: Iterable[CompileSample]) -> dict[tuple[str, str], str]:
    """The error of each (model, contestant) that failed in any round."""
    return {
        (sample.request.model, sample.request.contestant): sample.outcome.error
        for sample in samples
        if isinstance(sample.outcome, Failure)
    }


def stage_medians(samples: Iterable[CompileSample]) -> dict[str, dict[str, float]]:
    """Median seconds of each fxonnx stage, by model, in the order of the stages."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        if isinstance(sample.outcome, Measurement) and sample.outcome.stages:
            stages = seconds.setdefault(sample.request.model, {})
            for stage in sample.outcome.stages:
                stages.setdefault(stage.name, []).append(stage.seconds)
    return {model: {name: median(numbers) for name, numbers in stages.items()} for model, stages in seconds.items()}


def exponents(comparison: Comparison, depths: list[int]) -> dict[str, float]:
    """How seconds grow with depth, by contestant: 1 is linear, 2 quadratic; from the least depth to the greatest."""
    shallow, deep = min(depths), max(depths)
    values = comparison.values
    return {
        name: math.log(values[f"encoder_{deep}", name] / value) / math.log(deep / shallow)
        for (model, name), value in values.items()
        if model == f"encoder_{shallow}" and (f"encoder_{deep}", name) in values
    }
