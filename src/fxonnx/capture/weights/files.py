"""Weights in safetensors files: mapped for a model that has no memory for them, or found to be those of a model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fxonnx import dtypes
from fxonnx.capture.call.inputs import owner
from fxonnx.capture.program import Program
from fxonnx.capture.versions import has_memory
from fxonnx.capture.weights.binding import mismatch
from fxonnx.capture.weights.buffers import computed
from fxonnx.capture.weights.names import Owned, owned, places
from fxonnx.capture.wrappers import unwrapped
from fxonnx.emit.safetensors import Stored, stored_tensors
from fxonnx.emit.weights import raw_data
from fxonnx.errors import Error, raise_all
from fxonnx.ir.data import Data
from fxonnx.ir.extent import Extent, Extents
from fxonnx.lowering.weights import TorchData


def from_files(model: Any, given: Any) -> tuple[Any, dict[str, Extent]]:
    """A copy of a model whose weights are those in safetensors files, mapped: only what is looked at is read. And where
    each lies, by its name.

    What no file has is the model's own; buffers without memory are computed. Raises CannotRead, WeightsMismatch.
    """
    root, method = owner(unwrapped(model))
    if not isinstance(root, nn.Module):
        raise mismatch(f"a {type(root).__name__} has no weights", "only modules do, and their methods", [], _LEAVE_OUT)
    names, kept = owned(root), places(root)
    stored = _by_model(names, stored_tensors(given))
    found = {key: each for key, own in names.items() if (each := _of(own, stored)) is not None}
    own_tensors = {key: kept[key].holder[kept[key].name] for key in names}
    missing = [key for key in names if key not in found and not has_memory(own_tensors[key])]
    failures = [error for key, each in found.items() for error in _unfit(key, names[key], each)]
    raise_all([*failures, *(_absent(key) for key in missing if names[key].persistent)])
    tensors = own_tensors | {key: _mapped(each) for key, each in found.items()} | computed(root, missing)
    twin = _with(root, {id(own_tensors[key]): _like(own_tensors[key], tensor) for key, tensor in tensors.items()})
    return getattr(twin, method) if method else twin, {key: each.extent for key, each in found.items()}


_LEAVE_OUT = "leave weights= out: fxonnx.compile(model, args)"


def _of(own: Owned, stored: Mapping[str, Stored]) -> Stored | None:
    return next((stored[name] for name in own.names if name in stored), None)


def _with(root: nn.Module, tensors: dict[int, Any]) -> nn.Module:
    """A copy of a module with other tensors, by the ids of its own. Raises WeightsMismatch where it has no copy."""
    try:
        return copy.deepcopy(root, tensors)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise mismatch(
            "the model cannot be copied, to be given the weights in files", str(error), [],
            "load them: model.load_state_dict(safetensors.torch.load_file(path), assign=True); and leave weights= out",
        ) from error  # fmt: skip


def _like(own: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """A parameter where the model has one."""
    return nn.Parameter(tensor, requires_grad=False) if isinstance(own, nn.Parameter) and own is not tensor else tensor


def found_in(program: Program, names: Mapping[str, Owned], given: Any) -> Extents:
    """Where safetensors files have the weights of a program, byte for byte, by the identity of their contents.

    Raises CannotRead, and WeightsMismatch where they have none of them.
    """
    stored, extents = stored_tensors(given), dict(extents_of(program))
    for weight in program.weights.values():
        data, own = TorchData(weight.tensor), names.get(weight.key)
        same = (stored[name] for name in _endings(own.names if own else [weight.key]) if name in stored)
        found = None if data.identity in extents else next((each for each in same if _has_bytes(each, data)), None)
        if found is not None:
            extents[data.identity] = found.extent
    if program.weights and not extents:
        raise mismatch(
            f"{str(given)!r} has none of the model's weights", "none has the name and the bytes of a tensor there", [],
            'save(path, weights="safetensors"), which writes such a file',
        )  # fmt: skip
    return extents


def extents_of(program: Program) -> Extents:
    """Where files have the weights that a program is bound to, by the identity of their contents."""
    return {TorchData(each.tensor).identity: each.extent for each in program.weights.values() if each.extent}


def _by_model(names: Mapping[str, Owned], stored: Mapping[str, Stored]) -> Mapping[str, Stored]:
    """Tensors by the model's names: those of a model inside of this one, or around it, lack a prefix or have one."""
    wanted = [own.names[0] for own in names.values() if own.persistent]
    for less, more in [("", ""), *_prefixes(wanted[:1], stored)]:
        renamed = {f"{less}{name.removeprefix(more)}": each for name, each in stored.items() if name.startswith(more)}
        if all(not renamed.keys().isdisjoint(own.names) for own in names.values() if own.persistent):
            return renamed
    return stored


def _prefixes(wanted: Sequence[str], stored: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What the model's names may have before those in files, and those before the model's."""
    for name in wanted:
        levels = name.split(".")
        yield from ((".".join(levels[:depth]) + ".", "") for depth in range(1, len(levels)))
        yield from (("", other.removesuffix(name)) for other in stored if other.endswith(f".{name}"))


def _endings(names: Sequence[str]) -> Iterator[str]:
    """Names, and what is left of them without the modules around: a file may be that of a part."""
    for name in names:
        levels = name.split(".")
        yield from (".".join(levels[depth:]) for depth in range(len(levels)))


def _unfit(key: str, own: Owned, found: Stored) -> Iterator[Error]:
    given, wanted = (found.dtype, found.shape), (dtypes.dtype(own.dtype), tuple(own.shape))
    if given != wanted:
        said, other = (f"{dtype}{list(shape)}" for dtype, shape in (given, wanted))
        cure = f"make the model in that dtype: model.to(torch.{found.dtype.torch})" if given[1] == wanted[1] else ""
        yield mismatch(f"{key} is {said} in {found.extent.path.name}", f"the model's is {other}", [key], cure)


def _absent(key: str) -> Error:
    cure = 'give the files that have it, fxonnx.compile(model, args, weights="folder"), or make the model with memory'
    return mismatch(f"{key} is in no file", "the model has no memory for it", [key], cure)


def _mapped(stored: Stored) -> torch.Tensor:
    """A tensor over the bytes of a file; who writes to it has a copy of that page."""
    dtype, extent = getattr(torch, stored.dtype.torch), stored.extent
    if not extent.length:
        return torch.empty(stored.shape, dtype=dtype)
    octets = np.memmap(extent.path, np.uint8, "c", extent.offset, (extent.length,))
    return torch.from_numpy(octets).view(dtype).reshape(stored.shape)


def _has_bytes(stored: Stored, data: Data) -> bool:
    """Whether a file has a content as it would be written."""
    if stored.dtype is not data.dtype or stored.shape != tuple(data.shape):
        return False
    octets, start = stored.extent.octets(), 0
    for piece in raw_data(data):
        if not np.array_equal(octets[start : start + len(piece)], np.frombuffer(piece, np.uint8)):
            return False
        start += len(piece)
    return True
