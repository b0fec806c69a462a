"""A model's files in few bits beside its float file: how long a call takes, how far results are, how large they are."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.latency import Subject, session, take_turns, tensors
from benchmarks.models import find
from benchmarks.results import Failure, attempt

FLOAT = "float"
PRECISIONS = ("int8-static", "int8-dynamic", "int8-weights", "int4-weights", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Sample:
    """A file in few bits, relative to the float file of the same model: the median of the rounds' ratios of processor
    time, the share of its bytes, and the error of what it returns (of its norm)."""

    model: str
    precision: str
    time: float
    size: float
    error: float


def measure(
    model: str, precisions: Sequence[str], *, rounds: int, threads: int
) -> Iterator[Sample | tuple[str, Failure]]:
    """Write all files of a model, then time calls of them in turns. What cannot be made comes with its precision."""
    torch.set_num_threads(threads)
    subject = Subject(model, *find(model).build())
    with tempfile.TemporaryDirectory() as folder:
        made = {name: attempt(lambda name=name: _file(subject, name, Path(folder))) for name in (FLOAT, *precisions)}
        yield from ((name, path) for name, path in made.items() if isinstance(path, Failure))
        paths = {name: path for name, path in made.items() if not isinstance(path, Failure)}
        calls = {name: session(path, subject, threads) for name, path in paths.items()}
        wanted = tensors(calls[FLOAT]())
        errors = {name: _error(tensors(call()), wanted) for name, call in calls.items()}
        seconds = take_turns(calls, rounds, process_time)
        sizes = {name: path.stat().st_size for name, path in paths.items()}
    for name in list(paths)[1:]:
        ratios = [one / other for one, other in zip(seconds[name], seconds[FLOAT], strict=True)]
        yield Sample(model, name, median(ratios), sizes[name] / sizes[FLOAT], errors[name])


def _file(subject: Subject, name: str, folder: Path) -> Path:
    """The file of a model in a precision; steps are found on its example."""
    import fxonnx

    example: Any = subject.args or subject.kwargs
    asked = {FLOAT: None, "int8-static": fxonnx.int8_static([example])}.get(name, name)
    path = folder / f"{name}.onnx"
    fxonnx.compile(subject.module, subject.args, subject.kwargs, precision=asked).save(path, weights="inline")
    return path


def _error(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    """The largest error of an output, relative to its norm."""
    pairs = ([np.asarray(each, np.float64) for each in pair] for pair in zip(found, wanted, strict=True))
    return max((float(np.linalg.norm(one - other) / (np.linalg.norm(other) or 1)) for one, other in pairs), default=0.0)
