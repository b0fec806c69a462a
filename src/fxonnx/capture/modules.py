"""Which modules a model has, and of which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from fxonnx.capture.call.inputs import owner
from fxonnx.capture.wrappers import unwrapped
from fxonnx.errors import InvalidOption

ALL = "all"


def modules_of(model: Any, wanted: str | Sequence[type | str]) -> Mapping[str, tuple[str, str]]:
    """The modules in a model that are of these classes, given as such or by name, or all: path -> (module of the class,
    its name). Raises InvalidOption for a class that there is none of."""
    whole = owner(unwrapped(model))[0] if wanted else None
    named = whole.named_modules() if isinstance(whole, nn.Module) else ()
    inner = {path: each for path, each in named if path and type(each).forward is not nn.Module.forward}
    if wanted != ALL:
        missing = [each for each in wanted if not any(_is(module, each) for module in inner.values())]
        if missing:
            there = sorted({type(each).__name__ for each in inner.values()})
            raise InvalidOption(
                f"functions names {', '.join(map(_said, missing))}",
                cause=f"the modules in the model are {', '.join(there) or 'none'}",
                cure='name classes of those, functions=[Block] or ["Block"], or take "all"',
            )
        inner = {path: module for path, module in inner.items() if any(_is(module, each) for each in wanted)}
    return {path: (type(module).__module__, type(module).__name__) for path, module in inner.items()}


def named_modules(model: Any) -> list[str]:
    """The paths of a model's modules."""
    root = owner(unwrapped(model))[0]
    return [path for path, _ in root.named_modules() if path] if isinstance(root, nn.Module) else []


def _is(module: nn.Module, wanted: type | str) -> bool:
    return type(module).__name__ == wanted if isinstance(wanted, str) else isinstance(module, wanted)


def _said(wanted: type | str) -> str:
    return wanted if isinstance(wanted, str) else wanted.__name__
