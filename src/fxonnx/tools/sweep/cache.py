"""Compiled files that are known by what they were made of, shared by all that sweep, on one machine or many.

    key          SHA-256 of the lowered graph with the bytes of its weights, what capture assumed, target, options and
                 versions
    key[:2]/key/ model.onnx, with its data, and result.json

An entry of the cache appears whole: it is written under another name and then renamed. Who comes second finds the
first one's, and leaves it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from fxonnx.tools.sweep.result import Result

MODEL, RESULT = "model.onnx", "result.json"


class Cache:
    """A directory of compiled files."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def _place(self, key: str) -> Path:
        return self.directory / key[:2] / key

    def find(self, key: str) -> Result | None:
        """What is known for a key."""
        found = self._place(key) / RESULT
        if not found.exists():
            return None
        return replace(Result(**json.loads(found.read_text())), file=str(found.with_name(MODEL)), cached=True)

    @contextmanager
    def draft(self, key: str) -> Iterator[Draft]:
        """A draft of the entry of a key, gone at the end if it was not kept."""
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        directory = Path(mkdtemp(prefix=".draft-", dir=place.parent))
        try:
            yield Draft(directory, place)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry of a cache that is being written."""

    directory: Path
    place: Path

    @property
    def model(self) -> Path:
        """Where its file is to be saved."""
        return self.directory / MODEL

    def keep(self, result: Result) -> Result:
        """Give the entry its name, unless somebody was first; the result, which tells where its file is."""
        (self.directory / RESULT).write_text(json.dumps(asdict(result)))
        try:
            self.directory.rename(self.place)
        except OSError:
            if not self.place.exists():
                raise
        return replace(result, file=str(self.place / MODEL))
