"""Files that appear whole or not at all, the model last.

    write      data ──▶ .fxonnx-….tmp      model ──▶ .fxonnx-….tmp      both complete, closed, without a name to be read
    commit     data is renamed to a name that its contents give it; then the model, which names it; then the data of
               an earlier save is removed

Whoever reads at any moment, and whatever ends the process, finds the old model with the old data or the new one with
the new. Savers of one folder commit one after the other, under a lock on the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fxonnx import errors

try:
    import fcntl
except ImportError:  # Windows: savers of one folder are not kept apart there
    fcntl = None  # type: ignore[assignment]

FORMS = ("data", "safetensors")
"""How the names of data files end."""

_DIGITS = 16  # of the hash of its contents, in the name of a data file


def checked_path(given: Any) -> Path:
    """Where a file can be written, as far as can be told before. Raises CannotWrite."""
    try:
        path = Path(os.fsdecode(given))
        cause = _obstacle(path)
    except (TypeError, OSError) as error:  # no path at all; a name that is too long
        raise _cannot_write(given, getattr(error, "strerror", None) or str(error)) from error
    if cause:
        raise _cannot_write(given, cause)
    return path


def _obstacle(path: Path) -> str:
    if not path.name or "\0" in str(path):
        return "it is no name of a file"
    if path.is_dir():
        return "it is a directory"
    if not path.parent.is_dir():
        return f"there is no directory {str(path.parent)!r}"
    if path.exists() and not path.is_file():
        return "it is no regular file"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "it may not be written to"
    return ""


@contextmanager
def saying_what(path: Path) -> Iterator[None]:
    """What the system refuses inside, as CannotWrite."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def _cannot_write(path: object, cause: str) -> errors.CannotWrite:
    text = str(path) if isinstance(path, Path) else repr(path)
    return errors.CannotWrite(
        f"{text} cannot be written",
        cause=cause,
        cure="file.write(compiled.model_proto().SerializeToString())"
        if hasattr(path, "write")
        else 'give the path of a file in a folder that exists, is writable and has room: "model.onnx"',
    )


@dataclass(slots=True)
class Draft:
    """A file that is being written under a temporary name, and the hash of its contents so far."""

    temporary: Path
    file: BinaryIO
    hash: Any = field(default_factory=hashlib.sha256)

    def write(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Write all pieces."""
        for piece in pieces:
            self.hash.update(piece)
            self.file.write(piece)

    @property
    def digest(self) -> str:
        """What names the contents: the start of their SHA-256."""
        return str(self.hash.hexdigest())[:_DIGITS]


@contextmanager
def draft(path: Path) -> Iterator[Draft]:
    """A draft beside `path`, gone at the end however it comes; `commit` renames it before."""
    temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}.tmp")
    try:
        with ExitStack() as stack:
            with _one_at_a_time(path.parent):  # nobody takes it for abandoned before it is held
                file = stack.enter_context(open(temporary, "xb"))
                _lock(file.fileno())
            yield Draft(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def data_path(path: Path, data: Draft, form: str) -> Path:
    """The name of a data file of this form, by its contents: `model.onnx.3f2a….data`."""
    return path.with_name(f"{path.name}.{data.digest}.{form}")


def commit(path: Path, models: Mapping[Path, Draft], data: Mapping[Path, Draft]) -> tuple[Path, ...]:
    """Give models, and their data, their names: the data first, so that no model ever names what is not there.

    Then what earlier saves to `path` left is removed, which data are named after. Returns the files made.
    """
    with _one_at_a_time(path.parent):
        for each in (*data.values(), *models.values()):
            each.file.close()  # a disk may be full at the last flush
        for name, each in (*data.items(), *models.items()):
            os.replace(each.temporary, name)
        _remove_stale(path, kept=data)
    return (*models, *data)


def _remove_stale(path: Path, kept: Collection[Path]) -> None:
    """Remove the data of earlier saves to `path`, and drafts whose process has ended."""
    is_data = re.compile(re.escape(path.name) + rf"\.[0-9a-f]{{{_DIGITS}}}\.({'|'.join(FORMS)})").fullmatch
    for each in path.parent.iterdir():
        abandoned = each.name.startswith(_prefix(path)) and _is_abandoned(each)
        if abandoned or (is_data(each.name) and each not in kept):
            with suppress(OSError):
                each.unlink()


def _prefix(path: Path) -> str:
    """How the temporary names for `path` begin; short, as its own name may be as long as names can be."""
    return f".fxonnx-{hashlib.sha256(path.name.encode('utf-8', 'surrogateescape')).hexdigest()[:_DIGITS]}-"


def _lock(descriptor: int, *, wait: bool = True) -> bool:
    """Hold a file or folder until it is closed; whether that is done."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # somebody else has it, or the file system knows no locks
        return False
    return True


def _is_abandoned(temporary: Path) -> bool:
    """Whether nobody holds a draft: a saver does for as long as it lives."""
    with suppress(OSError), open(temporary, "rb") as file:
        return _lock(file.fileno(), wait=False)
    return False


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """A lock on a folder, between threads and processes."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)
