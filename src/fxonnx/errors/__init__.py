"""Every error a user can meet. Each says where, why and what to do; each class's docstring is its page.

    error[FX012] aten._unique2.default cannot be written in opset 10
      --> encoder.py:57 in forward:   kinds = torch.unique(labels)
          module backbone.pool (Pool),  fx node %_unique2_default : i64[u0]
      cause  Unique exists from opset 11; fxonnx has no expansion
      cure   fxonnx.compile(model, args, opset=11)

Codes are stable: FX00x capture, FX01x operators and opsets, FX02x writing, FX03x running, FX04x numbers, FX05x dtypes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fxonnx.location import Location

PLACES_SHOWN = 3


class Error(Exception):
    """The base of every error that is about the user's model, arguments or target: catch this one to catch them all.

    Arguments: `what` went wrong, in one line without a full stop; `cause`, why; `cure`, what to do, best as code to
    paste; `location`, one place or several; `value`, the value at that place as the IR prints it, "f32[n,64,h,w]".
    """

    code: ClassVar[str] = "FX000"

    def __init__(self, what: str, *, cause: str = "", cure: str = "",
                 location: Location | Iterable[Location] | None = None, value: str = "") -> None:  # fmt: skip
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.cure = cure
        self.value = value
        self.locations: tuple[Location, ...] = _as_tuple(location)

    @property
    def places(self) -> tuple[str, ...]:
        """Each location as two lines: the line of code, and the module and node."""
        return _places(self.locations, self.value)

    def __str__(self) -> str:
        return _render(self, self.places, count=1)


class Failures(Error):
    """Several errors of one run, all at once; `.errors` holds them, in the order of the model.

    Example: a model that calls three ops fxonnx has no lowering for, one of them in every layer: you see three errors,
    the repeated one with its count and first places, and can deal with them in one go.

    What to do: each error says so itself. `except fxonnx.errors.Failures as failures: failures.errors[0].cure`.
    """

    def __init__(self, errors: Iterable[Error]) -> None:
        self.errors: tuple[Error, ...] = tuple(leaf for error in errors for leaf in _leaves(error))
        places = [place for each in self.errors for place in each.locations]
        super().__init__(_count(len(self.errors), "error"), location=places)

    def __reduce__(self) -> tuple[object, ...]:
        return Failures, (self.errors,)

    def __str__(self) -> str:
        groups: dict[tuple[object, ...], list[Error]] = {}
        for error in self.errors:
            groups.setdefault((type(error), error.what, error.cause, error.cure), []).append(error)
        blocks = [
            _render(group[0], tuple(dict.fromkeys(place for each in group for place in each.places)), count=len(group))
            for group in groups.values()
        ]
        blocks.append(f"{_count(len(groups), 'different error')}, {len(self.errors)} in all")
        return "\n" + "\n\n".join(blocks)


def raise_all(errors: Sequence[Error]) -> None:
    """Raise what was collected: nothing if empty, a lone error as itself, several as `Failures`."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    raise Failures(errors)


# ---- FX00x: capture -------------------------------------------------------------------------------------------------


class NotAModel(Error):
    """What was given to compile is not a model.

    Example: `fxonnx.compile(model.state_dict(), (x,))`, or a class where an instance is wanted: `compile(Net, (x,))`.

    What to do: pass an `nn.Module`, a function of tensors, a `torch.fx.GraphModule` or an `ExportedProgram`.
    """

    code = "FX001"


class InputMismatch(Error):
    """The example inputs do not fit the model's `forward`.

    Example: `fxonnx.compile(model, (x,))` where forward takes `(x, mask)` and mask has no default.

    What to do: give every argument that has no default, positional ones as a tuple, keywords as `example_kwargs`.
    """

    code = "FX002"


class ModelRaised(Error):
    """The model itself raised an exception while it was run on the example inputs.

    Example: an input of 10 features for a `Linear(12, 4)`. The model's own exception is the `__cause__`.

    What to do: make `model(*example_inputs)` work in plain PyTorch; then compile. Where it does work there, the line
    asks something of a size that varies, such as `isinstance(n, int)`: leave that dim static.
    """

    code = "FX003"


class DataDependentControlFlow(Error):
    """Python takes a decision that depends on the values in a tensor, and one graph cannot hold all its ways.

    Example: `return (x, y) if x.sum() > 0 else x`, where the two ways return other structures; more ways than can be
    followed; a number from data in a loop whose turns do different things, as a key, or in text.

    What to do: return the same structure and shapes both ways; or say it in tensors, `torch.where(x.sum() > 0, a, b)`,
    or as `torch.cond` or `while_loop`. If the decision is the same for every input you will serve, take it before
    compiling.
    """

    code = "FX004"


class CaptureRefused(Error):
    """torch could not turn the model into a graph, for a reason that is none of the others here.

    Example: a Python object that torch cannot trace, an op without a fake implementation.

    What to do: follow the cause, which is torch's own word, and the cure.
    """

    code = "FX005"


class FrozenDimension(Error):
    """A dimension that you declared dynamic came out as a constant: the model works for that one size only.

    Example: `x.view(8, -1)` written for a batch of 8; a table of positions built for the example's length.

    What to do: replace the constant by the size, `x.view(x.shape[0], -1)`, or leave the dimension out of
    `dynamic_shapes`. fxonnx never freezes a declared dimension silently.
    """

    code = "FX006"


class InvalidDynamicShapes(Error):
    """`dynamic_shapes` does not fit the inputs.

    Example: a name that is no argument, an axis the tensor does not have, one name for two dims of different sizes.

    What to do: `dynamic_shapes={"x": {0: "batch", 1: "time"}}`, keys being names or positions of arguments.
    """

    code = "FX007"


class InvalidOption(Error):
    """An option of compile, save or configure has a value that it does not take.

    Example: `mode="evaluate"`, `opset="17"`, `target="onnxruntime"`, `save(path, weights="both")`.

    What to do: take one of the values that the message names.
    """

    code = "FX008"

    @classmethod
    def among(cls, name: str, given: object, known: Iterable[str]) -> InvalidOption:
        """The error for an option that takes one of a few words."""
        words = list(known)
        nearest = next(iter(get_close_matches(str(given), words, 1)), words[0])
        text = ", ".join(map(repr, words))
        return cls(f"{name}={given!r} is none of its values", cause=f"it is one of {text}", cure=f"{name}={nearest!r}")


# ---- FX01x: operators and opsets ------------------------------------------------------------------------------------


class UnsupportedOperator(Error):
    """An operator of the model has no lowering, and cannot be taken apart into ones that have.

    Example: a custom op, `torch.ops.mylib.fancy(x)`; an op newer than this release.

    What to do: say it in ONNX yourself and register it, `@fxonnx.register_lowering("mylib::fancy")`, or write the model
    with other ops. `fxonnx explain aten.NAME` shows what is known of an op.
    """

    code = "FX010"


class UnsupportedArguments(Error):
    """An operator has a lowering, but not for these arguments: ONNX cannot say it, or fxonnx cannot yet.

    Example: a mode or a padding that ONNX's operator does not have; an axis that has to be a constant and is not.

    What to do: follow the cure, which names the nearest arguments that work; or register a lowering of your own.
    """

    code = "FX011"


class NotInOpset(Error):
    """An operator cannot be written in the target's opset: it came later, and has no expansion in older words.

    Example: `torch.unique` with `opset=10`; ONNX has Unique from 11.

    What to do: raise the opset to the one the cure names, or replace the operator.
    """

    code = "FX012"


class OpsetOutOfRange(Error):
    """The opset you asked for is older than fxonnx can write, or newer than the installed onnx or runtime knows.

    Example: `fxonnx.compile(model, (x,), opset=99)`.

    What to do: take one from the range in the message, or none: the default fits the installed runtime.
    """

    code = "FX013"


class NoKernel(Error):
    """The model is valid ONNX, but the target runtime cannot run an operator of it, and no other form was found.

    Example: an operator of which the runtime has kernels for older versions only, and whose meaning changed since.

    What to do: another dtype, another opset, or `fxonnx.export` if the model is meant for another runtime.
    """

    code = "FX014"


class WrongLowering(Error):
    """A lowering gave a result whose dtype or shape is not what torch says.

    Example: a lowering registered by you that returns float32 where the op keeps float16, or forgets `keepdim`.

    What to do: correct the lowering named in the message. If it is one of fxonnx's, please report it.
    """

    code = "FX015"


class WrongRule(Error):
    """A rewrite rule cannot be recorded, or makes something else than what it replaces.

    Example: `after` names a value that `before` does not have, misspells an operator, or gives another dtype or shape.

    What to do: correct the rule at the line in the message. If it is one of fxonnx's, please report it;
    `optimize={"its_name": False}` leaves it out.
    """

    code = "FX016"


# ---- FX02x: writing -------------------------------------------------------------------------------------------------


class NameClash(Error):
    """Two inputs or outputs of the model would have the same name, or there are more names than values.

    Example: `input_names=["x", "x"]`, `output_names=["y"]` for a model that returns two tensors.

    What to do: give each tensor, nested ones included, a name of its own, or leave the names to fxonnx.
    """

    code = "FX020"


class CannotWrite(Error):
    """The file cannot be written.

    Example: `compiled.save("missing/model.onnx")` into a directory that does not exist; a full disk.

    What to do: make the directory, or choose another path. The system's own exception is the `__cause__`.
    """

    code = "FX021"


class TooLarge(Error):
    """The model does not fit into one protobuf message, which ends at 2 GiB.

    Example: `compiled.model_proto()` of a model with 3 GB of weights.

    What to do: `compiled.save(path)`, which puts large weights into a file beside the model.
    """

    code = "FX022"


class CannotRead(Error):
    """A file cannot be read as a model.

    Example: `fxonnx.load("missing.onnx")`; a file that is no ONNX model; one whose data file lies elsewhere.

    What to do: give the path of a file that `compiled.save(path)` wrote, with the data file that it names beside it.
    """

    code = "FX023"


# ---- FX03x: running -------------------------------------------------------------------------------------------------


class CallMismatch(Error):
    """A compiled model is called with arguments it was not compiled for.

    Example: a float64 tensor where the model has float32, another number of arguments, a size outside the declared
    range, a Python constant other than the one at compile time.

    What to do: call it like the example inputs; to vary a size, declare it in `dynamic_shapes`; to vary a Python
    number, pass it as a tensor.
    """

    code = "FX030"


class RuntimeFailed(Error):
    """The runtime stopped while it loaded or ran the model; the place is the line of your model it was at.

    Example: an index out of range in `embedding`, memory that does not suffice.

    What to do: check the values at the place shown, as PyTorch would raise too. If PyTorch runs it, please report.
    """

    code = "FX031"


class ModelChanged(Error):
    """The model is another one than it was when it was compiled: its weights were written to, moved or exchanged.

    Example: an optimizer's step, `load_state_dict` or `model.half()` between `compile` and `save` or a call.

    What to do: compile again. What is compiled holds the model of the moment it was compiled; it reads the model's own
    tensors, without a copy, so it would be neither that model nor the new one.
    """

    code = "FX032"


class CheckFailed(Error):
    """The model checks its inputs, or what it computes of them, and the check fails: PyTorch would raise as well.

    Example: `assert (x >= 0).all(), "negative"` in forward, and a call with a negative number. The text is the model's
    own; what it would compute for the message stands in braces.

    What to do: give inputs that meet it. A file tells by outputs called `must_be_true.0`, …; its metadata says what
    each stands for.
    """

    code = "FX033"


class WeightsMismatch(Error):
    """Weights do not fit the model that was compiled: names, shapes or dtypes, or values that it holds for.

    Example: `compiled.rebind(state_dict)` without a key; weights in files that are another model's.

    What to do: give all weights of this model; compile again for a model of another structure.
    """

    code = "FX034"


# ---- FX04x, FX05x: numbers and dtypes -------------------------------------------------------------------------------


class VerificationFailed(Error):
    """The compiled model's results differ from the model's by more than the tolerance of their dtype.

    Example: `compiled.verify(x)` for a model with a random op, or one that is in training mode.

    What to do: `compiled.locate(x)` names the first value that differs, `fxonnx bisect package.module:factory` whose
    doing it is. Random ops cannot agree.
    """

    code = "FX040"


class UnsupportedDtype(Error):
    """A dtype that ONNX does not have, or a mix of dtypes that torch does not promote.

    Example: a `torch.qint8` tensor; `uint16` plus `int32`.

    What to do: cast in the model, `x.to(torch.float32)`; for quantized tensors use `dequantize()` or the quantize and
    dequantize ops, which ONNX has.
    """

    code = "FX050"


class InternalError(Exception):
    """A fault of fxonnx, never yours: something that cannot be, was. Not an `Error`, so that it is not taken for one.

    Example: a pass leaves a graph that does not verify; the message holds the print-out with the fault marked in it.

    What to do: please report it with the whole message. Until it is mended, `optimize=False` may get you past it.
    """

    code: ClassVar[str] = "FX099"

    def __init__(self, what: str, *, cause: str = "", text: str = "",
                 location: Location | Iterable[Location] | None = None) -> None:  # fmt: skip
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.cure = "the fault is in fxonnx, not in your model: please report it with this whole message"
        self.text = text
        self.locations: tuple[Location, ...] = _as_tuple(location)

    def __str__(self) -> str:
        rendered = _render(self, _places(self.locations, ""), count=1)
        return f"{rendered}\n\n{self.text}" if self.text else rendered


BY_CODE: dict[str, type[Error | InternalError]] = {
    **{each.code: each for each in Error.__subclasses__() if each is not Failures},
    InternalError.code: InternalError,
}


# ---- how they look --------------------------------------------------------------------------------------------------


def _render(error: Error | InternalError, places: tuple[str, ...], count: int) -> str:
    """The whole message: headline, first places, cause, cure."""
    times = f"  ({count} times)" if count > 1 else ""
    lines = [f"error[{error.code}] {error.what}{times}", *places[:PLACES_SHOWN]]
    if len(places) > PLACES_SHOWN:
        lines.append(f"      and {len(places) - PLACES_SHOWN} more")
    lines += [f"  {label:6} {_hang(text)}" for label, text in (("cause", error.cause), ("cure", error.cure)) if text]
    return "\n".join(lines)


def _places(locations: tuple[Location, ...], value: str) -> tuple[str, ...]:
    """The places that have anything to show."""
    return tuple(filter(None, (_place(each, value) for each in locations)))


def _place(location: Location, value: str) -> str:
    """`--> file:line in function:   code` and below it the module and the node."""
    source = f"{location.cell or _nearby(location.file)}:{location.line}" if location.file else ""
    within = f" in {location.function}" if location.function else ""
    code = f":   {location.code.strip()}" if location.code else ""
    node = "+".join(f"%{name}" for name in location.node.split("+") if name)
    kind = f" ({location.kind})" if location.kind else ""
    owner = f"module {location.module}{kind}" if location.module else location.kind and f"module{kind}"
    what = " : ".join(filter(None, (node and f"fx node {node}", value)))
    lines = [source and f"  --> {source}{within}{code}", ",  ".join(filter(None, (owner, what)))]
    return "\n".join(line if line.startswith("  -->") else f"      {line}" for line in lines if line)


def _nearby(file: str) -> str:
    """A path as one would type it here: relative below the working directory, else as it is."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _hang(text: str) -> str:
    """Further lines under the first one."""
    return text.replace("\n", "\n         ")


def _count(number: int, noun: str) -> str:
    """A number with its noun in the right form."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_tuple(location: Location | Iterable[Location] | None) -> tuple[Location, ...]:
    """One place, several or none, as a tuple without repetition."""
    if location is None:
        return ()
    return tuple(dict.fromkeys(location)) if isinstance(location, Iterable) else (location,)


def _leaves(error: Error) -> Iterable[Error]:
    """An error itself, or those a `Failures` groups."""
    return error.errors if isinstance(error, Failures) else (error,)
