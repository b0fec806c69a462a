"""What a model is written for: an opset, the operators beyond ONNX's own, and the kernels of a runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import onnx

from fxonnx import errors, kernels
from fxonnx.dtypes import FLOAT16, FLOAT32, DType
from fxonnx.errors.arguments import names_options
from fxonnx.kernels import KernelTable
from fxonnx.machines import UNKNOWN, Machine

# What the oldest runtimes still in use read. Before it there is no NonZero, Where, Scatter or ConstantOfShape.
OLDEST_OPSET = 9
NEWEST_OPSET = onnx.defs.onnx_opset_version()

# Standard files: opset 21 is the newest at which no operator has lost its kernel in ONNX Runtime 1.32 (random numbers,
# RoiAlign and Multinomial have none from 22 on), and its IR version 10 is what runtimes of the last two years read.
STANDARD_OPSET = 21

# ONNX Runtime 1.32: 24 loses nothing that 23 has, and adds TensorScatter and Attention with cache lengths. From 25 on
# Attention has no kernel, at 28 QuantizeLinear has none.
RUNTIME_OPSET = 24

# DirectML's kernels end at 21: of operators that are newer it has none, and they would run on the CPU.
_BEST_OPSETS = {"directml": 21}

MICROSOFT = "com.microsoft"

# What a provider of ONNX Runtime is called, in its file and by the runtime; what it has no kernel for runs on the CPU.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "directml": "DmlExecutionProvider"}

# Runtimes that run ONNX's own definition of an operator that they have no kernel of; others do not load it.
_INLINING = frozenset({"onnxruntime", "onnx", "openvino"})

# ONNX Runtime turns it into an initializer while it loads the model: it needs no kernel.
_WITHOUT_KERNEL = frozenset({("", "Constant")})


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """An opset, the domains of the runtime beside ONNX's own, its kernels (None where they are not known), the machine
    that the file is to be fast on (which by itself knows nothing, and prefers nothing), and the user's `own` domains
    with their versions. Where a provider of the runtime leaves to another one what it has no kernel for, `spare` are
    the kernels of that one.

    `Target.onnx()` writes standard operators for any runtime, `Target.onnxruntime()` for the one installed.
    """

    opset: int
    domains: frozenset[str] = frozenset()
    kernels: KernelTable | None = None
    machine: Machine = field(default=UNKNOWN, compare=False)  # one for each compile, and no word on what runs
    own: tuple[tuple[str, int], ...] = ()
    spare: KernelTable | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.opset, int):
            raise errors.InvalidOption(
                f"opset is {self.opset!r}", cause="it is an int", cure=f"opset={STANDARD_OPSET}, or leave it out"
            )
        newest = min(NEWEST_OPSET, self.kernels.opset) if self.kernels else NEWEST_OPSET
        if not OLDEST_OPSET <= self.opset <= newest:
            who = f"onnx {onnx.__version__}" if newest == NEWEST_OPSET else f"{self.kernels}"
            raise errors.OpsetOutOfRange(
                f"there is no opset {self.opset} here",
                cause=f"fxonnx writes opsets from {OLDEST_OPSET}, and {who} knows them up to {newest}",
                cure=f"opset={min(max(self.opset, OLDEST_OPSET), newest)}, or leave it out",
            )

    @staticmethod
    @names_options
    def onnx(opset: int | None = None) -> Target:
        """Standard operators only, for any runtime. Raises OpsetOutOfRange."""
        return Target(STANDARD_OPSET if opset is None else opset)

    @staticmethod
    @names_options
    def onnxruntime(version: str | None = None, provider: str = "CPU", *, opset: int | None = None) -> Target:
        """ONNX Runtime: `version` "1.32" or the installed one, with its own operators (com.microsoft), on a provider:
        "CPU", "CUDA" or "DirectML", by that name or the runtime's ("CUDAExecutionProvider").

        Where there is no snapshot of that version's kernels, the newest older one is taken.

        Raises:
            NoKernel: the version is older than every snapshot. InvalidOption, OpsetOutOfRange.
        """
        name = _provider(provider)
        table = _snapshot("onnxruntime", name, version)
        spare = None if name == "cpu" else _snapshot("onnxruntime", "cpu", table.version)
        best = _BEST_OPSETS.get(name, RUNTIME_OPSET)
        return Target(_best(opset, best, table), frozenset({MICROSOFT}), table, spare=spare)

    @staticmethod
    @names_options
    def openvino(version: str | None = None, *, opset: int | None = None) -> Target:
        """OpenVINO on the CPU: `version` "2026.4" or the installed one. What is compiled for it runs in it, where it is
        installed. Raises NoKernel, InvalidOption, OpsetOutOfRange."""
        table = _snapshot("openvino", "cpu", version)
        return Target(_best(opset, RUNTIME_OPSET, table), kernels=table)

    @staticmethod
    @names_options
    def tensorrt(version: str | None = None, *, opset: int | None = None) -> Target:
        """TensorRT: `version` "10.15" or the installed one. Its table names operators and dtypes; what it says of
        single attributes and inputs is not looked at. Raises NoKernel, InvalidOption, OpsetOutOfRange."""
        table = _snapshot("tensorrt", "gpu", version)
        return Target(_best(opset, STANDARD_OPSET, table), kernels=table)

    @staticmethod
    @names_options
    def reference(opset: int | None = None) -> Target:
        """ONNX's reference evaluator, which is slow, and says what the standard means. Raises OpsetOutOfRange."""
        table = _snapshot("onnx", "reference", None)
        return Target(_best(opset, STANDARD_OPSET, table), kernels=table)

    @property
    def runtime(self) -> str:
        """What runs it: "onnxruntime", "openvino", "tensorrt", "onnx" for the reference; "" for whichever."""
        return self.kernels.runtime if self.kernels else ""

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers of ONNX Runtime that it runs on, the preferred one first."""
        tables = (self.kernels, self.spare) if self.runtime == "onnxruntime" else ()
        return tuple(each.provider for each in tables if each) or (PROVIDERS["cpu"],)

    @property
    def is_measured(self) -> bool:
        """Whether forms that compete are measured for it: for ONNX Runtime on the CPU."""
        return self.runtime == "onnxruntime" and self.spare is None

    @property
    def inlines(self) -> bool:
        """Whether the runtime runs ONNX's definition of an operator that it has no kernel of."""
        return self.kernels is None or self.runtime in _INLINING

    @staticmethod
    def named(text: str) -> Target:
        """The target that a command line names: `onnx:17`, `onnxruntime:1.32`, `onnxruntime:1.31:cuda`, `openvino`,
        `tensorrt:10.15`, `reference`; after the colon may be nothing. Raises InvalidOption, OpsetOutOfRange, NoKernel.
        """
        name, *given = text.split(":")
        takes = _NAMED.get(name)
        if takes is None or len(given) > len(takes):
            raise errors.InvalidOption(
                f"there is no target {text!r}",
                cause=f"there are {', '.join(':'.join((name, *words)) for name, words in _NAMED.items())}",
                cure=f"take one of these, in Python {spelled(text)}",
            )
        arguments = {word: _argument(text, word, each) for word, each in zip(takes, given, strict=False) if each}
        return getattr(Target, name)(**arguments)

    def at(self, opset: int) -> Target:
        """The same runtime at another opset. Raises OpsetOutOfRange."""
        return replace(self, opset=opset)

    def knowing(self, domains: str | Mapping[str, int]) -> Target:
        """The same with operators of the user's, who sees to it that the runtime has them: a domain, or several with
        their versions, `{"my.domain": 2}`. Raises InvalidOption."""
        given = {domains: 1} if isinstance(domains, str) else domains
        if not isinstance(given, Mapping) or not all(isinstance(name, str) and name for name in given):
            raise errors.InvalidOption(
                f"the target is to know {domains!r}", cause="it is told the name of a domain, or a dict of versions",
                cure='target.knowing("my.domain"), or target.knowing({"my.domain": 2})',
            )  # fmt: skip
        return replace(self, own=tuple(sorted({**dict(self.own), **given}.items())))

    def allows(self, domain: str) -> bool:
        """Whether operators of `domain` may be written; ONNX's own is ""."""
        return domain == "" or domain in self.domains or domain in dict(self.own)

    def has_kernel(self, domain: str, op: str, since: int, dtypes: Mapping[str, DType]) -> bool:
        """Whether the runtime has a kernel for the operator version introduced in opset `since`, for these dtypes,
        without any cast.

        `dtypes` names type variables ("T") or parameters ("X") of the schema; what it does not name is not asked.
        Constraints that mix several dtypes (a variadic input that is not homogeneous) are asked one dtype at a time.
        True where the kernels are not known.
        """
        if self.kernels is None or (domain, op) in _WITHOUT_KERNEL:
            return True
        return any(_has_kernel(table, domain, op, since, dtypes) for table in (self.kernels, self.spare) if table)

    def casts_itself(self, domain: str, op: str, since: int, dtypes: Mapping[str, DType]) -> bool:
        """Whether the runtime, having no kernel, inserts the casts itself when it loads the model.

        ONNX Runtime does so for one dtype: a node that *reads* float16 is run in float32, between casts. It does not
        for a float16 that only an attribute asks for (RandomNormal, EyeLike with dtype=float16), and never for
        bfloat16, float64 or integers: these do not load.
        Source: ONNX Runtime, InsertCastTransformer; measured with 1.32, see tests/test_target.py.
        """
        if self.kernels is None or self.has_kernel(domain, op, since, dtypes):
            return False
        if FLOAT16 not in {dtypes.get(name) for name in _signature(self.kernels, domain, op, since).read}:
            return False
        wider = {name: FLOAT32 if given is FLOAT16 else given for name, given in dtypes.items()}
        return self.has_kernel(domain, op, since, wider)

    def loads(self, domain: str, op: str, since: int, dtypes: Mapping[str, DType]) -> bool:
        """Whether the runtime can run the node: with a kernel, or with one between casts of its own.

        An operator that has a function body and no kernel is not counted, though the runtime may still inline it.
        """
        return self.has_kernel(domain, op, since, dtypes) or self.casts_itself(domain, op, since, dtypes)

    def opsets_with_kernel(self, op: str, dtypes: Mapping[str, DType]) -> tuple[int, ...]:
        """The opsets at which ONNX's operator `op` loads with these dtypes, ascending: what a cure may advise."""
        newest = min(NEWEST_OPSET, self.kernels.opset) if self.kernels else NEWEST_OPSET
        versions = {opset: _since(op, opset) for opset in range(OLDEST_OPSET, newest + 1)}
        return tuple(
            opset for opset, since in versions.items() if since is not None and self.loads("", op, since, dtypes)
        )

    def __str__(self) -> str:
        own = "".join(f", {domain}" for domain, _ in self.own)
        return f"{self.kernels}, opset {self.opset}{own}" if self.kernels else f"ONNX opset {self.opset}{own}"

    def __repr__(self) -> str:
        return f"<fxonnx target: {self}>"


# The targets by name, and what may be said of each.
_NAMED = {"onnx": ("opset",), "onnxruntime": ("version", "provider"), "openvino": ("version",),
          "tensorrt": ("version",), "reference": ("opset",)}  # fmt: skip
_SHORT = {"ort": "onnxruntime", "trt": "tensorrt", "ov": "openvino", "opset": "onnx", "standard": "onnx"}


def spelled(text: str) -> str:
    """How a target is written in Python that somebody calls by a text: "openvino", "onnx:17", "ort 1.20 cuda"."""
    words = re.findall(r"[a-z]+|[0-9]+(?:\.[0-9]+)*", text.lower())
    names = (*_NAMED, *_SHORT)
    near = next((found[0] for word in words if (found := get_close_matches(word, names, 1, 0.75))), "onnxruntime")
    name = _SHORT.get(near, near)
    numbers = [word for word in words if word[0].isdecimal()][:1]
    numbers = [str(int(float(each))) if "opset" in _NAMED[name] else f'"{each}"' for each in numbers]
    provider = [f'provider="{each.upper()}"' for each in words if name == "onnxruntime" and each in ("cuda", "dml")]
    return f"fxonnx.Target.{name}({', '.join(numbers + provider)})"


def _argument(text: str, word: str, given: str) -> str | int:
    """Raises InvalidOption."""
    if word != "opset":
        return given
    if not given.isdecimal():
        raise errors.InvalidOption(f"{text!r} names no opset", cause=f"{given!r} is no number", cure=spelled(text))
    return int(given)


@cache
def _installed(package: str) -> str | None:
    """The version of a package, read without importing it, from a file of its own."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None


def _best(opset: int | None, best: int, table: KernelTable) -> int:
    """The opset asked for, or the best one, where the runtime knows it."""
    return min(best, table.opset) if opset is None else opset


def _provider(name: str) -> str:
    """A provider as its file is named. Raises InvalidOption."""
    plain = str(name).lower().removesuffix("executionprovider")
    found = {"dml": "directml"}.get(plain, plain)
    known = kernels.providers("onnxruntime")
    if found not in known:
        raise errors.InvalidOption(
            f"the kernels of ONNX Runtime's provider {name!r} are not known",
            cause=f"those of {', '.join(known)} are",
            cure='fxonnx.Target.onnxruntime(provider="CUDA"), or fxonnx.Target.onnx(17) for standard operators',
        )
    return found


def _snapshot(runtime: str, provider: str, version: str | None) -> KernelTable:
    """The kernels of a version of a runtime (by default the installed one), or of the newest one before it."""
    known = kernels.releases(runtime, provider)
    version = version or _installed(runtime)
    wanted = _minor_version(version, known[-1]) if version else known[-1]
    older = [each for each in known if each <= wanted]
    if not older:
        names = ", ".join(f"{major}.{minor}" for major, minor in known)
        raise errors.NoKernel(
            f"the kernels of {runtime} {version} are not known for {provider}",
            cause=f"there are snapshots of {names}",
            cure=f"pip install -U {runtime}, or Target.onnx(opset) for standard operators without regard to kernels",
        )
    return kernels.read(runtime, provider, older[-1])


def _minor_version(text: str, known: tuple[int, int]) -> tuple[int, int]:
    """Raises InvalidOption."""
    try:
        return kernels.minor_version(text)
    except (AttributeError, ValueError):
        raise errors.InvalidOption(
            f"the version is {text!r}", cause="it is two numbers as text, or more", cure=f'"{known[0]}.{known[1]}"'
        ) from None


def _has_kernel(table: KernelTable, domain: str, op: str, since: int, dtypes: Mapping[str, DType]) -> bool:
    named = _by_variable(table, domain, op, since, dtypes)
    return any(kernel.takes(named) for kernel in table.of(domain, op, since))


def _by_variable(table: KernelTable, domain: str, op: str, since: int, dtypes: Mapping[str, DType]) -> dict[str, DType]:
    """The dtypes under the names that kernels use.

    Kernels name type variables, and parameters only where their type is fixed.
    """
    variables = _signature(table, domain, op, since).variables
    return {name: given for name, given in dtypes.items() if name not in variables} | {
        variables[name]: given for name, given in dtypes.items() if name in variables
    }


@dataclass(frozen=True, slots=True)
class _Signature:
    """What dtypes may be named by.

    `variables` maps parameters to their type variable, `read` are the names of inputs and their variables.
    """

    variables: Mapping[str, str]
    read: frozenset[str]


@cache
def _signature(table: KernelTable, domain: str, op: str, since: int) -> _Signature:
    """The names in an operator's schema, the runtime's own or ONNX's; empty for an unknown operator."""
    own = table.schema(domain, op, since)
    if own is not None:
        variables = frozenset(own.types)
        inputs, outputs = ([(each.name, each.type) for each in side] for side in (own.inputs, own.outputs))
    elif onnx.defs.has(op, since, domain):
        schema = onnx.defs.get_schema(op, since, domain)
        variables = frozenset(each.type_param_str for each in schema.type_constraints)
        inputs, outputs = ([(each.name, each.type_str) for each in side] for side in (schema.inputs, schema.outputs))
    else:
        return _Signature({}, frozenset())
    named = {name: type for name, type in (*inputs, *outputs) if type in variables and name not in variables}
    return _Signature(named, frozenset(name for pair in inputs for name in pair))


def _since(op: str, opset: int) -> int | None:
    """The version of an operator of ONNX that `opset` has."""
    if not onnx.defs.has(op, opset, ""):
        return None
    schema = onnx.defs.get_schema(op, opset, "")
    return None if schema.deprecated else schema.since_version
