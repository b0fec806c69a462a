"""`fxonnx verify | run | bench | tune | inspect` on a model or a saved file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from copy import deepcopy
from statistics import median
from time import perf_counter
from typing import Any

import torch

from fxonnx.capture import example_call
from fxonnx.capture.call.tree import flatten
from fxonnx.capture.surroundings import training_mode
from fxonnx.compiler import compile
from fxonnx.errors import InvalidOption, VerificationFailed
from fxonnx.ir.dims import Expr
from fxonnx.saved import Loaded, load
from fxonnx.target import Target
from fxonnx.tools import load as models
from fxonnx.tools.outcome import Result, Usage
from fxonnx.tools.stages import watched
from fxonnx.verification import Report
from fxonnx.verification.check import callable_model
from fxonnx.verification.compare import compare
from fxonnx.verification.locate import Statistics
from fxonnx.verification.steps import ROUNDING

_SECONDS = 1.0  # of calls that are timed, and as many calls at least
_CALLS = 5


def target_of(text: str) -> Target:
    """The target that a command line names. Raises Usage, OpsetOutOfRange, NoKernel."""
    try:
        return Target.named(text)
    except InvalidOption as error:
        raise Usage(f"{error.what}; {error.cause}") from error


def compile_options(options: argparse.Namespace) -> dict[str, Any]:
    """What the words of a command line ask of `compile`; an export is for any runtime."""
    word = options.target or ("onnx" if options.command == "export" else None)
    asked: dict[str, Any] = {"target": None if word is None else target_of(word), "opset": options.opset}
    asked |= {"dynamic_shapes": options.dynamic, "optimize": not options.no_optimize}
    asked |= {"input_names": options.input_names, "output_names": options.output_names}
    functions = "all" if options.functions == ["all"] else options.functions
    return asked | ({"functions": functions} if functions else {})


def example_of(options: argparse.Namespace) -> models.Call:
    """The model of a command line with its example, at the sizes asked for. Raises Usage for a saved file, which has no
    model."""
    if options.model.endswith(".onnx"):
        raise Usage(f"{options.command} needs the model: package.module:factory, file.py:factory or a .pt2")
    call = models.load(options.model)
    return models.resized(call, dict(options.shape)) if options.shape else call


def compiled_of(options: argparse.Namespace, **further: Any) -> Any:
    """The model of a command line, compiled. Raises Usage for a saved file."""
    model, args, kwargs = example_of(options)
    with watched(options, "compile") as progress:
        return compile(model, args, kwargs, **compile_options(options), **further, progress=progress)


def verify(options: argparse.Namespace) -> Result:
    """Compare with the model on fresh inputs, or a saved file on the example; a difference is an error."""
    if options.file is not None:
        report = _of_file(options)
    else:
        compiled = compiled_of(options)
        with watched(options, "verify against the model"):
            report = compiled.verify(rtol=options.rtol, atol=options.atol)
    rows = [
        {"name": each.name, "ok": each.ok, "max_absolute": each.max_absolute, "max_relative": each.max_relative}
        for comparison in report.comparisons
        for each in comparison.outputs
    ]
    error = VerificationFailed(
        "the results differ from the model's",
        cause=str(report) if options.json else "as printed",
        cure=f"fxonnx bisect {options.model} says whose doing it is",
    )
    return Result(str(report), {"ok": report.ok, "outputs": rows}, None if report.ok else error)


def _of_file(options: argparse.Namespace) -> Report:
    """A saved file beside the model, on its example. Raises Usage, CannotRead, CallMismatch."""
    if options.model.endswith(".onnx"):
        raise Usage(f"verify takes the model first: fxonnx verify package.module:factory {options.model}")
    model, args, kwargs = example_of(options)
    loaded, (args, kwargs) = load(options.file), example_call(model, args, kwargs)
    with torch.no_grad(), training_mode(model, "eval"):
        calls = (loaded, callable_model(model))
        actual, expected = (flatten(each(*deepcopy(args), **deepcopy(kwargs)))[0] for each in calls)
    names = [each.name for each in loaded.outputs][: len(expected)]
    quantized = not ROUNDING.isdisjoint(loaded.operators)
    found = compare(actual, expected, names=names, quantized=quantized, rtol=options.rtol, atol=options.atol)
    return Report((found,))


def inspect(options: argparse.Namespace) -> Result:
    """What a model or a file takes and returns, and what it holds for."""
    if options.model.endswith(".onnx"):
        loaded = load(options.model)
        ports = [("input", each) for each in loaded.inputs] + [("output", each) for each in loaded.outputs]
        said = {key: text for key, text in loaded.metadata.items() if not key.endswith(".interface")}
        lines = [f"{kind:7} {each}" for kind, each in ports] + [f"{key}  {text}" for key, text in said.items()]
        takes, gives = ([str(each) for each in ports] for ports in (loaded.inputs, loaded.outputs))
        return Result("\n".join(lines), {"inputs": takes, "outputs": gives, "metadata": said})
    compiled = compiled_of(options)
    stages = [{"name": each.name, "nodes": each.nodes, "seconds": each.seconds} for each in compiled.stages]
    graph = compiled.graph
    takes = [f"{each.name}: {each.type}" for each in graph.inputs]
    gives = [f"{name}: {each.type}" for name, each in zip(graph.output_names, graph.outputs, strict=True)]
    data = {"inputs": takes, "outputs": gives, "stages": stages}
    data |= {"target": str(compiled.target), "holds_for": str(compiled.limits)}
    return Result(compiled.report(), data)


def run_once(options: argparse.Namespace) -> Result:
    """The outputs for the example, or for random inputs of a file."""
    names, call = _runner(options)
    results = call()
    lines = [f"{name}: {_said(each)}" for name, each in zip(names, results, strict=True)]
    said = {name: _said(each) for name, each in zip(names, results, strict=True)}
    return Result("\n".join(lines), {"outputs": said})


def bench(options: argparse.Namespace) -> Result:
    """How long a call takes, in milliseconds: the median of calls of a second."""
    _, call = _runner(options)
    call()
    times = list[float]()
    while len(times) < _CALLS or sum(times) < _SECONDS:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    found = {"median_ms": median(times) * 1e3, "least_ms": min(times) * 1e3, "calls": len(times)}
    return Result(f"{found['median_ms']:.3f} ms, {found['least_ms']:.3f} at best, of {len(times)} calls", found)


def tune(options: argparse.Namespace) -> Result:
    """What is fastest on this machine, which `compile(…, tune=True)` takes from then on."""
    compiled = compiled_of(options, tune=options.seconds)
    if options.output is not None:
        compiled.save(options.output)
    places = [{"form": each.form, "over": each.over, "sizes": [dict(sizes) for sizes in each.sizes], "taken": taken}
              for each, taken in compiled.tuning.forms.items()]  # fmt: skip
    found = {"ratio": compiled.tuning.ratio, "without": compiled.tuning.without, "forms": places}
    return Result(str(compiled.tuning), found)


def _runner(options: argparse.Namespace) -> tuple[list[str], Any]:
    """The names of the outputs, and a call of the session on the example, or on random inputs of a file."""
    if options.model.endswith(".onnx"):
        loaded = load(options.model)
        inputs = _random_inputs(loaded, dict(options.shape))
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
            sizes = "x".join(str(each) if isinstance(each, int) else "2" for each in shape or (1, 3))
            raise Usage(f"say how large {port} is: --shape {port.name}={sizes}")
        inputs[port.name] = models.drawn([int(each) for each in shape], port.dtype)
    return inputs


def _said(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}  {Statistics.of(tensor)}"
