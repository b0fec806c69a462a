"""What forms that compete take on a machine: tables of seconds, read without measuring anything.

A profile is one JSON file, written by `python -m fxonnx.runtime.measure` for the package, or by `fxonnx.machine()` for
the machine that it is called on:

    processor, family    whose it is: its name, and its maker with its widest vectors ("GenuineIntel avx512")
    runtime, threads     what ran there, "onnxruntime 1.32", on how many threads
    measured, source     the day, and how
    tables               form -> {axes: {name: [sizes, ascending]}, seconds: nested lists, an axis a level}
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from math import exp, log, prod
from pathlib import Path
from typing import Any

from fxonnx.ir.dims import Dim, evaluate, symbols_of

_WORTH = 0.85  # what gains less alone gains nothing in a whole model, where caches hold other things
_BEARABLE = 1.05  # how much slower a form may be at one of several sizes


@dataclass(frozen=True, slots=True)
class Table:
    """The seconds that a form takes over a grid of sizes: `axes` name them, `seconds` has a level for each."""

    axes: Mapping[str, Sequence[int]]
    seconds: Any

    def at(self, sizes: Mapping[str, int]) -> float:
        """The seconds at some sizes: linear between the logarithms of grid points; beyond the grid as at its border."""
        corners = product(*(_around(points, sizes[axis]) for axis, points in self.axes.items()))
        return exp(sum(prod(share for _, share in corner) * self._logarithm(corner) for corner in corners))

    def _logarithm(self, corner: Sequence[tuple[int, float]]) -> float:
        found = self.seconds
        for place, _ in corner:
            found = found[place]
        return log(found)


def _around(points: Sequence[int], size: int) -> list[tuple[int, float]]:
    """The places of the grid points around a size, each with its share, by logarithms."""
    within = min(max(size, points[0]), points[-1])
    last = max(place for place, point in enumerate(points) if point <= within)
    if points[last] == within:
        return [(last, 1.0)]
    share = log(within / points[last]) / log(points[last + 1] / points[last])
    return [(last, 1 - share), (last + 1, share)]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What was measured on one machine."""

    processor: str
    family: str
    runtime: str
    threads: int
    measured: str
    source: str
    tables: Mapping[str, Table]

    def write(self, path: Path) -> None:
        """As a file that `read` takes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)) + "\n")


def read(text: str) -> Profile:
    """A profile from the form described at the top of this file."""
    content = json.loads(text)
    return Profile(**{**content, "tables": {name: Table(**table) for name, table in content["tables"].items()}})


@cache
def shipped() -> tuple[Profile, ...]:
    """The profiles that the package brings."""
    found = (entry for entry in files(__name__).iterdir() if entry.name.endswith(".json"))
    return tuple(read(entry.read_text()) for entry in sorted(found, key=lambda entry: entry.name))


def cached(runtime: str) -> Path:
    """Where the profile of this machine is kept, for a runtime like "onnxruntime 1.32"."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = "-".join("".join(letter if letter.isalnum() else " " for letter in f"{processor()} {runtime}").split())
    return root / "fxonnx" / "machines" / f"{name}.json"


@cache
def this_machine(runtime: str) -> Profile | None:
    """What is known of this machine with a runtime: measured on it, or on one of its family; None where nothing is."""
    path = cached(runtime)
    if path.exists():
        return read(path.read_text())
    return next((each for each in shipped() if (each.family, each.runtime) == (family(), runtime)), None)


@cache
def processor() -> str:
    """The processor's name."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine()


@cache
def family() -> str:
    """The processor's maker, and its widest vectors."""
    facts = _cpu_facts()
    widths = set(facts.get("flags", "").split())
    widest = next((name for flag, name in _VECTORS.items() if flag in widths), platform.machine())
    return f"{facts.get('vendor_id', platform.system())} {widest}"


_VECTORS = {"avx512f": "avx512", "avx2": "avx2"}


@cache
def _cpu_facts() -> Mapping[str, str]:
    """What Linux tells of the first processor; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    first = path.read_text().partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A profile, and the sizes that symbols of dims have where a file is to be fast; several for several uses."""

    profile: Profile | None = None
    workloads: Sequence[Mapping[str, int]] = ({},)

    def prefers(self, form: str, over: str, **sizes: Sequence[Dim]) -> bool:
        """Whether a form is predicted to be worth it in the place of another, at sizes that are products of dims.
        False where one of them, or the machine, is not known."""
        one, other = (self._seconds(each, sizes) for each in (form, over))
        if not one or not other:
            return False
        bearable = all(mine <= _BEARABLE * theirs for mine, theirs in zip(one, other, strict=True))
        return bearable and sum(one) <= _WORTH * sum(other)

    def _seconds(self, form: str, sizes: Mapping[str, Sequence[Dim]]) -> list[float]:
        """What a form takes in each workload; nothing where that is not known."""
        table = self.profile.tables.get(form) if self.profile else None
        symbols = frozenset().union(*map(symbols_of, sizes.values()))
        if table is None or not all(symbols <= workload.keys() for workload in self.workloads):
            return []
        return [
            table.at({axis: prod(evaluate(dim, workload) for dim in dims) for axis, dims in sizes.items()})
            for workload in self.workloads
        ]


UNKNOWN = Machine()
"""the machine of which nothing is known"""
