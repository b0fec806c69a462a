"""The text of a graph as a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.data import AbsentData, ArrayData, Data, array_of
from fxonnx.ir.dims import Expr, Shape, symbol
from fxonnx.ir.graph import NOWHERE, Attribute, Graph, Node, Value
from fxonnx.ir.infer import Call, CannotInfer, known_elements
from fxonnx.ir.text.literal import parse_attribute, parse_tensor
from fxonnx.ir.text.places import parse_origin, parse_place
from fxonnx.ir.text.scanner import Scanner
from fxonnx.ir.types import TensorType, parse_type

_NAME = re.compile(r"%\w+|[^\W\d][\w.\-/~]*")
_TYPE = re.compile(r"\w+\[[^\]]*\]")
_OPERATOR = re.compile(r"(?:[\w.]+::)?\w+")
_WORD = re.compile(r"\w+")
_SETTING = re.compile(r" (\w+)=")
_UNQUOTED = re.compile(r"\S+")
_SUBGRAPH = re.compile(r"(\w+) = graph\(")
_ORIGIN = re.compile(r" +· ")
_RETURN = re.compile(r"return(?: |$)")


@dataclass(frozen=True, slots=True)
class Declaration:
    """`name: type` of a value to be: `handle` is what the text calls it, `name` what the graph does."""

    handle: str
    name: str | None
    type: TensorType


def parse_graph(text: str, constants: Mapping[str, object] | None = None) -> Graph:
    """The graph that `print_graph` printed, or one wrote in its spelling; in the newest opset unless it says which.

    Constants in the header have a dtype and a shape but no content (`AbsentData`), unless `constants` gives it by name,
    as `Data`, an array or numbers. Raises ParseError, which shows the line and the column.
    """
    parser = _Parser(text, constants or {})
    scanner = parser.scanner
    scanner.expect("graph(")
    graph = parser.graph(schema.NEWEST)
    if not scanner.at_end:
        raise scanner.error("expected the end of the text after the graph's `return`")
    return graph


class _Parser:
    """What is known where the scanner is: values in sight, innermost scope last, and the place in the user's model."""

    def __init__(self, text: str, constants: Mapping[str, object]) -> None:
        self.scanner = Scanner(text)
        self.constants = constants
        self.scopes: list[dict[str, Value]] = []
        self.literals: dict[str, Value] = {}
        self.place = NOWHERE

    # ── graphs ──

    def graph(self, opset: int) -> Graph:
        """The rest of a graph after `graph(`."""
        scanner = self.scanner
        self.scopes.append({})
        inputs = tuple(scanner.items(")", self.input))
        settings = self.settings()
        with scanner.expecting("opset= takes a number"):
            opset = int(settings.get("opset", opset))
        self.end_line()
        nodes: list[Node] = []
        while not scanner.match(_RETURN):
            self.statement(nodes, opset)
        outputs, names = self.returned()
        self.end_line()
        self.scopes.pop()
        return Graph(inputs, tuple(nodes), outputs, opset, names, settings.get("name", "main"))

    def settings(self) -> dict[str, str]:
        """`opset=23 name=body stage=03-rewrite`."""
        found: dict[str, str] = {}
        while key := self.scanner.match(_SETTING):
            quoted = self.scanner.peek('"')
            found[key[1]] = self.scanner.string() if quoted else self.scanner.expect(_UNQUOTED, "a value")[0]
        return found

    def statement(self, nodes: list[Node], opset: int) -> None:
        """One line: a place, constants of the header, or a node (and the lines of its subgraphs)."""
        scanner = self.scanner
        if scanner.at_end:
            raise scanner.error("the graph has no `return`")
        if scanner.take("@ "):
            self.place = parse_place(scanner.rest_of_line())
            return self.end_line()
        declared = [self.declare()]
        while scanner.take(", "):
            declared.append(self.declare())
        if scanner.take(" = "):
            nodes.append(self.node(declared, opset))
            return None
        if len(declared) > 1:
            raise scanner.error("expected ' = '")
        self.constant(declared[0])
        while scanner.take("   "):
            self.constant(self.declare())
        return self.end_line()

    def returned(self) -> tuple[tuple[Value, ...], tuple[str, ...]]:
        """The outputs after `return`, and their names if they have any."""
        outputs: list[Value] = []
        names: list[str] = []
        while not self.scanner.at_end:
            if outputs:
                self.scanner.expect(", ")
            value = self.read()
            if value is None:
                raise self.scanner.error("an output cannot be absent")
            outputs.append(value)
            names.append(self.name() if self.scanner.take(" as ") else "")
        return tuple(outputs), tuple(names) if any(names) else ()

    def end_line(self) -> None:
        """Nothing more may stand in the line; go to the next one."""
        if not self.scanner.at_end:
            raise self.scanner.error("expected the end of the line")
        self.scanner.next_line()

    # ── nodes ──

    def node(self, results: list[Declaration], opset: int) -> Node:
        """A node after its `=`, to the end of its last subgraph."""
        scanner = self.scanner
        op = scanner.expect(_OPERATOR, "an operator")[0]
        scanner.expect("(")
        inputs = tuple(scanner.items(")", self.read))
        attributes = self.attributes()
        location = parse_origin(scanner.rest_of_line(), self.place) if scanner.match(_ORIGIN) else self.place
        self.end_line()
        while subgraph := scanner.match(_SUBGRAPH):
            attributes[subgraph[1]] = self.graph(opset)
        known = _known(Call(op, schema.facts(op, opset), inputs, attributes, len(results), _no_dim), results[0].type)
        outputs = tuple(self.bind(each, known=None if index else known) for index, each in enumerate(results))
        return Node(op, inputs, outputs, attributes, location)

    def attributes(self) -> dict[str, Attribute]:
        """`{axis=1, mode="linear"}`, if it stands here."""
        found: dict[str, Attribute] = {}

        def one() -> None:
            name = self.scanner.expect(_WORD, "an attribute's name")[0]
            self.scanner.expect("=")
            found[name] = parse_attribute(self.scanner)  # type: ignore[assignment]

        if self.scanner.take(" {"):
            self.scanner.items("}", one)
        return found

    # ── values ──

    def name(self) -> str:
        """A name, plain or quoted."""
        return self.scanner.string() if self.scanner.peek('"') else self.scanner.expect(_NAME, "a name")[0]

    def declare(self) -> Declaration:
        """`name: type`; `%0` and `%c0` are no names, only a way to refer to a value, but `"%0"` is a name."""
        scanner, quoted = self.scanner, self.scanner.peek('"')
        name = self.name()
        if _handle(name, quoted) in self.scopes[-1]:
            raise scanner.error(f"{name} is written twice")
        scanner.expect(": ")
        spelled = scanner.expect(_TYPE, "a type such as f32[n,4]")[0]
        with scanner.expecting(f"no type: {spelled}"):
            return Declaration(_handle(name, quoted), name if quoted or name[0] != "%" else None, parse_type(spelled))

    def bind(self, declared: Declaration, data: Data | None = None, known: Shape | None = None) -> Value:
        """The declared value, in sight from here on."""
        value = self.scopes[-1][declared.handle] = Value(declared.type, declared.name, data, known)
        return value

    def input(self) -> Value:
        """An input of a graph."""
        return self.bind(self.declare())

    def constant(self, declared: Declaration) -> Value:
        """A constant of the header, with the content that was given for it, if any."""
        type, given = declared.type, self.constants.get(declared.handle)
        shape = tuple(dim for dim in type.shape if isinstance(dim, int))
        if not type.is_static:
            raise self.scanner.error(f"the constant {declared.handle} has no static shape")
        if given is None:
            return self.bind(declared, AbsentData(type.dtype, shape, declared.handle))
        data = given if isinstance(given, Data) else ArrayData(array_of(given, type.dtype))
        found = TensorType(data.dtype, tuple(data.shape))
        if found != type:
            raise self.scanner.error(f"the content given for {declared.handle} is {found}, not {type}")
        return self.bind(declared, data)

    def read(self) -> Value | None:
        """A value by its name, a content, or `_` for none."""
        scanner, start, quoted = self.scanner, self.scanner.column, self.scanner.peek('"')
        content = None if quoted else parse_tensor(scanner)
        if content is not None:
            return self.literal(scanner.line[start : scanner.column], content)
        name = self.name()
        if name == "_" and not quoted:
            return None
        handle = _handle(name, quoted)
        for scope in reversed(self.scopes):
            if handle in scope:
                return scope[handle]
        scanner.column = start
        raise scanner.error(f"no value in sight is called {name}")

    def literal(self, spelled: str, content: np.ndarray) -> Value:
        """A constant that stands where it is read; equal spelling, one value."""
        value = self.literals.get(spelled)
        if value is None:
            data = ArrayData(content)
            value = self.literals[spelled] = Value(TensorType(data.dtype, data.shape), data=data)
        return value


def _handle(name: str, quoted: bool) -> str:
    """What the scopes call a value: a quoted name may look like a number's handle, and must not be taken for it."""
    return f'"{name}"' if quoted and name.startswith("%") else name


def _known(call: Call, result: TensorType) -> Shape | None:
    """What the builder had told about shape arithmetic, and the text does not say; nothing of a call that cannot be."""
    try:
        return known_elements(call, result) if call.facts else None
    except (CannotInfer, LookupError, ValueError):
        return None


def _no_dim() -> Expr:
    return symbol("_")
