"""A model in ONNX Runtime, run on torch tensors without copies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import torch

from fxonnx import errors
from fxonnx.ir.types import TensorType
from fxonnx.runtime.configuration import CPU_ALONE, NO_OPTIONS, Configuration, Provider
from fxonnx.runtime.failures import Failure, Locate, runtime_errors
from fxonnx.runtime.shapes import Slot, StaticShape, output_sizes, slots
from fxonnx.runtime.weights import Weight, attach

Template: TypeAlias = tuple[str, int, torch.Tensor | None]

_REMEMBERED = 256  # combinations of input sizes whose output sizes are kept
_CONTIGUOUS = torch.contiguous_format
_CPU = torch.device("cpu")

_UNBOUND: StaticShape = (-1,)  # no tensor has this size

# Any address will do for tensors without elements; their own is 0, which the runtime takes for a mistake.
_NOTHING = torch.empty(64, dtype=torch.uint8)
_SOMEWHERE = _NOTHING.data_ptr()


class Session:
    """An ONNX Runtime session whose weights are the torch tensors of the model.

    Do not write into the tensors while the session lives: whether it sees the change depends on what the runtime made
    of the weight. `run` may be called from several threads at once.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        weights: Mapping[str, Weight],
        *,
        inputs: Sequence[TensorType] | None = None,
        outputs: Sequence[TensorType] | None = None,
        threads: int | None = None,
        prepack: bool = True,
        providers: Sequence[Provider] = CPU_ALONE,
        session_options: Mapping[str, Any] = NO_OPTIONS,
        custom_ops: Sequence[str | os.PathLike[str]] = (),
        locate: Locate | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: without its large weights: their initializers are placeholders (any external location) or missing.
                It is not changed.
            weights: the missing contents by name. Those of MatMul, Gemm, Gather and the recurrent operators are shared
                with torch where they are contiguous, the others are copied by the runtime.
            inputs, outputs: their types, by default those in the model.
            threads: of one operator; by default as many as torch uses.
            prepack: let the runtime keep a copy of matrices in the layout it multiplies fastest.
            providers: the runtime's execution providers, the preferred one first; values cross its border on the CPU.
            session_options: attributes of onnxruntime.SessionOptions, and entries of its configuration, by name.
            custom_ops: shared libraries with operators of the user's.
            locate: the place in the user's model of an ONNX node, by its name; by default what the node's metadata say.

        Raises:
            RuntimeFailed: the runtime refuses the model.
            UnsupportedDtype: a weight, input or output has a dtype that torch or ONNX lacks.
        """
        self.inputs = slots(model.graph.input, inputs)
        self.outputs = slots(model.graph.output, outputs)
        self._failure = Failure(model, locate)
        self._raised = runtime_errors()
        self._configuration = Configuration(threads, prepack, tuple(providers), session_options, tuple(custom_ops))
        self._session, self._kept = self._create(model, weights)
        self._border = _Border(self.inputs, self.outputs)
        self._idle: list[_Binding] = []

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs for these inputs, both in the order of the model; complex values travel as `view_as_real`.

        Inputs are read where they lie (a non-contiguous one is copied), outputs are new tensors that share nothing with
        the session.

        Raises:
            CallMismatch: an input of another number, dtype, size or device. RuntimeFailed: the runtime stopped, with
            the place.
        """
        if len(inputs) != len(self.inputs):
            raise _wrong_number(self.inputs, inputs)
        try:
            binding = self._idle.pop()
        except IndexError:  # none is idle: a thread more than ever before
            binding = _Binding(self._session, self._border)
        try:
            results = binding.run(inputs)
        except self._raised as error:
            raise self._failure.running(error) from error
        self._idle.append(binding)
        return results

    def _create(self, model: onnx.ModelProto, weights: Mapping[str, Weight]) -> tuple[Any, list[Any]]:
        """The runtime's session, and what has to live as long.

        An optimizer that wants to look into a shared weight fails; then nothing is shared.
        """
        try:
            return self._load(model, weights, share=True)
        except self._raised:
            pass
        try:
            return self._load(model, weights, share=False)
        except self._raised as error:
            raise self._failure.loading(error) from error

    def _load(
        self, model: onnx.ModelProto, weights: Mapping[str, Weight], *, share: bool
    ) -> tuple[Any, list[Any]]:
        import onnxruntime

        options = self._configuration.options(self.inputs)
        attached = attach(model, weights, options, share=share)
        session = onnxruntime.InferenceSession(
            attached.model,
            options,
            providers=list(self._configuration.providers),
            disabled_optimizers=_unsafe_optimizers(model),
        )
        # The public wrappers of binding and run cost as much as a small model's kernels (6.5 µs a call against 4.1).
        return session._sess, attached.kept


class _Border:
    """The inputs and outputs of a session, and what outputs look like for the input sizes met so far."""

    def __init__(self, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> None:
        self.inputs = inputs
        self.outputs = outputs
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


class _Binding:
    """One thread's place to run.

    The runtime's binding, and what was bound to each input last. Every microsecond counts here.
    """

    __slots__ = ("binding", "border", "bound", "device", "execute", "has_unknown", "templates")

    def __init__(self, session: Any, border: _Border) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self.border = border
        self.execute = session.run_with_iobinding
        self.device = state.OrtDevice(state.OrtDevice.cpu(), state.OrtDevice.default_memory(), 0)
        self.binding = state.SessionIOBinding(session)
        self.bound: list[tuple[int, StaticShape]] = [(0, _UNBOUND)] * len(border.inputs)
        self.templates: list[Template] | None = None
        self.has_unknown = False

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Bind, run, and collect. A binding that raised is not to be used again."""
        bound = self.bound
        copies = []
        for index, slot in enumerate(self.border.inputs):
            tensor = inputs[index]
            if (
                type(tensor) is not torch.Tensor
                or tensor.dtype is not slot.torch
                or not tensor.is_cpu
                or not tensor.is_contiguous()
                or tensor.is_neg()
            ):
                tensor = _usable(slot, tensor)
                copies.append(tensor)  # alive while the runtime reads it
            place = (tensor.data_ptr() or _SOMEWHERE, tensor.shape)
            if place != bound[index]:
                self.bind_input(index, slot, place)
        if self.templates is None:
            self.templates = self.border.look_up(tuple([shape for _, shape in bound]))
            self.has_unknown = any(template is None for _, _, template in self.templates)
        results: list[torch.Tensor | None] = []
        for name, code, template in self.templates:
            if template is None:
                self.binding.bind_output(name, self.device)
                results.append(None)
                continue
            result = torch.empty_like(template, memory_format=_CONTIGUOUS)
            self.binding.bind_output(name, self.device, code, template.shape, result.data_ptr() or _SOMEWHERE)
            results.append(result)
        self.execute(self.binding, None)
        return self.collect(results) if self.has_unknown else results

    def bind_input(self, index: int, slot: Slot, place: tuple[int, StaticShape]) -> None:
        """Tell the runtime where an input lies now; another size makes the templates out of date."""
        address, shape = place
        if shape != self.bound[index][1]:
            self.templates = None
        self.binding.bind_input(slot.name, self.device, slot.code, shape, address)
        self.bound[index] = place

    def collect(self, results: Sequence[torch.Tensor | None]) -> list[torch.Tensor]:
        """The results, with those that the runtime made, over its memory.

        The binding forgets them: they belong to the caller.
        """
        made = self.binding.get_outputs()  # not to be iterated: its iterator takes 30 µs
        found = [_adopt(made[index]) if result is None else result for index, result in enumerate(results)]
        self.binding.clear_binding_outputs()
        return found


def _adopt(value: Any) -> torch.Tensor:
    """A tensor over memory that the runtime made; an empty one is made anew, as the runtime gives it strides of 0."""
    tensor = torch.from_dlpack(value.to_dlpack())
    return tensor if tensor.numel() else torch.empty(tensor.shape, dtype=tensor.dtype, device=_CPU)


def _unsafe_optimizers(model: onnx.ModelProto) -> list[str]:
    """The runtime's optimizers that must not see this model.

    NchwcTransformer (ONNX Runtime 1.32) ends the process with a segmentation fault on some graphs with bfloat16 values
    between casts, also where there is no convolution for it to change.
    """
    bfloat16 = onnx.TensorProto.BFLOAT16
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    found = (
        any(value.type.tensor_type.elem_type == bfloat16 for value in values)
        or any(tensor.data_type == bfloat16 for tensor in model.graph.initializer)
        or any(each.name == "to" and each.i == bfloat16 for node in model.graph.node for each in node.attribute)
    )
    return ["NchwcTransformer"] if found else []


def _usable(slot: Slot, tensor: object) -> torch.Tensor:
    """The input as the runtime can read it: a contiguous tensor without laziness. Raises CallMismatch."""
    if not isinstance(tensor, torch.Tensor):
        raise errors.CallMismatch(
            f"input {slot.name} is no tensor",
            cause=f"it is {type(tensor).__name__}",
            cure="pass torch.as_tensor(value)",
        )
    if tensor.dtype is not slot.torch:
        raise errors.CallMismatch(
            f"input {slot.name} is {tensor.dtype}, compiled for {slot.torch}",
            cause="the dtype of an input is part of the compiled model",
            cure=f"pass {slot.name}.to({slot.torch}), or compile for {tensor.dtype}",
        )
    if not tensor.is_cpu or tensor.layout is not torch.strided:
        where = tensor.device if not tensor.is_cpu else tensor.layout
        raise errors.CallMismatch(
            f"input {slot.name} is on {where}", cause="the session runs on the CPU, on dense tensors",
            cure=f"pass {slot.name}.cpu()" if not tensor.is_cpu else f"pass {slot.name}.to_dense()",
        )  # fmt: skip
    return tensor.detach().resolve_neg().contiguous()


def _wrong_number(inputs: Sequence[Slot], given: Sequence[object]) -> errors.CallMismatch:
    names = ", ".join(slot.name for slot in inputs)
    return errors.CallMismatch(
        f"the model takes {len(inputs)} tensors, not {len(given)}", cause=f"its inputs are {names or 'none'}",
        cure="call it like the example inputs it was compiled with",
    )  # fmt: skip
