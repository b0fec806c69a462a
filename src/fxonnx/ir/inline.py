"""An ONNX function's body as recorded nodes: an `@onnxscript.script` function, or one from ONNX's own schemas.

A function is written in the operator sets that it imports; what it calls is recorded in the newest spelling. Attributes
that have become inputs since move, defaults that have changed since are written out. What has changed its meaning is
refused.

Sources: ONNX IR spec, "Functions"; the operators' histories in `onnx.defs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto

from fxonnx.ir import schema
from fxonnx.ir.build import Builder
from fxonnx.ir.calls import InvalidCall, tensor_array
from fxonnx.ir.control import record_if, record_loop
from fxonnx.ir.dims import Expr
from fxonnx.ir.schema import OpFacts
from fxonnx.ir.tensor import Tensor

# Attributes that moved to an input of another name, and values that were renamed.
_MOVED = {("Pad", "value"): "constant_value", ("Pad", "paddings"): "pads", ("TopK", "k"): "K"}
_RENAMED = {("GridSample", "mode", "bilinear"): "linear", ("GridSample", "mode", "bicubic"): "cubic"}
# Before this opset, these saw a matrix: all axes from `axis` on together.
_FLATTENED = {"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13}
# What only said how to compute, and is gone.
_DROPPED = frozenset({"consumed_inputs"})

Functions = Mapping[tuple[str, str], FunctionProto]


def inline(
    op: Builder, function: FunctionProto, arguments: Mapping[str, Any], functions: Iterable[FunctionProto] = ()
) -> tuple[Tensor, ...]:
    """Record the body of `function` and return its outputs.

    `arguments` are by name: tensors (or numbers, lists, arrays) for its inputs, absent ones left out or None; Python
    values for its attributes. `functions` are those that it calls. Raises InvalidCall for an argument it does not have
    or that is missing, and for what cannot be said in the newest opset.
    """
    _check(function, arguments)
    inputs = {name: _input(op, arguments.get(name)) for name in function.input}
    imports = {entry.domain: entry.version for entry in function.opset_import}
    known = {(other.domain, other.name): other for other in functions}
    body = _Body(op, inputs, _attributes(function, arguments), imports.get("", op.version), known)
    body.record(function.node)
    return tuple(body.tensor(name) for name in function.output)


def _input(op: Builder, argument: Any) -> Any:
    return op.size(argument) if isinstance(argument, Expr) else argument


def _check(function: FunctionProto, arguments: Mapping[str, Any]) -> None:
    defaults = {attribute.name for attribute in function.attribute_proto}
    unknown = arguments.keys() - {*function.input, *function.attribute, *defaults}
    if unknown:
        raise InvalidCall(f"{function.name} has no argument {', '.join(sorted(unknown))}")


def _attributes(function: FunctionProto, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the function's attributes: those given, else their defaults; one with neither is absent."""
    defaults = {proto.name: _attribute_value(proto) for proto in function.attribute_proto}
    given = {name: arguments[name] for name in (*function.attribute, *defaults) if arguments.get(name) is not None}
    return defaults | given


def _attribute_value(proto: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [item.decode() if isinstance(item, bytes) else item for item in value]
    return tensor_array(value) if isinstance(value, onnx.TensorProto) else value


@dataclass(slots=True)
class _Body:
    """The nodes of a function, or of a graph inside it, being recorded: values by name, attributes of the function."""

    op: Builder
    values: dict[str, Any]
    attributes: Mapping[str, Any]
    opset: int
    functions: Functions = field(default_factory=dict)

    def record(self, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            results = self.node(node)
            self.values.update((name, result) for name, result in zip(node.output, results, strict=False) if name)

    def value(self, name: str) -> Any:
        if name and name not in self.values:
            raise InvalidCall(f"nothing in the function defines {name!r}")
        return self.values[name] if name else None

    def tensor(self, name: str) -> Tensor:
        """A value that leaves the body: a number that was given for an input is a constant."""
        value = self.value(name)
        return self.op.use(value.value) if hasattr(value, "value") else self.op.constant(value)

    def node(self, node: NodeProto) -> Sequence[Tensor]:
        called = self.functions.get((node.domain, node.op_type))
        if called is not None:
            return self.function(called, node)
        given = self.given(node)
        if any(isinstance(value, GraphProto) for value in given.values()):
            return self.control(node, given)
        inputs = [self.value(name) for name in node.input]
        if node.op_type == "Constant" and not node.domain:
            return [self.op.Constant(**given)]
        name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        call = Upgrade(name, self.opset, inputs, given).run(self.op.version)
        if name == "Split" and len(call.inputs) == 1:
            call.attributes.setdefault("num_outputs", len(node.output))  # said by the outputs alone before opset 18
        return self.op.call(name, call.inputs, call.attributes, len(node.output))

    def given(self, node: NodeProto) -> dict[str, Any]:
        """The node's attributes; one that refers to an absent attribute of the function is absent too."""
        found = {}
        for proto in node.attribute:
            value = self.attributes.get(proto.ref_attr_name) if proto.ref_attr_name else _attribute_value(proto)
            if value is not None:
                found[proto.name] = value
        return found

    def function(self, called: FunctionProto, node: NodeProto) -> Sequence[Tensor]:
        tensors = dict(zip(called.input, (self.value(name) for name in node.input), strict=False))
        return inline(self.op, called, tensors | self.given(node), self.functions.values())

    # ── subgraphs ──

    def control(self, node: NodeProto, given: Mapping[str, Any]) -> Sequence[Tensor]:
        if node.op_type == "If":
            branches = (given["then_branch"], given["else_branch"])
            then, otherwise = (lambda inner, graph=graph: self.nested(inner, graph, ()) for graph in branches)
            return record_if(self.op, self.tensor(node.input[0]), then, otherwise)
        if node.op_type != "Loop":
            raise InvalidCall(f"{node.op_type} in a function cannot be recorded; write it as a Loop")
        trips, condition = (self.tensor(name) if name else None for name in node.input[:2])
        carried = [self.tensor(name) for name in node.input[2:]]
        body = given["body"]
        return record_loop(
            self.op, carried, lambda inner, *tensors: self.nested(inner, body, tensors), trips, condition
        )

    def nested(self, inner: Builder, graph: GraphProto, arguments: Sequence[Tensor]) -> list[Tensor]:
        """A subgraph's outputs, recorded by `inner`; it sees every value of the body around it."""
        constants = {tensor.name: inner.constant(tensor_array(tensor)) for tensor in graph.initializer}
        names = (value.name for value in graph.input)
        body = _Body(
            inner,
            self.values | constants | dict(zip(names, arguments, strict=True)),
            self.attributes,
            self.opset,
            self.functions,
        )
        body.record(graph.node)
        return [body.tensor(value.name) for value in graph.output]


@dataclass(slots=True)
class Upgrade:
    """One call written in an older operator set, on its way to a newer one."""

    name: str
    opset: int
    inputs: list[Any]
    attributes: dict[str, Any]

    def run(self, newest: int) -> Upgrade:
        """The same call in operator set `newest`. Raises InvalidCall where there is none."""
        old, new = schema.facts(self.name, self.opset), schema.facts(self.name, newest)
        if old is None or new is None or old.since == new.since:
            return self
        self._check_meaning(new)
        for name in [name for name in old.attributes if name not in new.attributes]:
            self._move(old, new, name)
        for name, fact in old.attributes.items():
            if name in new.attributes and fact.default is not None and fact.default != new.attributes[name].default:
                self.attributes.setdefault(name, fact.default)
        for name, value in self.attributes.items():
            if isinstance(value, str):
                self.attributes[name] = _RENAMED.get((self.name, name, value), value)
        return self

    def _check_meaning(self, new: OpFacts) -> None:
        if new.deprecated:
            raise InvalidCall(f"{self.name} is not in opset {new.since} any more")
        if self.opset >= _FLATTENED.get(self.name, 0):
            return
        axis, rank = self.attributes.get("axis", 1), len(self.inputs[0].shape)
        if axis not in (-1, rank - 1):
            raise InvalidCall(
                f"{self.name} of opset {self.opset} flattens its input; only along the last axis does it not"
            )

    def _move(self, old: OpFacts, new: OpFacts, name: str) -> None:
        """An attribute that is gone, as the input that took its place."""
        fact = old.attributes[name]
        value = self.attributes.pop(name, fact.default)
        if value is None or name in _DROPPED:
            return
        wanted = _MOVED.get((self.name, name), name)
        position = next((index for index, parameter in enumerate(new.inputs) if parameter.name == wanted), None)
        if position is None:
            if value != fact.default:
                raise InvalidCall(f"{self.name} has no {name!r} any more")
            return
        self.inputs += [None] * (position + 1 - len(self.inputs))
        self.inputs[position] = value
