"""Which kernels a runtime has: snapshots taken from it, read without it.

A snapshot is one JSON file, `<runtime>-<major>.<minor>-<provider>.json`, written by `python -m fxonnx.runtime.kernels`:

    runtime, version, provider    whose kernels these are
    opset                         the newest that the runtime loads
    types       every set of dtypes that occurs, once; kernels name a set by its index
    kernels     domain -> operator -> [[first, last or null, {constraint: index}], …]
    schemas     domain -> operator -> since -> {inputs, outputs: [[name, type, mark], …], types: {variable: index}},
                for the operators that `onnx.defs` does not know; mark is "?" for optional, "*" for variadic

A kernel's constraint is named like the type variable of the operator's schema ("T", "T1"), or, in the few places where
a parameter has a fixed type, like that parameter ("shape" of Reshape). Only tensor types are kept: a set that is empty
holds sequences and maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from fxonnx.dtypes import DType, dtype


@dataclass(frozen=True, slots=True)
class Kernel:
    """One implementation: the operator versions it serves and the dtypes it takes for each type constraint.

    `last` is None for a kernel without an end.
    """

    first: int
    last: int | None
    types: Mapping[str, frozenset[DType]]

    def serves(self, since: int) -> bool:
        """Whether the runtime may use this kernel for the operator version introduced in opset `since`.

        An open-ended kernel serves only the version it starts with: the runtime cannot know that later versions compute
        the same. Source: ONNX Runtime, KernelRegistry::VerifyKernelDef.
        """
        return since == self.first or (self.last is not None and self.first <= since <= self.last)

    def takes(self, dtypes: Mapping[str, DType]) -> bool:
        """Whether each named constraint admits its dtype; constraints that are not named are not asked."""
        return all(given in self.types[name] for name, given in dtypes.items() if name in self.types)


class Parameter(NamedTuple):
    """An input or output: its name, its type variable or fixed type, and "?" for optional or "*" for variadic."""

    name: str
    type: str
    mark: str


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of an operator that only the runtime knows."""

    since: int
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    types: Mapping[str, frozenset[DType]]


@dataclass(frozen=True, slots=True, eq=False)
class KernelTable:
    """The kernels of one runtime. Tables are singletons: `read` gives the same object for the same file."""

    runtime: str
    version: str
    provider: str
    opset: int
    kernels: Mapping[tuple[str, str], tuple[Kernel, ...]]
    schemas: Mapping[tuple[str, str], tuple[Schema, ...]]

    def __str__(self) -> str:
        return f"{self.runtime} {self.version} ({self.provider})"

    @property
    def release(self) -> str:
        """The runtime and its minor version: "onnxruntime 1.32"."""
        return f"{self.runtime} {'.'.join(map(str, minor_version(self.version)))}"

    def of(self, domain: str, op: str, since: int) -> tuple[Kernel, ...]:
        """The kernels that serve the version of an operator introduced in opset `since`, whatever its dtypes."""
        return tuple(kernel for kernel in self.kernels.get((domain, op), ()) if kernel.serves(since))

    def schema(self, domain: str, op: str, since: int | None = None) -> Schema | None:
        """The runtime's own operator, by default its newest version; None for ONNX's operators."""
        found = (each for each in self.schemas.get((domain, op), ()) if since in (None, each.since))
        return max(found, key=lambda each: each.since, default=None)


@cache
def snapshots(runtime: str) -> tuple[tuple[int, int], ...]:
    """The (major, minor) versions of a runtime that there is a snapshot of, ascending."""
    names = (entry.name for entry in files(__name__).iterdir())
    versions = (name.split("-")[1] for name in names if name.startswith(f"{runtime}-") and name.endswith("-cpu.json"))
    return tuple(sorted(minor_version(version) for version in versions))


def minor_version(version: str) -> tuple[int, int]:
    """(1, 32) of "1.32.0"; kernels do not change below that."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


@cache
def read(runtime: str, version: tuple[int, int]) -> KernelTable:
    """The snapshot of one version of a runtime, which `snapshots` must list."""
    name = f"{runtime}-{version[0]}.{version[1]}-cpu.json"
    return from_json(json.loads((files(__name__) / name).read_text()))


def from_json(content: Mapping[str, Any]) -> KernelTable:
    """A table in the form described at the top of this file."""
    fields = dict(content)
    sets = [frozenset(dtype(name) for name in names) for names in fields.pop("types")]
    kernels = {
        (domain, op): tuple(Kernel(first, last, _types(types, sets)) for first, last, types in rows)
        for domain, ops in fields.pop("kernels").items()
        for op, rows in ops.items()
    }
    schemas = {
        (domain, op): tuple(_schema(int(since), row, sets) for since, row in versions.items())
        for domain, ops in fields.pop("schemas").items()
        for op, versions in ops.items()
    }
    return KernelTable(kernels=kernels, schemas=schemas, **fields)


def _types(indices: Mapping[str, int], sets: list[frozenset[DType]]) -> dict[str, frozenset[DType]]:
    return {name: sets[index] for name, index in indices.items()}


def _schema(since: int, row: Mapping[str, Any], sets: list[frozenset[DType]]) -> Schema:
    inputs, outputs = (tuple(Parameter(*each) for each in row[side]) for side in ("inputs", "outputs"))
    return Schema(since, inputs, outputs, _types(row["types"], sets))
