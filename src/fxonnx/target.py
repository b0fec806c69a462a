"""What a model is written for: an opset, the operators beyond ONNX's own, and the kernels of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import onnx

from fxonnx import errors, kernels
from fxonnx.dtypes import FLOAT16, FLOAT32, DType
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

MICROSOFT = "com.microsoft"

# ONNX Runtime turns it into an initializer while it loads the model: it needs no kernel.
_WITHOUT_KERNEL = frozenset({("", "Constant")})


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """An opset, the domains of the runtime beside ONNX's own, its kernels (None where they are not known), the machine
    that the file is to be fast on (which by itself knows nothing, and prefers nothing), and the user's `own` domains
    with their versions.

    `Target.onnx()` writes standard operators for any runtime, `Target.onnxruntime()` for the one installed.
    """

    opset: int
    domains: frozenset[str] = frozenset()
    kernels: KernelTable | None = None
    machine: Machine = UNKNOWN
    own: tuple[tuple[str, int], ...] = ()

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
    def onnx(opset: int | None = None) -> Target:
        """Standard operators only, for any runtime. Raises OpsetOutOfRange."""
        return Target(STANDARD_OPSET if opset is None else opset)

    @staticmethod
    def onnxruntime(version: str | None = None, opset: int | None = None) -> Target:
        """ONNX Runtime on the CPU: `version` "1.32" or the installed one, with its own operators (com.microsoft).

        Where there is no snapshot of that version's kernels, the newest older one is taken.

        Raises:
            NoKernel: the version is older than every snapshot. OpsetOutOfRange.
        """
        table = _snapshot(version or _installed("onnxruntime"))
        return Target(RUNTIME_OPSET if opset is None else opset, frozenset({MICROSOFT}), table)

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
        named = _by_variable(self.kernels, domain, op, since, dtypes)
        return any(kernel.takes(named) for kernel in self.kernels.of(domain, op, since))

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


def _installed(package: str) -> str | None:
    """The version of a package, read without importing it."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None


def _snapshot(version: str | None) -> KernelTable:
    """The kernels of a version of ONNX Runtime, or of the newest one before it."""
    known = kernels.snapshots("onnxruntime")
    wanted = kernels.minor_version(version) if version else known[-1]
    older = [each for each in known if each <= wanted]
    if not older:
        names = ", ".join(f"{major}.{minor}" for major, minor in known)
        raise errors.NoKernel(
            f"the kernels of onnxruntime {version} are not known",
            cause=f"there are snapshots of {names}",
            cure="pip install -U onnxruntime, or Target.onnx(opset) for standard operators without regard to kernels",
        )
    return kernels.read("onnxruntime", older[-1])


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
