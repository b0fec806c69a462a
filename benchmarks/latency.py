"""Latency of eager torch, fxonnx and the peers' files, side by side in one process, one call of each per round."""

import gc
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from benchmarks.inputs import bound, named_tensors
from benchmarks.models import find
from benchmarks.processes import run
from benchmarks.results import Failure, LatencyFailure, LatencySample, Request, attempt

WARM_UP = 3

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """A built model and its inputs."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def measure(
    model: str, runners: list[str], *, rounds: int, threads: int, timeout: float
) -> Iterator[LatencySample | LatencyFailure]:
    """Prepare all runners of a model, then time them in turns: what disturbs the machine disturbs them alike."""
    subject = Subject(model, *find(model).build())
    calls = {name: attempt(partial(prepare, name, subject, threads, timeout)) for name in runners}
    answers = {name: call if isinstance(call, Failure) else attempt(call) for name, call in calls.items()}
    seconds = take_turns({name: calls[name] for name in runners if not isinstance(answers[name], Failure)}, rounds)
    expected = tensors(eager(subject)())
    for name, answer in answers.items():
        if isinstance(answer, Failure):
            yield LatencyFailure(model, name, answer.error)
        else:
            yield LatencySample(model, name, seconds[name], largest_difference(expected, tensors(answer)))


def prepare(runner: str, subject: Subject, threads: int, timeout: float) -> Call | Failure:
    """The runner's call without arguments."""
    match runner:
        case "eager":
            return eager(subject)
        case "fxonnx":
            return compiled(subject)
        case _:
            return session(runner, subject, threads, timeout)


def eager(subject: Subject) -> Call:
    """The module itself, without gradients."""

    def call() -> Any:
        with torch.inference_mode():
            return subject.module(*subject.args, **subject.kwargs)

    return call


def compiled(subject: Subject) -> Call:
    """The module compiled by fxonnx: tensors in, tensors out. Its threads are torch's."""
    import fxonnx

    model = fxonnx.compile(subject.module, subject.args, subject.kwargs)
    return lambda: model(*subject.args, **subject.kwargs)


def session(peer: str, subject: Subject, threads: int, timeout: float) -> Call | Failure:
    """The peer's file, written by a process of its own, in ONNX Runtime: arrays in, arrays out."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Request(subject.name, peer, threads=threads), folder, timeout)
        if isinstance(outcome, Failure):
            return outcome
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")
        path = Path(folder) / "model.onnx"
        loaded = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = arrays(subject, {value.name for value in loaded.get_inputs()})
    return lambda: loaded.run(None, feed)


def arrays(subject: Subject, wanted: set[str]) -> dict[str, np.ndarray]:
    """The inputs by name, without those that the file has dropped."""
    named = named_tensors(bound(subject.module, subject.args, subject.kwargs))
    return {name: tensor.numpy() for name, tensor in named.items() if name in wanted}


def take_turns(calls: dict[str, Call], rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds of each round's call, garbage collection off, after a few calls to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        for name, call in calls.items():
            start = perf_counter()
            call()
            seconds[name].append(perf_counter() - start)
    gc.enable()
    return {name: tuple(numbers) for name, numbers in seconds.items()}


def tensors(answer: Any) -> list[Tensor]:
    """The answer's tensors in order, whatever structure holds them."""
    return [torch.as_tensor(leaf) for leaf in pytree.tree_leaves(answer) if isinstance(leaf, Tensor | np.ndarray)]


def largest_difference(expected: list[Tensor], got: list[Tensor]) -> float | None:
    """The largest absolute difference between outputs; None where their number or shapes differ."""
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in got]:
        return None
    pairs = zip(expected, got, strict=True)
    return max((float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel()), default=0.0)
