"""The two captures side by side: the IR that each leads to, and what they cost. By hand, over all benchmark models:

python -m tests.capture.tracer.compare parity [static|dynamic] [model …]
python -m tests.capture.tracer.compare time [model …]
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
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.models import MODELS, Case, find

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.export import no_fast_path
from fxonnx.capture.tracer.torch_private import FakeTensorMode, unasked_masks

_NOISE = re.compile(r"\s+·.*$|\s+@ .*$")


def listing(case: Case, strategy: str, *, dynamic: bool) -> list[str]:
    """The optimized IR of a case, without places and names of ops."""
    module, args, kwargs = case.build()
    shapes = case.dynamic if dynamic else None
    compiled = fxonnx.compile(module, args, kwargs, dynamic_shapes=shapes, capture=strategy)
    text = compiled.show(-1)
    return [line for line in (_NOISE.sub("", line) for line in text.splitlines()[1:]) if line.strip()]


def difference(case: Case, *, dynamic: bool) -> list[str]:
    """The lines in which the two IRs differ."""
    both = (listing(case, strategy, dynamic=dynamic) for strategy in ("export", "trace"))
    return [line for line in difflib.unified_diff(*both, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]


def seconds(work: Callable[[], Any], rounds: int = 3) -> float:
    """The least processor time of some rounds, each the first of its kind for torch: what its fake tensors remember of
    the rounds before is forgotten. Without garbage collection, as in `fxonnx.compile`."""
    times = []
    work()
    gc.disable()
    for _ in range(rounds):
        FakeTensorMode.cache_clear()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    gc.enable()
    return min(times)


def fake_forward(case: Case) -> float:
    """One forward pass of the model on fake tensors, nothing recorded."""
    module, args, kwargs = case.build()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, (args, kwargs))

    def forward() -> None:
        with torch.no_grad(), mode, no_fast_path(), unasked_masks():
            module(*fake[0], **fake[1])

    return seconds(forward)


def captured(case: Case, strategy: str, *, dynamic: bool) -> float:
    """Capture, warm; not a number where it is refused."""
    module, args, kwargs = case.build()
    shapes = case.dynamic if dynamic else None
    try:
        return seconds(lambda: capture(module, args, kwargs, dynamic_shapes=shapes, strategy=strategy))
    except errors.Error:
        return math.nan


def print_times(cases: list[Case]) -> None:
    """A line for each model, and the geometric means of the ratios."""
    print(f"{'model':24} {'fake':>7} {'trace':>7} {'dynamic':>8} {'export':>7} {'dynamic':>8}")
    rows = []
    for case in cases:
        row = [fake_forward(case)]
        for strategy in ("trace", "export"):
            row += [
                captured(case, strategy, dynamic=dynamic) if case.dynamic or not dynamic else math.nan
                for dynamic in (False, True)
            ]
        rows.append(row)
        print(f"{case.name:24} {row[0]:7.3f} {row[1]:7.3f} {row[2]:8.3f} {row[3]:7.3f} {row[4]:8.3f}", flush=True)
    for name, over, under in (
        ("trace / fake", 1, 0),
        ("dynamic / static", 2, 1),
        ("export / trace", 3, 1),
        ("both dynamic", 4, 2),
    ):
        print(f"{name}: {geometric_mean([row[over] / row[under] for row in rows]):.2f}")


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
    compiled = fxonnx.compile(model, (), {"input_ids": ids}, dynamic_shapes=dims, capture="trace")
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"capture {compiled.capture_seconds:.2f} s, compile {seconds:.2f} s, peak memory {memory:.2f} GB")


def geometric_mean(ratios: list[float]) -> float:
    """Of those that are numbers."""
    known = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
    return math.exp(sum(known) / len(known))


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
        print_times(cases)
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
