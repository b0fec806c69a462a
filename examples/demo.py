"""A ResNet-50 in plain torch, all the way to ONNX Runtime: `make demo`, or `python examples/demo.py [model]`."""

import sys
from pathlib import Path
from statistics import median

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the benchmark's models are

from benchmarks.latency import take_turns
from benchmarks.models import find

import fxonnx
from fxonnx.tools.stages import stage_table

LINES = 23
ROUNDS = 15


def main(name: str = "resnet50") -> None:
    """Compile, verify, save, look inside, measure."""
    console = Console(highlight=False, markup=False)
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
        seconds = {who: median(rounds) for who, rounds in take_turns(calls, ROUNDS).items()}
    for who, middle in seconds.items():
        console.print(f"{who:8} {middle * 1e3:.3g} ms  {seconds['eager'] / middle:.2f} × eager's speed")
    console.print(f"medians of {ROUNDS} rounds in turns, {threads} threads")


if __name__ == "__main__":
    main(*sys.argv[1:2])
