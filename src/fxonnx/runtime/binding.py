"""One call of a session: inputs read where they lie, results in memory that nobody else holds.

Every microsecond counts here: a small model's kernels take one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import torch

from fxonnx.runtime.shapes import Slot, StaticShape, output_sizes, usable
from fxonnx.runtime.subnormals import flushed

Template: TypeAlias = tuple[str, int, torch.Tensor | None]

_REMEMBERED = 256  # combinations of input sizes whose output sizes are kept
_KEPT_BYTES = 1 << 16  # of results, for the next call: what is larger costs more to compute than to allocate
_CONTIGUOUS = torch.contiguous_format
_CPU = torch.device("cpu")

_UNBOUND: StaticShape = (-1,)  # no tensor has this size

# Any address will do for tensors without elements; their own is 0, which the runtime takes for a mistake.
_NOTHING = torch.empty(64, dtype=torch.uint8)
_SOMEWHERE = _NOTHING.data_ptr()

_facts = attrgetter("dtype", "layout", "is_cpu", "is_nested")

# Where a tensor's storage is, and how many hold it: torch's own graphs of CUDA calls ask it for the same reason.
_storage_of = torch._C._storage_address
_holders = torch._C._storage_Use_Count


class Border:
    """The inputs and outputs of a session, and what outputs look like for the input sizes met so far.

    `in_place` are outputs that lie where an input does, by their indices.
    """

    def __init__(self, inputs: Sequence[Slot], outputs: Sequence[Slot], in_place: Mapping[int, int]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.in_place = in_place
        self.readable = [(slot.torch, torch.strided, True, False) for slot in inputs]
        self.templates: dict[tuple[StaticShape, ...], list[Template]] = {}

    def look_up(self, sizes: tuple[StaticShape, ...]) -> list[Template]:
        """The name, dtype and template of each output; None for a template where only the runtime will know the shape.

        A template has the output's dtype and shape, and one element in memory.

        Raises:
            CallMismatch: the inputs may not have these sizes.
        """
        found = self.templates.get(sizes)
        if found is not None:
            return found
        if len(self.templates) >= _REMEMBERED:
            self.templates.clear()
        found = self.templates[sizes] = [
            (
                slot.name,
                slot.code,
                None if size is None else torch.empty((), dtype=slot.torch, device=_CPU).expand(size),
            )
            for slot, size in zip(self.outputs, output_sizes(self.inputs, self.outputs, sizes), strict=True)
        ]
        return found


class _Kept(NamedTuple):
    """A result that may serve once more, when nobody but the session's own `tensor` holds its storage, and it still
    lies where it was bound."""

    tensor: torch.Tensor
    address: int
    storage: int

    @staticmethod
    def of(tensor: torch.Tensor) -> _Kept:
        return _Kept(tensor, tensor.data_ptr(), _storage_of(tensor))


class Binding:
    """One thread's place to run.

    The runtime's binding, what was bound to each input last, and small results, which are bound once more when nobody
    holds them: neither a tensor, a view or an array of them, nor a storage that was resized.
    """

    __slots__ = ("binding", "border", "bound", "device", "execute", "has_unknown", "how", "kept", "templates")

    def __init__(self, session: Any, border: Border, *, flush: bool = False) -> None:
        """`flush`: subnormal numbers are 0 meanwhile."""
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self.border = border
        self.execute = flushed(session.run_with_iobinding) if flush else session.run_with_iobinding
        self.how = state.RunOptions()  # made anew at each call where none is given, in half a microsecond
        self.device = state.OrtDevice(state.OrtDevice.cpu(), state.OrtDevice.default_memory(), 0)
        self.binding = state.SessionIOBinding(session)
        self.bound: list[tuple[int, StaticShape]] = [(0, _UNBOUND)] * len(border.inputs)
        self.templates: list[Template] | None = None
        self.kept: list[_Kept] = []
        self.has_unknown = False

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Bind, run, and collect. A binding that raised is not to be used again."""
        copies = []
        for index, tensor in enumerate(inputs):
            is_readable = type(tensor) is torch.Tensor and _facts(tensor) == self.border.readable[index]
            if not is_readable or not tensor.is_contiguous() or tensor.is_neg():
                tensor = usable(self.border.inputs[index], tensor)
                copies.append(tensor)  # alive while the runtime reads it
            place = tensor.data_ptr(), tensor.shape
            if place != self.bound[index]:
                self.bind_input(index, place)
        results = self.results(inputs)
        self.execute(self.binding, self.how)
        return self.collect(results) if self.has_unknown else results

    def bind_input(self, index: int, place: tuple[int, StaticShape]) -> None:
        """Tell the runtime where an input lies now; another size makes the templates out of date."""
        slot, (address, shape) = self.border.inputs[index], place
        if shape != self.bound[index][1]:
            self.templates = None
        self.binding.bind_input(slot.name, self.device, slot.code, shape, address or _SOMEWHERE)
        self.bound[index] = place

    def results(self, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """A bound tensor for each output; None in the place of what the runtime makes."""
        if self.templates is None:
            self.templates = self.border.look_up(tuple([shape for _, shape in self.bound]))
            self.has_unknown = any(template is None for _, _, template in self.templates)
            self.kept = []
        for tensor, address, storage in self.kept:
            if _holders(storage) != 1 or tensor.data_ptr() != address:
                return self.bind_outputs(self.templates, inputs)
        return [each.tensor.data for each in self.kept] or self.bind_outputs(self.templates, inputs)

    def bind_outputs(self, templates: Sequence[Template], inputs: Sequence[torch.Tensor]) -> list[Any]:
        """New tensors for the outputs, but for those that are inputs; where all are small, they are kept."""
        results: list[Any] = []
        in_place = self.border.in_place
        for index, (name, code, template) in enumerate(templates):
            if template is None:
                self.binding.bind_output(name, self.device)
                results.append(None)
                continue
            result = inputs[in_place[index]] if index in in_place else _empty(template)
            self.binding.bind_output(name, self.device, code, template.shape, result.data_ptr() or _SOMEWHERE)
            results.append(result)
        if not self.has_unknown and not in_place and sum(result.nbytes for result in results) <= _KEPT_BYTES:
            self.kept = [_Kept.of(result) for result in results]
            return [result.data for result in results]
        return results

    def collect(self, results: Sequence[torch.Tensor | None]) -> list[torch.Tensor]:
        """The results, with those that the runtime made, over its memory.

        The binding forgets them: they belong to the caller.
        """
        made = self.binding.get_outputs()  # not to be iterated: its iterator takes 30 µs
        found = [adopted(made[index]) if result is None else result for index, result in enumerate(results)]
        self.binding.clear_binding_outputs()
        return found


def _empty(template: torch.Tensor) -> torch.Tensor:
    """A tensor like a template, which may be used wherever it comes to: none of inference mode."""
    if not torch.is_inference_mode_enabled():
        return torch.empty_like(template, memory_format=_CONTIGUOUS)
    with torch.inference_mode(False):
        return _empty(template)


def adopted(value: Any) -> torch.Tensor:
    """A tensor over memory that the runtime made; an empty one is made anew, as the runtime gives it strides of 0."""
    tensor = torch.from_dlpack(value.to_dlpack())
    return tensor if tensor.numel() else torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)


class DeviceBinding:
    """A call of a session on tensors of a device."""

    def __init__(self, session: Any, inputs: Sequence[Slot], outputs: Sequence[Slot], device: torch.device) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self._session, self._inputs, self._outputs, self._device = session, inputs, outputs, device
        kind = {"cpu": state.OrtDevice.cpu, "cuda": state.OrtDevice.cuda}[device.type]()
        self._place = state.OrtDevice(kind, state.OrtDevice.default_memory(), device.index or 0)
        self._new = state.SessionIOBinding

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The results, on the device. Raises CallMismatch."""
        binding = self._new(self._session)
        held = [usable(slot, tensor, self._device) for slot, tensor in zip(self._inputs, inputs, strict=True)]
        nothing = torch.empty(8, dtype=torch.uint8, device=self._device)  # stands for empty ones, at 0
        for slot, tensor in zip(self._inputs, held, strict=True):
            address = tensor.data_ptr() or nothing.data_ptr()
            binding.bind_input(slot.name, self._place, slot.code, tuple(tensor.shape), address)
        for slot in self._outputs:
            binding.bind_output(slot.name, self._place)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # what makes the inputs runs on a stream of torch's
        self._session.run_with_iobinding(binding, None)
        made = binding.get_outputs()  # its iterator is slow
        return [adopted(made[index]) for index in range(len(self._outputs))]
