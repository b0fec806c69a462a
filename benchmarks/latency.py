"""Latency of eager torch, fxonnx and the peers, side by side in one process, one call of each per round."""

import gc
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from benchmarks.inputs import bound, named_tensors
from benchmarks.models import find
from benchmarks.processes import run
from benchmarks.results import Failure, LatencyFailure, LatencySample, Request, attempt
from benchmarks.roofline import operations

WARM_UP = 3
TOLERANCE = 1e-2  # of the largest number: what differs by more is another answer, and is not timed

Call = Callable[[], Any]

# Whose file an arm runs, and in what: our own without what a call of a compiled model looks after.
FILES = {
    "torch-dynamo": "dynamo", "torch-ts": "torchscript", "onnxslim": "onnxslim", "ort-transformers": "ort-transformers",
    "openvino": "dynamo", "fxonnx-file": "fxonnx",
}  # fmt: skip
ARMS = ("fxonnx", "eager", "inductor", *FILES)
# What passes, or what this process computes: with one thread the same, and steadier on a machine that others use too.
CLOCKS: dict[str, Callable[[], float]] = {"wall": perf_counter, "processor": process_time}


@dataclass(frozen=True, slots=True)
class Subject:
    """A built model and its inputs."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arm:
    """A call without arguments, and the operations of its products and convolutions, where a file tells them."""

    call: Call
    operations: int | None = None


@dataclass(slots=True)
class Files:
    """The peers' files of one model, each written by a process of its own when it is first asked for."""

    subject: Subject
    folder: Path
    timeout: float
    made: dict[str, Path | Failure] = field(default_factory=dict)

    def of(self, peer: str) -> Path | Failure:
        """The path of a peer's file."""
        if peer not in self.made:
            folder = self.folder / peer
            folder.mkdir()
            outcome = run(Request(self.subject.name, peer), str(folder), self.timeout)
            self.made[peer] = outcome if isinstance(outcome, Failure) else folder / "model.onnx"
        return self.made[peer]


def measure(
    model: str, arms: list[str], *, rounds: int, threads: Sequence[int], timeout: float, clock: str = "wall"
) -> Iterator[LatencySample | LatencyFailure]:
    """Prepare all arms of a model, then time them in turns: what disturbs the machine disturbs them alike."""
    subject = Subject(model, *find(model).build())
    with tempfile.TemporaryDirectory() as folder:
        files = Files(subject, Path(folder), timeout)
        for count in threads:
            torch.set_num_threads(count)
            yield from _measured(files, arms, rounds, count, CLOCKS[clock])


def _measured(
    files: Files, names: list[str], rounds: int, threads: int, clock: Callable[[], float]
) -> Iterator[LatencySample | LatencyFailure]:
    subject = files.subject
    expected = tensors(eager(subject).call())
    arms = {name: attempt(partial(prepare, name, files, threads)) for name in names}
    answers = {name: arm if isinstance(arm, Failure) else attempt(partial(_answer, arm, expected))
               for name, arm in arms.items()}  # fmt: skip
    good = {name: arm for name, arm in arms.items() if isinstance(arm, Arm) and not isinstance(answers[name], Failure)}
    seconds = take_turns({name: arm.call for name, arm in good.items()}, rounds, clock)
    for name, answer in answers.items():
        if isinstance(answer, Failure):
            yield LatencyFailure(subject.name, name, answer.error, threads)
        else:
            yield LatencySample(subject.name, name, seconds[name], answer, threads, good[name].operations)


def _answer(arm: Arm, expected: list[Tensor]) -> float | Failure:
    """The largest difference of the arm's answer; a failure where it is another answer."""
    found = largest_difference(expected, tensors(arm.call()))
    largest = max((float(each.abs().max()) for each in expected if each.numel()), default=0.0)
    if found is None or found > TOLERANCE * max(1.0, largest):
        return Failure("gives another answer" if found is None else f"differs by {found:.3g} of {largest:.3g}")
    return found


def prepare(name: str, files: Files, threads: int) -> Arm | Failure:
    """The arm of a name, or why there is none."""
    match name:
        case "eager":
            return eager(files.subject)
        case "inductor":
            return inductor(files.subject)
        case "fxonnx":
            return compiled(files.subject, files.folder)
    path = files.of(FILES[name])
    if isinstance(path, Failure):
        return path
    return Arm((in_openvino if name == "openvino" else session)(path, files.subject, threads), operations(path))


def eager(subject: Subject) -> Arm:
    """The module itself, without gradients."""

    def call() -> Any:
        with torch.inference_mode():
            return subject.module(*subject.args, **subject.kwargs)

    return Arm(call)


def inductor(subject: Subject) -> Arm:
    """torch.compile, without gradients."""
    module = torch.compile(subject.module)

    def call() -> Any:
        with torch.inference_mode():
            return module(*subject.args, **subject.kwargs)

    return Arm(call)


def compiled(subject: Subject, folder: Path) -> Arm:
    """The module compiled by fxonnx: tensors in, tensors out. Its threads are torch's."""
    import fxonnx

    model, path = fxonnx.compile(subject.module, subject.args, subject.kwargs), folder / "fxonnx.onnx"
    model.save(path)
    return Arm(lambda: model(*subject.args, **subject.kwargs), operations(path))


def session(path: Path, subject: Subject, threads: int) -> Call:
    """A file in ONNX Runtime: arrays in, arrays out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    loaded = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = arrays(subject, {value.name for value in loaded.get_inputs()})
    return lambda: loaded.run(None, feed)


def in_openvino(path: Path, subject: Subject, threads: int) -> Call:
    """A file in OpenVINO: arrays in, arrays out."""
    import openvino

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    loaded = openvino.Core().compile_model(str(path), "CPU", options)
    feed = arrays(subject, {name for value in loaded.inputs for name in value.names})
    return lambda: list(loaded(feed).values())


def arrays(subject: Subject, wanted: set[str]) -> dict[str, np.ndarray]:
    """The inputs by name, without those that the file has dropped."""
    named = named_tensors(bound(subject.module, subject.args, subject.kwargs))
    return {name: tensor.numpy() for name, tensor in named.items() if name in wanted}


def take_turns(
    calls: dict[str, Call], rounds: int, clock: Callable[[], float] = perf_counter
) -> dict[str, tuple[float, ...]]:
    """Seconds of each round's call, garbage collection off, after a few calls to warm up.

    Each round begins with another one: what a call leaves in the caches would always meet the same one after it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    gc.collect()
    gc.disable()
    names = list(calls)
    for turn in range(rounds):
        first = turn % max(len(names), 1)
        for name in (*names[first:], *names[:first]):
            start = clock()
            calls[name]()
            seconds[name].append(clock() - start)
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
