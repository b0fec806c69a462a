"""`fxonnx bisect package.module:factory`."""

from __future__ import annotations

import argparse

from fxonnx.errors import VerificationFailed
from fxonnx.tools.bisect.search import bisect
from fxonnx.tools.checks import compile_options, example_of
from fxonnx.tools.outcome import Result
from fxonnx.tools.stages import watched


def run(options: argparse.Namespace) -> Result:
    """The verdict, an error where there is one to write a script about."""
    model, args, kwargs = example_of(options)
    with watched(options, "bisect"):
        verdict = bisect(model, args, kwargs, rtol=options.rtol, atol=options.atol, **compile_options(options))
    tried = [{"what": each.what, "ok": each.ok} for each in verdict.trials]
    data = {"ok": verdict.ok, "culprit": verdict.culprit, "name": verdict.name, "at": str(verdict.location or ""),
            "trials": tried}  # fmt: skip
    if verdict.ok:
        return Result(str(verdict), data)
    cure = "report it with this print-out"
    if verdict.case is not None:
        said = f", opset={options.opset}" if options.opset is not None else ""
        verdict.case.write(options.script, verdict.headline, said + verdict.compile_options)
        data["script"] = str(options.script)
        cure = f"run {options.script}, which shows it without your model, and report it with both files"
    error = VerificationFailed(
        f"the results differ by {verdict.headline}",
        cause=str(verdict.trials[-1]),
        cure=cure,
        location=verdict.location,
    )
    return Result(str(verdict), data, error)
