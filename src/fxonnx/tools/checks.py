"""`fxonnx verify | run | bench | tune | inspect` on a model or a saved file: what they find, as text and as data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

import torch

from fxonnx.compiler import compile
from fxonnx.errors import InvalidOption, VerificationFailed
from fxonnx.ir.dims import Expr
from fxonnx.saved import Loaded, load
from fxonnx.target import Target
from fxonnx.tools import load as models
from fxonnx.tools.outcome import Usage
from fxonnx.verification.locate import Statistics

Found: TypeAlias = "tuple[str, Mapping[str, Any]]"
"""What a command prints, and the same for `--json`."""

_SECONDS = 1.0  # of calls that are timed, and as many calls at least
_CALLS = 5


def run(options: argparse.Namespace) -> None:
    """Run a command and print what it found. Raises Usage, and what compiling and running raise."""
    command = {"verify": verify, "run": run_once, "bench": bench, "inspect": inspect, "tune": tune}[options.command]
    text, data = command(options)
    if not options.quiet or options.json:
        print(json.dumps(data, indent=2) if options.json else text)
    if data.get("ok") is False:
        raise VerificationFailed(
            "the results differ from the model's",
            cause=text if options.json else "as printed",
            cure=f"fxonnx bisect {options.model} says whose doing it is",
        )


def target_of(text: str) -> Target:
    """The target that a command line names. Raises Usage, OpsetOutOfRange, NoKernel."""
    try:
        return Target.named(text)
    except InvalidOption as error:
        raise Usage(f"{error.what}; {error.cause}") from error


def compile_options(options: argparse.Namespace) -> dict[str, Any]:
    """What the words of a command line ask of `compile`."""
    target = None if options.target is None else target_of(options.target)
    asked = {"target": target, "opset": options.opset, "dynamic_shapes": options.dynamic}
    return {**asked, "optimize": not options.no_optimize}


def compiled_of(options: argparse.Namespace, **further: Any) -> Any:
    """The model of a command line, compiled. Raises Usage for a saved file, which has no model."""
    if options.model.endswith(".onnx"):
        raise Usage(f"{options.command} needs the model: package.module:factory, file.py:factory or a .pt2")
    model, args, kwargs = models.load(options.model)
    return compile(model, args, kwargs, **compile_options(options), **further)


def verify(options: argparse.Namespace) -> Found:
    """Compare with the model on fresh inputs."""
    report = compiled_of(options).verify(rtol=options.rtol, atol=options.atol)
    rows = [
        {"name": each.name, "ok": each.ok, "max_absolute": each.max_absolute, "max_relative": each.max_relative}
        for comparison in report.comparisons
        for each in comparison.outputs
    ]
    return str(report), {"ok": report.ok, "outputs": rows}


def inspect(options: argparse.Namespace) -> Found:
    """What a model or a file takes and returns, and what it holds for."""
    if options.model.endswith(".onnx"):
        loaded = load(options.model)
        ports = [("input", each) for each in loaded.inputs] + [("output", each) for each in loaded.outputs]
        said = {key: text for key, text in loaded.metadata.items() if not key.endswith(".interface")}
        lines = [f"{kind:7} {each}" for kind, each in ports] + [f"{key}  {text}" for key, text in said.items()]
        return "\n".join(lines), {
            "inputs": [str(each) for each in loaded.inputs],
            "outputs": [str(each) for each in loaded.outputs],
            "metadata": said,
        }
    compiled = compiled_of(options)
    stages = [{"name": each.name, "nodes": each.nodes, "seconds": each.seconds} for each in compiled.stages]
    return compiled.report(), {"target": str(compiled.target), "stages": stages, "holds_for": str(compiled.limits)}


def run_once(options: argparse.Namespace) -> Found:
    """The outputs for the example, or for random inputs of a file."""
    names, call = _runner(options)
    results = call()
    lines = [f"{name}: {_said(each)}" for name, each in zip(names, results, strict=True)]
    return "\n".join(lines), {"outputs": {name: _said(each) for name, each in zip(names, results, strict=True)}}


def bench(options: argparse.Namespace) -> Found:
    """How long a call takes, in milliseconds: the median of calls of a second."""
    _, call = _runner(options)
    call()
    times = list[float]()
    while len(times) < _CALLS or sum(times) < _SECONDS:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    found = {"median_ms": median(times) * 1e3, "least_ms": min(times) * 1e3, "calls": len(times)}
    return f"{found['median_ms']:.3f} ms, {found['least_ms']:.3f} at best, of {len(times)} calls", found


def tune(options: argparse.Namespace) -> Found:
    """What is fastest on this machine, which `compile(…, tune=True)` takes from then on."""
    compiled = compiled_of(options, tune=options.seconds)
    if options.output is not None:
        compiled.save(options.output)
    places = [{"form": each.form, "over": each.over, "sizes": [dict(sizes) for sizes in each.sizes], "taken": taken}
              for each, taken in compiled.tuning.forms.items()]  # fmt: skip
    found = {"ratio": compiled.tuning.ratio, "without": compiled.tuning.without, "forms": places}
    return str(compiled.tuning), found


def _runner(options: argparse.Namespace) -> tuple[list[str], Any]:
    """The names of the outputs, and a call of the session on the example, or on random inputs of a file."""
    if options.model.endswith(".onnx"):
        loaded = load(options.model)
        inputs = _random_inputs(loaded, options.shape or {})
        return [each.name for each in loaded.outputs], lambda: list(loaded.run(inputs).values())
    compiled = compiled_of(options)
    compiled = compiled.for_sizes(compiled.examples)
    inputs = compiled.session_inputs()
    return list(compiled.graph.output_names), lambda: compiled.session.run(inputs)


def _random_inputs(loaded: Loaded, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Normal numbers, zeros for integers. Raises Usage for a size that has only a name."""
    inputs = {}
    for port in loaded.inputs:
        shape = shapes.get(port.name, port.shape)
        if shape is None or any(isinstance(each, Expr) for each in shape):
            raise Usage(f"say how large {port} is: --shape {port.name}=1x3")
        sizes = [int(each) for each in shape]
        drawn = torch.randn(sizes) if port.dtype.is_floating_point else torch.zeros(sizes)
        inputs[port.name] = drawn.to(port.dtype)
    return inputs


def _said(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}  {Statistics.of(tensor)}"
