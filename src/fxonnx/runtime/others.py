"""A model in another runtime than ONNX Runtime, behind the same interface: OpenVINO, and ONNX's reference evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 and float8 with numpy
import numpy as np
import onnx
import torch

from fxonnx import errors
from fxonnx.dtypes import dtype
from fxonnx.emit.onnx import Emitted
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import TensorType
from fxonnx.runtime.configuration import CPU_ALONE, DEFAULT, Configuration
from fxonnx.runtime.failures import Locate
from fxonnx.runtime.session import Session
from fxonnx.runtime.shapes import Slot, StaticShape, check_number, output_sizes, slots, usable
from fxonnx.runtime.weights import Weight, inlined
from fxonnx.target import Target

_SEEN_AS = {1: torch.uint8, 2: torch.int16}
"""How torch shows the bits of dtypes that numpy learns from ml_dtypes, by their bytes."""


class OtherSession(ABC):
    """A session of a runtime that takes a model in one piece. `run` may be called from several threads at once."""

    name = ""

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
        """Load the model; its arguments are those of `Session`, its session options the runtime's own.

        Raises RuntimeFailed, InvalidOption, UnsupportedDtype, TooLarge.
        """
        asked = configuration
        given = {"prepack": not asked.prepack, "providers": tuple(asked.providers or CPU_ALONE) != CPU_ALONE,
                 "custom_ops": bool(asked.custom_ops), "profile": asked.profile,
                 "optimizers to leave out": bool(asked.without)}  # fmt: skip
        errors.raise_all([self._has_no(name) for name, is_given in given.items() if is_given])
        self.inputs = slots(model.graph.input, inputs)
        self.outputs = slots(model.graph.output, outputs)
        with self._saying("cannot load the model"):
            self._load(inlined(model, weights), asked.threads, asked.session_options)

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs for these inputs, as `Session.run` gives them. Raises CallMismatch, RuntimeFailed."""
        check_number(self.inputs, inputs)
        tensors = [usable(slot, tensor) for slot, tensor in zip(self.inputs, inputs, strict=True)]
        sizes = output_sizes(self.inputs, self.outputs, [tuple(tensor.shape) for tensor in tensors])
        with self._saying("stopped"):
            return self._run(tensors, sizes)

    @abstractmethod
    def _load(self, model: onnx.ModelProto, threads: int | None, options: Mapping[str, Any]) -> None:
        """Make the runtime's own session."""

    @abstractmethod
    def _run(self, inputs: Sequence[torch.Tensor], sizes: Sequence[StaticShape | None]) -> list[torch.Tensor]:
        """The outputs, whose sizes are known or None."""

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        """Turns what the runtime raises into RuntimeFailed."""
        try:
            yield
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            raise errors.RuntimeFailed(
                f"{self.name} {what}", cause=" ".join(str(error).split())[:500],
                cure="leave out the target: ONNX Runtime runs it; if PyTorch runs the model, please report it",
            ) from error  # fmt: skip

    def _has_no(self, option: str) -> errors.InvalidOption:
        return errors.InvalidOption(
            f"{self.name} has no {option}", cause="it is an option of ONNX Runtime's", cure=f"leave out {option}"
        )


class ReferenceSession(OtherSession):
    """ONNX's reference evaluator."""

    name = "ONNX's reference evaluator"

    def _load(self, model: onnx.ModelProto, threads: int | None, options: Mapping[str, Any]) -> None:
        from onnx.reference import ReferenceEvaluator

        if options:
            raise self._has_no("session_options")
        self._evaluator = ReferenceEvaluator(model)

    def _run(self, inputs: Sequence[torch.Tensor], sizes: Sequence[StaticShape | None]) -> list[torch.Tensor]:
        feeds = {slot.name: _array(slot, tensor).copy() for slot, tensor in zip(self.inputs, inputs, strict=True)}
        results = self._evaluator.run(None, feeds)
        return [_tensor(slot, np.asarray(each)) for slot, each in zip(self.outputs, results, strict=True)]


class OpenVINOSession(OtherSession):
    """OpenVINO on the CPU, computing in the model's own precision."""

    name = "OpenVINO"

    def _load(self, model: onnx.ModelProto, threads: int | None, options: Mapping[str, Any]) -> None:
        openvino = _openvino()
        # by default it computes float32 in bfloat16 where the processor has that
        given: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        given |= {"INFERENCE_NUM_THREADS": threads or torch.get_num_threads(), **options}
        core = openvino.Core()
        self._compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", given)
        self._wrap, self._type = openvino.Tensor, openvino.Type
        named = {name: port for port in self._compiled.inputs for name in port.names}
        self._ports = [named.get(slot.name) for slot in self.inputs]  # None for one that nothing reads
        self._idle: list[Any] = []

    def _run(self, inputs: Sequence[torch.Tensor], sizes: Sequence[StaticShape | None]) -> list[torch.Tensor]:
        try:
            request = self._idle.pop()
        except IndexError:  # none is idle: a thread more than ever before
            request = self._compiled.create_infer_request()
        for port, tensor in zip(self._ports, inputs, strict=True):
            if port is not None:
                request.set_tensor(port, self._shared(tensor))
        request.infer()
        found = [np.array(request.get_output_tensor(place).data) for place, _ in enumerate(self.outputs)]
        self._idle.append(request)
        return [_tensor(slot, _in_bits(slot, each)) for slot, each in zip(self.outputs, found, strict=True)]

    def _shared(self, tensor: torch.Tensor) -> Any:
        """OpenVINO's tensor over torch's memory."""
        if tensor.dtype in (torch.bfloat16, torch.float16):
            bits = tensor.view(torch.int16).numpy()
            kind = self._type.bf16 if tensor.dtype is torch.bfloat16 else self._type.f16
            return self._wrap(bits, list(tensor.shape), kind)
        return self._wrap(tensor.numpy(), shared_memory=True)


def _openvino() -> Any:
    """Raises RuntimeFailed where it is not installed."""
    try:
        import openvino
    except ImportError as error:
        raise errors.RuntimeFailed(
            "OpenVINO is not installed", cause=str(error),
            cure='pip install "fxonnx[openvino]"; or compile for another target',
        ) from error  # fmt: skip
    return openvino


def _in_bits(slot: Slot, array: np.ndarray) -> np.ndarray:
    """OpenVINO shows the bits of bfloat16 as if they were float16."""
    return array.view(dtype(slot.code).numpy) if slot.torch is torch.bfloat16 else array


def _array(slot: Slot, tensor: torch.Tensor) -> np.ndarray:
    """The tensor as numpy, over its memory."""
    kind = np.dtype(dtype(slot.code).numpy)
    if kind.isbuiltin == 1:
        return tensor.numpy()
    return tensor.view(_SEEN_AS[tensor.element_size()]).numpy().view(kind)  # of ml_dtypes


def _tensor(slot: Slot, array: np.ndarray) -> torch.Tensor:
    """A result in the dtype that the model declares."""
    made = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype.isbuiltin != 1:  # of ml_dtypes
        return torch.from_numpy(made.view(f"i{array.dtype.itemsize}")).view(slot.torch)
    return torch.from_numpy(made).to(slot.torch)


SESSIONS: Mapping[str, type[Session] | type[OtherSession]] = {"openvino": OpenVINOSession, "onnx": ReferenceSession}
"""What runs a model, by the runtime of its target; ONNX Runtime where it is not here."""

_WITHOUT = {"tensorrt": ("QDQSelectorActionTransformer",)}
"""Optimizers of ONNX Runtime that it leaves out in place of another runtime: its own integer kernels may overflow on
bytes as they are wanted there (see `unsigned_weights`), so it computes with the numbers that they stand for."""


def open_session(
    target: Target, emitted: Emitted, graph: Graph, configuration: Configuration = DEFAULT
) -> Session | OtherSession:
    """A session of the target's runtime for the graph that was emitted, on the target's providers unless others are
    named. Raises what `Session` raises."""
    inputs, outputs = ([value.type for value in side] for side in (graph.inputs, graph.outputs))
    places = {name: node.location for node, name in emitted.names.nodes.items()}
    weights = {name: data.buffer() for name, data in emitted.weights.items()}
    without = (*configuration.without, *_WITHOUT.get(target.runtime, ()))
    asked = replace(configuration, providers=configuration.providers or target.providers, without=without)
    kind = SESSIONS.get(target.runtime, Session)
    return kind(emitted.proto, weights, inputs=inputs, outputs=outputs, configuration=asked, locate=places.get)
