"""Whether a model's tensors still are what they were when it was captured.

A captured model refers to the model's own tensors. What is folded reads them at once, a session when it is made, a
file when it is written: all three are one model only as long as nobody writes to those tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from fxonnx.capture.call.inputs import owner
from fxonnx.capture.program import Weight
from fxonnx.capture.wrappers import unwrapped
from fxonnx.errors import ModelChanged
from fxonnx.location import Location

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SAMPLED = 8  # elements of a tensor
_NAMED = 5  # weights in a message

_NOTHING = torch.empty(0)  # in place of a tensor whose writes torch does not count, or that has no memory
_NO_SAMPLE = np.empty(0)


class Slot(NamedTuple):
    """Where a module keeps a parameter or a submodule: its own dict, the name there, and the path from the model."""

    holder: dict[str, Any]
    name: str
    path: str


class Versions:
    """The weights of a captured model as they were: torch's counts of the writes to them, their addresses, and a few
    of their elements, which tell of writes through `tensor.data` and numpy that torch does not count.

    A parameter that was exchanged for another is known by its slot: the model is another one then.
    """

    def __init__(self, model: Any, weights: Iterable[Weight]) -> None:
        self._weights = tuple(weights)
        tensors = [weight.tensor for weight in self._weights]
        self._counters = [_NOTHING if tensor.is_inference() else tensor for tensor in tensors]
        self._located = [tensor if _has_memory(tensor) else _NOTHING for tensor in tensors]
        self._samples = [_sample(tensor) for tensor in self._located]
        self._slots = list(_slots(model, set(map(id, tensors))))
        self._before = self._now()
        self._held = self._contents()

    def check(self) -> None:
        """Raises ModelChanged where the model is not what it was, in some tenths of a microsecond for each weight."""
        if self._now() != self._before or not all(map(is_, self._contents(), self._held)):
            raise self._changed()

    def _now(self) -> tuple[list[int], list[int], list[bytes]]:
        return (
            [tensor._version for tensor in self._counters],
            [tensor.data_ptr() for tensor in self._located],
            [sample.tobytes() for sample in self._samples],
        )

    def _contents(self) -> list[Any]:
        return [_held(holder, name) for holder, name, _ in self._slots]

    def _changed(self) -> ModelChanged:
        """The error, with the names of all that has changed."""
        versions = zip(zip(*self._now(), strict=True), zip(*self._before, strict=True), strict=True)
        written = [weight.key for weight, (now, then) in zip(self._weights, versions, strict=True) if now != then]
        contents = zip(self._slots, self._contents(), self._held, strict=True)
        exchanged = [slot.path for slot, now, then in contents if now is not then]
        names = list(dict.fromkeys((*written, *exchanged)))
        kinds = {"written to or given other memory": written, "exchanged for others": exchanged}
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ModelChanged(
            f"the model has changed since it was compiled: {', '.join(names[:_NAMED])}{more}",
            cause="; ".join(f"{kind}: {len(found)}" for kind, found in kinds.items() if found)
            + ". What is compiled holds the model of the moment it was compiled, and reads its tensors where they lie",
            cure="compile again after the change: fxonnx.compile(model, args)",
            location=[Location(module=path) for path in dict.fromkeys(name.rpartition(".")[0] for name in names)],
        )


def _held(holder: Any, name: str) -> Any:
    """What is there; TorchScript has wrappers for these dicts, which have no `get`."""
    try:
        return holder[name]
    except KeyError:
        return None


def _has_memory(tensor: torch.Tensor) -> bool:
    """Whether a tensor is neither fake nor on the meta device."""
    try:
        return tensor.data_ptr() != 0
    except RuntimeError:
        return False


def _sample(tensor: torch.Tensor) -> np.ndarray:
    """A few elements of a tensor where they lie, as bits; none of one that is not at hand."""
    bits = _BITS.get(tensor.element_size())
    if bits is None or not tensor.is_cpu or not tensor.numel() or tensor.is_conj() or tensor.is_neg():
        return _NO_SAMPLE
    values = tensor.detach()
    if values.is_contiguous():
        few = values.view(-1)[:: -(-values.numel() // _SAMPLED)]
    else:
        few = values[tuple(slice(None, None, max(size - 1, 1)) for size in values.shape)]  # the corners
    return np.from_dlpack(few.view(bits))


def _slots(model: Any, used: set[int]) -> Iterator[Slot]:
    """Where the model keeps the weights, by identity, that are parameters, and the modules on the way to them."""
    root, _ = owner(unwrapped(model))
    modules = dict(root.named_modules()) if isinstance(root, nn.Module) else {}
    ways: set[str] = set()
    for path, module in modules.items():
        names = [name for name, parameter in module._parameters.items() if id(parameter) in used]
        yield from (Slot(module._parameters, name, f"{path}.{name}" if path else name) for name in names)
        while names and path and path not in ways:
            ways.add(path)
            above, _, name = path.rpartition(".")
            yield Slot(modules[above]._modules, name, path)
            path = above
