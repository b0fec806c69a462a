"""`fxonnx sweep`: the entries of a module, through processes of this machine."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from fxonnx.errors import VerificationFailed
from fxonnx.tools.load import UsersCode, member
from fxonnx.tools.outcome import Result
from fxonnx.tools.sweep import sweep


def run(options: argparse.Namespace) -> Result:
    """The table, and an error where not all came out right. Raises Usage, ModelRaised, InvalidOption."""
    entries = member(options.entries)
    with UsersCode(options.entries):
        entries = entries() if callable(entries) else entries
    found = sweep(
        entries, processes=options.processes, results=options.results, cache=options.cache,
        verify=not options.no_verify, seconds=options.seconds,
    )  # fmt: skip
    wrong = [name for name, each in found.items() if not each.ok]
    error = VerificationFailed(
        f"{len(wrong)} of {len(found)} entries did not come out right: {', '.join(wrong)}",
        cause="as printed", cure=f"compile one alone: fxonnx verify {options.entries.partition(':')[0]}:its_factory",
    ) if wrong else None  # fmt: skip
    return Result(str(found), {"results": [asdict(each) for each in found.values()]}, error)
