"""Modules as ONNX's local functions: a module's nodes become one call, and equal modules call one function.

A function is cut out of a finished file, by the places of its nodes. Its inputs are what it reads from outside, its
weights among them; constants without a name of their own stand in it. A module that cannot be called at one point, as
rules have mixed its nodes with others, stays as it is, and its inner modules are cut out alone.
Source: ONNX IR spec, "Functions" (https://onnx.ai/onnx/repo-docs/IR.html).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import onnx
from onnx import helper

from fxonnx.emit.names import Names
from fxonnx.emit.onnx import Emitted
from fxonnx.location import METADATA_PREFIX, Location

Kind: TypeAlias = "tuple[str, str]"
"""The domain and the name of a function: the module and the name of a class."""

_VERSION = 1  # of the domains of functions
_IR_VERSION = 8  # the first one with functions in a model
_MODULE = METADATA_PREFIX + "module"
_NUMBER = re.compile(r"_\d+$")
_OF_ONE_CALL = frozenset({_MODULE, METADATA_PREFIX + "node", "namespace"})  # what two calls of a function differ in


def with_functions(emitted: Emitted, modules: Mapping[str, Kind]) -> Emitted:
    """The file with functions for these modules, by their paths; its weights are the same."""
    model = onnx.ModelProto()
    model.CopyFrom(emitted.proto)
    nameless = {name for value, name in emitted.names.values.items() if value.is_constant and value.name is None}
    own = [each for each in model.graph.initializer if each.name in nameless and not _is_weight(each)]
    _Outliner(model, modules, {each.name: each for each in own}).run()
    return replace(emitted, proto=model)


@dataclass(slots=True)
class _Outliner:
    """A file whose modules are cut out: how often each value is read, and the functions by what is in them."""

    model: onnx.ModelProto
    modules: Mapping[str, Kind]
    constants: Mapping[str, onnx.TensorProto]
    readers: Counter[str] = field(default_factory=Counter)
    functions: dict[tuple[Kind, bytes], onnx.FunctionProto] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)  # of functions, by domain

    def run(self) -> None:
        """Cut out all of them, in the model itself."""
        graph = self.model.graph
        self.readers.update(name for node in graph.node for name in reads(node))
        self.readers.update(output.name for output in graph.output)
        nodes = self.outlined(list(graph.node), "")
        if not self.functions:
            return
        del graph.node[:]
        graph.node.extend(nodes)
        self.model.functions.extend(self.functions.values())
        self.model.ir_version = max(self.model.ir_version, _IR_VERSION)
        imported = {each.domain for each in self.model.opset_import}
        for domain in sorted({each.domain for each in self.functions.values()} - imported):
            self.model.opset_import.append(helper.make_opsetid(domain, _VERSION))
        gone = {name for name in self.constants if not self.readers[name]}
        made = {name for node in nodes for name in node.output}
        _keep(graph.initializer, [each for each in graph.initializer if each.name not in gone])
        _keep(graph.value_info, [each for each in graph.value_info if each.name in made])

    def outlined(self, nodes: list[onnx.NodeProto], path: str) -> list[onnx.NodeProto]:
        """The nodes of a module, the modules in it called."""
        row = _Row(nodes)
        self.cut(row, nodes, path)
        return row.nodes()

    def cut(self, row: _Row, nodes: Iterable[onnx.NodeProto], path: str) -> None:
        """Call each module below a path that these nodes are of."""
        members: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            inner = self.below(path, _module(node))
            if inner is not None:
                members.setdefault(inner, []).append(node)
        for inner, own in members.items():
            around = row.around(own)
            if around is None:
                self.cut(row, own, inner)
            else:
                row.replace(own, *around, self.call(inner, self.outlined(own, inner)))

    def below(self, path: str, module: str) -> str | None:
        """The outermost wanted module that a place is in, inside of a path."""
        parts = module.split(".") if module else []
        start = path.count(".") + 1 if path else 0
        prefixes = (".".join(parts[: end + 1]) for end in range(start, len(parts)))
        return next((each for each in prefixes if each in self.modules), None)

    def call(self, path: str, body: list[onnx.NodeProto]) -> onnx.NodeProto:
        """The call of the function that a module's nodes are."""
        inside = Counter(name for node in body for name in reads(node))
        made = dict.fromkeys(name for node in body for name in node.output if name)
        inputs = [name for name in inside if name not in made and name not in self.constants]
        outputs = [name for name in made if self.readers[name] > inside[name]]
        self.readers.subtract(inside)
        self.readers.update(inputs)
        alike, function = (self.function(_Inner(root), body, inputs, outputs, inside) for root in ("", path))
        function = self.shared(self.modules[path], alike, function)
        node = helper.make_node(function.name, inputs, outputs, name=path, domain=function.domain)
        kind = self.modules[path][1]
        for key, text in Location(module=path, kind=kind).to_metadata().items():
            node.metadata_props.add(key=key, value=text)
        return node

    def function(
        self, inner: _Inner, body: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str],
        read: Iterable[str],
    ) -> onnx.FunctionProto:  # fmt: skip
        """The function without its name, with names that do not tell which of equal modules it was made of."""
        given = [inner.name(each, "input") for each in inputs]
        constants = [
            helper.make_node("Constant", [], [inner.name(each, "constant")], value=_nameless(self.constants[each]))
            for each in read
            if each in self.constants
        ]
        nodes = [*constants, *map(inner.node, body)]
        versions = {each.domain: each for each in self.model.opset_import}
        domains = dict.fromkeys(node.domain for node in _all(nodes))
        opsets = [versions.get(domain) or helper.make_opsetid(domain, _VERSION) for domain in domains]
        given_back = [inner.name(each, "value") for each in outputs]
        return helper.make_function("", "", given, given_back, nodes, opsets)

    def shared(self, kind: Kind, alike: onnx.FunctionProto, function: onnx.FunctionProto) -> onnx.FunctionProto:
        """The function of that kind which is the same, as what is `alike` tells, or this one under a name of its
        own."""
        key = kind, _without_places(alike).SerializeToString(deterministic=True)
        known = self.functions.get(key)
        if known is not None:
            _keep_common_places(known, function)
            return known
        domain, name = kind
        function.domain, function.name = domain, self.names.setdefault(domain, Names()).unique(name)
        self.functions[key] = function
        return function


class _Row:
    """Nodes in order of execution, of which some are being replaced by calls."""

    def __init__(self, nodes: Sequence[onnx.NodeProto]) -> None:
        self._slots: list[onnx.NodeProto | None] = list(nodes)
        self._places = {id(node): place for place, node in enumerate(nodes)}

    def nodes(self) -> list[onnx.NodeProto]:
        """What is there now."""
        return [node for node in self._slots if node is not None]

    def around(self, members: Sequence[onnx.NodeProto]) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]] | None:
        """The other nodes between members, those that can run before all of them and those after; None where one of
        them has to run in the middle."""
        own = {id(node) for node in members}
        made, late = set[str](), set[str]()
        before, after = list[onnx.NodeProto](), list[onnx.NodeProto]()
        for node in filter(None, self._slots[self._span(members)]):
            read = set(reads(node))
            if id(node) in own:
                if read & late:
                    return None
                made.update(node.output)
            elif read & made or read & late:
                after.append(node)
                late.update(node.output)
            else:
                before.append(node)
        return before, after

    def replace(
        self, members: Sequence[onnx.NodeProto], before: Sequence[onnx.NodeProto], after: Sequence[onnx.NodeProto],
        call: onnx.NodeProto,
    ) -> None:  # fmt: skip
        """Put a call in the place of members, between what runs before and after."""
        span, row = self._span(members), [*before, call, *after]
        self._slots[span] = row + [None] * (span.stop - span.start - len(row))
        self._places.update({id(node): span.start + place for place, node in enumerate(row)})

    def _span(self, members: Sequence[onnx.NodeProto]) -> slice:
        places = [self._places[id(node)] for node in members]
        return slice(min(places), max(places) + 1)


class _Inner:
    """Nodes as they stand in the function of a module; without its path, under names that only count."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._names, self._nodes = Names(), Names()
        self._known: dict[str, str] = {"": ""}

    def name(self, name: str, otherwise: str = "value") -> str:
        """A value's name: a weight's below the module, an output's after its node, another word for others."""
        if name not in self._known:
            is_weight = name.startswith(f"{self._path}.") and "/" not in name
            self._known[name] = self._names.unique(name[len(self._path) + 1 :] if is_weight else otherwise)
        return self._known[name]

    def _title(self, node: onnx.NodeProto) -> str:
        """A node's name below the module, without the number that made it unique in the file."""
        is_below = node.name.startswith((f"{self._path}.", f"{self._path}/"))
        return self._nodes.unique(_NUMBER.sub("", node.name[len(self._path) + 1 :]) if is_below else node.op_type)

    def node(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A node with the names of the function, and of its place what all calls have in common."""
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.name = self._title(node)
        _keep(made.metadata_props, [each for each in node.metadata_props if each.key not in _OF_ONE_CALL])
        made.input[:] = map(self.name, node.input)
        made.output[:] = [self.name(each, made.name) for each in node.output]
        for attribute in made.attribute:
            if attribute.HasField("g"):
                self._graph(attribute.g)
        return made

    def _graph(self, graph: onnx.GraphProto) -> None:
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = self.name(value.name)
        _keep(graph.node, list(map(self.node, graph.node)))


def _is_weight(tensor: onnx.TensorProto) -> bool:
    """Whether a constant may have been made of a weight, and differ from module to module."""
    return bool(tensor.dims) and np.issubdtype(helper.tensor_dtype_to_np_dtype(tensor.data_type), np.floating)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node needs: its inputs, and what its graphs capture."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            graph = attribute.g
            own = {each.name for each in (*graph.input, *graph.initializer)}
            own.update(name for inner in graph.node for name in inner.output)
            captured = [name for inner in graph.node for name in reads(inner)]
            yield from (name for name in (*captured, *(each.name for each in graph.output)) if name not in own)


def _without_places(function: onnx.FunctionProto) -> onnx.FunctionProto:
    for node in _all(function.node):
        del node.metadata_props[:]
    return function


def _keep_common_places(function: onnx.FunctionProto, other: onnx.FunctionProto) -> None:
    """Leave out of a function what is not true of the places of another one."""
    for node, twin in zip(_all(function.node), _all(other.node), strict=True):
        said = {each.key: each.value for each in twin.metadata_props}
        _keep(node.metadata_props, [each for each in node.metadata_props if said.get(each.key) == each.value])


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of their graphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _all(attribute.g.node)


def _module(node: onnx.NodeProto) -> str:
    return next((each.value for each in node.metadata_props if each.key == _MODULE), "")


def _nameless(tensor: onnx.TensorProto) -> onnx.TensorProto:
    made = onnx.TensorProto()
    made.CopyFrom(tensor)
    made.ClearField("name")
    return made


def _keep(field: object, wanted: list[object]) -> None:
    """Let a repeated field have these elements alone."""
    del field[:]  # type: ignore[attr-defined]
    field.extend(wanted)  # type: ignore[attr-defined]
