"""What a compiled model shows of itself: its stages as text and as pages, what changed between them, its places."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fxonnx import errors, facts, markup
from fxonnx.capture import Program
from fxonnx.emit.files import saying_what
from fxonnx.emit.onnx import Emitted, emit
from fxonnx.errors.arguments import names_options
from fxonnx.inspection.page import Page, stage_sections
from fxonnx.ir.changes import Diff, diff
from fxonnx.ir.graph import Graph, Node
from fxonnx.ir.text import print_graph
from fxonnx.ir.text.html import graph_html
from fxonnx.location import Location
from fxonnx.machines.costs import Cost, cost_of
from fxonnx.options import IR_TEXT, check_options
from fxonnx.passes.pipeline import Stage
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.limits import Limits
from fxonnx.target import Target

if TYPE_CHECKING:
    from fxonnx.inspection.picture import Picture
    from fxonnx.runtime.tune import Tuning
    from fxonnx.verification import Losses


class Inspection:
    """A compiled model, as far as it is looked into."""

    model: Any
    program: Program
    target: Target
    stages: tuple[Stage, ...]
    capture_seconds: float
    examples: tuple[Any, ...]
    mode: str
    _build: Any
    tuning: Tuning | None
    configuration: Configuration
    _seconds: Mapping[Node, float] = MappingProxyType({})  # of nodes, as they were measured last

    if TYPE_CHECKING:

        @property
        def emitted(self) -> Emitted:
            """The final graph as ONNX."""

        @property
        def limits(self) -> Limits:
            """The sizes that it holds for."""

    @property
    def graph(self) -> Graph:
        """The final graph, as it is written."""
        return self.stages[-1].graph

    @property
    def optimized(self) -> Graph:
        """The graph before it is legalized."""
        return self._stage("optimized").graph

    @property
    def name(self) -> str:
        """What the model is called: its class, or the function."""
        return str(getattr(self.model, "__name__", type(self.model).__name__))

    @names_options
    def show(self, stage: str | int = -1, *, format: str = IR_TEXT, costs: bool = False) -> str:
        """The print-out of a stage: "lowered", "optimized", "legalized", one pass by its name, or an index; the last
        one by default. With format="onnx" in ONNX's own text, large weights without their contents.

        With costs=True under each node what it costs at the example's sizes: arithmetic, memory, the seconds predicted
        for as much of both at this machine's best, where it is known (see `fxonnx.machine`), and those that were
        measured, after calls with `configure(profile=True)`.

        Raises InvalidOption for a stage that is not there.
        """
        check_options(format=format, costs=costs)
        found = self._stage(stage)
        if format == IR_TEXT:
            told = self.costs(found.graph) if costs else {}
            return print_graph(found.graph, stage=found.name, notes={node: [str(cost)] for node, cost in told.items()})
        from onnx.printer import to_text

        return str(to_text((self.emitted if found.graph is self.graph else emit(found.graph)).proto))

    def costs(self, graph: Graph) -> dict[Node, Cost]:
        """What each node of one of the stages costs at the example's sizes; measured as well, of the final graph, where
        calls were made since `configure(profile=True)`."""
        cost, measured = self._cost(), self._measured()
        return {node: cost(node, measured=measured.get(node)) for node in graph.all_nodes()}

    def _cost(self) -> Callable[..., Cost]:
        """What a node costs at the example's sizes, on this machine where it is known."""
        profile = self.target.machine.profile
        best = profile.best if profile is not None else None
        return partial(cost_of, sizes=self.program.sizes_of(self.examples), best=best)

    def worth(self) -> dict[str, tuple[int, Cost]]:
        """Of each rule that fired how often it did, and how much more the nodes that it took cost at the example's
        sizes than those that it made of them. A form of the same arithmetic is worth what the machine was measured to
        take for it, which no count of operations knows."""
        cost, found = self._cost(), defaultdict[str, list[Cost]](list)
        for each in chain.from_iterable(stage.fired for stage in self.stages):
            before, after = (Cost.sum(map(cost, nodes)) for nodes in (each.before, each.after))
            found[each.rule].append(before - after)
        return {rule: (len(saved), Cost.sum(saved)) for rule, saved in found.items()}

    def _measured(self) -> Mapping[Node, float]:
        """The seconds of nodes in the calls of a session that measures; it is asked once, then there is a new one."""
        if self.configuration.profile and "session" in self.__dict__:
            from fxonnx.runtime.profile import by_node

            nodes = {name: node for node, name in self.emitted.names.nodes.items()}
            found = by_node(self.__dict__.pop("session").seconds(), nodes)
            self._seconds = {nodes[name]: taken for name, taken in found.items() if name}
        return self._seconds

    @names_options
    def diff(self, before: str | int, after: str | int) -> Diff:
        """What changed from one stage to another: which rule turned which nodes into which, with the user's line. It
        prints as text, is shown in notebooks, and is true where anything changed. Raises InvalidOption."""
        first, last = (self.stages.index(self._stage(each)) for each in (before, after))
        between = self.stages[first : last + 1] or (self.stages[first], self.stages[last])
        return diff([(stage.name, stage.graph) for stage in between])

    @names_options
    def picture(self, stage: str | int = "optimized", depth: int | None = None) -> Picture:
        """A stage as an SVG, which notebooks show: modules down to a depth as boxes, coloured by what most of their
        operators do, the model's lines where the mouse is, dtypes and shapes on the edges. By default as deep as is
        looked at with ease. Needs the extra "view". Raises InvalidOption."""
        from fxonnx.inspection.picture import picture

        check_options(depth=depth)
        return picture(self._stage(stage).graph, depth)

    def report(self) -> str:
        """The compilation in a few lines: target, inputs and outputs, sizes it holds for, how it was captured, what a
        call costs, which rules fired how often, stages with nodes and times; and the `losses` of a precision that was
        asked for, for which the model is run."""
        found = self.losses()
        return facts.report(self) if found is None else f"{facts.report(self)}\n{found}"

    def losses(self) -> Losses | None:
        """What the precision that was asked for loses on the example: the error of each output, and of each layer by
        itself, those that lose most first, to be named in `keep`. None where none was asked for. Raises
        RuntimeFailed."""
        from fxonnx.verification import losses

        return None if self._build.precision is None else losses(self, self._build.precision)

    @names_options
    def where(self, node_name: str) -> Location:
        """The place in the model that a node of the file comes from. Raises InvalidOption for a node that is not
        there."""
        for node, name in self.emitted.names.nodes.items():
            if name == node_name:
                return node.location
        raise errors.InvalidOption(
            f"no node of the file is called {node_name!r}",
            cause="a runtime or a viewer may have nodes of its own",
            cure="take a name that compiled.model_proto().graph has",
        )

    @names_options
    def dump(self, directory: Path) -> None:
        """Write the print-out of every stage into a directory: `00-lower.ir`, `01-…`. Raises CannotWrite."""
        with saying_what(directory):
            directory.mkdir(parents=True, exist_ok=True)
            for index, stage in enumerate(self.stages):
                name = f"{index:02}-{stage.name.replace('+', '-')}.ir"
                (directory / name).write_text(print_graph(stage.graph, stage=stage.name), encoding="utf-8")

    @names_options
    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one page of all stages that needs nothing else: searched, folded by module, with the user's line where
        the mouse is. There may be secrets in lines. Raises CannotWrite."""
        return self.page.write(path)

    def view(self) -> Path:
        """Open the page of `to_html` in the browser; it is in a temporary file, whose path is returned."""
        return self.page.open()

    @property
    def page(self) -> Page:
        """The page of all stages."""
        return Page(self.name, self.report(), stage_sections(self.stages))

    def _stage(self, asked: str | int) -> Stage:
        count = len(self.stages)
        if isinstance(asked, int) and -count <= asked < count:
            return self.stages[asked]
        for stage in reversed(self.stages):
            if asked in (stage.name, stage.phase):
                return stage
        names = dict.fromkeys(name for stage in self.stages for name in (stage.phase, stage.name))
        raise errors.InvalidOption(
            f"there is no stage {asked!r}",
            cause=f"there are {', '.join(names)}",
            cure=f"take one of those, or an index from {-count} to {count - 1}",
        )

    def __repr__(self) -> str:
        takes = ", ".join(f"{value.name}: {value.type}" for value in self.graph.inputs)
        outputs = zip(self.graph.output_names, self.graph.outputs, strict=True)
        gives = ", ".join(f"{name}: {value.type}" for name, value in outputs)
        return facts.one_line(f"<fxonnx {self.name}: {takes or 'nothing'} -> {gives}; {self.stages[-1].nodes} nodes>")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        times = [(name, round(spent, 1), "" if nodes is None else nodes) for name, spent, nodes in facts.times(self)]
        parts = [
            markup.pre("\n".join((self.name, *facts.summary(self)))),
            markup.fold("stages", markup.table(("step", "ms", "nodes"), times)),
            markup.fold("graph", graph_html(self.graph, self.stages[-1].name)),
        ]
        return markup.bundle(f"{self!r}\n{self.report()}", "".join(parts))
