"""What the model's code names is put back; what other code of its file keeps is others' own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxonnx.capture import capture
from fxonnx.capture.state.said import names_said

FEATURES: dict[str, Tensor] = {}
CALLS: list[int] = []
RESULTS: list[int] = []


def count(x: Tensor) -> Tensor:
    CALLS.append(1)
    return x


def note(module: nn.Module, args: Any, output: Tensor) -> None:
    FEATURES["last"] = output


class Counting(nn.Module):
    """Names a global through a helper, and another through a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.fc.register_forward_hook(note)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(count(x))


GO, DONE = threading.Event(), threading.Event()


def work() -> None:
    GO.wait(10)
    RESULTS.append(1)
    DONE.set()


def test_what_helpers_and_hooks_write_is_put_back() -> None:
    capture(Counting(), (torch.ones(2, 4),))
    assert not FEATURES
    assert not CALLS


def test_what_other_threads_keep_stays() -> None:
    def while_others_work(x: Tensor) -> Tensor:
        GO.set()
        DONE.wait(10)
        return x + 1

    threading.Thread(target=work).start()
    capture(while_others_work, (torch.ones(2, 4),))
    assert RESULTS == [1]


@cache
def cached() -> Any:
    return FEATURES


def closing() -> Callable[[], Any]:
    def inner() -> Any:
        return count

    return lambda: inner


class Parts:
    @property
    def features(self) -> Any:
        return FEATURES

    @staticmethod
    def counted() -> Any:
        return count


def dynamic() -> Any:
    return globals()


def yielding() -> Iterator[Any]:
    yield from (each for each in CALLS)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (count, "CALLS"),
        (cached, "FEATURES"),
        (closing(), "CALLS"),
        (Parts, "FEATURES"),
        (Parts, "CALLS"),
        (Parts().counted, "CALLS"),
        (partial(count), "CALLS"),
        (yielding, "CALLS"),
        (dynamic, "anything"),
    ],
)
def test_names_are_found_in_code(code: Any, name: str) -> None:
    assert name in names_said([code], [globals()])
    assert "RESULTS" not in names_said([count], [globals()])
