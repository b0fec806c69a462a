"""Other tensors for the weights of a captured model: whatever was computed of the old ones is computed anew.

A binding names tensors as the model does. Each program of the model is bound before it is lowered, so that folding,
rules and forms meet the new contents and decide by them. What capture has decided by a weight's value does not change:
a program holds for those values, and is not bound to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from fxonnx.capture.call.dense import not_plain
from fxonnx.capture.program import KnownWeight, Program, State, Weight
from fxonnx.capture.versions import has_memory
from fxonnx.capture.weights.names import Owned, packed, places
from fxonnx.capture.wrappers import without_wrappers
from fxonnx.errors import Error, WeightsMismatch, raise_all
from fxonnx.ir.extent import Extent
from fxonnx.location import Location


@dataclass(frozen=True, slots=True)
class Binding:
    """Tensors by all names that the model has for them, where files have their bytes, and the names of `adapters`:
    weights that whoever runs a file may replace."""

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    extents: Mapping[str, Extent] = field(default_factory=dict)
    adapters: frozenset[str] = frozenset()

    def __call__(self, program: Program) -> Program:
        """The program with these tensors for its weights. Raises WeightsMismatch where it holds for other values."""
        if not self.tensors and not self.extents and not self.adapters:
            return program
        raise_all([_decides(each) for each in program.known if each.weight.key in self.adapters])
        raise_all([_other_value(each) for each in program.known if not self._holds(each)])
        return replace(
            program,
            weights=self._bound(program.weights),
            known=tuple(replace(each, weight=self._weight(each.weight)) for each in program.known),
        )

    def updated(self, other: Binding) -> Binding:
        """The same with the tensors of another, where that has one."""
        extents = {name: each for name, each in self.extents.items() if name not in other.tensors}
        return replace(self, tensors={**self.tensors, **other.tensors}, extents=extents)

    def without(self, states: Iterable[State]) -> Binding:
        """The same without the tensors of states, which are the model's own."""
        keys = {each.key for each in states}
        return replace(self, tensors={name: each for name, each in self.tensors.items() if name not in keys})

    def _bound(self, weights: Mapping[fx.Node, Weight]) -> dict[fx.Node, Weight]:
        return {node: self._weight(weight) for node, weight in weights.items()}

    def _weight(self, weight: Weight) -> Weight:
        tensor = self.tensors.get(weight.key, weight.tensor)
        return Weight(
            weight.key, tensor, self.extents.get(weight.key), weight.key in self.adapters, weight.is_held
        )  # fmt: skip

    def _holds(self, known: KnownWeight) -> bool:
        tensor = self.tensors.get(known.weight.key)
        return tensor is None or same_elements(tensor, known.content)


def bound(
    model: Any, names: Mapping[str, Owned], state_dict: Mapping[str, Any] | None = None, *, strict: bool = True
) -> Binding:
    """The tensors of a state dict for those of the model, converted to their dtypes, or the model's own of now.

    Raises WeightsMismatch for keys that are missing or unknown, if `strict`, for shapes, for tied weights that are not
    equal, and for a model whose weights are not tensors of it.
    """
    raise_all([_packed(name) for name in packed(model)])
    if state_dict is None:
        now = {name: each for name, (holder, at) in places(model).items() if has_memory(each := holder[at])}
        return Binding(_tensors(names, now, failures=[*_other_dtypes(names, now)]))
    if not isinstance(state_dict, Mapping):
        raise mismatch(f"a {type(state_dict).__name__} is no state dict", "it has tensors by name", [], _GIVE)
    given = {without_wrappers(str(name)): value for name, value in state_dict.items()}
    tensors = _tensors(names, given, failures=[*_keys_apart(names, given)] if strict else [])
    dtypes = {name: own.dtype for own in names.values() for name in own.names}
    return Binding({name: tensor.detach().to(dtypes[name]) for name, tensor in tensors.items()})


_GIVE = "compiled.rebind(model.state_dict())"


def _tensors(names: Mapping[str, Owned], given: Mapping[str, Any], failures: list[Error]) -> dict[str, torch.Tensor]:
    """The given tensors, one for all names of a weight. Raises WeightsMismatch, with further failures."""
    tensors: dict[str, torch.Tensor] = {}
    for own in names.values():
        values = [(name, given[name]) for name in own.names if name in given]
        failures += _unfit(own, values)
        if values:
            tensors.update(dict.fromkeys(own.names, values[0][1]))
    raise_all(failures)
    return tensors


def _other_dtypes(names: Mapping[str, Owned], now: Mapping[str, torch.Tensor]) -> Iterator[Error]:
    for key, own in names.items():
        if key in now and now[key].dtype is not own.dtype:
            yield mismatch(f"{key} is {now[key].dtype}", f"it was {own.dtype} when the model was compiled", [key])


def _packed(name: str) -> Error:
    return mismatch(f"{name} cannot be rebound", "it is no parameter or buffer, but packed by its module", [name])


def same_elements(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same type and the same bits."""
    if one.dtype is not other.dtype or one.shape != other.shape:
        return False
    bits = [each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (one, other)]
    return torch.equal(*bits)


def _unfit(own: Owned, values: list[tuple[str, Any]]) -> Iterator[Error]:
    """Why these are not the values of one tensor."""
    for name, value in values:
        wrong = not_plain(value) if isinstance(value, torch.Tensor) else None
        if wrong is not None or not isinstance(value, torch.Tensor):
            what = wrong.what if wrong else f"a {type(value).__name__}"
            yield mismatch(f"{name} is {what}", "a weight is a plain, dense tensor", [name], "give state_dict()'s")
            return
        if not has_memory(value):
            yield mismatch(f"{name} has no contents", "it is on the meta device, or fake", [name], "give a real one")
            return
        if value.shape != own.shape:
            cause = f"the model was compiled with {list(own.shape)}"
            yield mismatch(f"{name} has shape {list(value.shape)}", cause, [name])
            return
    if any(value is not values[0][1] and not same_elements(value, values[0][1]) for _, value in values):
        said = " and ".join(own.names)
        yield mismatch(f"{said} differ", "the model was compiled with one tensor under these names", own.names)


def _keys_apart(names: Mapping[str, Owned], given: Mapping[str, Any]) -> Iterator[Error]:
    """What load_state_dict(strict=True) refuses."""
    missing = [key for key, own in names.items() if own.persistent and given.keys().isdisjoint(own.names)]
    known = {name for own in names.values() for name in own.names}
    extra = [name for name in given if name not in known]
    cure = f"{_GIVE}, or strict=False, which keeps what is missing"
    for found, what in ((missing, "the state dict lacks"), (extra, "the model has no")):
        if found:
            yield mismatch(f"{what} {_listed(found)}", "a state dict has the names that the model has", found, cure)


def _other_value(known: KnownWeight) -> Error:
    return WeightsMismatch(
        f"{known.weight.key} has another value",
        cause=f"what is compiled holds for {known}: forward decides by it",
        cure="compile a model with these weights: fxonnx.compile(model, args)",
        location=known.location,
    )


def _decides(known: KnownWeight) -> Error:
    return WeightsMismatch(
        f"{known.weight.key} cannot be an input",
        cause=f"what is compiled holds for {known}: forward decides by it",
        cure="leave it out of adapters",
        location=known.location,
    )


def mismatch(what: str, cause: str, names: Iterable[str], cure: str = "") -> Error:
    """The error about weights, with the modules that have them."""
    return WeightsMismatch(
        what,
        cause=cause,
        cure=cure or "compile the model with these weights: fxonnx.compile(model, args)",
        location=[Location(module=path) for path in dict.fromkeys(name.rpartition(".")[0] for name in names)],
    )


def _listed(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
