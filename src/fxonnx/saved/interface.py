"""How a model is called and what it returns, as text in its file's metadata, and read from there.

A structure is written as JSON: "tensor", "complex" or "number" for a leaf, {"tuple": […]}, {"list": […]}, {"dict":
{…}}, {"constant": …} for None, numbers and strings. Other containers (dataclasses, ModelOutputs, caches) are dicts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.call.tree import Branch, Constant, Tree
from fxonnx.ir.dims import evaluate, parse_dim

_PLAIN = (type(None), bool, int, float, str)
TENSOR, COMPLEX, NUMBER = "tensor", "complex", "number"

Structure = Any
"""as the module says"""


class DoesNotFit(Exception):
    """A value that is not built like a structure; the text says how."""


@dataclass(frozen=True, slots=True)
class Interface:
    """The arguments by name and structure, the names of their tensors, the structure of the result, and for which sizes
    the file holds: where all comparisons of one of the alternatives do."""

    arguments: Sequence[tuple[str, Structure]]
    inputs: Sequence[str]
    result: Structure
    holds: Sequence[Sequence[tuple[str, str, str]]]
    writes: bool

    def to_text(self) -> str:
        """As JSON."""
        said = {"arguments": self.arguments, "inputs": self.inputs, "result": self.result}
        return json.dumps({**said, "holds": self.holds, "writes": self.writes}, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> Interface:
        """Of what `to_text` wrote."""
        said = json.loads(text)
        return Interface(said["arguments"], said["inputs"], said["result"], said["holds"], said["writes"])

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
    arguments = [(name, _structure(tree, kinds)) for name, tree in signature.inputs]
    result = _structure(signature.result, iter([_kind(leaf) for leaf in program.outputs]))
    written = [[(str(left), relation, str(right)) for left, relation, right in dict.fromkeys(way)] for way in holds]
    return Interface(arguments, list(signature.names), result, written, program.writes)


def _kind(leaf: Any) -> Structure:
    """What a leaf of the result is. The capture knows None for one that is not computed."""
    if leaf is None:
        return {"constant": None}
    fake = leaf.meta.get("val") if isinstance(leaf, fx.Node) else leaf
    return (COMPLEX if fake.is_complex() else TENSOR) if isinstance(fake, torch.Tensor) else NUMBER


def _structure(tree: Tree, kinds: Iterator[Structure]) -> Structure:
    if isinstance(tree, Constant):
        return {"constant": tree.value if isinstance(tree.value, _PLAIN) else None}
    if not isinstance(tree, Branch):
        return next(kinds)
    parts = [_structure(part, kinds) for part in tree.parts]
    if issubclass(tree.type, (tuple, list)):
        return {"tuple" if issubclass(tree.type, tuple) else "list": parts}
    return {"dict": dict(zip(map(str, tree.keys), parts, strict=False))}


def flat(structure: Structure, value: Any, name: str) -> Iterator[Any]:
    """The tensors of a value, in order. Raises DoesNotFit where it is not built so."""
    if isinstance(structure, str):
        yield value
        return
    ((kind, inner),) = structure.items()
    if kind == "constant":
        if inner is not None and (type(value) is not type(inner) or value != inner):
            raise DoesNotFit(f"{name} is {value!r}, and was {inner!r} when the model was compiled")
    elif kind == "dict":
        for key, part in inner.items():
            yield from flat(part, _member(value, key, name), f"{name}.{key}")
    else:
        if not isinstance(value, (tuple, list)) or len(value) != len(inner):
            raise DoesNotFit(f"{name} is a {type(value).__name__}, not a {kind} of {len(inner)}")
        for number, (part, item) in enumerate(zip(inner, value, strict=True)):
            yield from flat(part, item, f"{name}.{number}")


def _member(value: Any, key: str, name: str) -> Any:
    if isinstance(value, Mapping) and key in value:
        return value[key]
    if hasattr(value, key):
        return getattr(value, key)
    raise DoesNotFit(f"{name} has no {key!r}")


def filled(structure: Structure, leaves: Iterator[torch.Tensor]) -> Any:
    """The structure around tensors, in order."""
    if isinstance(structure, str):
        leaf = next(leaves)
        return {TENSOR: lambda: leaf, COMPLEX: lambda: torch.view_as_complex(leaf), NUMBER: leaf.item}[structure]()
    ((kind, inner),) = structure.items()
    if kind == "constant":
        return inner
    if kind == "dict":
        return {key: filled(part, leaves) for key, part in inner.items()}
    parts = [filled(part, leaves) for part in inner]
    return tuple(parts) if kind == "tuple" else parts
