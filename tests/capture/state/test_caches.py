"""Caches of functions that a model keeps: in attributes, in closures, in containers; and what is drawn in one."""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.state.caches import SharedCache


def table(rows: int) -> Tensor:
    return torch.arange(float(rows))[:, None] * torch.linspace(0, 1, 4)


@functools.lru_cache(maxsize=2)
def noise(rows: int) -> Tensor:
    return torch.rand(rows, 1)


class Keeps(nn.Module):
    """Adds a table that a function of its own has a cache for."""

    def __init__(self, kept: Any, read: Callable[[Any], Callable[[int], Tensor]]) -> None:
        super().__init__()
        self.kept, self.read = kept, read

    def forward(self, x: Tensor) -> Tensor:
        return x + self.read(self.kept)(x.shape[0])


class OfItsOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = functools.lru_cache(maxsize=4)(self._rows)
        self.weight = nn.Parameter(torch.ones(4))

    def _rows(self, rows: int) -> Tensor:
        return torch.arange(float(rows))[:, None] * self.weight

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rows(x.shape[0])


def closed_over() -> nn.Module:
    cached = functools.cache(table)
    return Keeps(None, lambda _: lambda rows: cached(rows))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "attribute": lambda: Keeps(functools.cache(table), lambda kept: kept),
    "container": lambda: Keeps({"table": [functools.lru_cache(table)]}, lambda kept: kept["table"][0]),
    "partial": lambda: Keeps(functools.partial(functools.cache(table)), lambda kept: kept),
    "closure": closed_over,
    "method": OfItsOwn,
}


@pytest.mark.parametrize("name", MODELS)
def test_the_cache_is_the_models(name: str) -> None:
    """What a run has put into it is taken out, so that sizes are free and the model goes on with real tensors."""
    model = MODELS[name]()
    compiled = fxonnx.compile(model, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    for rows in (3, 1, 7):
        x = torch.randn(rows, 4)
        wanted = model(x)
        assert not type(wanted).__name__.startswith("Fake")
        torch.testing.assert_close(compiled(x), wanted)


@pytest.mark.parametrize("kept", [noise, functools.cache(lambda rows: [torch.rand(rows, 1)])], ids=["global", "own"])
def test_what_is_drawn_once_is_not_drawn_at_each_call(kept: Callable[[int], Any]) -> None:
    model = Keeps(kept, lambda kept: lambda rows: kept(rows) if kept is noise else kept(rows)[0])
    with pytest.raises(errors.CaptureRefused, match="does something else at its next call"):
        fxonnx.compile(model, (torch.zeros(3, 4),))


HELPERS = """
import functools
import torch

@functools.lru_cache(maxsize=8)
def table(rows):
    return torch.arange(float(rows))[:, None]

@functools.cache
def drawn(rows):
    return torch.rand(rows, 1)

def with_table(x):
    return x + table(x.shape[0])

def with_noise(x):
    return x + drawn(x.shape[0])
"""


def test_caches_of_files_that_the_model_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the model does not name itself: a function that it calls has it."""
    (tmp_path / "helpers_with_caches.py").write_text(HELPERS)
    monkeypatch.syspath_prepend(tmp_path)
    helpers = importlib.import_module("helpers_with_caches")

    class Calls(nn.Module):
        def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Tensor) -> Tensor:
            return self.function(x)

    model = Calls(helpers.with_table)
    compiled = fxonnx.compile(model, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    assert helpers.table.cache_info().currsize == 0
    for rows in (3, 7):
        x = torch.randn(rows, 4)
        torch.testing.assert_close(compiled(x), model(x))
    with pytest.raises(errors.CaptureRefused, match=r"helpers_with_caches\.drawn"):
        fxonnx.compile(Calls(helpers.with_noise), (torch.zeros(3, 4),))


def test_what_others_keep_meanwhile_stays() -> None:
    """Of a cache of another file only tensors of the run tell that the model has filled it."""

    @functools.cache
    def kept(number: int) -> Any:
        return torch.ones(number) if number % 2 else torch.empty(number, device="meta").as_subclass(Own)

    cache = SharedCache.of(kept, "kept")
    kept(1)
    assert not cache.is_filled() and not cache.has_more()
    cache.restore()
    assert kept.cache_info().currsize == 1
    kept(2)
    assert cache.has_more()
    cache.restore()
    assert kept.cache_info().currsize == 0


class Own(Tensor):
    """As fake tensors are: of a class of its own."""
