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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from itertools import product
from math import exp, log, prod
from pathlib import Path
from typing import Any, NamedTuple

from fxonnx.ir.dims import Dim, evaluate, symbols_of

WORTH = 0.85  # what gains less alone gains nothing in a whole model, where caches hold other things
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

    def points(self) -> Iterator[tuple[Mapping[str, int], float]]:
        """The grid points, and their seconds."""
        for places in product(*(range(len(sizes)) for sizes in self.axes.values())):
            sizes = {axis: points[place] for (axis, points), place in zip(self.axes.items(), places, strict=True)}
            yield sizes, exp(self._logarithm([(place, 1.0) for place in places]))

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


class Best(NamedTuple):
    """Floating-point operations a second; and of so many bytes, ascending, those that are read a second: less where
    they fit into no cache."""

    flops: float
    rates: tuple[tuple[int, float], ...]

    def seconds(self, flops: int, moved: int) -> float:
        """What so many operations on so many bytes take."""
        rate = next((rate for size, rate in self.rates if size >= moved), self.rates[-1][1])
        return max(flops / self.flops, moved / rate)


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

    @property
    def best(self) -> Best:
        """The most that linear layers come to: of arithmetic, and, where they have one row and do little but read their
        weights, of memory."""
        points = [(prod(sizes.values()), sizes["rows"], seconds) for sizes, seconds in self.tables["linear"].points()]
        rates = [(4 * weights, 4 * weights / seconds) for weights, rows, seconds in points if rows == 1]
        return Best(max(2 * products / seconds for products, _, seconds in points), tuple(sorted(rates)))

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
    """Where the profile of this machine is kept, for a runtime like "onnxruntime 1.32". What is known of single models
    on it is in a folder beside it, of the same name."""
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
_EXACT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


@cache
def overflows() -> bool:
    """Whether kernels here add two products of uint8 with int8 in 16 bits, and cut off what overflows: so do those of
    ONNX Runtime on x86 without VNNI (onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Where it
    is not known what such a processor has, it is taken for one of those."""
    flags = _cpu_facts().get("flags", "").split()
    return platform.machine().lower() in ("x86_64", "amd64") and _EXACT.isdisjoint(flags)


@cache
def _cpu_facts() -> Mapping[str, str]:
    """What Linux tells of the first processor; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    first = path.read_text().partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


class Contested(NamedTuple):
    """Where one form may stand for another: at these sizes, by name, in each workload."""

    form: str
    over: str
    sizes: tuple[tuple[tuple[str, int], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A profile, and the sizes that symbols of dims have where a file is to be fast; several for several uses.

    `chosen` is what was tried out for a model (see `fxonnx.runtime.tune`): it goes before what a profile predicts.
    Forms that it is `without` it never prefers. Whether it `overflows` is no matter of speed, see the function."""

    profile: Profile | None = None
    workloads: Sequence[Mapping[str, int]] = ({},)
    chosen: Mapping[Contested, bool] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    overflows: bool = False

    @property
    def has_preferences(self) -> bool:
        """Whether there is anything that it could prefer."""
        return self.profile is not None or bool(self.chosen)

    def prefers(self, form: str, over: str, *, worth: float = WORTH, **sizes: Sequence[Dim]) -> bool:
        """Whether a form is predicted to be worth it in the place of another, at sizes that are products of dims.
        False where one of them, or the machine, is not known."""
        place = self.place(form, over, sizes)
        if place is not None and place in self.chosen:
            return self.chosen[place]
        tables = self.profile.tables if self.profile else {}
        if place is None or form not in tables or over not in tables:
            return False
        one, other = ([tables[each].at(dict(sizes)) for sizes in place.sizes] for each in (form, over))
        return is_worth(one, other, worth)

    def place(self, form: str, over: str, sizes: Mapping[str, Sequence[Dim]]) -> Contested | None:
        """A place with sizes that are products of dims; None where those are not known in each workload, or the form
        is left out."""
        symbols = frozenset().union(*map(symbols_of, sizes.values()))
        if form in self.without or not all(symbols <= workload.keys() for workload in self.workloads):
            return None
        known = (
            tuple((axis, prod(evaluate(dim, workload) for dim in dims)) for axis, dims in sizes.items())
            for workload in self.workloads
        )
        return Contested(form, over, tuple(known))


def is_worth(one: Sequence[float], other: Sequence[float], worth: float = WORTH) -> bool:
    """Whether the seconds that one form takes in each workload are worth it over those of another."""
    bearable = all(mine <= _BEARABLE * theirs for mine, theirs in zip(one, other, strict=True))
    return bearable and sum(one) <= worth * sum(other)


UNKNOWN = Machine()
"""the machine of which nothing is known"""
