"""A compiled model: call it, save it, look into it, check it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fxonnx.capture import Program
from fxonnx.capture.export import training_mode
from fxonnx.capture.tree import flatten
from fxonnx.emit.onnx import Emitted, emit
from fxonnx.emit.weights import inline_model, write_model
from fxonnx.ir.dims import Expr, Shape, evaluate
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import print_graph
from fxonnx.location import Location
from fxonnx.passes.pipeline import Stage
from fxonnx.target import Target

if TYPE_CHECKING:
    import onnx

    from fxonnx.runtime.compare import Comparison
    from fxonnx.runtime.limits import Limits
    from fxonnx.runtime.session import Session


class Compiled:
    """What `fxonnx.compile` returns. Calling it takes the model's arguments and returns the model's structure, computed
    in ONNX Runtime."""

    def __init__(
        self,
        model: Any,
        program: Program,
        target: Target,
        stages: tuple[Stage, ...],
        examples: Sequence[torch.Tensor],
        *,
        mode: str,
        capture_seconds: float,
    ) -> None:
        self.model = model
        self.program = program
        self.target = target
        self.stages = stages
        self.examples = tuple(examples)
        self.mode = mode
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

        weights: "inline" (one file, up to 2 GB), "external" (beside it) or "auto" (inline where it fits). Raises
            CannotWrite, TooLarge.
        """
        return write_model(self.emitted, Path(path), weights)

    def show(self, stage: str | int = -1) -> str:
        """The print-out of a stage: "lowered", "optimized", "legalized", one pass by its name, or an index; the last
        one by default."""
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
            if name in (stage.name, stage.phase):
                return stage
        names = dict.fromkeys(name for stage in self.stages for name in (stage.phase, stage.name))
        raise KeyError(f"no stage {name!r}; there are {', '.join(names)}")

    # ── running ──

    def configure(self, *, threads: int | None = None, prepack: bool = True) -> Compiled:
        """Choose how the session runs: its threads, and whether ONNX Runtime keeps packed copies of the weights for
        speed."""
        self.options = {"threads": threads, "prepack": prepack}
        self.__dict__.pop("session", None)
        return self

    @cached_property
    def session(self) -> Session:
        """The ONNX Runtime session, made at the first call; it shares the model's weights."""
        from fxonnx.runtime.session import Session

        weights = {name: data.buffer() for name, data in self.emitted.weights.items()}
        inputs = [value.type for value in self.graph.inputs]
        outputs = [value.type for value in self.graph.outputs]
        return Session(self.emitted.proto, weights, inputs=inputs, outputs=outputs, **self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns for these arguments. Raises CallMismatch where they do not fit what was compiled,
        RuntimeFailed."""
        leaves = self.program.signature.flatten(args, kwargs)
        tensors = [torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf for leaf in leaves]
        self.limits.check(tensors)
        results = self.session.run([*tensors, *(state.tensor for state in self.program.states)])
        return self._deliver(leaves, results)

    @cached_property
    def limits(self) -> Limits:
        """The sizes that the model holds for: a table of 512 positions, a branch on a size."""
        from fxonnx.runtime.limits import limits

        return limits(self.graph.inputs, self.program.symbols.values(), self.program.assumptions)

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

    def verify(self, *args: Any, seed: int = 0, **kwargs: Any) -> Report:
        """Compare with the model on fresh random inputs like the examples, and at a second size of every dynamic dim.

        Give arguments to compare on these instead. Parameters and buffers are left as they were. The report holds the
        largest absolute and relative error of every output; its `check()` raises VerificationFailed where one is beyond
        the tolerance of its dtype.
        """
        calls = (
            [(args, kwargs)] if args or kwargs else [self.fresh_arguments(sizes, seed) for sizes in self._test_sizes()]
        )
        return Report(tuple(self._compare(*call) for call in calls))

    def fresh_arguments(self, sizes: Mapping[str, int], seed: int = 0) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Random arguments like the examples, in which every dynamic dim has the given size; the examples' where it is
        not named."""
        from fxonnx.runtime.compare import fresh_like

        generator = torch.Generator().manual_seed(seed)
        resized = [
            _resized(leaf, value.shape, {**self._example_sizes, **sizes})
            for leaf, value in zip(self.examples, self.graph.inputs, strict=False)
        ]
        return self.program.signature.arguments_for(fresh_like(leaf, generator) for leaf in resized)

    @cached_property
    def _example_sizes(self) -> dict[str, int]:
        """The size of every named dim in the example inputs."""
        return {
            dim.name: size
            for leaf, value in zip(self.examples, self.graph.inputs, strict=False)
            for size, dim in zip(leaf.shape, value.shape, strict=False)
            if isinstance(dim, Expr) and dim.name is not None
        }

    def _test_sizes(self) -> list[dict[str, int]]:
        """The examples' own sizes and, where there are dynamic dims, others near them, different from each other and
        within the limits."""
        example = self._example_sizes
        for step in (1, -1, 2, -2, 8):
            others = {name: size + step * index for index, (name, size) in enumerate(example.items(), start=1)}
            if others and min(others.values()) > 0 and self.limits.admit(others):
                return [{}, others]
        return [{}]

    def _compare(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Comparison:
        """One call of both, the model's first, on the same arguments and the same state."""
        from fxonnx.runtime.compare import compare

        before = [state.tensor.clone() for state in self.program.states]
        signature = self.program.signature
        with torch.no_grad(), training_mode(self.model, self.mode):
            expected, _, _ = flatten(self.model(*copy.deepcopy(args), **copy.deepcopy(dict(kwargs))))
            self._restore(before)
            actual, _, _ = flatten(self(*copy.deepcopy(args), **copy.deepcopy(dict(kwargs))))
            self._restore(before)
        return compare(actual, expected, names=signature.output_names(None)[: len(expected)])

    def _restore(self, before: Sequence[torch.Tensor]) -> None:
        for state, content in zip(self.program.states, before, strict=True):
            state.tensor.copy_(content)


def _resized(leaf: torch.Tensor, shape: Shape, sizes: Mapping[str, int]) -> torch.Tensor:
    """The example with every dim at its wanted size: its elements, repeated from the start where it is too short."""
    for axis, dim in enumerate(shape[: leaf.dim()]):
        size = evaluate(dim, sizes) if isinstance(dim, int) or dim.symbols <= sizes.keys() else leaf.shape[axis]
        if size != leaf.shape[axis]:
            leaf = leaf.index_select(axis, torch.arange(size) % max(leaf.shape[axis], 1))
    return leaf


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found: a comparison for each call, the examples' sizes first."""

    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether all outputs of all calls agree."""
        return all(comparison.ok for comparison in self.comparisons)

    def check(self) -> Report:
        """Itself where all agree. Raises VerificationFailed."""
        for comparison in self.comparisons:
            comparison.check()
        return self

    def __str__(self) -> str:
        return "\n".join(map(str, self.comparisons))
