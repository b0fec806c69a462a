"""Calls on quantized tensors as calls on floats that lie on their steps.

A quantized tensor is never on the tape: its floats are, between a quantize and a dequantize of `quantized_decomposed`.
What torch computes with the integers of one, it computes to the nearest step of what the floats give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from fxonnx.capture.call.containers import IS_ARGUMENT
from fxonnx.capture.graph.functional_form import is_mutable
from fxonnx.capture.tracer.quantized.bodies import BODIES
from fxonnx.capture.tracer.quantized.packed import cell_weights, taken_apart
from fxonnx.capture.tracer.quantized.steps import Steps
from fxonnx.capture.tracer.torch_private import eager
from fxonnx.errors import CaptureRefused

aten = torch.ops.aten
_STEPS_OF_RESULT = (("output_scale", "output_zero_point"), ("Y_scale_i", "Y_zero_point_i"), ("scale", "zero_point"))
_RANGES = {torch.uint8: (2**8, 0, 128), torch.int8: (2**8, -128, 0), torch.int32: (2**32, 0, 0)}
"""stored dtype -> its integers, and the zero points of results from 0 to 1, and from -1 to 1"""
_LOGISTIC = (aten.sigmoid.default, aten.hardsigmoid.default, aten.hardsigmoid_.default)
_KEEPS_STEPS = (aten.relu_.default, aten.transpose_.default, aten.unsqueeze_.default, aten.squeeze_.default)


class StandIns:
    """Which fake tensors stand for quantized ones, and on what steps."""

    def __init__(self) -> None:
        self._steps: dict[int, tuple[Any, Steps]] = {}  # the tensor is kept, so that its id stays its own

    def call(self, func: Any, args: Any, kwargs: Any, again: Any) -> Any:
        """What a call returns, made as other calls while the mode `again` stands; NotImplemented for one that has
        nothing to do with quantized tensors."""
        if func.namespace == "quantized":
            return self._computed(func, args, kwargs, again)
        if func in _MADE:
            with again:
                return _MADE[func](self, *args, **kwargs)
        if not self._steps or func.namespace != "aten":
            return NotImplemented
        steps = self._steps_of(args[0]) if args else None
        if steps is None:
            return NotImplemented
        return self._on_same_steps(func, args, kwargs, steps, again)

    def on(self, x: Any, steps: Steps) -> Any:
        """The floats of a tensor on steps."""
        return self.tag(steps.floats(steps.integers(x)), steps)

    def tag(self, x: Any, steps: Steps) -> Any:
        """A tensor of floats that are on steps already."""
        self._steps[id(x)] = x, steps
        return x

    def stands_for(self, x: Any) -> bool:
        """Whether a tensor stands for a quantized one."""
        return self._steps_of(x) is not None

    def opened(self, x: Any) -> Any:
        """What stands for a quantized tensor of the model's own; others as they are."""
        if not (isinstance(x, torch.Tensor) and x.is_quantized):
            return x
        with eager():
            integers, steps = taken_apart(x)
        return self.tag(steps.floats(integers), steps)

    def floats_of(self, x: Any) -> Any:
        """What stands for a quantized tensor, as a tensor of its own; another tensor likewise."""
        with self._aside():
            return aten.alias.default(x)

    def steps(self, x: Any) -> Steps:
        """The steps of what stands for a quantized tensor. Raises RuntimeError, as torch does for another."""
        found = self._steps_of(x)
        if found is None:
            raise RuntimeError("the tensor is not quantized")
        return found

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Floats are floats for as long as this lasts."""
        before, self._steps = self._steps, {}
        try:
            yield
        finally:
            self._steps = before

    def _steps_of(self, x: Any) -> Steps | None:
        first = x[0] if isinstance(x, (list, tuple)) and x else x
        found = self._steps.get(id(first))
        return None if found is None or found[0] is not first else found[1]

    def _computed(self, func: Any, args: Any, kwargs: Any, again: Any) -> Any:
        """An op of torch.ops.quantized, in floats; on the steps that it names, or those of its first tensor."""
        name = func._schema.name.removeprefix("quantized::")
        body = BODIES.get(name) or BODIES.get(name.removesuffix("_relu"))
        if body is None:
            return NotImplemented
        with again:
            given = {each: self.opened(value) for each, value in _named(func, args, kwargs).items()}
            steps = self._scalar_steps(name, given)  # a tensor of one number is read
        steps = steps or self._result_steps(given)
        with again, self._aside():
            found = body(*given.values())
            found = torch.relu(found) if name not in BODIES else found
        with again:
            return found if steps is None else self.on(found, steps)

    def _scalar_steps(self, name: str, given: dict[str, Any]) -> Steps | None:
        """The steps of a quantized tensor times a number, or plus one, which is made whole steps; None for other ops.
        Source: ATen/native/quantized/cpu, qmul.cpp and qadd.cpp."""
        operation = name.removesuffix("_relu").removesuffix("_scalar")
        if operation not in ("mul", "add") or "b" not in given:
            return None
        steps, number = self.steps(given["qa"]), _number(given["b"])
        steps, given["b"] = replace(steps, scale=_number(steps.scale), zero=_number(steps.zero)), number
        if operation == "mul":
            return steps.scaled(number)
        found, given["b"] = steps.shifted(number)
        return found

    def _result_steps(self, given: dict[str, Any]) -> Steps | None:
        """The steps that arguments name, which are taken out of them; else those of the first tensor, if any."""
        first = next((each for each in map(self._steps_of, given.values()) if each is not None), None)
        for scale, zero in _STEPS_OF_RESULT:
            if scale in given and zero in given:
                named = given.pop(scale), given.pop(zero)
                return first if named[0] is None else Steps(*named, first.dtype if first else torch.uint8)
        return first

    def _on_same_steps(self, func: Any, args: Any, kwargs: Any, steps: Steps, again: Any) -> Any:
        """A call of aten: its result on the input's steps, or those that are fixed for it. Raises CaptureRefused where
        it writes what the file cannot hold."""
        if is_mutable(func):
            return self._written(func, args, kwargs, steps, again)
        with again, self._aside():
            found = func(*args, **kwargs)
        if isinstance(found, (list, tuple)):
            return type(found)(self.tag(each, steps) if _is_float(each) else each for each in found)
        if not _is_float(found) or found is args[0]:
            return found
        if _is_view(func):
            return self.tag(found, steps)  # which are on the steps as they are, in the same memory
        with again:
            return self.on(found, _fixed(func, steps))

    def _written(self, func: Any, args: Any, kwargs: Any, steps: Steps, again: Any) -> Any:
        """A call that writes into its first tensor, whose floats are brought to its steps again."""
        x, source = args[0], next(filter(None, map(self._steps_of, args[1:])), None)
        if hasattr(x, IS_ARGUMENT):
            raise CaptureRefused(
                "the model writes into a quantized argument",
                cause="the file takes the floats that it stands for, and the caller's tensor is another",
                cure="write into a clone: x = x.clone()",
            )
        if source is not None and not source.same_as(steps):
            raise CaptureRefused(
                "the model copies a quantized tensor into one of other steps",
                cause="torch copies its integers, which stand for other numbers there",
                cure="quantize it to the scale, zero point and dtype of the other first",
            )
        after = _fixed(func, steps)
        if after is not steps and self._shares_memory(x):
            raise CaptureRefused(
                f"{func._schema.name}(x) changes the steps of a quantized tensor that another shares memory with",
                cause="the other keeps its own, on which the integers stand for other numbers",
                cure="make a tensor of it: without inplace=True",
            )
        with again, self._aside():
            found = func(*args, **kwargs)
            if func not in _KEEPS_STEPS and source is None:
                aten.copy_.default(x, after.floats(after.integers(x)))
        self.tag(x, after)
        return found

    def _shares_memory(self, x: torch.Tensor) -> bool:
        """Whether another quantized tensor is in the memory of this one."""
        memory = x.untyped_storage()._cdata
        return any(each is not x and each.untyped_storage()._cdata == memory for each, _ in self._steps.values())


def _fixed(func: Any, steps: Steps) -> Steps:
    """The steps of an op's results: those of its input, but where the op has its own.

    Source: ATen/native/quantized/cpu, qsigmoid.cpp, qhardsigmoid.cpp and qtanh.cpp.
    """
    count, low, middle = _RANGES[steps.dtype]
    if func in _LOGISTIC:
        return Steps(1 / count, low, steps.dtype)
    return Steps(2 / count, middle, steps.dtype) if func is aten.tanh.default else steps


def _number(value: Any) -> Any:
    """The only element of a tensor; numbers as they are."""
    return value.item() if isinstance(value, torch.Tensor) else value


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_view(func: Any) -> bool:
    """Whether an op's results share the memory of its input."""
    return any(each.alias_info is not None for each in func._schema.returns)


def _named(func: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names, in order, with defaults."""
    schema = func._schema.arguments
    given = dict(zip((each.name for each in schema), args, strict=False)) | dict(kwargs)
    return {each.name: given.get(each.name, each.default_value) for each in schema}


def _quantize(found: StandIns, x: Any, scale: Any, zero: Any, dtype: torch.dtype) -> Any:
    return found.on(x, Steps.of(scale, zero, dtype))


def _quantize_rows(found: StandIns, x: Any, scales: Any, zeros: Any, axis: int, dtype: torch.dtype) -> Any:
    return found.on(x, Steps.of(scales, zeros, dtype, axis))


def _dequantize(found: StandIns, x: Any) -> Any:
    return found.floats_of(found.opened(x))


def _lstm(
    found: StandIns, x: Any, hx: Any, cells: Any, has_biases: bool, *options: Any, dtype: Any = None,
    use_dynamic: bool = False,
) -> Any:  # fmt: skip
    return aten.lstm.input(x, hx, cell_weights(cells, has_biases), has_biases, *options)


def _gru(found: StandIns, x: Any, hx: Any, cells: Any, has_biases: bool, *options: Any) -> Any:
    return aten.gru.input(x, hx, cell_weights(cells, has_biases), has_biases, *options)


_MADE: dict[Any, Callable[..., Any]] = {
    aten.quantize_per_tensor.default: _quantize,
    aten.quantize_per_tensor.tensor_qparams: _quantize,
    aten.quantize_per_channel.default: _quantize_rows,
    aten.dequantize.self: _dequantize,
    aten.int_repr.default: lambda found, x: found.steps(x).integers(x),
    aten.q_scale.default: lambda found, x: found.steps(x).scale,
    aten.q_zero_point.default: lambda found, x: found.steps(x).zero,
    aten.quantized_lstm.input: _lstm,
    aten.quantized_gru.input: _gru,
}
