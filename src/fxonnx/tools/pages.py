"""`fxonnx explain | errors | targets | machine`: what there is to read, of no model."""

from __future__ import annotations

import argparse
import inspect
from functools import partial

from fxonnx.errors import BY_CODE
from fxonnx.tools.outcome import Result, Usage

RUNTIMES = (
    ("onnxruntime", "cpu", "ONNX Runtime on the CPU, and its own operators"),
    ("onnxruntime", "cuda", "ONNX Runtime on CUDA, on the CPU what that has no kernel for"),
    ("openvino", "cpu", "OpenVINO on the CPU"),
    ("tensorrt", "gpu", "TensorRT"),
)


def explain_op(options: argparse.Namespace) -> Result:
    """All that is known of an op. Raises Usage."""
    from fxonnx.tools.explain import explain

    text = explain(options.op)
    return Result(text, {"op": options.op, "text": text})


def errors(options: argparse.Namespace) -> Result:
    """The page of an error, or one line for each. Raises Usage."""
    if options.code is None:
        return Result(error_index(), {"errors": [_described(code) for code in BY_CODE]})
    page = error_page(options.code)
    if page is None:
        raise Usage(f"there is no error {options.code}; `fxonnx errors` lists them")
    return Result(page, _described(options.code.upper()) | {"page": page})


def targets(options: argparse.Namespace) -> Result:
    """The targets, a line each."""
    from fxonnx import kernels
    from fxonnx.target import NEWEST_OPSET, OLDEST_OPSET

    lines = [f"onnx:{OLDEST_OPSET} … onnx:{NEWEST_OPSET}  standard operators, for any runtime"]
    named = [f"onnx:{opset}" for opset in range(OLDEST_OPSET, NEWEST_OPSET + 1)]
    for runtime, provider, what in RUNTIMES:
        suffix = f":{provider}" if provider in ("cuda", "directml") else ""
        known = [f"{runtime}:{major}.{minor}{suffix}" for major, minor in kernels.releases(runtime, provider)]
        lines.append(f"{' … '.join(dict.fromkeys((known[0], known[-1])))}  {what}")
        named += known
    lines.append("reference  ONNX's reference evaluator")
    return Result("\n".join(lines), {"targets": [*named, "reference"]})


def machine(options: argparse.Namespace) -> Result:
    """Measure this machine, or say when that was done."""
    from rich.console import Console
    from rich.progress import Progress

    from fxonnx.runtime.measure import machine

    with Progress(transient=True, console=Console(stderr=True, quiet=options.quiet)) as progress:
        task = progress.add_task("forms of operators", total=None)
        note = partial(progress.update, task)
        profile = machine(again=options.again, progress=lambda done, all: note(completed=done, total=all))
    text = f"{profile.processor} ({profile.family}), {profile.runtime}, measured on {profile.measured}"
    facts = {"processor": profile.processor, "family": profile.family, "runtime": profile.runtime}
    return Result(text, facts | {"measured": str(profile.measured)})


def error_index() -> str:
    """One line for each error: code, name, what it means."""
    width = max(len(each.__name__) for each in BY_CODE.values())
    return "\n".join(f"{code}  {each.__name__:{width}}  {_described(code)['means']}" for code, each in BY_CODE.items())


def error_page(code: str) -> str | None:
    """The page of an error; None for a code that no error has."""
    found = BY_CODE.get(code.upper())
    return None if found is None else f"{found.code}  {found.__name__}\n\n{inspect.cleandoc(found.__doc__ or '')}"


def _described(code: str) -> dict[str, str]:
    error = BY_CODE[code]
    return {"code": code, "name": error.__name__, "means": summary(inspect.cleandoc(error.__doc__ or ""))}


def summary(text: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(text.partition("\n\n")[0].split())
