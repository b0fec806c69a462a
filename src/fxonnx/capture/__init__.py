"""Capture: a PyTorch model becomes a functional aten graph with places, symbolic dims and weights by reference.

    program = capture(model, (x,), dynamic_shapes={"x": {0: "batch"}})
    program.graph        # torch.fx, nothing written in place
    program.inputs, program.weights, program.outputs

    call/         the example: arguments and results of any structure, and what was asked to be dynamic
    state/        what forward leaves in Python, told and put back
    tracer/       runs the model once on fake tensors
    graph/        from the graph that it leaves to a functional one; single ops taken apart
    equivalence/  whether two captures say the same, at sizes of 0 and 1 above all
    weights/      which tensors stand for a model's weights: its own, a state dict's, those in files

What a run takes for granted are `assumption`s, classified as `constraints`; it is tried again by a plan that prints
(`retry`), and its failures are said in our words (`failures`, with the places of `locate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.export import ExportedProgram

from fxonnx.capture import tracer
from fxonnx.capture.assumption import Assumption
from fxonnx.capture.call.dense import example_errors
from fxonnx.capture.call.dynamic import requests
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.exported import as_module, dims_of, own_example
from fxonnx.capture.call.forgotten import remind
from fxonnx.capture.call.inputs import (
    Flat,
    Signature,
    as_call,
    check_opened,
    example_arguments,
    leaf_names,
    parameters_of,
    result_names,
)
from fxonnx.capture.call.tree import Branch, flatten
from fxonnx.capture.program import Input, Program, State, SymbolInfo, Weight, Writeback
from fxonnx.capture.surroundings import training_mode
from fxonnx.capture.wrappers import unwrapped
from fxonnx.errors import Error, raise_all

__all__ = [
    "Assumption",
    "Input",
    "Program",
    "Signature",
    "State",
    "SymbolInfo",
    "Weight",
    "Writeback",
    "capture",
    "example_call",
]


def capture(
    model: Any,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    input_names: Iterable[str] | None = None,
    mode: str = "eval",
) -> Program:
    """The model as a Program, captured on the example inputs.

    Args:
        model: an nn.Module, a function, a method of a module, an fx.GraphModule or an ExportedProgram.
        args: positional arguments, which may nest; a lone tensor counts as one.
        kwargs: keyword arguments.
        dynamic_shapes: torch.export's form, `{"x": {0: "batch"}}`, or "auto".
        input_names: names for the tensors of the inputs, in order, in place of their own.
        mode: the training mode to capture in, "eval", "train" or "keep"; the model is left as it was found.

    Raises NotAModel, InputMismatch, InvalidDynamicShapes, NameClash; ModelRaised, DataDependentControlFlow,
    CaptureRefused with the user's line; and FrozenDimension for dims that were asked for and came out constant,
    several at once as Failures.
    """
    args, kwargs = example_call(model, args, kwargs)
    exported = model if isinstance(model, ExportedProgram) else None
    model = unwrapped(model) if exported is None else as_module(exported)
    parameters = parameters_of(model)
    given = example_arguments(parameters, args, kwargs)
    leaves, paths, tree = flatten(given.values)
    assert isinstance(tree, Branch)
    check_opened(tree)
    names = leaf_names(paths, input_names)
    raise_all(example_errors(names, leaves))
    inputs = tuple(zip(tree.keys, tree.parts, strict=True))
    arguments = given.without_values()
    flat = Flat(model, arguments, tree)
    dims = requests(dynamic_shapes, inputs, names, leaves)
    if exported is not None:
        dims = dims_of(exported, parameters, dict(zip(paths, leaves, strict=True)), dims)
    example = Example(flat, names, leaves, dims)

    def signature() -> Signature:  # once the model has run
        returned = flat.returned
        results = returned.tree, result_names(returned.paths)
        return Signature(parameters, arguments, inputs, names, *results, returned.effects)

    with training_mode(flat.model, mode):
        try:
            return tracer.capture(example, signature, mode)
        except Error as error:
            remind(error, example)
            raise


def example_call(model: Any, inputs: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example to compile a model for, as positional and keyword arguments; an ExportedProgram brings its own.

    Raises InputMismatch for what are no arguments.
    """
    args, kwargs = as_call(inputs, kwargs)
    if args or kwargs or not isinstance(model, ExportedProgram):
        return args, kwargs
    return own_example(model)
