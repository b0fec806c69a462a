"""After a capture, whether it succeeds, fails or is stopped, everything is as it was."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import torch
from tests.capture.state.surroundings import surroundings
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture


class Model(nn.Module):
    """Assigns to itself, keeps a list, counts; ends as it is told to."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.fc, self.drop = nn.Linear(4, 4), nn.Dropout()
        self.register_buffer("seen", torch.zeros(4))
        self.calls, self.kept, self.last, self.end = 0, [], None, end

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        self.kept.append(x)
        self.last = self.drop(self.fc(x))
        self.seen = self.seen + self.last.sum(0)
        self.late = nn.ReLU()
        return self.end(self.late(self.last))


def stop(x: Tensor) -> Tensor:
    raise KeyboardInterrupt


def fail(x: Tensor) -> Tensor:
    raise ValueError("no")


ENDS: dict[str, tuple[Callable[[Tensor], Any], type[BaseException] | None]] = {
    "success": (torch.relu, None),
    "error": (fail, errors.ModelRaised),
    "data": (lambda x: x.item(), errors.Error),
    "frozen": (lambda x: list(range(x.shape[0])), errors.FrozenDimension),
    "stopped": (stop, KeyboardInterrupt),
}


@pytest.mark.parametrize("name", ENDS)
def test_nothing_is_left_behind(name: str) -> None:
    end, error = ENDS[name]
    model = Model(end).train()
    model.fc.eval()
    x = torch.randn(2, 4)
    before, attributes = surroundings(), [dict(vars(each)) for each in model.modules()]

    def captured() -> None:
        capture(model, (x,), dynamic_shapes={"x": {0: "n"}})

    if error is None:
        captured()
    else:
        with pytest.raises(error):
            captured()
    assert surroundings() == before
    for module, old in zip(model.modules(), attributes, strict=True):
        assert vars(module).keys() == old.keys()
        assert all(vars(module)[name] is value for name, value in old.items())
    assert (model.calls, model.kept, model.last, hasattr(model, "late")) == (0, [], None, False)
    assert model.training and not model.fc.training and model.seen.sum() == 0


def test_caches_in_objects_and_containers_are_left_as_they_were() -> None:
    class Cache:
        table: Any = None

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cache, self.nested, self.loose = Cache(), {"a": [deque(), ()]}, [nn.Identity()]

        def forward(self, x: Tensor) -> Tensor:
            self.cache.table = x * 2
            self.nested["a"][0].append(x)
            self.loose[0].last = x
            return self.cache.table + 1

    model = Caching()
    capture(model, (torch.randn(3),))
    assert model.cache.table is None
    assert not model.nested["a"][0]
    assert not hasattr(model.loose[0], "last")


def counts_in_a_closure() -> Callable[[Tensor], Tensor]:
    count, seen = 0, []

    def model(x: Tensor) -> Tensor:
        nonlocal count
        count += 1
        seen.append(x)
        return x * 2

    return model


def keeps_in_defaults(x: Tensor, cache: Any = {}, *, last: Any = [None]) -> Tensor:  # noqa: B006 (as models do)
    cache["x"] = last[0] = x
    keeps_in_defaults.calls = len(cache)  # type: ignore[attr-defined]
    return x * 2


def test_what_functions_keep_is_left_as_it_was() -> None:
    closing = counts_in_a_closure()
    for model in (closing, keeps_in_defaults, partial(keeps_in_defaults, last=[None])):
        capture(model, (torch.randn(3),))
    assert [cell.cell_contents for cell in closing.__closure__] == [0, []]  # type: ignore[attr-defined]
    assert (keeps_in_defaults.__defaults__, keeps_in_defaults.__kwdefaults__) == (({},), {"last": [None]})
    assert not vars(keeps_in_defaults)


def test_arrays_are_left_as_they_were() -> None:
    counts, table = np.zeros(2), np.arange(3.0)
    table.flags.writeable = False

    def model(x: Tensor) -> Tensor:
        counts[0] += 1
        return x * float(table[1])

    capture(model, (torch.randn(3),))
    assert counts.tolist() == [0, 0]


def test_two_threads_that_capture_leave_the_flags_of_the_process() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(20)))
    before = surroundings()
    threads = [threading.Thread(target=capture, args=(model, torch.ones(2, 4))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert surroundings() == before


def test_other_threads_run_as_ever() -> None:
    """A model that runs elsewhere during a capture is neither recorded nor faked."""
    other, results = nn.Linear(4, 4), SimpleQueue[Tensor]()  # a list would be put back

    def model(x: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: results.put(other(torch.ones(1, 4))))
        thread.start()
        thread.join()
        return x + 1

    program = capture(model, (torch.randn(2, 4),))
    assert not program.weights
    torch.testing.assert_close(results.get(timeout=1), other(torch.ones(1, 4)))


def test_a_capture_within_a_capture() -> None:
    inner, x = nn.Linear(4, 4), torch.randn(2, 4)

    def model(x: Tensor) -> Tensor:
        assert len(capture(inner, (x,)).weights) == 2
        return x + 1

    try:
        program = capture(model, (x,))
    except errors.Error:
        return
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"] == ["aten.add.Tensor"]


def test_what_is_loaded_when_it_is_used_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a lazy module nor a lazy object among the globals of a model's file is asked for anything."""

    class Lazy:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

    class Reading(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    monkeypatch.setitem(globals(), "LAZY", Lazy())
    capture(Reading(), (torch.randn(3),))


def test_what_is_compiled_is_no_state_of_a_model() -> None:
    """A compiled model beside the model's code is called by other threads while another one is captured: what it keeps
    from call to call is not put back."""
    beside = fxonnx.compile(nn.Linear(3, 3), (torch.ones(2, 3),))

    def model(x: torch.Tensor) -> torch.Tensor:
        beside.called = True  # as its own calls write to what it keeps
        return x + 1

    fxonnx.compile(model, (torch.ones(2),))
    assert beside.called


class Pair(tuple[Any, ...]):
    """Has no length, as e3nn's irreps have none."""

    def __len__(self) -> int:
        raise NotImplementedError


class Unmeasured(list[Any]):
    """A list of this kind."""

    def __len__(self) -> int:
        raise NotImplementedError


def test_containers_without_a_length_are_read_by_the_methods_of_their_base() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of = [Pair((2, torch.ones(3)))]
            self.seen = Unmeasured([torch.zeros(3)])

        def forward(self, x: Tensor) -> Tensor:
            self.seen[0] = x + 1
            return x * self.of[0][1]

    model, x = Holds(), torch.randn(2, 3)
    before = model.seen[0]
    torch.testing.assert_close(fxonnx.compile(model, x)(x), x)
    assert model.seen[0] is before
