"""A model and its program of torch.export side by side: the IR that each leads to, and what capture costs. By hand,
over all benchmark models:

python -m tests.capture.tracer.compare parity [static|dynamic] [model …]
python -m tests.capture.tracer.compare time [static|dynamic] [model …]
python -m tests.capture.tracer.compare large
"""

from __future__ import annotations

import difflib
import gc
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.models import MODELS, Case, find
from torch.export import Dim, ExportedProgram

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.call.dynamic import requests
from fxonnx.capture.call.inputs import example_arguments, leaf_names, parameters_of
from fxonnx.capture.call.tree import Branch, flatten
from fxonnx.capture.surroundings import no_fast_path
from fxonnx.capture.tracer import strategy
from fxonnx.capture.tracer.attempts.attempt import Attempt
from fxonnx.capture.tracer.torch_private import FakeTensorMode, unasked_masks

_NOISE = re.compile(r"\s+·.*$|\s+@ .*$")


def exported(case: Case, *, dynamic: bool) -> ExportedProgram:
    """The program of a case, with the dims that its users want."""
    module, args, kwargs = case.build()
    shapes = torch.export.ShapesCollection()
    if dynamic:
        given = example_arguments(parameters_of(module), args, kwargs)
        leaves, paths, tree = flatten(given.values)
        assert isinstance(tree, Branch)
        inputs = list(zip(tree.keys, tree.parts, strict=True))
        axes: dict[int, dict[int, Any]] = {}
        for leaf, axis in requests(case.dynamic, inputs, leaf_names(paths, None), leaves):
            axes.setdefault(leaf, {})[axis] = Dim.AUTO
        for leaf, dims in axes.items():
            shapes[leaves[leaf]] = dims
    with no_fast_path():
        spread = shapes.dynamic_shapes(module, args, kwargs)
        return torch.export.export(module, args, kwargs, dynamic_shapes=spread, strict=False)


def listing(case: Case, *, dynamic: bool, by_export: bool) -> list[str]:
    """The optimized IR of a case, or of its program, without places and names of ops."""
    module, args, kwargs = case.build()
    shapes = case.dynamic if dynamic else None
    model = exported(case, dynamic=dynamic) if by_export else module
    with patch.object(strategy, "Attempt", partial(Attempt, exporting=True)):  # as torch.export tells it
        compiled = fxonnx.compile(model, args, kwargs, dynamic_shapes=shapes)
    text = compiled.show(-1)
    return [line for line in (_NOISE.sub("", line) for line in text.splitlines()[1:]) if line.strip()]


def difference(case: Case, *, dynamic: bool) -> list[str]:
    """The lines in which the two IRs differ."""
    both = (listing(case, dynamic=dynamic, by_export=by_export) for by_export in (True, False))
    return [line for line in difflib.unified_diff(*both, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]


def seconds(works: dict[str, Callable[[], Any]], rounds: int = 5) -> dict[str, float]:
    """The least processor time of each, taken in turns, so that a busy machine is so for all of them; not a number
    where it is refused.

    Each is the first of its kind for torch: what its fake tensors remember of the rounds before is forgotten. Without
    garbage collection, as in `fxonnx.compile`.
    """
    times = {}
    for name, work in works.items():
        try:
            work()
            times[name] = math.inf
        except errors.Error:
            times[name] = math.nan
    gc.disable()
    for _ in range(rounds):
        for name in (name for name, least in times.items() if not math.isnan(least)):
            FakeTensorMode.cache_clear()
            start = time.process_time()
            works[name]()
            times[name] = min(times[name], time.process_time() - start)
            gc.collect()
    gc.enable()
    return times


def fake_forward(case: Case) -> Callable[[], None]:
    """One forward pass of the model on fake tensors, nothing recorded."""
    module, args, kwargs = case.build()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, (args, kwargs))

    def forward() -> None:
        with torch.no_grad(), mode, no_fast_path(), unasked_masks():
            module(*fake[0], **fake[1])

    return forward


def capturing(case: Case, *, dynamic: bool) -> Callable[[], Any]:
    """Capture, warm."""
    module, args, kwargs = case.build()
    shapes = case.dynamic if dynamic else None
    return lambda: capture(module, args, kwargs, dynamic_shapes=shapes)


def print_times(cases: list[Case], kinds: Sequence[str]) -> None:
    """A line for each model, and the geometric means of the ratios."""
    print(f"{'model':24} {'fake':>8} ", *(f"{kind:>14}" for kind in kinds))
    rows = []
    for case in cases:
        works: dict[str, Callable[[], Any]] = {"fake": fake_forward(case)}
        for kind in kinds:
            if case.dynamic or kind == "static":
                works[kind] = capturing(case, dynamic=kind == "dynamic")
        rows.append(seconds(works))
        print(f"{case.name:24} {rows[-1]['fake']:8.3f} ", *(f"{rows[-1].get(kind, math.nan):14.3f}" for kind in kinds))
    for over, under in (("static", "fake"), ("dynamic", "static")):
        ratios = [row.get(over, math.nan) / row.get(under, math.nan) for row in rows]
        print(f"{over} / {under}: {geometric_mean(ratios):.2f}")


def print_large() -> None:
    """Seconds and peak memory of compiling a Llama of 70 billion parameters that has no weights."""
    import resource

    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8,
        vocab_size=128256, max_position_embeddings=8192, use_cache=False, dtype="bfloat16",
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config).eval()
    ids, start = torch.zeros(1, 16, dtype=torch.long), time.perf_counter()
    dims = {"input_ids": {0: "batch", 1: "time"}}
    compiled = fxonnx.compile(model, (), {"input_ids": ids}, dynamic_shapes=dims)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"capture {compiled.capture_seconds:.2f} s, compile {seconds:.2f} s, peak memory {memory:.2f} GB")


def geometric_mean(ratios: list[float]) -> float:
    """Of those that are numbers."""
    known = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
    return math.exp(sum(known) / len(known)) if known else math.nan


def main(what: str, *words: str) -> None:
    """The command."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if what == "large":
        print_large()
        return
    kinds = [word for word in words if word in ("static", "dynamic")] or ["static", "dynamic"]
    cases = [find(word) for word in words if word not in kinds] or list(MODELS.values())
    if what == "time":
        print_times(cases, kinds)
        return
    for case in cases:
        for kind in kinds if case.dynamic else ["static"]:
            try:
                lines = difference(case, dynamic=kind == "dynamic")
            except errors.Error as error:
                lines = [f"  {type(error).__name__}: {error.what}"]
            print(f"{case.name} {kind}: {len(lines)} lines differ", *lines[:12], sep="\n", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
