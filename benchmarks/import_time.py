"""How much `import fxonnx` adds to `import torch`, and its compiler to that; a fresh process each time."""

import json
import subprocess
import sys

from benchmarks.processes import ROOT, last_line
from benchmarks.results import Failure, ImportSample

SCRIPT = """
import json
from time import perf_counter as now
start = now(); import torch
torch_done = now(); import fxonnx
fxonnx_done = now(); fxonnx.compile
print(json.dumps({"torch": torch_done - start, "fxonnx": fxonnx_done - torch_done, "compiler": now() - fxonnx_done}))
"""


def measure() -> ImportSample | Failure:
    """One process's seconds."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        return Failure(last_line(done.stderr))
    return ImportSample(**json.loads(done.stdout))
