"""Times, on this machine, the forms that `fxonnx.passes.rules.forms` chooses between.

python -m fxonnx.runtime.measure profile.json       # as the package ships it
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, cast

import numpy as np
import torch

from fxonnx import machines
from fxonnx.emit.onnx import emit
from fxonnx.errors.arguments import names_options
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.types import parse_type
from fxonnx.machines import Profile, Table
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.rules.forms import by_blocks, multi_head
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.session import Session
from fxonnx.target import Target

Progress = Callable[[int, int], None]
Run = Callable[[Sequence[torch.Tensor]], Any]

ROUNDS = range(3, 20)  # of which the quickest counts
_ENOUGH = 0.03  # seconds of one form at one size: what takes longer is called fewer times


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """Forms of the same computation: how each is written, of tensors of some sizes, over a grid of those.

    One session serves all sizes of the axes that are `free` in it. `copies` side by side are timed as one, so that no
    call leaves its weights in a cache for the next: a model has others in between.
    """

    axes: Mapping[str, Sequence[int]]
    free: Sequence[str]
    inputs: Callable[..., Mapping[str, str]]
    forms: Mapping[str, Callable[..., Tensor]]
    copies: Callable[..., int] = lambda **sizes: 1

    def cells(self) -> Iterator[dict[str, int]]:
        """The sizes of every point of the grid."""
        return (dict(zip(self.axes, sizes, strict=True)) for sizes in product(*self.axes.values()))

    def fixed(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Those of the axes that are not free."""
        return {axis: size for axis, size in sizes.items() if axis not in self.free}


def _linear(op: Builder, x: Tensor, inputs: int, outputs: int) -> Tensor:
    product: Tensor = op.MatMul(x, _numbers(op, inputs, outputs))
    return product + _numbers(op, outputs)


def _linear_by_blocks(op: Builder, x: Tensor, inputs: int, outputs: int) -> Tensor:
    result: Tensor = by_blocks(op, x, _numbers(op, outputs, inputs, 1, 1), _numbers(op, outputs))
    return result


def _cold(inputs: int, outputs: int) -> int:
    """How many weights are larger than a core's own caches; no more than a model has in a few layers."""
    return min(max(_CACHES // (4 * inputs * outputs), 1), 16)


def _attention(op: Builder, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    result: Tensor = op.Attention(q, k, v, q_num_heads=heads, kv_num_heads=heads)
    return result


def _blockwise_attention(op: Builder, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    result: Tensor = multi_head(op, q, k, v, heads)
    return result


def _numbers(op: Builder, *shape: int) -> Tensor:
    return op.constant(np.full(shape, 0.01, np.float32))


_CACHES = 1 << 23  # bytes
_HEAD = 64  # elements; the commonest size

CONTESTS = (
    Contest(
        {"inputs": (192, 768, 3072), "outputs": (192, 768, 3072), "rows": (1, 8, 16, 32, 64, 128, 512)},
        ("rows",),
        lambda rows, inputs, outputs: {"x": f"f32[1,{rows},{inputs}]"},
        {"linear": _linear, "linear_by_blocks": _linear_by_blocks},
        _cold,
    ),
    Contest(
        {"heads": (4, 12), "queries": (64, 256, 512, 1024), "keys": (64, 256, 512, 1024)},
        ("queries", "keys"),
        lambda heads, queries, keys: {
            name: f"f32[1,{length},{heads * _HEAD}]" for name, length in zip("qkv", (queries, keys, keys), strict=True)
        },
        {"attention": _attention, "blockwise_attention": _blockwise_attention},
    ),
)


@names_options
def machine(*, threads: int = 1, progress: Progress | None = None, again: bool = False) -> Profile:
    """What this machine takes for forms that compete, measured once and then kept in a file (under $XDG_CACHE_HOME, or
    ~/.cache), which `compile` reads from then on.

    Takes some seconds the first time; `progress` is called with (points timed, points in all). `again` measures anew.
    """
    path = machines.cached(_release(Target.onnxruntime()))
    if path.exists() and not again:
        return machines.read(path.read_text())
    profile = measured(threads, progress or (lambda done, all: None))
    profile.write(path)
    machines.this_machine.cache_clear()
    return profile


def measured(threads: int, progress: Progress) -> Profile:
    """A profile of this machine, of now."""
    tables: dict[str, Table] = {}
    total, done = sum(len(list(contest.cells())) for contest in CONTESTS), 0
    for contest in CONTESTS:
        seconds: dict[str, list[float]] = {form: [] for form in contest.forms}
        for sizes in contest.cells():
            for form, taken in timed(contest, sizes, threads).items():
                seconds[form].append(taken)
            done += 1
            progress(done, total)
        shape = [len(points) for points in contest.axes.values()]
        tables |= {form: Table(contest.axes, np.reshape(taken, shape).tolist()) for form, taken in seconds.items()}
    how = "the quickest of some calls, forms in turns, by python -m fxonnx.runtime.measure"
    day = date.today().isoformat()
    return Profile(machines.processor(), machines.family(), _release(Target.onnxruntime()), threads, day, how, tables)


def timed(contest: Contest, sizes: Mapping[str, int], threads: int) -> dict[str, float]:
    """The seconds of each form at some sizes: forms in turns, so that what else the machine does meets all of them."""
    run = calls(contest, sizes, threads)
    clock = thread_time if threads == 1 else perf_counter  # the former leaves out what else the machine does
    first = {form: _seconds(call, clock) for form, call in run.items()}
    rounds = min(max(ROUNDS.start, int(_ENOUGH / min(first.values()))), ROUNDS.stop)
    taken: dict[str, list[float]] = {form: [] for form in run}
    for _ in range(rounds):
        for form, call in run.items():
            taken[form].append(_seconds(call, clock))
    copies = contest.copies(**contest.fixed(sizes))
    return {form: round(min(each) / copies, 7) for form, each in taken.items()}


def _seconds(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def calls(contest: Contest, sizes: Mapping[str, int], threads: int) -> dict[str, Callable[[], Any]]:
    """A call of each form at some sizes, on numbers that it likes: no denormals, nothing that overflows."""
    inputs = [torch.full(cast(Any, parse_type(each).shape), 0.1) for each in contest.inputs(**sizes).values()]
    fixed = tuple(contest.fixed(sizes).items())
    return {form: partial(run, inputs) for form, run in _sessions(contest, fixed, threads).items()}


@lru_cache(maxsize=1)
def _sessions(contest: Contest, fixed: tuple[tuple[str, int], ...], threads: int) -> dict[str, Run]:
    """What runs each form in the runtime."""
    sizes, configuration = dict(fixed), Configuration(threads=threads)
    types = contest.inputs(**sizes, **{axis: axis for axis in contest.free})
    runs: dict[str, Run] = {}
    for form, body in contest.forms.items():
        op = Builder()
        inputs = [op.input(parse_type(type), name) for name, type in types.items()]
        results = [body(op, *inputs, **sizes) for _ in range(contest.copies(**sizes))]
        graph = op.finish(results, [f"result_{number}" for number, _ in enumerate(results)])
        emitted = emit(LEGALIZE(graph, Target.onnxruntime()))
        weights = {name: data.buffer() for name, data in emitted.weights.items()}
        runs[form] = Session(emitted.proto, weights, configuration=configuration).run
    return runs


def _release(target: Target) -> str:
    assert target.kernels is not None
    return target.kernels.release


if __name__ == "__main__":
    measured(1, lambda done, total: print(f"\r{done}/{total}", end="", file=sys.stderr)).write(Path(sys.argv[1]))
