"""What a sweep compiles: models by name, each with its options."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fxonnx import errors
from fxonnx.tools.load import Call, UsersCode, as_call, load

Maker: TypeAlias = "str | Callable[[], Any]"
"""`package.module:factory`, or the factory itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model and the options of `compile` to compile it with."""

    name: str
    maker: Maker
    options: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> Call:
        """The model, its example inputs and keywords. Raises Usage, ModelRaised, NotAModel."""
        if isinstance(self.maker, str):
            return load(self.maker)
        with UsersCode(self.name):
            made = self.maker()
        return as_call(made, self.name)

    @property
    def signature(self) -> str:
        """What is asked for, in words: an earlier result counts where it is the same."""
        maker = self.maker if isinstance(self.maker, str) else f"{self.maker.__module__}:{self.maker.__qualname__}"
        return ", ".join([maker, *(f"{name}={value!r}" for name, value in sorted(self.options.items()))])


def entries_of(given: Mapping[str, Any]) -> list[Entry]:
    """The entries of `{name: maker}` and `{name: (maker, options)}`. Raises InvalidOption."""
    if not isinstance(given, Mapping) or not given:
        raise _not_entries(f"entries is {given!r}")
    return [_entry(name, each) for name, each in given.items()]


def _entry(name: Any, given: Any) -> Entry:
    match given:
        case (maker, Mapping() as options) if isinstance(name, str) and _is_maker(maker):
            return Entry(name, maker, options)
        case maker if isinstance(name, str) and _is_maker(maker):
            return Entry(name, maker)
    raise _not_entries(f"entry {name!r} is {given!r}")


def _is_maker(value: object) -> bool:
    return isinstance(value, str) or hasattr(value, "__qualname__")


def _not_entries(what: str) -> errors.InvalidOption:
    return errors.InvalidOption(
        what,
        cause="an entry has a name, and a model: package.module:factory, or the factory; options may follow",
        cure='fxonnx.sweep({"small": "models:small", "small at 17": ("models:small", {"opset": 17})})',
    )


def check_sent(entry: Entry) -> None:
    """Raises InvalidOption for an entry that cannot be sent to another process."""
    try:
        pickle.dumps(entry)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise errors.InvalidOption(
            f"entry {entry.name!r} cannot be sent to another process: {error}",
            cause="models are made and compiled in processes of their own",
            cure='a factory at the top of a module, or its name: "package.module:factory"',
        ) from error
