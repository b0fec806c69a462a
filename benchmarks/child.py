"""Measures one compile in this process: `python -m benchmarks.child REQUEST FOLDER`.

REQUEST is a JSON object. FOLDER takes the model's files; the outcome is printed as the last line, a JSON object.
"""

import importlib
import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.contestants import CONTESTANTS, OPTIMIZERS, Contestant, Job, Produced
from benchmarks.memory import PeakMemory
from benchmarks.models import find
from benchmarks.results import Failure, Measurement, Request, attempt


def measure(request: Request, folder: Path) -> Measurement:
    """Import, build, compile once and save; only compile and save are timed as the compile."""
    torch.set_num_threads(request.threads)
    contestant = (CONTESTANTS | OPTIMIZERS)[request.contestant]
    import_seconds = seconds_to_import(contestant.modules)
    if request.warm:
        compile_a_linear(contestant, folder)
    job = prepare(request, folder / "model.onnx")
    seconds, growth, produced = timed(contestant, job)
    return Measurement(
        seconds=seconds,
        import_seconds=import_seconds,
        weight_bytes=weight_bytes(job.module),
        growth_bytes=growth,
        nodes=file_nodes(job.path) if produced.nodes is None else produced.nodes,
        file_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        stages=produced.stages,
    )


def seconds_to_import(modules: Iterable[str]) -> float:
    """Import `modules`, over torch, which is there already."""
    start = perf_counter()
    for module in modules:
        importlib.import_module(module)
    return perf_counter() - start


def compile_a_linear(contestant: Contestant, folder: Path) -> None:
    """Let the contestant fill its registries and caches on the smallest model."""
    path = folder / "warm.onnx"
    contestant.compile(Job(nn.Linear(2, 2).eval(), (torch.zeros(1, 2),), {}, None, path))
    for file in folder.iterdir():
        file.unlink()


def prepare(request: Request, path: Path) -> Job:
    """Build the model that is asked for."""
    case = find(request.model)
    module, args, kwargs = case.build()
    return Job(module, args, kwargs, case.dynamic if request.dynamic else None, path)


def timed(contestant: Contestant, job: Job) -> tuple[float, int | None, Produced]:
    """Seconds, peak memory growth in bytes, and what was produced."""
    memory = PeakMemory()
    memory.start()
    start = perf_counter()
    produced = contestant.compile(job)
    seconds = perf_counter() - start
    return seconds, memory.growth(), produced


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, shared ones once."""
    storages = {tensor.data_ptr(): tensor.nbytes for tensor in (*module.parameters(), *module.buffers())}
    return sum(storages.values())


def file_nodes(path: Path) -> int:
    """Nodes of the model in `path`, those of subgraphs and functions among them."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return count_nodes(model.graph.node) + sum(count_nodes(function.node) for function in model.functions)


def count_nodes(nodes: Iterable[Any]) -> int:
    """The nodes, and those of the graphs among their attributes."""
    return sum(1 + sum(count_nodes(attribute.g.node) for attribute in node.attribute) for node in nodes)


def main() -> None:
    """Read the request, measure, print the outcome."""
    warnings.filterwarnings("ignore")
    request = Request(**json.loads(sys.argv[1]))
    outcome = attempt(lambda: measure(request, Path(sys.argv[2])))
    kind = "failure" if isinstance(outcome, Failure) else "measurement"
    print("\n" + json.dumps({kind: asdict(outcome)}))


if __name__ == "__main__":
    main()
