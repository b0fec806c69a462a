"""A Ctrl-C at any step of a compile leaves the model, the process and the thread as they were."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.capture.state.surroundings import of_the_thread, surroundings
from torch import Tensor, nn

import fxonnx
from fxonnx.capture.state.as_found import AsFound
from fxonnx.collection import collection_paused

POINTS = 12


class Keeping(nn.Module):
    """Writes to all that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 4), nn.Dropout()
        self.size, self.table, self.seen = 0, None, []
        self.register_buffer("steps", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.size != x.shape[0]:
            self.size, self.table = x.shape[0], torch.arange(4.0) * 2
            self.seen.append(1)
        self.steps = self.steps + 1
        return self.drop(self.linear(x)) + self.table + self.steps


def contents(model: nn.Module) -> list[Any]:
    """Every attribute of every module, by identity, and what is in containers."""
    return [
        (path, module.training, name, id(value), list(value) if isinstance(value, (list, dict)) else None)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
    ] + [(name, id(value)) for name, value in model.named_buffers()]


@contextmanager
def profiled(function: Callable[..., None]) -> Iterator[None]:
    sys.setprofile(function)
    try:
        yield
    finally:
        sys.setprofile(None)


def is_step(event: str) -> bool:
    """Whether Python may take a signal at an event: before a call of C it does not, a lock's release among them."""
    return event != "c_call"


def interrupted(run: Callable[[], Any], at: int) -> bool:
    """Whether a run that is interrupted at its n-th call or return ended by that."""
    left = at

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal left
        left -= is_step(event)
        if left == 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    try:
        with profiled(count):
            run()
    except KeyboardInterrupt:
        return True
    return False


def steps(run: Callable[[], Any]) -> int:
    found = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal found
        found += is_step(event)

    with profiled(count):
        run()
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_anywhere_leaves_nothing() -> None:
    model, x = Keeping().train(), torch.ones(3, 4)

    def run() -> None:
        fxonnx.compile(model, (x,))

    run()
    total = steps(run)
    before, attributes = surroundings(), contents(model)
    # spread over the run, dense at both ends, where things are set and put back
    spread = range(1, total, max(total // POINTS, 1))
    for at in (*range(1, POINTS), *spread, *range(total - POINTS, total)):
        interrupted(run, at)
        assert surroundings() == before, f"at step {at} of {total}"
        assert contents(model) == attributes, f"at step {at} of {total}"
    assert interrupted(run, total // 2)
    run()


def test_what_an_interrupt_became_on_its_way_is_an_interrupt() -> None:
    from fxonnx.capture.state.as_found import AsFound

    with pytest.raises(KeyboardInterrupt), AsFound():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("no mode to leave") from interrupt


def test_threads_compile_one_after_the_other() -> None:
    """Half of them the same program of torch.export."""
    x = torch.ones(2, 4)
    program = torch.export.export(nn.Linear(4, 4), (x,))
    failures: list[BaseException] = []

    def compile_one(number: int) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4)).train()
        try:
            compiled = fxonnx.compile(program if number % 2 else model, (x,))
            assert model.training
            expected = program.module() if number % 2 else model.eval()
            torch.testing.assert_close(compiled(x).detach(), expected(x).detach())
        except (fxonnx.errors.Error, AssertionError, AttributeError, RuntimeError) as failure:
            failures.append(failure)

    before = of_the_thread()
    threads = [threading.Thread(target=compile_one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure
    assert of_the_thread() == before
    assert gc.isenabled()


def test_the_garbage_collector_is_left_on_by_threads_that_pause_it_in_turns() -> None:
    first, second = collection_paused(), collection_paused()
    with first:
        inner = AsFound()  # of a thread that the first one has let in, and that is done last
        second.__enter__()
    with inner:
        pass
    second.__exit__(None, None, None)
    assert gc.isenabled()
