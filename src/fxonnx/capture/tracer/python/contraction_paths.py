"""In which order the operands of an einsum are contracted, where opt_einsum is installed: it weighs sizes as plain
numbers, whether torch.einsum asks it or the model does.

The order changes rounding and costs, and no value. So that it is one for all sizes, those that vary count as `MANY`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

MANY = 64
"""what a size that varies counts for"""
_PLACES = ("opt_einsum", "opt_einsum.contract")


@dataclass(frozen=True, slots=True)
class _Weighed:
    """An operand, of which the order hangs on the shape alone."""

    shape: tuple[int, ...]


def paths() -> Iterator[tuple[Any, dict[str, Any]]]:
    """opt_einsum's modules, where they are loaded, and what stands for functions of theirs: `contract_path` of tensors
    whose sizes vary, which torch.einsum calls, and what the model calls of opt_einsum."""
    for name in _PLACES:
        if (module := sys.modules.get(name)) is not None:
            yield module, {"contract_path": _weighed(module.contract_path)}


def _weighed(original: Callable[..., Any]) -> Callable[..., Any]:
    """Its contract_path: (path, what it costs), and for `einsum_call` (operands, steps)."""

    def contract_path(subscripts: Any, *operands: Any, **options: Any) -> Any:
        if not isinstance(subscripts, str) or not any(map(_varies, operands)):
            return original(subscripts, *operands, **options)
        shapes = _shapes(subscripts, operands)
        is_shapes = options.get("shapes", False)
        given = original(subscripts, *(shapes if is_shapes else map(_Weighed, shapes)), **options)
        return (operands, given[1]) if options.get("einsum_call") else given

    return contract_path


def _sizes(operand: Any) -> tuple[Any, ...]:
    return tuple(getattr(operand, "shape", operand))


def _varies(operand: Any) -> bool:
    return any(isinstance(size, torch.SymInt) for size in _sizes(operand))


def _shapes(subscripts: str, operands: tuple[Any, ...]) -> list[tuple[int, ...]]:
    """Plain sizes: of an axis that has a plain one in another operand it is that, as it has to be."""
    letters = [_letters(term, len(_sizes(each))) for term, each in zip(_terms(subscripts), operands, strict=True)]
    named = [(name, size) for names, each in zip(letters, operands, strict=True)
             for name, size in zip(names, _sizes(each), strict=True)]  # fmt: skip
    plain = {name: size for name, size in named if not isinstance(size, torch.SymInt) and size != 1}
    return [
        tuple(plain.get(name, MANY) if isinstance(size, torch.SymInt) else size
              for name, size in zip(names, _sizes(each), strict=True))
        for names, each in zip(letters, operands, strict=True)
    ]  # fmt: skip


def _terms(subscripts: str) -> list[str]:
    return subscripts.replace(" ", "").partition("->")[0].split(",")


def _letters(term: str, rank: int) -> list[Any]:
    """The name of each axis; those under `...` are called by their place from the last."""
    before, dots, after = term.partition("...")
    hidden = range(rank - len(before) - len(after), 0, -1) if dots else ()
    return [*before, *hidden, *after]
