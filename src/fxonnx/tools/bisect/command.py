"""`fxonnx bisect package.module:factory`."""

from __future__ import annotations

import argparse

from fxonnx.errors import VerificationFailed
from fxonnx.tools.bisect.search import bisect
from fxonnx.tools.checks import compile_options
from fxonnx.tools.load import load


def run(options: argparse.Namespace) -> None:
    """Print the verdict, write the script. Raises VerificationFailed where there is one to write about."""
    model, args, kwargs = load(options.model)
    verdict = bisect(model, args, kwargs, rtol=options.rtol, atol=options.atol, **compile_options(options))
    print(verdict)
    if verdict.ok:
        return
    cure = "report it with this print-out"
    if verdict.case is not None:
        said = f", opset={options.opset}" if options.opset is not None else ""
        verdict.case.write(options.script, verdict.headline, said + verdict.compile_options)
        cure = f"run {options.script}, which shows it without your model, and report it with both files"
    raise VerificationFailed(
        f"the results differ by {verdict.headline}",
        cause=str(verdict.trials[-1]),
        cure=cure,
        location=verdict.location,
    )
