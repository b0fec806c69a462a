"""What an entry of the corpus is: a model as its package builds it, what it is fed, which dims its users leave open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.models.case import Draw, Dynamic, Inputs, Sizes, unsettle

Feed = Callable[[Draw, Sizes], Inputs]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model.

    `name` is "package/model", the package as it is imported. `module` makes it, `feed(draw, sizes)` its (args,
    kwargs). `sizes` are the example's first, then those that it is called with; `dynamic` is what its users would give
    as `dynamic_shapes`.
    """

    name: str
    module: Callable[[], nn.Module]
    feed: Feed
    sizes: Sequence[Sizes]
    dynamic: Dynamic | tuple[Mapping[int, str], ...]

    @property
    def package(self) -> str:
        """What must be installed for it."""
        return self.name.partition("/")[0]

    def build(self) -> nn.Module:
        """The model in eval mode, with seeded random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self.module().eval()
            unsettle(module)
        return module

    def calls(self) -> Iterator[Inputs]:
        """Fresh random arguments at each of the sizes."""
        for seed, sizes in enumerate(self.sizes):
            yield self.feed(Draw(seed), sizes)


def images(channels: int = 3) -> Feed:
    """f32[batch, channels, height, width], as the one argument."""
    return lambda draw, s: ((draw.normal(s["batch"], channels, s["height"], s["width"]),), {})


def waves(*middle: int) -> Feed:
    """f32[batch, …, samples], as the one argument."""
    return lambda draw, s: ((draw.normal(s["batch"], *middle, s["samples"]),), {})


def tokens(vocabulary: int, *names: str) -> Feed:
    """int64[batch, sequence], as keyword arguments of these names; a mask pads."""

    def feed(draw: Draw, s: Sizes) -> Inputs:
        shape = s["batch"], s["sequence"]
        values: dict[str, Any] = {"attention_mask": draw.padding(*shape)}
        return (), {name: values.get(name, draw.integers(vocabulary, *shape, low=2)) for name in names}

    return feed


def image_sizes(*sizes: tuple[int, int, int]) -> tuple[Sizes, ...]:
    """(batch, height, width)s by name."""
    return tuple({"batch": n, "height": h, "width": w} for n, h, w in sizes)


def wave_sizes(*sizes: tuple[int, int]) -> tuple[Sizes, ...]:
    """(batch, samples)s by name."""
    return tuple({"batch": n, "samples": t} for n, t in sizes)


def text_sizes(*sizes: tuple[int, int]) -> tuple[Sizes, ...]:
    """(batch, sequence)s by name."""
    return tuple({"batch": n, "sequence": t} for n, t in sizes)


BATCHES = image_sizes((2, 64, 64), (3, 64, 64), (1, 64, 64), (5, 64, 64))
IMAGES = image_sizes((2, 64, 96), (3, 96, 64), (1, 64, 64), (1, 128, 160))
WAVES = wave_sizes((2, 4000), (3, 5200), (1, 3200), (1, 8000))
TEXTS = text_sizes((2, 7), (3, 12), (1, 5), (1, 1))
