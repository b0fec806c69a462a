"""A ResNet-50 in plain torch, all the way to ONNX Runtime: `make demo`, or `python examples/demo.py [model]`."""

import sys
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the benchmark's models are

from benchmarks.models import find

import fxonnx
from fxonnx.runtime.measure import latency
from fxonnx.tools.stages import stage_table

LINES = 23


def main(name: str = "resnet50") -> None:
    """Compile, verify, save, look inside, measure."""
    console = Console(highlight=False)
    case = find(name)
    model, args, kwargs = case.build()

    console.rule(f"{name}: compile")
    compiled = fxonnx.compile(model, args, kwargs, dynamic_shapes=case.dynamic)
    console.print(stage_table(compiled))

    console.rule("verify: beside the model, on fresh inputs, at two sizes of every dynamic dim")
    console.print(str(compiled.verify().check()), soft_wrap=True)

    console.rule("save")
    for file in compiled.save(Path(f"{name}.onnx").absolute()):
        console.print(f"{file}  {file.stat().st_size / 1e6:,.1f} MB", soft_wrap=True)

    console.rule("what is in it: the first nodes, with their places in the model")
    lines = compiled.show().splitlines()
    print(lines[0], "  … weights", *lines[lines.index("") :][:LINES], "  …", sep="\n")

    console.rule("latency")
    compare(console, model, compiled, args, kwargs)


def compare(console: Console, model: torch.nn.Module, compiled: fxonnx.Compiled, args: tuple, kwargs: dict) -> None:
    """Eager and compiled in turns, each with the same threads."""
    threads = torch.get_num_threads()
    compiled.configure(threads=threads)
    with torch.inference_mode():
        calls = {"eager": lambda: model(*args, **kwargs), "fxonnx": lambda: compiled(*args, **kwargs)}
        found = latency(calls, rounds=15)
    for who, figures in found.items():
        times = found["eager"].median / figures.median
        console.print(f"{who:8} {figures}  {times:.2f} × eager's speed")
    console.print(f"medians of {len(found['eager'].rounds)} rounds in turns, {threads} threads")


if __name__ == "__main__":
    main(*sys.argv[1:2])
