"""Ways that end in an exception: of the model's own, or one that Python or torch raises there at each call.

    if x.min() < 0: raise ValueError("negative")      outs = [… for each expert that is asked]; torch.cat(outs)
"""

from __future__ import annotations

import dis
import traceback
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.call.example import Example
from fxonnx.capture.failures import ModelStopped, innermost, translate
from fxonnx.capture.graph.other_sizes import REFUSALS, at_sizes
from fxonnx.capture.locate import is_layers, is_users
from fxonnx.capture.tracer import functions, size_functions
from fxonnx.capture.tracer.paths.way import Raised
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.errors import Error, ModelRaised

_TRACED = {functions.__file__, size_functions.__file__}
_OF_PYTHON = (LookupError, UnboundLocalError, ValueError, ZeroDivisionError)
"""what a line raises for what is not there, or has nothing in it: outs[0], max([]), a variable without a value"""


def record(run: Run) -> Raised | None:
    """Record a run; what the model raises after a decision, where it does so at each call that comes there. Raises
    whatever else it raises."""
    try:
        run.record()
    except ModelStopped as stopped:
        error = stopped.__cause__
        if error is None or not run.decisions.made or not _is_the_models(error, run):
            raise
        run.tape.refuse.raise_swallowed()
        return Raised(str(error) or type(error).__name__, innermost(error)[0], error)
    return None


def _is_the_models(error: BaseException, run: Run) -> bool:
    """Whether the model raises in eager as well, not only where it is traced."""
    if not isinstance(translate(error, in_model=True), ModelRaised):
        return False
    frame, instruction = _last(error)
    file, is_raised = frame.f_code.co_filename, dis.opname[frame.f_code.co_code[instruction]] == "RAISE_VARARGS"
    if is_raised and is_users(file):
        return True
    is_refused = (is_raised and is_layers(file)) or _is_refused_by_eager(error, run)
    return is_refused and all(_raises_alike(error, run, each) for each in _sized(run))


def _is_refused_by_eager(error: BaseException, run: Run) -> bool:
    """Whether Python raises, in a line of the user's, or the kernel of an op takes its arguments no more than the meta
    kernel did."""
    arguments = _call(error)
    if arguments is None:
        return isinstance(error, _OF_PYTHON) and _is_of_line(_last(error)[0].f_code.co_filename)
    func, *given = arguments
    values = {**run.symbols.hints, **run.data.hints}
    with suppress(KeyError, ZeroDivisionError):
        args, kwargs = pytree.tree_map_only(torch.Tensor, _zeros, at_sizes(given, dim_of, values))
        try:
            func(*args, **kwargs)
        except REFUSALS:
            return True
    return False


def _is_of_line(file: str) -> bool:
    """Whether what raises in a source file does so for a line of the user's: that itself, a layer of torch's (a list of
    layers, by a number that it has not), or what stands before torch's functions here."""
    return is_users(file) or is_layers(file) or file in _TRACED


def _zeros(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype).zero_()


def _sized(run: Run) -> Iterator[Example]:
    """The example at its own sizes and at larger ones, where sizes vary: a refusal may be for those of the run."""
    if run.symbols.axes:
        yield from (run.example, run.example.doubled())


def _raises_alike(error: BaseException, run: Run, example: Example) -> bool:
    """Whether the model, at plain sizes, raises the same where it decides as the run did."""
    symbols = run.symbols.sized_as(example.leaves)
    other = Run.prepare(example, symbols.fixed_at(symbols.hints), run.decisions.answers)
    try:
        other.record()
    except ModelStopped as stopped:
        found = stopped.__cause__
        is_alike = type(found) is type(error) and other.decisions.answers == run.decisions.answers
        return is_alike and found is not None and innermost(found)[0] == innermost(error)[0]
    except Error:
        return False
    return False


def _call(error: BaseException) -> tuple[Any, Any, Any] | None:
    """The op, and the arguments, of the call on the tape that raised an error; None where none did."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is Tape._result.__code__:
            return tuple(frame.f_locals[name] for name in ("func", "args", "kwargs"))
    return None


def _last(error: BaseException) -> tuple[FrameType, int]:
    """The frame that raised an error, and the instruction that it was at."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame, trace.tb_lasti


__all__ = ["record"]
