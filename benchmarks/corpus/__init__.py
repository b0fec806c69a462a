"""Architectures as people ship them, from the packages they ship them with, with the dims that their users leave open.

`python -m benchmarks corpus` tries them all: compile, call at four sizes, run the file. A family whose package is not
installed is left out; `make corpus` installs them (`requirements-corpus.lock`). Listing the table imports no package.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

from benchmarks.corpus import (
    detection,
    diffusion,
    graphs,
    medical,
    plain,
    restoration,
    segmentation,
    speech,
    text,
    tokens,
    vision,
)
from benchmarks.corpus.entry import Entry

FAMILIES: tuple[ModuleType, ...] = (
    plain,
    text,
    speech,
    vision,
    detection,
    segmentation,
    restoration,
    diffusion,
    medical,
    graphs,
    tokens,
)


def entries() -> list[Entry]:
    """All whose packages are installed."""
    return [entry for family in FAMILIES for entry in family.ENTRIES if is_installed(entry)]


def is_installed(entry: Entry) -> bool:
    """Whether the package of an entry is there."""
    return find_spec(entry.package) is not None


def find(name: str) -> Entry:
    """The entry of that name. KeyError where there is none."""
    for family in FAMILIES:
        for entry in family.ENTRIES:
            if entry.name == name:
                return entry
    raise KeyError(f"no entry {name!r} in the corpus")


__all__ = ["FAMILIES", "Entry", "entries", "find", "is_installed"]
