"""A model in ONNX Runtime, run on torch tensors without copies."""

from __future__ import annotations

import secrets
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import onnx
import torch

from fxonnx.ir.types import TensorType
from fxonnx.runtime.binding import Binding, Border, DeviceBinding
from fxonnx.runtime.configuration import CPU_ALONE, DEFAULT, Configuration
from fxonnx.runtime.failures import Failure, Locate, runtime_errors
from fxonnx.runtime.shapes import check_number, slots
from fxonnx.runtime.subnormals import mode_kept
from fxonnx.runtime.weights import Weight, attach


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
        configuration: Configuration = DEFAULT,
        locate: Locate | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: without its large weights: their initializers are placeholders (any external location) or missing.
                It is not changed.
            weights: the missing contents by name. Those of MatMul, Gemm, Gather and the recurrent operators are shared
                with torch where they are contiguous, the others are copied by the runtime.
            inputs, outputs: their types, by default those in the model.
            configuration: how it runs; where it measures, see `seconds`.
            locate: the place in the user's model of an ONNX node, by its name; by default what the node's metadata say.

        Raises:
            RuntimeFailed: the runtime refuses the model.
            UnsupportedDtype: a weight, input or output has a dtype that torch or ONNX lacks.
        """
        defaults = {each.name for each in model.graph.initializer}
        self.inputs = slots([each for each in model.graph.input if each.name not in defaults], inputs)
        self.adapters = slots([each for each in model.graph.input if each.name in defaults], None)
        self.outputs = slots(model.graph.output, outputs)
        self._failure = Failure(model, locate)
        self._raised = runtime_errors()
        self._configuration = configuration
        self._profile = Path(mkdtemp(prefix="fxonnx-")) / "kernels" if configuration.profile else None
        self._flush = configuration.flushes(model)
        self._session, self._kept = self._create(model, weights)
        self._border = Border(self.inputs, self.outputs, configuration.in_place)
        # two, in turns: while the caller still holds the results of one call, the next has memory of its own
        self._idle = deque(self._new_binding() for _ in range(2))

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs for these inputs, both in the order of the model; complex values travel as `view_as_real`.

        Inputs are read where they lie (a non-contiguous one is copied), outputs are new tensors in memory that nobody
        else holds.

        Raises:
            CallMismatch: an input of another number, dtype, size or device. RuntimeFailed: the runtime stopped, with
            the place.
        """
        if len(inputs) != len(self.inputs):
            check_number(self.inputs, inputs)
        try:
            binding = self._idle.popleft()
        except IndexError:  # none is idle: a thread more than ever before
            binding = self._new_binding()
        try:
            results = binding.run(inputs)
        except self._raised as error:
            raise self._failure.running(error) from error
        self._idle.append(binding)
        return results

    def run_adapted(self, inputs: Sequence[torch.Tensor], adapters: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """`run` with other values for some of the `adapters`, which have their own otherwise."""
        given = [each for each in self.adapters if each.name in adapters]
        border = Border((*self.inputs, *given), self.outputs, self._configuration.in_place)
        try:
            binding = Binding(self._session, border, flush=self._flush)
            return binding.run([*inputs, *(adapters[each.name] for each in given)])
        except self._raised as error:
            raise self._failure.running(error) from error

    def _new_binding(self) -> Binding | DeviceBinding:
        device = self._configuration.device
        if device is None:
            return Binding(self._session, self._border, flush=self._flush)
        return DeviceBinding(self._session, self.inputs, self.outputs, device)

    def seconds(self) -> dict[str, float]:
        """The seconds of each kernel in a call, by the runtime's names, of the calls so far; ends measuring, which
        `profile` has begun."""
        from fxonnx.runtime.profile import seconds_of_kernels

        path = Path(self._session.end_profiling())
        found = seconds_of_kernels(path)
        shutil.rmtree(path.parent)
        return found

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

        asked = self._configuration
        options = asked.options(self.inputs, self._profile, flush=self._flush)
        attached = attach(_freshly_seeded(model), weights, options, share=share)
        with mode_kept():
            session = onnxruntime.InferenceSession(
                attached.model,
                options,
                providers=list(asked.providers or CPU_ALONE),
                disabled_optimizers=[*asked.without, *_unsafe_optimizers(model)],
            )
        # The public wrappers of binding and run cost as much as a small model's kernels (6.5 µs a call against 4.1).
        return session._sess, attached.kept


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


def _freshly_seeded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose nodes draw from other seeds than those in its file, which all sessions would have in common."""
    if not any(True for _ in _seeds(model.graph)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for seed in _seeds(copy.graph):
        if seed.type == onnx.AttributeProto.INT:  # Dropout's
            seed.i = secrets.randbits(24)
        else:
            seed.f = float(secrets.randbits(24))
    return copy


def _seeds(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    """The seeds of a graph's nodes, and of those in their bodies."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "seed":
                yield attribute
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _seeds(attribute.g)
