"""Which kernels a runtime has: snapshots taken from it, read without it.

There is one JSON file for each provider of a runtime, `<runtime>-<provider>.json`, with the releases that are known.
Those of ONNX Runtime are written by `python -m fxonnx.runtime.kernels`, those of OpenVINO and the reference evaluator
by `python -m fxonnx.tools.operators`; each says its source.

    runtime, provider    whose kernels these are
    source      where they were read
    types       every set of dtypes that occurs, once; kernels name a set by its index
    releases    the newest first, in full; each other one in what is different from the one before it:
        version     of the release
        opset       the newest that it loads
        kernels     domain -> operator -> [[first, last or null, {constraint: index}], …], or null: it has none
        schemas     domain -> operator -> since -> {inputs, outputs: [[name, type, mark], …], types: {variable: index}},
                    for the operators that `onnx.defs` does not know; mark is "?" for optional, "*" for variadic

A kernel's constraint is named like the type variable of the operator's schema ("T", "T1"), or, in the few places where
a parameter has a fixed type, like that parameter ("shape" of Reshape). Only tensor types are kept: a set that is empty
holds sequences and maps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
    """The kernels of one runtime. Tables are singletons: `read` gives the same object for the same release."""

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
def releases(runtime: str, provider: str) -> tuple[tuple[int, int], ...]:
    """The (major, minor) versions of a runtime whose kernels are known for a provider, ascending."""
    return tuple(reversed([minor_version(each["version"]) for each in _content(runtime, provider)["releases"]]))


@cache
def providers(runtime: str) -> tuple[str, ...]:
    """The providers of a runtime that there is a file of, as it is named."""
    names = (entry.name.removesuffix(".json").partition("-") for entry in files(__name__).iterdir())
    return tuple(sorted(provider for name, _, provider in names if name == runtime))


def minor_version(version: str) -> tuple[int, int]:
    """(1, 32) of "1.32.0"; kernels do not change below that."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


@cache
def read(runtime: str, provider: str, version: tuple[int, int]) -> KernelTable:
    """The kernels of one release, which `releases` must list."""
    for table in tables(_content(runtime, provider)):
        if minor_version(table.version) == version:
            return table
    raise KeyError(version)


def tables(content: Mapping[str, Any]) -> Iterator[KernelTable]:
    """The releases in a file of the form described above, the newest first."""
    sets = [frozenset(dtype(name) for name in names) for names in content["types"]]
    kernels: dict[tuple[str, str], tuple[Kernel, ...]] = {}
    schemas: dict[tuple[str, str], tuple[Schema, ...]] = {}
    for release in content["releases"]:
        kernels = _changed(kernels, release["kernels"], lambda rows: tuple(_kernel(row, sets) for row in rows))
        schemas = _changed(
            schemas, release["schemas"], lambda rows: tuple(_schema(int(key), row, sets) for key, row in rows.items())
        )
        yield KernelTable(
            content["runtime"], release["version"], content["provider"], release["opset"], kernels, schemas
        )


@cache
def _content(runtime: str, provider: str) -> Any:
    return json.loads((files(__name__) / f"{runtime}-{provider}.json").read_text())


def _changed(before: Mapping[tuple[str, str], Any], changes: Mapping[str, Any], parsed: Any) -> dict[Any, Any]:
    """What stood there, with the operators of `changes` in its place."""
    rows = {(domain, op): found for domain, ops in changes.items() for op, found in ops.items()}
    kept = {key: each for key, each in before.items() if key not in rows}
    return kept | {key: parsed(found) for key, found in rows.items() if found is not None}


def _kernel(row: Sequence[Any], sets: list[frozenset[DType]]) -> Kernel:
    first, last, types = row
    return Kernel(first, last, _types(types, sets))


def _types(indices: Mapping[str, int], sets: list[frozenset[DType]]) -> dict[str, frozenset[DType]]:
    return {name: sets[index] for name, index in indices.items()}


def _schema(since: int, row: Mapping[str, Any], sets: list[frozenset[DType]]) -> Schema:
    inputs, outputs = (tuple(Parameter(*each) for each in row[side]) for side in ("inputs", "outputs"))
    return Schema(since, inputs, outputs, _types(row["types"], sets))
