"""A graph as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from fxonnx.ir.data import AbsentData
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.text.literal import format_attribute, format_name, format_tensor, format_word
from fxonnx.ir.text.places import format_origin, format_place

INLINE_ELEMENTS = 8
HEADER_WIDTH = 116
ORIGIN_COLUMN = 96

Notes = Mapping["Node | Graph", Sequence[str]]


class Line(NamedTuple):
    """A line of the text, the origin that stands behind it, and the node it belongs to: it is the node, its place, a
    note or a line of its subgraphs."""

    text: str
    origin: str = ""
    node: Node | None = None

    def __str__(self) -> str:
        return f"{self.text}   · {self.origin}" if self.origin else self.text


def print_graph(graph: Graph, *, stage: str | None = None, places: bool = True, notes: Notes | None = None) -> str:
    """The graph as text that `parse_graph` reads back; large or named constants without contents.

    `places` False leaves out where nodes come from. `notes` are messages to show under a node, or under the `return` of
    a graph; a text with notes does not parse.
    """
    return "\n".join(map(str, graph_lines(graph, stage=stage, places=places, notes=notes)))


def graph_lines(
    graph: Graph, *, stage: str | None = None, places: bool = True, notes: Notes | None = None
) -> list[Line]:
    """The lines of the text, origins in one column: what `print_graph` takes, and what each line is about."""
    printer = _Printer(places, notes or {})
    header = [
        printer.signature(graph),
        f"opset={graph.opset}",
        *_name(graph),
        *([f"stage={format_word(stage)}"] if stage else []),
    ]
    constants = _wrap(printer.constants(graph))
    body = _align(list(printer.body(graph, "  ")))
    return [*map(Line, (" ".join(header), *constants, *([""] if constants else []))), *body]


class _Printer:
    """Names for values as they come, and where the walk is in the user's model."""

    def __init__(self, places: bool, notes: Notes) -> None:
        self.places = places
        self.notes = notes
        self.place = "-"
        self.spelled: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.copies: dict[str, int] = {}
        self.results = count()
        self.unnamed = count()

    # ── values ──

    def define(self, value: Value) -> str:
        """`name: type` of a value that is written here."""
        if value not in self.spelled:
            plain = value.name is None
            self.spelled[value] = f"%{next(self.results)}" if plain else format_name(self.unique(value.name or ""))
        return f"{self.spelled[value]}: {value.type}"

    def unique(self, name: str) -> str:
        """`name`, or `name~2`, `name~3` … where others have it: names are no identity."""
        found = name
        while found in self.taken:
            self.copies[name] = self.copies.get(name, 1) + 1
            found = f"{name}~{self.copies[name]}"
        self.taken.add(found)
        return found

    def read(self, value: Value | None) -> str:
        """A value that is read here: its name, its content, `_` for none."""
        if value is None:
            return "_"
        name = self.spelled.get(value)
        if name is None:  # nobody wrote it: it is a small constant, or the graph is broken
            inline = value.data is not None and _stands_inline(value)
            name = format_tensor(value.data.array()) if value.data and inline else f"%?{len(self.spelled)}"
            self.spelled[value] = name
        return name

    def constants(self, graph: Graph) -> Iterator[str]:
        """The header's entries: the constants whose content does not stand where they are read."""
        for value in graph.constants():
            if not _stands_inline(value):
                if value.name is None:
                    self.spelled[value] = f"%c{next(self.unnamed)}"
                yield self.define(value)

    # ── graphs ──

    def signature(self, graph: Graph) -> str:
        """`graph(x: f32[n])`."""
        return f"graph({', '.join(map(self.define, graph.inputs))})"

    def body(self, graph: Graph, indent: str, owner: Node | None = None) -> Iterator[Line]:
        """Lines of nodes and the `return`; of a graph in a node, its owner."""
        for node in graph.nodes:
            yield from self.heading(node, indent)
            yield Line(indent + self.node(node), format_origin(node.location) if self.places else "", node)
            yield from self.note(node, indent, node)
            for name, value in node.attributes.items():
                if isinstance(value, Graph):
                    yield from self.subgraph(name, value, graph.opset, indent + "  ", node)
        yield Line(f"{indent}return {', '.join(self.returned(graph))}".rstrip(), "", owner)
        yield from self.note(graph, indent, owner)

    def subgraph(self, name: str, graph: Graph, opset: int, indent: str, owner: Node) -> Iterator[Line]:
        """`then_branch = graph(…)` and its lines."""
        newer = [f"opset={graph.opset}"] if graph.opset != opset else []
        yield Line(indent + " ".join((f"{name} = {self.signature(graph)}", *newer, *_name(graph))), "", owner)
        yield from self.body(graph, indent + "  ", owner)

    def heading(self, node: Node, indent: str) -> Iterator[Line]:
        """The node's place, where it is not the one before."""
        place = format_place(node.location)
        if self.places and place != self.place:
            self.place = place
            yield Line(f"{indent}@ {place}", "", node)

    def node(self, node: Node) -> str:
        """`%0: f32[n] = Add(x, y) {attribute=1}`."""
        results = ", ".join(map(self.define, node.outputs))
        plain = [f"{k}={format_attribute(v)}" for k, v in node.attributes.items() if not isinstance(v, Graph)]
        attributes = f" {{{', '.join(plain)}}}" if plain else ""
        return f"{results} = {node.op}({', '.join(map(self.read, node.inputs))}){attributes}"

    def returned(self, graph: Graph) -> Iterator[str]:
        """The outputs, with the names that the file gives them."""
        names: Iterable[str] = (*graph.output_names, *[""] * len(graph.outputs))
        for value, name in zip(graph.outputs, names, strict=False):
            yield f"{self.read(value)} as {format_name(name)}" if name else self.read(value)

    def note(self, about: Node | Graph, indent: str, owner: Node | None) -> Iterator[Line]:
        """The messages about a node or a graph."""
        for message in self.notes.get(about, ()):
            yield Line(f"{indent}^^^ {message}", "", owner)


def _stands_inline(value: Value) -> bool:
    size = value.type.size
    small = value.type.rank <= 1 and isinstance(size, int) and size <= INLINE_ELEMENTS
    return small and value.name is None and not isinstance(value.data, AbsentData)


def _name(graph: Graph) -> list[str]:
    return [] if graph.name == "main" else [f"name={format_name(graph.name)}"]


def _wrap(entries: Iterable[str]) -> list[str]:
    """The header's entries in as few lines as fit."""
    lines: list[str] = []
    for entry in entries:
        if lines and len(lines[-1]) + len(entry) + 3 <= HEADER_WIDTH:
            lines[-1] += f"   {entry}"
        else:
            lines.append(f"  {entry}")
    return lines


def _align(lines: Sequence[Line]) -> list[Line]:
    """Lines with their origins in one column, as far as they reach it."""
    reaching = (len(line.text) for line in lines if line.origin and len(line.text) <= ORIGIN_COLUMN)
    column = max(reaching, default=0)
    return [line._replace(text=f"{line.text:{column}}") if line.origin else line for line in lines]
