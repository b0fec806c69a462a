"""A compiled model: call it, save it, look into it, check it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fxonnx import errors
from fxonnx.capture import Program
from fxonnx.emit.onnx import Emitted, emit
from fxonnx.emit.weights import inline_model, write_model
from fxonnx.ir.dims import Expr, evaluate
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import print_graph
from fxonnx.location import Location
from fxonnx.passes.pipeline import Stage
from fxonnx.target import Target

if TYPE_CHECKING:
    import onnx

    from fxonnx.runtime.compare import Report
    from fxonnx.runtime.session import Session


class Compiled:
    """What `fxonnx.compile` returns. Calling it takes the model's arguments and returns the model's structure, computed in ONNX Runtime."""

    def __init__(self, model: Any, program: Program, target: Target, stages: tuple[Stage, ...], *, capture_seconds: float) -> None:
        self.model = model
        self.program = program
        self.target = target
        self.stages = stages
        self.capture_seconds = capture_seconds
        self.options: dict[str, Any] = {}

    # ── the graph ──

    @property
    def graph(self) -> Graph:
        """The final graph, as it is written."""
        return self.stages[-1].graph

    @cached_property
    def emitted(self) -> Emitted:
        """The final graph as ONNX, its large weights by reference."""
        return emit(self.graph)

    def model_proto(self) -> onnx.ModelProto:
        """The whole model in memory, weights included (copied); for files, `save` does without the copy."""
        return inline_model(self.emitted)

    def save(self, path: str | os.PathLike[str], weights: str = "auto") -> tuple[Path, ...]:
        """Write the model and return the files made.

        weights: "inline" (one file, up to 2 GB), "external" (beside it) or "auto" (inline where it fits). Raises CannotWrite, TooLarge.
        """
        return write_model(self.emitted, Path(path), weights)

    def show(self, stage: str | int = -1) -> str:
        """The print-out of a stage, by name or index; the last one by default."""
        found = self.stages[stage] if isinstance(stage, int) else self._stage(stage)
        return print_graph(found.graph, stage=found.name)

    def where(self, node_name: str) -> Location:
        """The place in the model that a node of the file comes from. KeyError names a node that is not there."""
        for node, name in self.emitted.names.nodes.items():
            if name == node_name:
                return node.location
        raise KeyError(node_name)

    def dump(self, directory: Path) -> None:
        """Write the print-out of every stage into a directory: `00-lower.ir`, `01-…`."""
        directory.mkdir(parents=True, exist_ok=True)
        for index, stage in enumerate(self.stages):
            name = f"{index:02}-{stage.name.replace('+', '-')}.ir"
            (directory / name).write_text(print_graph(stage.graph, stage=stage.name), encoding="utf-8")

    def _stage(self, name: str) -> Stage:
        for stage in reversed(self.stages):
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r}; there are {', '.join(stage.name for stage in self.stages)}")

    # ── running ──

    def configure(self, *, threads: int | None = None, prepack: bool = True) -> Compiled:
        """Choose how the session runs: its threads, and whether ONNX Runtime keeps packed copies of the weights for speed."""
        self.options = {"threads": threads, "prepack": prepack}
        self.__dict__.pop("session", None)
        return self

    @cached_property
    def session(self) -> Session:
        """The ONNX Runtime session, made at the first call; it shares the model's weights."""
        from fxonnx.runtime.session import Session

        weights = {name: data.buffer() for name, data in self.emitted.weights.items()}
        types = [value.type for value in self.graph.outputs]
        return Session(self.emitted.proto, weights, output_types=types, locate=self.where, **self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns for these arguments. Raises CallMismatch where they do not fit what was compiled, RuntimeFailed."""
        leaves = self.program.signature.flatten(args, kwargs)
        tensors = [torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf for leaf in leaves]
        self._check(tensors)
        results = self.session.run([*tensors, *(state.tensor for state in self.program.states)])
        return self._deliver(leaves, results)

    def _check(self, tensors: Sequence[torch.Tensor]) -> None:
        """Each input has the dtype and rank that was compiled, and sizes that agree with each other and with the limits."""
        sizes: dict[str, int] = {}
        ranges = {info.name: info for info in self.program.symbols.values()}
        for value, tensor in zip(self.graph.inputs, tensors, strict=False):
            expected = value.type
            if str(tensor.dtype) != f"torch.{expected.dtype.torch}" or tensor.dim() != expected.rank:
                raise _mismatch(f"input {value.name!r} is {tensor.dtype} with {tensor.dim()} dims", f"{expected}")
            for axis, (size, dim) in enumerate(zip(tensor.shape, expected.shape, strict=True)):
                if isinstance(dim, Expr) and dim.name is not None:
                    dim = sizes.setdefault(dim.name, size)
                    _check_range(ranges.get(dim if isinstance(dim, str) else expected.shape[axis].name), size, value.name, axis)
                if size != evaluate(dim, sizes):
                    raise _mismatch(f"dim {axis} of input {value.name!r} is {size}", f"{expected} (here {dim})")

    def _deliver(self, leaves: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> Any:
        """Results in the model's structure; what the model writes in place is written back."""
        remaining = iter(results)
        outputs = [self._output(leaf, remaining) for leaf in self.program.outputs]
        with torch.no_grad():
            for writeback, result in zip(self.program.writebacks, remaining, strict=False):
                leaves[writeback.input].copy_(result)
            for state, result in zip(self.program.states, remaining, strict=False):
                state.tensor.copy_(result)
        return self.program.signature.unflatten(outputs)

    def _output(self, leaf: Any, results: Any) -> Any:
        if leaf is None:
            return None
        result = next(results)
        fake = leaf.meta.get("val") if isinstance(leaf, torch.fx.Node) else leaf
        if isinstance(fake, torch.Tensor):
            return torch.view_as_complex(result) if fake.is_complex() else result
        return result.item()

    # ── checking ──

    def verify(self, *inputs: Any, seed: int = 0) -> Report:
        """Compare with the model, in the structure and sizes of the example and at a second size for dynamic dims, on fresh random inputs.

        Give `inputs` to compare on these instead. Returns a report; `.check()` raises VerificationFailed when it does not hold.
        """
        from fxonnx.runtime.verify import verify

        return verify(self, inputs, seed)


def _check_range(info: Any, size: int, name: str | None, axis: int) -> None:
    if info is not None and (size < info.minimum or (info.maximum is not None and size > info.maximum)):
        raise _mismatch(f"dim {axis} of input {name!r} is {size}", f"{info.name} from {info.minimum} to {info.maximum or '∞'}")


def _mismatch(found: str, expected: str) -> errors.CallMismatch:
    return errors.CallMismatch(found, cause=f"compiled for {expected}", cure="convert the input, or compile with this dim in dynamic_shapes")
