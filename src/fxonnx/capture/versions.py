"""Whether a model's tensors still are what they were when it was captured.

A captured model refers to the model's own tensors. What is folded reads them at once, a session when it is made, a
file when it is written: all three are one model only as long as nobody writes to those tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter, getitem, is_
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from fxonnx.capture.call.inputs import owner
from fxonnx.capture.program import Weight
from fxonnx.capture.samples import Samples
from fxonnx.capture.wrappers import unwrapped
from fxonnx.errors import ModelChanged
from fxonnx.location import Location

_SMALL = 8  # elements; as many are sampled at each call
_ROW = 1024  # sums of as many words are weighted by their place
_NAMED = 5  # weights in a message

_version = attrgetter("_version")
_address = torch.Tensor.data_ptr

_NOTHING = torch.empty(0)  # in place of a tensor whose writes torch does not count, or that has no memory


class Slot(NamedTuple):
    """Where a module keeps a parameter or a submodule: its own dict, the name there, and the path from the model."""

    holder: dict[str, Any]
    name: str
    path: str


class Versions:
    """The weights of a captured model as they were: torch's counts of the writes to them, their addresses, a few of
    their elements, and a digest of all: the last two tell of writes through `tensor.data` and numpy that torch does not
    count. Of those in files, the files' times and sizes.

    A parameter that was exchanged for another is known by its slot: the model is another one then. `digests` are those
    that are known by now, by the ids of the tensors; what is missing is added.
    """

    def __init__(self, model: Any, weights: Iterable[Weight], digests: dict[int, int] | None = None) -> None:
        weights = self._weights = tuple(weights)
        tensors = [weight.tensor for weight in self._weights]
        self._counters = [_NOTHING if tensor.is_inference() else tensor for tensor in tensors]
        self._located = [_NOTHING if each.extent or not has_memory(each.tensor) else each.tensor for each in weights]
        self._files = _files(self._weights)
        self._samples = Samples(self._located)
        self._layouts = list(map(_layout, self._located))
        self._slots = list(_slots(model, set(map(id, tensors))))
        self._holders, self._names = [slot.holder for slot in self._slots], [slot.name for slot in self._slots]
        self._before = self._now()
        self._held = self._contents()
        known = {} if digests is None else digests
        for tensor in self._located:
            if id(tensor) not in known:
                known[id(tensor)] = _digest(tensor)
        self._digests = [known[id(tensor)] for tensor in self._located]

    def check(self, *, every_element: bool = False) -> None:
        """Raises ModelChanged where the model is not what it was, in some tenths of a microsecond for each weight; with
        `every_element`, at the speed of memory."""
        if (self._now() != self._before or not self._holds_the_same()) and not self._has_only_moved():
            raise self._changed([])
        if every_element and (changed := [*self._laid_out_anew(), *self._rewritten()]):
            raise self._changed(changed)

    def check_modules(self) -> None:
        """Raises ModelChanged where a module with weights was exchanged for another, which may compute differently."""
        slots = zip(self._slots, self._contents(), self._held, strict=True)
        if any(now is not then and isinstance(then, nn.Module) for _, now, then in slots):
            raise self._changed([])

    def _has_only_moved(self) -> bool:
        """Whether weights have other memory with the same elements, as after `weight.data = weight.clone()`: that is
        where they are looked at from now on."""
        if list(map(_version, self._counters)) != self._before[0] or not self._holds_the_same():
            return False
        if any(self._laid_out_anew()):
            return False
        samples = Samples(self._located)
        if samples.now() != self._before[2] or list(map(_digest, self._located)) != self._digests:
            return False
        self._samples = samples
        self._before = self._now()
        return True

    def _laid_out_anew(self) -> Iterator[str]:
        """The names of weights whose memory is read in another way, as after `weight.data = weight.data.t()`."""
        for weight, tensor, layout in zip(self._weights, self._located, self._layouts, strict=True):
            if _layout(tensor) != layout:
                yield weight.key

    def _rewritten(self) -> Iterator[str]:
        """The names of weights that hold other elements."""
        for weight, tensor, digest in zip(self._weights, self._located, self._digests, strict=True):
            if _digest(tensor) != digest:
                yield weight.key
        now = _files(self._weights)
        for path in self._files:
            if now[path] != self._files[path]:
                yield path.name

    def _now(self) -> tuple[list[int], list[int], bytes]:
        return list(map(_version, self._counters)), list(map(_address, self._located)), self._samples.now()

    def _holds_the_same(self) -> bool:
        try:
            return all(map(is_, map(getitem, self._holders, self._names), self._held))
        except KeyError:
            return False

    def _contents(self) -> list[Any]:
        return [_held(holder, name) for holder, name, _ in self._slots]

    def _changed(self, rewritten: Iterable[str]) -> ModelChanged:
        """The error, with the names of all that has changed; `rewritten` is known to have."""
        (*now, bits), (*before, old_bits) = self._now(), self._before
        new = zip(*now, self._samples.apart(bits), strict=True)
        old = zip(*before, self._samples.apart(old_bits), strict=True)
        facts = zip(self._weights, new, old, strict=True)
        written = [weight.key for weight, after, then in facts if after != then]
        written += [name for name in rewritten if name not in written]
        contents = zip(self._slots, self._contents(), self._held, strict=True)
        exchanged = [slot.path for slot, now, then in contents if now is not then]
        names = list(dict.fromkeys((*written, *exchanged)))
        kinds = {"written to, or given other memory or another layout": written, "exchanged for others": exchanged}
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ModelChanged(
            f"the model has changed since it was compiled: {', '.join(names[:_NAMED])}{more}",
            cause="; ".join(f"{kind}: {len(found)}" for kind, found in kinds.items() if found)
            + ". What is compiled holds the model of the moment it was compiled, and reads its tensors where they lie",
            cure="compiled.rebind(), which takes the weights of now; or compile again: fxonnx.compile(model, args)",
            location=[Location(module=path) for path in dict.fromkeys(name.rpartition(".")[0] for name in names)],
        )


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.shape, tensor.stride()


def _held(holder: Any, name: str) -> Any:
    """What is there; TorchScript has wrappers for these dicts, which have no `get`."""
    try:
        return holder[name]
    except KeyError:
        return None


def _files(weights: Iterable[Weight]) -> dict[Path, tuple[int, ...]]:
    """The files that have weights, each with its time and size; without them where it is gone."""
    paths = dict.fromkeys(weight.extent.path for weight in weights if weight.extent is not None)
    facts = {path: path.stat() for path in paths if path.exists()}
    return {path: (facts[path].st_mtime_ns, facts[path].st_size) if path in facts else () for path in paths}


def has_memory(tensor: torch.Tensor) -> bool:
    """Whether a tensor is neither fake nor on the meta device."""
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return False
    try:
        return tensor.data_ptr() != 0
    except RuntimeError:
        return False


def _digest(tensor: torch.Tensor) -> int:
    """A number that any change of one element changes, and nearly any change of several: sums of 64 bits each, which
    are weighted by where they begin. 0 of what is not at hand, or sampled whole."""
    if not tensor.is_cpu or tensor.numel() <= _SMALL or tensor.is_conj() or tensor.is_neg():
        return 0
    octets = np.from_dlpack(_dense(tensor.detach()).view(torch.uint8))
    words = octets[: octets.size // 8 * 8].view(np.int64)
    whole = words.size // _ROW * _ROW
    rows = words[:whole].reshape(-1, _ROW).sum(1, dtype=np.int64)
    rows = np.concatenate([rows, words[whole:], octets[words.size * 8 :].astype(np.int64)])
    return int(rows @ np.arange(1, 2 * rows.size, 2))


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """The elements of a tensor in memory's order, in one row."""
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True)).contiguous()
    return tensor.view(-1)


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
