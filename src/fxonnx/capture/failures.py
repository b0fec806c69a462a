"""What torch and the model raise while they are traced, as errors of ours: where in the user's code, why, and what
to do."""

from __future__ import annotations

import keyword
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from fxonnx import errors
from fxonnx.capture.locate import is_users, user_line
from fxonnx.errors.turning import Turning
from fxonnx.location import Location


class ModelStopped(Exception):
    """The model raised while it was traced; what it raised is the `__cause__`.

    Keeps torch from printing a graph with it, which it does for exceptions that speak of data-dependence.
    """


class TooManyCalls(errors.CaptureRefused):
    """A run makes so many more calls than another that they cannot be the same ones: a loop goes as often as a size."""


class Stopping(Turning):
    """`with Stopping(): model(…)` raises ModelStopped for whatever the model raises."""

    passing = ()

    def turned(self, error: Exception) -> ModelStopped:
        """The error that a model stopped."""
        return ModelStopped()


class Translating(Turning):
    """`with Translating(): …` raises an error of ours, from the original, for whatever capturing raises.

    `place` is asked where no frame of the user's is on the stack.
    """

    def __init__(self, place: Callable[[], Location] = Location) -> None:
        self._place = place

    def turned(self, error: Exception) -> errors.Error:
        """The error of ours, from what the model has raised, or capturing."""
        original = error.__cause__ if isinstance(error, ModelStopped) and error.__cause__ is not None else error
        found = translate(original, in_model=original is not error, place=self._place)
        found.__cause__ = original
        return found


def translate(error: BaseException, *, in_model: bool, place: Callable[[], Location] = Location) -> errors.Error:
    """The error of ours for one that came out of the model (or out of torch around it)."""
    name = type(error).__name__
    location, below = innermost(error)
    location = location if location.file else place()
    if isinstance(error, errors.Error):
        error.locations = error.locations or (location,)
        return error
    if isinstance(error, SyntaxError) and (node := _unprintable(error)) is not None:
        return _misnamed(node)
    if name in _DATA_DEPENDENT or (name == "UserError" and "data-dependent" in str(error).lower()):
        return _data_dependent(error, location, below)
    if "uninitialized parameter" in str(error):
        return errors.CaptureRefused(
            "the model has parameters without sizes",
            cause="a lazy layer makes its parameters at its first call, of the sizes that it is given there",
            cure="call model(*example_inputs) once before the model is compiled",
            location=location,
        )
    if not in_model or name in _TORCHS_OWN or any(fragment in str(error) for fragment in _TRACING_WORDS):
        return errors.CaptureRefused(
            "torch cannot capture this model", cause=_gist(error), cure=_cure(error), location=location
        )
    return errors.ModelRaised(
        f"the model raised {name}: {_first_line(error)}",
        cause="it was run on fake tensors with the dtypes and sizes of the example inputs",
        cure="where model(*example_inputs) raises the same in plain PyTorch, mend that first; where it does not, the "
        "line asks something of a size that varies: leave that dim static",
        location=location,
    )


def _unprintable(error: SyntaxError) -> fx.Node | None:
    """The call that fx cannot write as Python, when an error is about that: fx compiles a graph from its print-out."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if isinstance(module, fx.GraphModule):
            return next((node for node in module.graph.nodes if keyword.iskeyword(_overload(node))), None)
    return None


def _overload(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[2] if isinstance(node.target, torch._ops.OpOverload) else ""


def _misnamed(node: fx.Node) -> errors.Error:
    return errors.CaptureRefused(
        f"torch cannot capture a call of {node.target}",
        cause=f"{_overload(node)!r} is a word of Python's, so that torch.fx cannot print the call",
        cure="for random_(low, high) write torch.randint(low, high, x.shape), for others the form with other arguments",
        location=Location("", "", *user_line(node.meta.get("stack_trace") or ""), op=str(node.target)),
    )


def _data_dependent(error: BaseException, location: Location, below: list[traceback.FrameSummary]) -> errors.Error:
    asking = next((frame for frame in below if _file(frame) not in _DECIDING), None)
    if asking is not None and "torch/nn/" in asking.filename.replace("\\", "/"):
        return errors.DataDependentControlFlow(
            "a module of torch's decides in Python by a value in a tensor",
            cause=f"{_file(asking)}:{asking.lineno} in {asking.name}:   {(asking.line or '').strip()}",
            cure=_CURES_IN_TORCH.get(asking.name, "give the module's arguments that say it, so that it need not look"),
            location=location,
        )
    return errors.DataDependentControlFlow(
        "the model decides in Python by a value in a tensor",
        cause="one graph cannot hold both ways of an if, nor a loop whose length is data",
        cure="choose with torch.where(condition, a, b), or branch with torch.cond(condition, f, g, operands)",
        location=location,
    )


_CURES_IN_TORCH = {
    "_detect_is_causal_mask": "say whether the mask is causal, is_causal=True or False; nn.Transformer calls them "
    "src_is_causal, tgt_is_causal and memory_is_causal",
}
_DATA_DEPENDENT = frozenset({"DataDependentOutputException", "DynamicOutputShapeException"})
_TORCHS_OWN = frozenset(
    {
        "UserError",
        "Unsupported",
        "InternalTorchDynamoError",
        "UnsupportedFakeTensorException",
        "UnsupportedOperatorException",
        "TorchRuntimeError",
    }
)
_TRACING_WORDS = (
    "FakeTensor",
    "ProxyTensor",
    "tensor subclass",
    "SymInt",
    "SymFloat",
    "SymBool",
    "unbacked",
    "data-dependent",
    "torch.export",
    "fake mode",
    "make_fx",
)
_DECIDING = frozenset(
    {
        "__init__.py",
        "_stats.py",
        "_tensor.py",
        "contextlib.py",
        "overrides.py",
        "recording.py",
        "surroundings.py",
        "sym_node.py",
    }
)
"""Files of torch, and one of ours, that stand between a decision in the user's Python and the refusal."""


def innermost(error: BaseException) -> tuple[Location, list[traceback.FrameSummary]]:
    """The innermost frame that is the user's, and the frames below it, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    below: list[traceback.FrameSummary] = []
    for frame in reversed(frames):
        if is_users(frame.filename):
            return Location(
                file=frame.filename, line=frame.lineno or 0, function=frame.name, code=(frame.line or "").strip()
            ), below
        below.append(frame)
    return Location(), below


def _file(frame: traceback.FrameSummary) -> str:
    return frame.filename.replace("\\", "/").rpartition("/")[2]


def _first_line(error: BaseException) -> str:
    """What an error says in one line; of one in TorchScript, whose first line says no more than that, what it was."""
    first, *others = str(error).strip().split("\n")
    is_script = "failed in the TorchScript interpreter" in first
    said = (line.removeprefix("RuntimeError: ") for line in others if line.startswith("RuntimeError: "))
    return next(said, first) if is_script else first


def _gist(error: BaseException) -> str:
    """torch's own words, without its advice about its own flags."""
    lines = [line.rstrip() for line in str(error).strip().splitlines()]
    kept: list[str] = []
    for line in lines:
        if line.startswith(
            (
                "The error above occurred",
                "For more information",
                "For extended logs",
                "If you suspect",
                "For C++",
                "For more debugging",
            )
        ):
            break
        kept.append(line)
    return f"{type(error).__name__}: " + "\n".join(kept[:8]).strip()


def _cure(error: BaseException) -> str:
    text = str(error)
    if "numpy" in text or "data pointer" in text or "data_ptr" in text:
        return "compute with torch instead of numpy in forward; what does not depend on the inputs belongs in __init__"
    if any(kind in text for kind in ("SymInt", "SymFloat", "SymBool")):
        return "the line wants a plain number of a size that varies: compute with torch, or leave the dim static"
    if type(error).__name__ == "UnsupportedOperatorException":
        return "register a fake implementation of the op with torch.library.register_fake"
    return (
        "where model(*example_inputs) raises the same in plain PyTorch, mend that first; where it does not, the "
        "line does what fake tensors cannot: say it with other operators of torch"
    )


__all__: list[Any] = ["ModelStopped", "Stopping", "Translating", "innermost", "translate"]
