"""The benchmarks' models at every opset: `python -m tests.opsets [models] [--opsets 9,11] [--dynamic]`; `make opsets`
calls it.

Prints a row for each model: whether what its file at each opset gives in ONNX Runtime is what eager gives. Then what
was refused or wrong, and why.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence

import torch
from benchmarks.models import find, select

import fxonnx
from fxonnx.target import NEWEST_OPSET, OLDEST_OPSET

RIGHT, WRONG, REFUSED = "✓", "wrong", "–"


def outcomes(name: str, opsets: Sequence[int], dynamic: bool) -> Iterator[tuple[str, str]]:
    """What becomes of a model at each opset, in a word, and why."""
    case = find(name)
    module, args, kwargs = case.build()
    shapes = case.dynamic if dynamic else None
    calls = [(args, kwargs), case.resize(case.other_sizes)] if shapes else [(args, kwargs)]
    for opset in opsets:
        try:
            compiled = fxonnx.compile(module, args, kwargs, opset=opset, dynamic_shapes=shapes)
        except fxonnx.errors.Error as error:
            several = error.errors if isinstance(error, fxonnx.errors.Failures) else [error]
            yield REFUSED, "; ".join(sorted({f"{each.code} {each.cause}" for each in several}))
            continue
        reports = [compiled.verify(*args, **kwargs) for args, kwargs in calls]
        wrong = [str(report) for report in reports if not report.ok]
        yield (WRONG, "\n".join(wrong)) if wrong else (RIGHT, "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what the command line names; 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.opsets", description=__doc__)
    parser.add_argument("models", nargs="*", default=["all"], help="names and tags of models (all)")
    every = ",".join(map(str, range(OLDEST_OPSET, NEWEST_OPSET + 1)))
    parser.add_argument("--opsets", default=every, help="these alone: 9,11")
    parser.add_argument("--dynamic", action="store_true", help="with the models' dynamic dims, at two sizes of each")
    options = parser.parse_args(arguments)
    opsets = [int(word) for word in options.opsets.split(",")]
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"{'':22}", *(f"{opset:>5}" for opset in opsets), flush=True)
    reasons: dict[tuple[str, str, str], list[int]] = {}
    for name in select(options.models):
        print(f"{name:22}", end="", flush=True)
        for opset, (word, why) in zip(opsets, outcomes(name, opsets, options.dynamic), strict=True):
            print(f" {word:>5}", end="", flush=True)
            reasons.setdefault((name, word, why), []).append(opset)
        print()
    for (name, word, why), where in reasons.items():
        if word != RIGHT:
            print(f"{name} at {', '.join(map(str, where))}, {word}: {why}")
    return int(any(word == WRONG for _, word, _ in reasons))


if __name__ == "__main__":
    sys.exit(main())
