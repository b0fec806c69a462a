"""What a sweep found: a result for each entry, as lines of JSON and as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fxonnx import markup

RIGHT, WRONG, REFUSED, FAILED, ENDED = "right", "wrong", "refused", "failed", "ended"
"""How an entry came out: compiled and equal to the model; compiled and not equal; refused by `compile`, with an error
of ours; failed for a fault of ours or of the executor; the process ended that compiled it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an entry. Times are medians, in milliseconds; None is what was not reached, or not asked for.

    `asked` is what was asked for, in words. `code` and `message` are the error's. `max_absolute`, `max_relative` are
    the largest errors over all outputs of all calls that were compared; `file` lies in the cache.
    """

    name: str
    asked: str
    outcome: str
    versions: str
    code: str | None = None
    message: str | None = None
    compile_seconds: float | None = None
    nodes: int | None = None
    opset: int | None = None
    max_absolute: float | None = None
    max_relative: float | None = None
    latency_ms: float | None = None
    eager_ms: float | None = None
    file: str | None = None
    cached: bool = False

    @property
    def ok(self) -> bool:
        """Whether it compiled, and computes what the model does as far as that was asked."""
        return self.outcome == RIGHT


class Results(Mapping[str, Result]):
    """The results of a sweep by name of the entry, in the order of the entries; printed, a table."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._results = {each.name: each for each in results}

    def __getitem__(self, name: str) -> Result:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def ok(self) -> bool:
        """Whether all entries came out right."""
        return all(each.ok for each in self.values())

    def __str__(self) -> str:
        rows = [_HEADER, *([*map(_said, row)] for row in self._rows())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        told = (f"{each.name}: {each.code or each.outcome}  {_first(each.message)}" for each in self.values()
                if each.message)  # fmt: skip
        return "\n".join((*lines, *told))

    def __repr__(self) -> str:
        return f"<fxonnx results: {sum(each.ok for each in self.values())} of {len(self)} right>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return markup.bundle(str(self), markup.table(_HEADER, ([*map(_shown, row)] for row in self._rows())))

    def _rows(self) -> Iterator[Sequence[object]]:
        for each in self.values():
            ratio = each.latency_ms / each.eager_ms if each.latency_ms and each.eager_ms else None
            yield (each.name, each.outcome, each.compile_seconds, each.nodes, each.opset, each.max_relative,
                   each.latency_ms, each.eager_ms, ratio, each.cached)  # fmt: skip


_HEADER = ("entry", "outcome", "compiled in s", "nodes", "opset", "max relative", "ms", "eager ms", "ratio", "cached")


def _shown(value: object) -> object:
    return "" if value is None or value is False else "yes" if value is True else value


def _said(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(_shown(value))


def _first(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def read(path: Path) -> dict[str, Result]:
    """The results of a file, the last one of each name; nothing where there is no file. A line that was cut short, as
    a process that is ended leaves it, is passed over."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            result = Result(**json.loads(line))
            found[result.name] = result
    return found


def append(path: Path, result: Result) -> None:
    """Write a result behind those of a file, on a line of its own."""
    line = json.dumps(asdict(result)) + "\n"
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(line.encode())
