"""A model in ONNX Runtime, run on torch tensors without copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx
import torch

from fxonnx import errors
from fxonnx.ir.types import TensorType
from fxonnx.runtime.failures import Failure, Locate, runtime_errors
from fxonnx.runtime.shapes import Sizes, Slot, output_sizes, slots
from fxonnx.runtime.weights import Weight, attach

if TYPE_CHECKING:
    import onnxruntime

_REMEMBERED = 256  # combinations of input sizes whose output sizes are kept
_FATAL = 4  # log level: what fails is raised, with its place, so it need not be printed as well
_CPU = torch.device("cpu")

# Any address will do for tensors without elements; their own is 0, which the runtime takes for a mistake.
_SOMEWHERE = torch.empty(64, dtype=torch.uint8)


class Session:
    """An ONNX Runtime session whose weights are the torch tensors of the model.

    Do not write into the tensors while the session lives: whether it sees the change depends on what the runtime made of the weight.
    `run` may be called from several threads at once.
    """

    def __init__(self, model: onnx.ModelProto, weights: Mapping[str, Weight], *, inputs: Sequence[TensorType] | None = None,
                 outputs: Sequence[TensorType] | None = None, threads: int | None = None, prepack: bool = True,
                 locate: Locate | None = None) -> None:  # fmt: skip
        """Load the model.

        Args:
            model: without its large weights: their initializers are placeholders (any external location) or missing. It is not changed.
            weights: the missing contents by name. Those of MatMul, Gemm, Gather and the recurrent operators are shared with torch where they
                are contiguous, the others are copied by the runtime.
            inputs, outputs: their types, by default those in the model.
            threads: of one operator; by default as many as torch uses.
            prepack: let the runtime keep a copy of matrices in the layout it multiplies fastest.
            locate: the place in the user's model of an ONNX node, by its name; by default what the node's metadata say.

        Raises:
            RuntimeFailed: the runtime refuses the model. UnsupportedDtype: a weight, input or output whose dtype torch or ONNX lacks.
        """
        self.inputs = slots(model.graph.input, inputs)
        self.outputs = slots(model.graph.output, outputs)
        self._failure = Failure(model, locate)
        self._raised = runtime_errors()
        self._session, self._kept = self._create(model, weights, threads, prepack)
        self._sizes: dict[tuple[Sizes, ...], tuple[Sizes | None, ...]] = {}
        self._idle: list[_Binding] = []

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs for these inputs, both in the order of the model; complex values travel as `view_as_real`.

        Inputs are read where they lie (a non-contiguous one is copied), outputs are new tensors that share nothing with the session.

        Raises:
            CallMismatch: an input of another number, dtype, size or device. RuntimeFailed: the runtime stopped, with the place.
        """
        if len(inputs) != len(self.inputs):
            raise _wrong_number(self.inputs, inputs)
        tensors = [
            tensor if type(tensor) is torch.Tensor and tensor.dtype is slot.torch and tensor.is_cpu and tensor.is_contiguous() and not tensor.is_neg()
            else _usable(slot, tensor)
            for slot, tensor in zip(self.inputs, inputs)
        ]  # fmt: skip
        shapes = tuple([tensor.shape for tensor in tensors])
        sizes = self._sizes.get(shapes) or self._learn(shapes)
        try:
            binding = self._idle.pop()
        except IndexError:  # none is idle: a thread more than ever before
            binding = _Binding(self._session, self.inputs, self.outputs)
        try:
            results = binding.run(tensors, shapes, sizes)
        except self._raised as error:
            raise self._failure.running(error) from error
        self._idle.append(binding)
        return results

    def _learn(self, shapes: tuple[Sizes, ...]) -> tuple[Sizes | None, ...]:
        """Check sizes that were not met before, and remember what sizes the outputs have for them."""
        if len(self._sizes) >= _REMEMBERED:
            self._sizes.clear()
        sizes = self._sizes[shapes] = output_sizes(self.inputs, self.outputs, shapes)
        return sizes

    def _create(self, model: onnx.ModelProto, weights: Mapping[str, Weight], threads: int | None, prepack: bool) -> tuple[Any, list[Any]]:
        """The runtime's session, and what has to live as long.

        An optimizer that wants to look into a shared weight fails; then nothing is shared.
        """
        try:
            return self._load(model, weights, threads, prepack, share=True)
        except self._raised:
            pass
        try:
            return self._load(model, weights, threads, prepack, share=False)
        except self._raised as error:
            raise self._failure.loading(error) from error

    def _load(self, model: onnx.ModelProto, weights: Mapping[str, Weight], threads: int | None, prepack: bool, *,
              share: bool) -> tuple[Any, list[Any]]:  # fmt: skip
        import onnxruntime

        options = _options(threads, prepack)
        attached = attach(model, weights, options, share=share)
        session = onnxruntime.InferenceSession(attached.model, options, providers=["CPUExecutionProvider"])
        # The public wrappers of binding and run cost as much as a small model's kernels (6.5 µs a call against 4.1).
        return session._sess, attached.kept


class _Binding:
    """One thread's place to run: the runtime's binding, and what was bound to each input last."""

    def __init__(self, session: Any, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self.session = session
        self.device = state.OrtDevice(state.OrtDevice.cpu(), state.OrtDevice.default_memory(), 0)
        self.binding = state.SessionIOBinding(session)
        self.inputs = [(slot.name, slot.code) for slot in inputs]
        self.outputs = [(slot.name, slot.code, slot.torch) for slot in outputs]
        self.bound: list[Any] = [None] * len(inputs)

    def run(self, tensors: Sequence[torch.Tensor], shapes: Sequence[Sizes], sizes: Sequence[Sizes | None]) -> list[torch.Tensor]:
        """Bind, run, and collect. The tensors are contiguous, of the right dtypes and alive until this returns."""
        binding, device = self.binding, self.device
        for index, (tensor, shape) in enumerate(zip(tensors, shapes)):
            address = tensor.data_ptr() or _SOMEWHERE.data_ptr()
            if self.bound[index] != (address, shape):
                name, code = self.inputs[index]
                binding.bind_input(name, device, code, shape, address)
                self.bound[index] = (address, shape)
        results: list[Any] = []
        for (name, code, dtype), size in zip(self.outputs, sizes):
            if size is None:
                binding.bind_output(name, device)
                results.append(None)
                continue
            result = torch.empty(size, dtype=dtype, device=_CPU)
            binding.bind_output(name, device, code, size, result.data_ptr() or _SOMEWHERE.data_ptr())
            results.append(result)
        self.session.run_with_iobinding(binding, None)
        return self._collect(results) if None in sizes else results

    def _collect(self, results: list[Any]) -> list[torch.Tensor]:
        """The results, with those that the runtime made, over its memory. The binding forgets them: they belong to the caller."""
        made = self.binding.get_outputs()
        found = [torch.from_dlpack(value.to_dlpack()) if result is None else result for value, result in zip(made, results)]
        self.binding.clear_binding_outputs()
        return found


def _options(threads: int | None, prepack: bool) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = _FATAL
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _usable(slot: Slot, tensor: object) -> torch.Tensor:
    """The input as the runtime can read it: a contiguous tensor without laziness. Raises CallMismatch."""
    if not isinstance(tensor, torch.Tensor):
        raise errors.CallMismatch(
            f"input {slot.name} is no tensor", cause=f"it is {type(tensor).__name__}", cure="pass torch.as_tensor(value)",
        )  # fmt: skip
    if tensor.dtype is not slot.torch:
        raise errors.CallMismatch(
            f"input {slot.name} is {tensor.dtype}, compiled for {slot.torch}",
            cause="the dtype of an input is part of the compiled model", cure=f"pass {slot.name}.to({slot.torch}), or compile for {tensor.dtype}",
        )  # fmt: skip
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
