"""Caches of transformers as what a compiled decoder takes and leaves."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionCacheLayerMixin

from fxonnx.compiled import Compiled
from fxonnx.errors import NotAModel

_EXAMPLE = 5  # tokens in the cache that shows how one looks


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """How the cache of a model looks: made of one that the model has filled with a few tokens.

    Layers of a sliding window keep all that came, as the file's masks leave out what is beyond the window: how much is
    left of it is no number of Python's then. `argument` is the name under which forward takes it.
    """

    argument: str
    config: Any
    filled: DynamicCache

    @staticmethod
    def of(model: Any) -> CacheLayout:
        """That of a decoder of transformers, which is called for it. Raises NotAModel where it takes none."""
        parameters = inspect.signature(model.forward).parameters
        argument = next((name for name in ("past_key_values", "cache_params") if name in parameters), None)
        if argument is None:
            raise NotAModel(
                f"{type(model).__name__} generates without a cache of transformers",
                cause="its forward takes neither past_key_values nor cache_params",
                cure="compile a step with fxonnx.compile, with all tokens or the states of its own as arguments",
            )
        config = model.config.get_text_config(decoder=True)
        cache = _new(config)
        with torch.no_grad():
            model(torch.zeros(2, _EXAMPLE, dtype=torch.long), **{argument: cache}, use_cache=True)
        while cache.layers and not _is_filled(cache.layers[-1]):  # of an encoder, which the decoder's config counts
            cache.layers.pop()
        return CacheLayout(argument, config, cache)

    @property
    def is_recurrent(self) -> bool:
        """Whether a layer keeps a state of fixed size, and so takes one token at a time once it has one."""
        return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in self.filled.layers)

    @property
    def has_keys(self) -> bool:
        """Whether a layer keeps the keys and values of all tokens."""
        return any(isinstance(layer, DynamicLayer) for layer in self.filled.layers)

    def empty(self, rows: int) -> DynamicCache:
        """A cache with nothing in it: as transformers makes it where a layer is recurrent, else with keys and values of
        no tokens."""
        return _new(self.config) if self.is_recurrent else self.of_size(rows, 0)

    def of_size(self, rows: int, tokens: int) -> DynamicCache:
        """A cache of so many rows and tokens, where no layer is recurrent."""
        cache = DynamicCache()
        for known in self.filled.layers:
            layer = DynamicLayer()
            layer.lazy_initialization(known.keys, known.values)
            layer.keys, layer.values = (states_like(each, rows, tokens) for each in (known.keys, known.values))
            cache.layers.append(layer)
        return cache

    def prepare(self, cache: Cache, rows: int) -> None:
        """Make a cache that nothing was put into yet, in place, one that a compiled decoder takes."""
        if is_empty(cache):
            vars(cache).clear()
            vars(cache).update(vars(self.empty(rows)))

    def dims(self) -> Iterator[tuple[str, Mapping[int, str]]]:
        """The dims that vary of each tensor in a filled cache, by the name that it has as an input."""
        for number, layer in enumerate(self.filled.layers):
            if isinstance(layer, LinearAttentionCacheLayerMixin):
                for word, states in (("conv", layer.conv_states), ("recurrent", layer.recurrent_states)):
                    if any(state is not None for state in states.values()):
                        yield f"{self.argument}.{number}.{word}", {0: "batch"}
            if isinstance(layer, DynamicLayer):
                yield from ((f"{self.argument}.{number}.{word}", {0: "batch", 2: "past"}) for word in ("key", "value"))


def is_empty(cache: Cache) -> bool:
    """Whether no token was put into a cache."""
    return not any(_is_filled(layer) for layer in cache.layers)


def past_of(cache: Cache) -> int:
    """How many tokens a cache has; 1 where its states do not tell."""
    grown = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
    return grown[0].get_seq_length() if grown else int(not is_empty(cache))


def _is_filled(layer: Any) -> bool:
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        return any(layer.has_previous_state.values())
    return bool(layer.is_initialized) and isinstance(layer, DynamicLayer)


def _new(config: Any) -> DynamicCache:
    """A cache as transformers makes it, but for sliding windows."""
    cache = DynamicCache(config=config)
    kept = (DynamicLayer() if isinstance(layer, DynamicSlidingWindowLayer) else layer for layer in cache.layers)
    cache.layers[:] = list(kept)
    return cache


def states_like(known: torch.Tensor, rows: int, tokens: int = 0) -> torch.Tensor:
    """Keys or values of so many rows and tokens, no two alike: what `verify` draws is like them."""
    _, heads, _, width = known.shape
    sizes = rows, heads, tokens, width
    return torch.linspace(-1, 1, math.prod(sizes)).reshape(sizes).to(known)


def ask_ahead(compiled: Compiled, *small: Mapping[str, int]) -> None:
    """Find out what calls with these sizes of 0 and 1 need, for several rows and for one, so that generating does not
    begin with it."""
    check = compiled.program.zero_one
    if check is None:
        return
    for sizes in small:
        check.ask(sizes)
        check.ask({**sizes, "batch": 1})


def filled(states: Sequence[torch.Tensor]) -> DynamicCache:
    """A cache of these keys and values, a pair a layer, which are not copied."""
    cache = DynamicCache()
    for keys, values in zip(states[::2], states[1::2], strict=True):
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache
