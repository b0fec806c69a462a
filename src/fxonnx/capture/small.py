"""Sizes of 0 and 1, which torch.export leaves out: it captures for 2 and more, and keeps no record of `if n > 1`.

So that they need not be refused, nor taken on trust, the model is captured once more when such a size is first asked
for, at exactly that size: where the same graph comes out, the one with dynamic dims holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

import torch

from fxonnx.capture.alike import Difference, compare
from fxonnx.capture.dynamic import like
from fxonnx.capture.export import export, training_mode
from fxonnx.capture.failures import Translating
from fxonnx.capture.inputs import Flat
from fxonnx.capture.recording import Recording
from fxonnx.capture.sizes import Sizes
from fxonnx.capture.trace import Trace
from fxonnx.errors import CallMismatch, Error
from fxonnx.ir.dims import evaluate
from fxonnx.location import Location

_CURE = "call it with larger sizes, or compile it for this one: leave the dim out of dynamic_shapes"


@dataclass(slots=True, eq=False)
class SmallSizes:
    """Answers, once for each combination of sizes below 2, whether a program holds for it.

    Keeps the model, and of the example its kinds of tensors, not the tensors.
    """

    flat: Flat
    mode: str
    recording: Recording
    sizes: Sizes
    example: Mapping[str, int]  # dim -> the size it was captured at, 2 or more
    devices: tuple[torch.device, ...]
    sketches: tuple[torch.Tensor, ...]  # the example on the meta device
    autocast: tuple[bool, torch.dtype]
    answers: dict[tuple[tuple[str, int], ...], CallMismatch | None] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)  # torch.export is no friend of threads

    @staticmethod
    def of(flat: Flat, mode: str, done: Trace) -> SmallSizes:
        """For a model that was captured so, under the autocast that is on now; before its graph is changed."""
        leaves = done.leaves
        sketches = tuple(torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta") for x in leaves)
        autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        recording = Recording.of(done.exported, flat.returned.tree)
        devices = tuple(x.device for x in leaves)
        return SmallSizes(flat, mode, recording, done.naming.sizes(), done.example, devices, sketches, autocast)

    def __call__(self, sizes: Mapping[str, int]) -> CallMismatch | None:
        """Why the capture does not hold for these sizes (those of 0 or 1 count), or None where it does."""
        key = tuple(sorted((name, size) for name, size in sizes.items() if size < 2 and name in self.example))
        with self.lock:
            if key and key not in self.answers:
                self.answers[key] = self._ask(dict(key))
        return self.answers.get(key)

    def _ask(self, small: Mapping[str, int]) -> CallMismatch | None:
        given = ", ".join(f"{name} = {size}" for name, size in small.items())
        try:
            compare(self.recording, self._record({**self.example, **small}))
        except Difference as difference:
            cause = f"with this size its Python code takes another way: it calls {difference}"
            return _mismatch(given, cause, difference.location)
        except Error as error:
            return _mismatch(given, f"with this size it cannot be captured: {error.what}", *error.locations)
        return None

    def _record(self, sizes: Mapping[str, int]) -> Recording:
        """The model captured at exactly these sizes."""
        shapes = [
            [evaluate(self.sizes.dim(size), sizes) for size in node.meta["val"].shape] for node in self.recording.inputs
        ]
        leaves = [like(*each) for each in zip(self.sketches, shapes, self.devices, strict=True)]
        enabled, dtype = self.autocast
        with training_mode(self.flat.model, self.mode), torch.autocast("cpu", dtype, enabled), Translating():
            exported = export(self.flat, leaves, {})
        return Recording.of(exported, self.flat.returned.tree)


def _mismatch(given: str, cause: str, *places: Location) -> CallMismatch:
    return CallMismatch(f"the model does not hold for {given}", cause=cause, cure=_CURE, location=places)
