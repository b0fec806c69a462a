"""The first export of a process, with all that it imports: whole processes in turns, less those that only build.

Seconds are the processor's, which other work on the machine does not lengthen.
"""

import resource
import subprocess
import sys
from collections import defaultdict
from itertools import product
from tempfile import TemporaryDirectory

from benchmarks.processes import last_line, surroundings
from benchmarks.results import Failure

MODELS = {
    "linear": "model, inputs = torch.nn.Linear(2, 2).eval(), (torch.randn(1, 2),)",
    "lstm": "model, inputs = torch.nn.LSTM(4, 8).eval(), (torch.randn(5, 1, 4),)",
}
# who writes no file does less: `import` loads fxonnx's compiler, `fxonnx` compiles
CONTESTANTS = {
    "import": "import fxonnx; fxonnx.compile",
    "fxonnx": "import fxonnx; fxonnx.compile(model, inputs)",
    "fxonnx_file": "import fxonnx; fxonnx.export(model, inputs, 'model.onnx')",
    "torchscript": "torch.onnx.export(model, inputs, 'model.onnx', dynamo=False)",
    "dynamo": "torch.onnx.export(model, inputs, 'model.onnx', dynamo=True, verbose=False)",
}
Key = tuple[str, str]


def measure(rounds: int, threads: int) -> tuple[dict[Key, list[float]], dict[Key, str]]:
    """Seconds by model and contestant, each less those of the process before it that only built the model; errors."""
    seconds: dict[Key, list[float]] = defaultdict(list)
    failures: dict[Key, str] = {}
    for _, model, contestant in product(range(rounds), MODELS, CONTESTANTS):
        built = run(MODELS[model], threads)
        exported = run(f"{MODELS[model]}; {CONTESTANTS[contestant]}", threads)
        if isinstance(exported, Failure):
            failures[model, contestant] = exported.error
        elif isinstance(built, float):
            seconds[model, contestant].append(exported - built)
    return seconds, failures


def run(statements: str, threads: int) -> float | Failure:
    """Seconds of a new Python that imports torch and does more."""
    before = processor_seconds()
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", f"import torch; {statements}"],
            cwd=folder, env=surroundings(threads), capture_output=True, check=False,
        )  # fmt: skip
    return Failure(last_line(done.stderr)) if done.returncode else processor_seconds() - before


def processor_seconds() -> float:
    """What all processes that were started from here, and have ended, took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
