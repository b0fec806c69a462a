"""How a model is called and what it returns, as text in its file's metadata, and read from there.

A structure is written as JSON: "tensor", "complex" or "number" for a leaf, {"tuple": […]}, {"list": […]}, {"dict":
{…}}, {"constant": …} for None, numbers and strings, {"text": "torch.float32"} for what else is known by its text and
{"type": "function"} for what is not, {"again": 2} for the container that was closed as the third one.
Other containers (dataclasses, ModelOutputs, caches) are dicts.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.call.tree import Again, Branch, Constant, Tree, is_shared
from fxonnx.ir.dims import evaluate, parse_dim

_PLAIN = (type(None), bool, int, float, str)
_TEXTS = (bytes, complex, tuple, slice, range, Enum, torch.dtype, torch.device, torch.layout, torch.memory_format)
_CONSTANTS = ("constant", "text", "type")
TENSOR, COMPLEX, NUMBER = "tensor", "complex", "number"

Structure = Any
"""as the module says"""


class DoesNotFit(Exception):
    """A value that is not built like a structure; the text says how."""


@dataclass(frozen=True, slots=True)
class Interface:
    """The arguments by name and structure, those among them that may be left out, the names of their tensors, the
    structure of the result, and for which sizes the file holds: where all comparisons of one of the alternatives do.
    `strides` are those of tensors of which it matters how they lie in memory."""

    arguments: Sequence[tuple[str, Structure]]
    optional: Sequence[str]
    inputs: Sequence[str]
    result: Structure
    holds: Sequence[Sequence[tuple[str, str, str]]]
    strides: Mapping[str, Sequence[str]]
    writes: bool

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)}, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> Interface:
        """Of what `to_text` wrote."""
        return Interface(**json.loads(text))

    def strides_at(self, name: str, sizes: Mapping[str, int]) -> list[int]:
        """The strides of a tensor at these sizes by name."""
        return [evaluate(parse_dim(each), sizes) for each in self.strides[name]]

    def admits(self, sizes: Mapping[str, int]) -> bool:
        """Whether the file computes what the model does, at these sizes by name."""
        return not self.holds or any(all(_true(each, sizes) for each in way) for way in self.holds)


def _true(comparison: tuple[str, str, str], sizes: Mapping[str, int]) -> bool:
    left, relation, right = comparison
    dims = parse_dim(left), parse_dim(right)
    if any(not isinstance(dim, int) and not dim.symbols <= sizes.keys() for dim in dims):
        return True  # a size that is computed of data: no input tells
    try:
        return RELATIONS[relation](*(evaluate(dim, sizes) for dim in dims))
    except ZeroDivisionError:
        return False


def interface_of(program: Program, holds: Sequence[Sequence[tuple[Any, str, Any]]]) -> Interface:
    """What the file of a captured model says of itself."""
    signature = program.signature
    kinds = iter([COMPLEX if each.node.meta["val"].is_complex() else TENSOR for each in program.inputs])
    asked = _Structures(kinds)
    arguments = [(name, asked.of(tree)) for name, tree in signature.inputs]
    result = _Structures(iter([_kind(leaf) for leaf in program.outputs])).of(signature.result)
    written = [[(str(left), relation, str(right)) for left, relation, right in dict.fromkeys(way)] for way in holds]
    strides = {
        signature.names[index]: [str(program.dim(each)) for each in program.inputs[index].node.meta["val"].stride()]
        for index in program.by_layout
    }
    defaults = dict(_defaults(signature.parameters, dict(arguments)))
    named = list((defaults | dict(arguments)).items())
    optional = [name for name, each in named if each == defaults.get(name)]
    return Interface(named, optional, list(signature.names), result, written, strides, program.writes)


def _defaults(parameters: inspect.Signature, given: Mapping[str, Structure]) -> Iterator[tuple[str, Structure]]:
    """The parameters in order, with their defaults; up to one that was left out, whose default JSON cannot say."""
    for name, each in parameters.parameters.items():
        if isinstance(each.default, (*_PLAIN, *_TEXTS)):
            yield name, _constant(each.default)
        elif name in given:
            yield name, None
        else:
            return


def _kind(leaf: Any) -> Structure:
    """What a leaf of the result is. The capture knows None for one that is not computed."""
    if leaf is None:
        return {"constant": None}
    fake = leaf.meta.get("val") if isinstance(leaf, fx.Node) else leaf
    return (COMPLEX if fake.is_complex() else TENSOR) if isinstance(fake, torch.Tensor) else NUMBER


def _constant(value: Any) -> Structure:
    if isinstance(value, _PLAIN):
        return {"constant": value}
    return {"text": repr(value)} if isinstance(value, _TEXTS) else {"type": type(value).__name__}


class _Structures:
    """The structures of trees, which share what they hold: `kinds` are those of the leaves, in order."""

    def __init__(self, kinds: Iterator[Structure]) -> None:
        self.kinds = kinds
        self.closed = 0  # containers
        self.shared: list[int] = []  # which of them may be met again, see `capture.call.tree`

    def of(self, tree: Tree) -> Structure:
        """The structure of the next tree."""
        if isinstance(tree, Constant):
            return _constant(tree.value)
        if isinstance(tree, Again):
            return {"again": self.shared[tree.number]}
        if not isinstance(tree, Branch):
            return next(self.kinds)
        parts = [self.of(part) for part in tree.parts]
        self.shared += [self.closed] if is_shared(tree.type) else []
        self.closed += 1
        if issubclass(tree.type, (tuple, list)):
            return {"tuple" if issubclass(tree.type, tuple) else "list": parts}
        return {"dict": dict(zip(map(str, tree.keys), parts, strict=False))}


def flat(structure: Structure, value: Any, name: str, closed: list[Any] | None = None) -> Iterator[Any]:
    """The tensors of a value, in order; `closed` are the containers of those before. Raises DoesNotFit where it is not
    built so."""
    closed = [] if closed is None else closed
    if isinstance(structure, str):
        yield value
        return
    ((kind, inner),) = structure.items()
    if kind in _CONSTANTS:
        if repr(_constant(value)) != repr(structure):  # True is no 1, and NaN is NaN
            was = repr(inner) if kind == "constant" else inner if kind == "text" else f"a {inner}"
            raise DoesNotFit(f"{name} is {_described(value)}, and was {was} when the model was compiled")
        return
    if kind == "again":
        if value is not closed[inner]:
            raise DoesNotFit(f"{name} is another {type(value).__name__}, and was one that stands before it")
        return
    if kind == "dict":
        for key, part in inner.items():
            yield from flat(part, _member(value, key, name), f"{name}.{key}", closed)
    else:
        if not isinstance(value, (tuple, list)) or len(value) != len(inner):
            raise DoesNotFit(f"{name} is a {type(value).__name__}, not a {kind} of {len(inner)}")
        for number, (part, item) in enumerate(zip(inner, value, strict=True)):
            yield from flat(part, item, f"{name}.{number}", closed)
    closed.append(value)


def _described(value: Any) -> str:
    return repr(value) if isinstance(value, (*_PLAIN, *_TEXTS)) else f"a {type(value).__name__}"


def _member(value: Any, key: str, name: str) -> Any:
    if isinstance(value, Mapping) and key in value:
        return value[key]
    if hasattr(value, key):
        return getattr(value, key)
    raise DoesNotFit(f"{name} has no {key!r}")


def filled(structure: Structure, leaves: Iterator[torch.Tensor], closed: list[Any] | None = None) -> Any:
    """The structure around tensors, in order; `closed` are the containers that are made by now."""
    closed = [] if closed is None else closed
    if isinstance(structure, str):
        leaf = next(leaves)
        return {TENSOR: lambda: leaf, COMPLEX: lambda: torch.view_as_complex(leaf), NUMBER: leaf.item}[structure]()
    ((kind, inner),) = structure.items()
    if kind in _CONSTANTS:
        return inner
    if kind == "again":
        return closed[inner]
    if kind == "dict":
        made: Any = {key: filled(part, leaves, closed) for key, part in inner.items()}
    else:
        parts = [filled(part, leaves, closed) for part in inner]
        made = tuple(parts) if kind == "tuple" else parts
    closed.append(made)
    return made
