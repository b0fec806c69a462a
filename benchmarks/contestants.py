"""Who takes part: each contestant turns a module into a file; torch.export alone into a graph, a front end's floor."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.inputs import bound, named_tensors, shapes
from benchmarks.models.case import Dynamic
from benchmarks.results import Stage

TRACING = ("torch._dynamo", "torch.export._trace", "torch._export.non_strict_utils")


@dataclass(frozen=True, slots=True)
class Job:
    """A module with its example inputs, the dims that may change, and the file to write."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dynamic: Dynamic | None
    path: Path


@dataclass(frozen=True, slots=True)
class Produced:
    """What a contestant tells about its work; `nodes` only where no file tells."""

    stages: tuple[Stage, ...] = ()
    nodes: int | None = None


@dataclass(frozen=True, slots=True)
class Contestant:
    """`modules` are imported before the clock starts, so that a first compile is not charged for them."""

    name: str
    modules: tuple[str, ...]
    compile: Callable[[Job], Produced]


def fxonnx(job: Job) -> Produced:
    """fxonnx.compile and save, with the seconds of each stage."""
    import fxonnx

    compiled = fxonnx.compile(job.module, job.args, job.kwargs, dynamic_shapes=job.dynamic)
    stages = tuple(Stage(stage.name, stage.seconds, stage.nodes) for stage in compiled.stages)
    start = perf_counter()
    compiled.save(job.path)
    return Produced((*stages, Stage("save", perf_counter() - start)))


def dynamo(job: Job) -> Produced:
    """torch.onnx.export by torch.export, as torch's documentation shows it."""
    arguments = bound(job.module, job.args, job.kwargs)
    torch.onnx.export(
        job.module,
        job.args,
        str(job.path),
        kwargs=job.kwargs,
        input_names=list(named_tensors(arguments)),
        dynamic_shapes=shapes(arguments, job.dynamic, str),
        dynamo=True,
        verbose=False,
    )
    return Produced()


def torchscript(job: Job) -> Produced:
    """torch.onnx.export by TorchScript, the exporter that fxonnx replaces."""
    arguments = bound(job.module, job.args, job.kwargs)
    torch.onnx.export(
        job.module,
        job.args,
        str(job.path),
        kwargs=job.kwargs,
        input_names=list(named_tensors(arguments)),
        dynamic_axes={name: dict(axes) for name, axes in (job.dynamic or {}).items()},
        dynamo=False,
    )
    return Produced()


def export(job: Job) -> Produced:
    """torch.export.export(strict=False) alone: capture, without a file."""
    arguments = bound(job.module, job.args, job.kwargs)
    dims = shapes(arguments, job.dynamic, lambda _: torch.export.Dim.DYNAMIC)
    program = torch.export.export(job.module, job.args, job.kwargs, dynamic_shapes=dims, strict=False)
    return Produced(nodes=sum(node.op == "call_function" for node in program.graph.nodes))


def onnxslim(job: Job) -> Produced:
    """The file of torch.onnx.export, made smaller by OnnxSlim."""
    import onnxslim

    produced = dynamo(job)
    onnxslim.slim(str(job.path), str(job.path))
    return produced


def ort_transformers(job: Job) -> Produced:
    """The file of torch.onnx.export by TorchScript, whose shapes its fusions know, by onnxruntime.transformers."""
    from onnxruntime.transformers import optimizer

    produced = torchscript(job)
    kinds = ("gpt2", "bart", "clip", "vit", "swin", "t5", "unet")
    named = type(job.module).__module__ + type(job.module).__name__
    kind = next((each for each in kinds if each in named.lower()), "bert")
    optimizer.optimize_model(str(job.path), model_type=kind, opt_level=0).save_model_to_file(str(job.path))
    return produced


EXPORTER = "torch.onnx._internal.exporter"

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("fxonnx", ("torch._dynamo", "onnx_ir", "fxonnx.compiler"), fxonnx),
        Contestant("dynamo", (*TRACING, "onnxscript", f"{EXPORTER}._compat", f"{EXPORTER}._torchlib.ops"), dynamo),
        Contestant("torchscript", ("onnx", "torch.onnx._internal.torchscript_exporter.utils"), torchscript),
        Contestant("export", TRACING, export),
    )
}

# Those that work on the file of another: their latency is of interest, not their compile.
OPTIMIZERS = {
    contestant.name: contestant
    for contestant in (
        Contestant("onnxslim", ("onnxslim",), onnxslim),
        Contestant("ort-transformers", ("onnxruntime.transformers",), ort_transformers),
    )
}
