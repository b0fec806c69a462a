"""Several models compiled at once, whose files share one set of weights: prefill and decode, encoder and decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from fxonnx.capture.weights.files import extents_of
from fxonnx.compiled import Compiled
from fxonnx.emit.weights import write_models
from fxonnx.errors import CannotWrite, InvalidOption

Function = TypeVar("Function", bound=Callable[..., Any])

_LONGEST = 100  # bytes of the names of all entries, in the name of their data file


class Entries(Mapping[str, Compiled]):
    """What `fxonnx.compile({"prefill": (model, args), …})` returns: a compiled model for each entry, by its name."""

    def __init__(self, compiled: Mapping[str, Compiled]) -> None:
        self._compiled = dict(compiled)

    def __getitem__(self, name: str) -> Compiled:
        return self._compiled[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._compiled)

    def __len__(self) -> int:
        return len(self._compiled)

    def __repr__(self) -> str:
        return f"<fxonnx entries: {', '.join(self)}>"

    def save(self, folder: Any, weights: str = "auto", **options: Any) -> tuple[Path, ...]:
        """Write `<entry>.onnx` for each entry, and one file with the weights of all; return the files made.

        Args:
            folder: is made where it is not there.
            weights: "external" or "safetensors": the form of that file; or "auto", "external" but for weights that
                models were compiled from, to whose files they refer.
            options: further ones of `Compiled.save`, for each.

        What one entry reads as another one has it transposed is there once. Files appear when all are complete, the
        data first. Raises what `Compiled.save` raises.
        """
        place = _folder(folder)
        shared = {identity for each in self.values() for identity in each.held()}
        models = {place / f"{name}.onnx": each.sharing(shared, **options) for name, each in self.items()}
        extents = {key: each for compiled in self.values() for key, each in extents_of(compiled.program).items()}
        return write_models(models, place / self._title, weights, extents)

    @property
    def _title(self) -> str:
        """What the data file is called after: the same entries have the same one, others another."""
        title = "+".join(self)
        return title if len(title.encode()) <= _LONGEST else hashlib.sha256(title.encode()).hexdigest()[:16]


def _folder(given: Any) -> Path:
    """A folder, made if it is not there. Raises CannotWrite."""
    try:
        folder = Path(given)
        folder.mkdir(exist_ok=True)
    except (OSError, TypeError, ValueError) as error:
        raise CannotWrite(
            f"{given!r} cannot be made a folder", cause=str(error), cure='entries.save("folder")'
        ) from error
    return folder


def takes_entries(compile: Function) -> Function:
    """`compile` of one model, which also takes a dict of several: `{"name": (model, args, kwargs, options)}`, the last
    two as needed. Options that are given to `compile` hold for all of them."""

    @wraps(compile)
    def call(model: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(model, Mapping) or not any(map(_may_be_entry, model.values())):
            return compile(model, *args, **options)
        if args or options.keys() & {"example_inputs", "example_kwargs"}:
            raise _no_entry("entries have examples of their own")
        return Entries({name: _compiled(compile, name, entry, options) for name, entry in model.items()})

    return call  # type: ignore[return-value]


def _may_be_entry(value: object) -> bool:
    """Whether a value of a dict may be meant for an entry: it is no weight of a state dict."""
    return isinstance(value, (tuple, list)) or callable(value)


def _compiled(compile: Callable[..., Compiled], name: Any, entry: Any, options: Mapping[str, Any]) -> Compiled:
    is_entry = isinstance(entry, Sequence) and 2 <= len(entry) <= 4 and isinstance(name, str)
    if not is_entry or not all(isinstance(each, Mapping) for each in entry[2:]):
        raise _no_entry(f"{name!r} is {type(entry).__name__}")
    kwargs, own = (*entry[2:], {}, {})[:2]
    return compile(entry[0], entry[1], kwargs, **{**options, **own})


def _no_entry(cause: str) -> InvalidOption:
    return InvalidOption(
        "these are no entries",
        cause=cause,
        cure='fxonnx.compile({"prefill": (model, args), "decode": (model, args, kwargs, {"dynamic_shapes": …})})',
    )
