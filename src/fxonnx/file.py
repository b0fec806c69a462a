"""What of a compiled model is its file: written, and beside those of others."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch

from fxonnx import errors, facts
from fxonnx.capture import Program
from fxonnx.capture.versions import Versions
from fxonnx.capture.weights.binding import Binding
from fxonnx.capture.weights.files import extents_of, found_in
from fxonnx.capture.weights.names import Owned
from fxonnx.emit.functions import with_functions
from fxonnx.emit.onnx import Emitted, emit, with_defaults
from fxonnx.emit.weights import inline_model, is_path, write_model
from fxonnx.errors.arguments import names_options
from fxonnx.inspection import Inspection
from fxonnx.ir.dims import Comparison
from fxonnx.ir.extent import NO_EXTENTS, Extents
from fxonnx.ir.graph import Graph
from fxonnx.options import IN_FILE, METADATA, check_options
from fxonnx.passes.in_place import in_place
from fxonnx.passes.ways import NoWay
from fxonnx.runtime.shapes import as_real

if TYPE_CHECKING:
    import onnx

Holds: TypeAlias = "Sequence[Sequence[Comparison]]"
"""sizes: those for which all comparisons of one of these hold"""


class Build(Protocol):
    """How programs of a model are compiled."""

    @property
    def names(self) -> Mapping[str, Owned]:
        """What the model called its tensors."""

    @property
    def binding(self) -> Binding:
        """The weights."""

    def __call__(self, program: Program, general: Program) -> Any:
        """A variant of the model's program, compiled; it shares the states of the general one."""

    def again(self, compiled: Any) -> Any:
        """The program of what was compiled, compiled once more. Raises WeightsMismatch."""

    def bound(self, binding: Binding) -> Build:
        """The same with other weights."""

    def with_ways(self, general: Any, ways: Sequence[tuple[Holds, Any]], holds: Holds = ()) -> Graph:
        """The final graph of several, which stops where none of what it `holds` for does. Raises NoWay."""


class File(Inspection):
    """A compiled model, as far as it is written."""

    examples: tuple[torch.Tensor, ...]
    versions: Versions
    functions: Mapping[str, tuple[str, str]]
    _build: Build

    def _variant(self, program: Program) -> Any:
        """The model compiled for a way of its own. Raises CallMismatch."""
        raise NotImplementedError

    @cached_property
    def emitted(self) -> Emitted:
        """The final graph as ONNX, its large weights by reference, without the model's source lines."""
        return self._emit(source_lines=False)

    def _emitted(
        self, source_lines: bool, ways: bool = False, guards: str = METADATA, stay: Collection[Hashable] = ()
    ) -> Emitted:
        check_options(source_lines=source_lines, ways=ways, guards=guards)
        if self.program.zero_one is not None:
            self.program.zero_one.ask_ones(leading=guards != IN_FILE)
        for _, program in self._others(ways):
            if program.zero_one is not None:
                program.zero_one.ask_ones(leading=guards != IN_FILE, admitted=True)
        self.versions.check(every_element=True)
        others = self._others(ways)
        if source_lines or others or guards == IN_FILE or stay:
            emitted = self._emit(source_lines=source_lines, ways=others, guards=guards, stay=stay)
        else:
            emitted = self.emitted
            facts.describe(emitted.proto, self)
        return with_defaults(with_functions(emitted, self.functions) if self.functions else emitted)

    def _emit(
        self,
        *,
        source_lines: bool,
        ways: Sequence[tuple[Mapping[str, int], Program]] = (),
        guards: str = METADATA,
        stay: Collection[Hashable] = (),
    ) -> Emitted:
        graph = self.graph
        said = f"Takes a way of its own for {'; '.join(_sizes(*each) for each in ways)}." if ways else ""
        try:
            compiled = [(each.holds(fixed), self._variant(each)) for fixed, each in ways]
            graph = self._build.with_ways(self, compiled) if ways else graph
        except NoWay as reason:
            said, ways = f"Has no way for other sizes: {reason}.", ()
        if guards == IN_FILE:
            graph = self._guarded(compiled if ways else [], facts.holds(self.program, ways))
        graph = in_place(graph, stay, self.target) if stay else graph
        metadata, description = facts.metadata(self, said, ways), facts.description(self, said)
        versions = dict(self.target.own)
        return emit(graph, metadata, description=description, source_lines=source_lines, versions=versions)

    def _guarded(self, ways: Sequence[tuple[Holds, Any]], holds: Holds) -> Graph:
        """The graph of a file that stops for sizes that it does not hold for. Raises CannotWrite."""
        try:
            return self._build.with_ways(self, ways, holds) if holds else self.graph
        except NoWay as reason:
            raise errors.CannotWrite(
                "the file cannot check its sizes", cause=str(reason), cure=f"leave out guards={IN_FILE!r}"
            ) from reason

    def take_example(self) -> Program | None:
        """The program of the example's own, where its sizes take another way than others. Raises CallMismatch where
        the model cannot be captured for them."""
        return self.limits.check(list(map(as_real, self.examples)))

    def _others(self, ways: bool) -> list[tuple[Mapping[str, int], Program]]:
        """The programs that stand in a file beside the first one: the example's, and those that calls took."""
        own = self.take_example()
        known = self.program.zero_one.others if self.program.zero_one else []
        return [each for each in known if ways or each[1] is own]

    @names_options
    def model_proto(self, *, source_lines: bool = False, ways: bool = False) -> onnx.ModelProto:
        """The whole model in memory, weights included (copied); for files, `save` does without the copy.

        Raises TooLarge, InvalidOption, ModelChanged.
        """
        return inline_model(self._emitted(source_lines, ways))

    @names_options
    def save(
        self,
        path: str | os.PathLike[str],
        weights: str | os.PathLike[str] = "auto",
        *,
        source_lines: bool = False,
        ways: bool = False,
        guards: str = METADATA,
    ) -> tuple[Path, ...]:
        """Write the model and return the files made.

        Args:
            path: of the model; an earlier one is replaced when the new one is complete.
            weights: "inline" (one file, up to 2 GB), "external" (beside it), "safetensors" (likewise, in that format)
                or "auto" (inline where it fits). Or the path of safetensors files below the model's folder, a file, an
                index or a folder: the model refers to the bytes there. "auto" does so for a model compiled from them.
            source_lines: whether nodes tell the text of the line that they come from, with the strings in it. File
                name and number of the line are always told.
            ways: whether the file also has the graphs of the other ways that calls have taken so far: which one
                computes is an If on the sizes. That of the example is always there.
            guards: where it stands for which sizes the file holds. In its "metadata", which fxonnx.load reads; or "in
                file", where any runtime stops for others. Then sizes of 1 are asked about of all dims, which takes some
                captures; else of a batch, the dims on axis 0, alone.

        Raises CannotWrite, TooLarge, InvalidOption, ModelChanged; CannotRead, WeightsMismatch for safetensors files.
        """
        extents, form = self._places(weights)
        return write_model(self._emitted(source_lines, ways, guards, stay=extents), path, form, extents)

    def held(self) -> set[Hashable]:
        """The identities of the weights that the file has as they are."""
        return {value.data.identity for value in self.graph.constants() if value.data is not None}

    def sharing(self, shared: Collection[Hashable], **options: Any) -> Emitted:
        """The file beside others that have these weights as they are. Raises what `save` raises."""
        return self._emitted(**{"source_lines": False, **options}, stay=shared)

    def _places(self, weights: Any) -> tuple[Extents, str]:
        """Which weights files have already, and how the others are written."""
        if is_path(weights):
            return found_in(self.program, self._build.names, weights), "auto"
        return (extents_of(self.program) if weights == "auto" else NO_EXTENTS), weights


def _sizes(fixed: Mapping[str, int], program: Program) -> str:
    """For which sizes a program is."""
    return ", ".join(f"{left} {relation} {right}" for left, relation, right in program.comparisons(fixed))
