"""torch's random numbers where forward seeds them: eager draws the same ones at each call then.

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, 8, generator=generator)           a constant
    noise = torch.randn(x.shape, generator=generator)        refused where the shape varies
    torch.manual_seed(0)                                     refused
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, TypeAlias, TypeVar

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.tracer.torch_private import eager

_GENERATOR: TypeAlias = torch.Generator
ErrorT = TypeVar("ErrorT", bound=Exception)


class _Kind(type(_GENERATOR)):  # type: ignore[misc]
    """The type of what stands for torch.Generator: all generators are its instances."""

    def __instancecheck__(cls, instance: object) -> bool:
        return type.__instancecheck__(_GENERATOR, instance)


class NewGenerator(_GENERATOR, metaclass=_Kind):
    """What torch.Generator() makes while a model runs. It has a fixed seed; `seed()` takes another at each call."""

    by_chance = False

    def seed(self) -> int:
        """Another seed at each call."""
        self.by_chance = True
        return super().seed()

    def manual_seed(self, seed: int) -> NewGenerator:
        """A fixed seed."""
        self.by_chance = False
        super().manual_seed(seed)
        return self


def is_new(generator: torch.Generator) -> bool:
    """Whether a generator was made while the model runs, with a seed that is the same at each call."""
    return type(generator) is NewGenerator and not generator.by_chance


def drawn(
    func: Any, args: Any, kwargs: Any, known: Callable[[torch.Tensor], Any], refuse: Callable[[], Exception]
) -> Any:  # fmt: skip
    """What a function draws from a generator that forward seeds: the numbers themselves, as a constant of the code.
    Raises what `refuse` makes where their number varies, or they hang on a tensor that is not known."""
    is_written = func.__name__.endswith("_") and args  # x.normal_(generator=…) fills x, whatever is in it
    target, rest = (args[0], args[1:]) if is_written else (None, args)

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and (value := known(value)) is None:
            raise refuse()
        if isinstance(value, (torch.SymInt, torch.SymFloat)):
            raise refuse()
        return value

    rest, kwargs = pytree.tree_map(plain, (rest, kwargs))
    if target is None:
        with eager():
            numbers = func(*rest, **kwargs)
        return torch.ops.aten.lift_fresh(numbers)
    shape = [plain(each) for each in target.shape]
    with eager():
        numbers = func(torch.empty(shape, dtype=target.dtype), *rest, **kwargs)
    return target.copy_(torch.ops.aten.lift_fresh(numbers))


def seeded(refuse: Callable[..., ErrorT]) -> ErrorT:
    """The refusal of a forward that seeds."""
    return refuse(
        "forward seeds torch's random numbers",
        cause="eager draws the same numbers at each call then, and ONNX's operators draw others",
        cure="draw them once, in __init__, and keep them in a buffer (of the greatest size, of which forward takes a "
        "part); or seed before the call, not in forward",
    )


@contextmanager
def unseeded(refuse: Callable[..., Exception]) -> Iterator[None]:
    """torch.manual_seed() refused where this thread calls it: a file draws other numbers at each call."""
    thread, seed = get_ident(), torch.manual_seed

    def seed_elsewhere(value: Any) -> torch.Generator:
        if get_ident() != thread:
            return seed(value)
        raise seeded(refuse)

    torch.manual_seed = torch.random.manual_seed = seed_elsewhere
    try:
        yield
    finally:
        torch.manual_seed = torch.random.manual_seed = seed
