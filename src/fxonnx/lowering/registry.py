"""Which function lowers which aten op.

A lowering is a plain function whose first argument is `op`, an onnxscript opset, and whose others are named as in the
aten schema. It is registered under an overload (`aten.max.dim`) or under a whole packet (`aten.gelu`: every overload
whose arguments the function accepts), optionally from an opset on. Looking one up is a dictionary access; the families
are imported once, at the first compile.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

from fxonnx import errors
from fxonnx.errors.arguments import names_options
from fxonnx.lowering.promote import Promotion
from fxonnx.progress import LOGGER

Body: TypeAlias = Callable[..., Any]

_TARGET = re.compile(r"\w+(\.|::)\w+(\.\w+)?")
ATEN = "fxonnx.lowering.aten"

# fmt: off
FAMILIES = (
    "control", "gradients", "grid_gradients", "losses", "segments",
    "complex.pairs", "complex.exponentials", "complex.inverse_trigonometry", "complex.moments",
    "linalg.cholesky", "linalg.eig", "linalg.eigh", "linalg.functions", "linalg.ldl", "linalg.lu", "linalg.norms",
    "linalg.qr", "linalg.svd", "linalg.triangular",
    "math.arithmetic", "math.bits", "math.compare", "math.cumulative", "math.grouped", "math.matmul",
    "math.reduction", "math.sorting", "math.special", "math.vectors",
    "nn.activation", "nn.attention", "nn.convolution", "nn.dropout", "nn.embedding", "nn.normalization", "nn.packed",
    "nn.padding", "nn.pooling", "nn.quantized", "nn.recurrent", "nn.resize", "nn.vision",
    "special.bessel", "special.error_functions", "special.gamma", "special.incomplete_gamma", "special.orthogonal",
    "spectral.fft", "spectral.stft", "spectral.windows",
    "tensor.counting", "tensor.creation", "tensor.diagonal", "tensor.indexing", "tensor.joining", "tensor.random",
    "tensor.scatter", "tensor.shape",
)
# fmt: on

# Arguments that say where and how torch stores a tensor; an ONNX value has no such thing, so bodies need not name them.
STORAGE_ARGUMENTS = frozenset(
    ["layout", "device", "pin_memory", "memory_format", "generator", "non_blocking", "requires_grad", "copy", "out"]
)

COMPLEX = "complex"


class Unsupported(Exception):
    """Raised by a lowering for arguments that it cannot say faithfully; the text is the cause the user reads."""


@dataclass(frozen=True, slots=True)
class Lowering:
    """A body, the aten target it serves, the opset from which it does, and what is done to its arguments before: what
    `lower` declares. `accepted` are the body's arguments but those given, `required` those of them without a default.

    `complex` bodies see complex tensors as real ones with a last axis of 2, and are chosen when an argument or the
    result is complex.
    """

    target: str
    body: Body
    accepted: frozenset[str]
    required: frozenset[str]
    promote: Promotion | None = None
    since: int = 1
    complex: bool = False
    rename: Mapping[str, str] = field(default_factory=dict)
    runtime: frozenset[str] = frozenset()
    layout: bool = False
    opmath: bool | str = False
    given: Mapping[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    computes: str = ""

    @property
    def name(self) -> str:
        """The body's name, with the arguments that the target gives it: `extremum(operator='ReduceMin')`."""
        told = ", ".join(f"{name}={value!r}" for name, value in self.given.items())
        return f"{self.body.__name__}({told})" if told else self.body.__name__

    @property
    def description(self) -> str:
        """What the target computes: as declared, else the body's docstring."""
        return self.computes or inspect.cleandoc(self.body.__doc__ or "")

    @property
    def family(self) -> str:
        """`nn.activation`: the body's module below `lowering/aten`; the whole name of a user's own."""
        return self.body.__module__.removeprefix(f"{ATEN}.")

    def fits(self, arguments: Iterable[str] | None) -> bool:
        """Whether the body can be called with the arguments of an overload; None are those of a higher-order op, in
        order."""
        if arguments is None:
            return True
        names = frozenset(map(self.named, arguments) if self.rename else arguments)
        return names - STORAGE_ARGUMENTS - self.ignored <= self.accepted and self.required <= names

    def named(self, argument: str) -> str:
        """The body's name for an argument of the schema."""
        return self.rename.get(argument, argument)


@dataclass(slots=True)
class Registry:
    """Lowerings by target. A registry laid over another one is asked first: how a user's own lowerings win, per call or
    globally."""

    lowerings: dict[tuple[str, bool], list[Lowering]] = field(default_factory=dict)
    below: Registry | None = None
    used: set[str] = field(default_factory=set)

    def add(self, lowering: Lowering) -> None:
        """Register; a second lowering of the same target and opset replaces the first."""
        same = self.lowerings.setdefault((lowering.target, lowering.complex), [])
        same[:] = sorted(
            [*(other for other in same if other.since != lowering.since), lowering], key=lambda other: -other.since
        )

    def find(
        self, overload: str, arguments: Iterable[str] | None, opset: int, complex: bool = False
    ) -> Lowering | None:
        """The lowering of `aten.name.overload` with the greatest `since` not above `opset`; None where there is
        none."""
        packet = overload.rpartition(".")[0]
        for target in (overload, packet):
            for lowering in self.lowerings.get((target, complex), ()):
                if lowering.since <= opset and lowering.fits(arguments):
                    self.used.add(target)
                    return lowering
        return self.below.find(overload, arguments, opset, complex) if self.below else None

    def warn_of_unused(self) -> None:
        """Log what has served no call."""
        unused = {target for target, _ in self.lowerings} - self.used
        if unused:
            LOGGER.warning("lowerings that no call of the model asked for: %s", ", ".join(sorted(unused)))

    def targets(self) -> tuple[str, ...]:
        """Every registered target, sorted."""
        return tuple(sorted({target for target, _ in self.lowerings} | set(self.below.targets() if self.below else ())))


STANDARD = Registry()
USERS = Registry(below=STANDARD)


def lower(
    *targets: str,
    promote: Promotion | None = None,
    since: int = 1,
    when: str | None = None,
    rename: Mapping[str, str] | None = None,
    runtime: Collection[str] = (),
    layout: bool = False,
    opmath: bool | str = False,
    given: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
    computes: str = "",
) -> Callable[[Body], Body]:
    """Register the decorated function in the standard registry as the lowering of every target named.

    promote  which tensors and numbers come in their common dtype (`fxonnx.lowering.promote`)
    since    the opset from which the body serves; an older one may serve before
    when     COMPLEX: the body of complex tensors, beside that of real ones under the same target
    rename   {an argument of the schema: the body's name for it}, so that one body serves ops that differ in names
    runtime  the schema's numbers that may be tensors, read by the model with `.item()`, as promoted ones may; any other
             is refused unless it is known when compiling
    layout   the body takes `layout`: (strides, offset) of its first argument in torch's memory; None where it has none
    opmath   float16 and bfloat16 come in float32, and results are rounded once, to torch's dtype, as its kernels do
             (c10/core/OpMathType.h): for bodies of several operators; by the name of an argument, where it is given
    given    arguments of the body that the target's name says, so that one body serves ops that differ in little else
    ignore   the schema's arguments that change no value: what serves gradients, chooses kernels, or is checked by torch
    computes what this target computes, in a line, where the body's docstring says it of several
    """
    declared: dict[str, Any] = {"promote": promote, "since": since, "complex": when == COMPLEX, "layout": layout}
    declared |= {"rename": rename or {}, "runtime": frozenset(runtime), "opmath": opmath}
    declared |= {"given": given or {}, "ignored": frozenset(ignore), "computes": computes}

    def register(body: Body) -> Body:
        for target in targets:
            STANDARD.add(make_lowering(target, body, **declared))
        return body

    return register


@names_options
def register_lowering(target: str, body: Body | None = None, *, since: int = 1, runtime: Collection[str] = ()) -> Any:
    """Teach fxonnx an op: `@fxonnx.register_lowering("mylib.swoosh")` over `def swoosh(op, x, *, alpha): …`.

    `target` is an aten or custom op, `namespace.name` or `namespace.name.overload`. The body's arguments are named as
    in the op's schema; it may also be an `onnxscript.OnnxFunction` (`@onnxscript.script()`), which takes the op's
    tensors in order. `runtime` names numbers that may be tensors, which the model reads with `.item()`. Later
    registrations win, also over the built-in ones. For one call only, pass `lowerings={target: body}` to
    `fxonnx.compile`.
    """
    if body is None:
        return lambda body: register_lowering(target, body, since=since, runtime=runtime)
    USERS.add(make_lowering(target, body, since=since, runtime=frozenset(runtime)))
    return body


def make_lowering(target: str, body: Body, **declared: Any) -> Lowering:
    """A lowering whose accepted and required arguments are read from the body's signature. An onnxscript function takes
    every number as a tensor."""
    target = target.removeprefix("torch.ops.") if isinstance(target, str) else target
    if not (isinstance(target, str) and callable(body) and _TARGET.fullmatch(target)):
        raise errors.InvalidOption(
            f"{target!r}: {getattr(body, '__name__', body)!r} is no lowering of an op",
            cause="a lowering is a function, registered for an op by its namespace, name and overload",
            cure='@fxonnx.register_lowering("mylib.swoosh") over def swoosh(op, x, *, alpha): …',
        )
    target = target.replace("::", ".")
    is_script = hasattr(body, "to_function_proto")
    body = _script_body(body) if is_script else body
    accepted, required = _arguments(target, body)
    declared |= {"runtime": accepted} if is_script else {}
    given = frozenset(declared.get("given", ()))
    name = target.removesuffix(".default") if target.count(".") > 1 else target
    return Lowering(name, body, accepted - given, required - given, **declared)


def _arguments(target: str, body: Body) -> tuple[frozenset[str], frozenset[str]]:
    """(all arguments after `op`, those without a default). A plain function's are read from its code object:
    `inspect.signature` takes fifty times as long, for some 700 bodies at the first compile."""
    if inspect.isfunction(body) and not hasattr(body, "__wrapped__") and not hasattr(body, "__signature__"):
        code, defaults = body.__code__, len(body.__defaults__ or ())
        if not code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            optional = {*names[code.co_argcount - defaults : code.co_argcount], *(body.__kwdefaults__ or ())}
            return frozenset(names[1:]), frozenset(names[1:]) - optional
    parameters = list(inspect.signature(body).parameters.values())[1:]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise errors.InvalidOption(
            f"the lowering of {target} takes *args or **kwargs",
            cause="what it is given is found by the names of its arguments, those of the op's schema",
            cure=f"name them: def {target.split('.')[1]}(op, self, other)",
        )
    return frozenset(p.name for p in parameters), frozenset(p.name for p in parameters if p.default is p.empty)


def _script_body(function: Any) -> Body:
    """A body with the function's own parameter names that calls it with the recording opset's functions."""

    def body(op: Any, **arguments: Any) -> Any:
        from fxonnx.ir.inline import inline

        called = [other.to_function_proto() for other in function.function_ir.get_called_functions().values()]
        results = inline(op, function.to_function_proto(), arguments, called)
        return results[0] if len(results) == 1 else results

    parameters = [inspect.Parameter("op", inspect.Parameter.POSITIONAL_ONLY)]
    for parameter in function.op_signature.params:
        default = inspect.Parameter.empty if parameter.required else None
        parameters.append(inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default))
    body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return body


@cache
def standard() -> Registry:
    """The users' registry over the standard one, with every family imported."""
    for family in FAMILIES:
        import_module(f"{ATEN}.{family}")
    return USERS
