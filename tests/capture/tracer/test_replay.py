"""What forward leaves in Python: no matter where the next call does the same, an error where it does not."""

from __future__ import annotations

import functools
import operator
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor, nn

from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.state.opaque import shared_by_all

CALLS = 0
TABLES: dict[str, Any] = {}
ARRAY = np.zeros(1)
COUNTER: Counter[str] = Counter()
THREAD = threading.local()


@functools.lru_cache(maxsize=None)  # noqa: UP033 (as models have it)
def table(size: int) -> Tensor:
    return torch.arange(float(size)).cos()


@functools.lru_cache
def notes(size: int) -> list[int]:
    return [size]


@functools.cache
def settings(size: int) -> dict[str, Any]:
    return {"sizes": [size, 2]}


@functools.lru_cache(maxsize=2)
def gains(size: int) -> Tensor:
    return torch.ones(size)


class Stateful(nn.Module):
    """Attributes for all that follows."""

    total = 0

    def __init__(self, body: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.calls, self.cache, self.size, self.seen, self.table = 0, None, 0, [], {"step": 1.0}
        self.warned, self.body, self.inner = False, body, nn.Identity()
        self.register_buffer("state", torch.zeros(4))

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def counts(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return x * self.calls


def counts_in_a_container(self: Any, x: Tensor) -> Tensor:
    self.table["step"] /= 2
    return x * self.table["step"]


def collects(self: Any, x: Tensor) -> Tensor:
    self.seen.append(1)
    return x * len(self.seen)


def remembers(self: Any, x: Tensor) -> Tensor:
    y = x if self.cache is None else x + self.cache
    self.cache = y
    return y


def remembers_in_a_container(self: Any, x: Tensor) -> Tensor:
    self.table["last"], last = x, self.table.get("last")
    return x if last is None else x + last


def alternates(self: Any, x: Tensor) -> Tensor:
    self.warned = not self.warned
    return x * 2 if self.warned else x * 3


def writes_a_count(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    self.state.add_(self.calls)
    return x * 2


def returns_a_count(self: Any, x: Tensor) -> Any:
    self.calls += 1
    return x * 2, self.calls


def draws_from_python(self: Any, x: Tensor) -> Tensor:
    return x * random.random()


def draws_from_numpy(self: Any, x: Tensor) -> Tensor:
    return x * float(np.random.rand())  # noqa: NPY002


def counts_in_a_global(self: Any, x: Tensor) -> Tensor:
    global CALLS  # noqa: PLW0603 (as models do)
    CALLS += 1
    return x * CALLS


def counts_in_its_class(self: Any, x: Tensor) -> Tensor:
    type(self).total += 1
    return x * self.total


def remembers_in_a_table(self: Any, x: Tensor) -> Tensor:
    TABLES["last"], last = x, TABLES.get("last")
    return x if last is None else x + last


def keeps_an_input_by_size(self: Any, x: Tensor) -> Tensor:
    if self.size != x.shape[0]:
        self.size, self.cache = x.shape[0], x.sum(0)
    return x + self.cache


def keeps_an_input_in_a_list(self: Any, x: Tensor) -> Tensor:
    if not self.seen:
        self.seen.append(x[0])
    return x - self.seen[0]


def keeps_an_input_by_dtype(self: Any, x: Tensor) -> Tensor:
    if x.dtype not in self.table:
        self.table[x.dtype] = x.abs().amax()
    return x / self.table[x.dtype]


def keeps_a_view(self: Any, x: Tensor) -> Tensor:
    self.cache = x[:1] if self.cache is None else self.cache
    return x + self.cache


def keeps_an_input_in_a_default(self: Any, x: Tensor, cache: Any = {}) -> Tensor:  # noqa: B006 (as models do)
    return x + cache.setdefault("keeps_an_input_in_a_default", x.mean(0))


def writes_a_state_once(self: Any, x: Tensor) -> Tensor:
    if not self.calls:
        self.calls = 1
        self.state.copy_(x.sum(0))
    return x + self.state


def counts_in_an_array(self: Any, x: Tensor) -> Tensor:
    ARRAY[0] += 1
    return x * float(ARRAY[0])


def collects_in_a_function(self: Any, x: Tensor) -> Tensor:
    notes(4).append(1)
    return x * len(notes(4))


def counts_in_a_function(self: Any, x: Tensor) -> Tensor:
    settings(4)["sizes"] = settings(4)["sizes"][0] + 1, 2
    return x * settings(4)["sizes"][0]


def writes_in_a_function(self: Any, x: Tensor) -> Tensor:
    return x * gains(4).mul_(2)


def counts_in_a_counter(self: Any, x: Tensor) -> Tensor:
    COUNTER["calls"] += 1
    return x * COUNTER["calls"]


def counts_in_a_thread(self: Any, x: Tensor) -> Tensor:
    THREAD.calls = getattr(THREAD, "calls", 0) + 1
    return x * THREAD.calls


OTHERS = [
    (collects_in_a_function, "notes"), (counts_in_a_function, "settings"), (writes_in_a_function, "gains"),
    (counts_in_a_counter, "COUNTER"), (counts_in_a_thread, "THREAD"),
    (keeps_an_input_by_size, "cache"), (keeps_an_input_in_a_list, "seen"), (keeps_an_input_by_dtype, "table"),
    (keeps_a_view, "cache"), (keeps_an_input_in_a_default, "body"),
    (writes_a_state_once, "calls"), (counts_in_an_array, "ARRAY"),
    (counts_in_a_global, "CALLS"), (counts_in_its_class, "total"), (remembers_in_a_table, "TABLES"),
    (counts, "calls"), (counts_in_a_container, "table"), (collects, "seen"), (remembers, "cache"),
    (remembers_in_a_container, "table"), (alternates, "warned"), (writes_a_count, "calls"), (returns_a_count, "calls"),
    (draws_from_python, "Python's random"), (draws_from_numpy, "NumPy's random"),
]  # fmt: skip


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize(("body", "name"), OTHERS, ids=[body.__name__ for body, _ in OTHERS])
def test_a_next_call_that_does_something_else_is_refused(body: Any, name: str, dims: Any) -> None:
    model = nn.Sequential(nn.Identity(), Stateful(body))
    with pytest.raises(errors.CaptureRefused, match=f"forward changes .*{name}.* next call") as caught:
        capture(model, (torch.randn(3, 4),), dynamic_shapes=[{0: "n"}] if dims else None)
    assert name.endswith("random") or f".{name}" in caught.value.what
    assert (CALLS, TABLES, Stateful.total) == (0, {}, 0)
    assert "buffer" in caught.value.cure
    assert caught.value.locations[0].function in (body.__name__, "forward")


def warns_once(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    self.warned = True
    return x * 2


def caches(self: Any, x: Tensor) -> Tensor:
    if self.cache is None:
        self.cache = torch.arange(4.0).sin() * 2.0
    return x * self.cache


def caches_by_size(self: Any, x: Tensor) -> Tensor:
    if self.size != x.shape[0]:
        self.cache, self.size = torch.arange(x.shape[0]).float()[:, None], x.shape[0]
    return x * self.cache


def caches_by_a_plain_size(self: Any, x: Tensor) -> Tensor:
    """Distances, of which the next call takes the last as an expression says: at the same size all of them."""
    rows = x.shape[0]
    if self.cache is None or self.cache.shape[0] < rows:
        places = torch.arange(rows).float()
        self.cache = (places.reshape(operator.index(rows), 1) - places).abs()
        return self.cache @ x
    return self.cache[-rows:, -rows:] @ x


def passes_on(self: Any, x: Tensor) -> Tensor:
    self.inner.size, self.inner.rows = x.shape, x.shape[0]
    return x.reshape(self.inner.rows, 2, 2)


def keeps_a_state(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    self.state = self.state * 2 + x.sum(0)
    return x + self.state


def draws_in_vain(self: Any, x: Tensor) -> Tensor:
    skip = self.training and random.random() < 0.5
    return x if skip or np.random.rand() > 2 else x * 2  # noqa: NPY002


def caches_in_a_global(self: Any, x: Tensor) -> Tensor:
    if "cos" not in TABLES:
        TABLES["cos"] = torch.arange(4.0).cos()
    return x * TABLES["cos"]


def caches_in_a_function(self: Any, x: Tensor) -> Tensor:
    return x * table(4)


def reads_a_list_of_a_function(self: Any, x: Tensor) -> Tensor:
    return x * notes(4)[0] + settings(4)["sizes"][1]


def writes_a_state(self: Any, x: Tensor) -> Tensor:
    self.warned = True
    self.state.add_(1)
    return x.mul_(2).positive() + self.state


def keeps_what_it_computes_with_literals(self: Any, x: Tensor) -> Tensor:
    """As hooks on attention do, and pyramids of correlations; literals are compared by what is in them."""
    one, other = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 3.0, 5.0])
    self.seen = [x * one, x * other]
    return self.seen[0] + self.seen[1] * one


def caches_what_is_like_an_input(self: Any, x: Tensor) -> Tensor:
    """Of its dtype and its sizes, and of none of its elements."""
    if self.cache is None:
        self.cache = torch.zeros_like(x) + x.new_full(x.shape, 2.0) + torch.arange(4).expand_as(x).type_as(x)
    return x * self.cache


HARMLESS = [
    caches_what_is_like_an_input,
    writes_a_state, keeps_what_it_computes_with_literals,
    caches_in_a_global, caches_in_a_function, reads_a_list_of_a_function, warns_once,
    caches, caches_by_size, caches_by_a_plain_size, passes_on, keeps_a_state,
    draws_in_vain,
]  # fmt: skip


@pytest.mark.parametrize("body", HARMLESS, ids=lambda body: body.__name__)
def test_a_next_call_that_does_the_same_is_captured(body: Any) -> None:
    x = torch.randn(3, 4)
    for dims in (None, {"x": {0: "n"}}):
        model = Stateful(body).eval()
        before = [each.before for each in shared_by_all()]
        program = capture(model, (x,), dynamic_shapes=dims)
        assert (model.calls, model.cache, model.warned) == (0, None, False)
        assert [each.before for each in shared_by_all()] == before
        assert TABLES == {}
        for rows in (3, 5) if dims else (3,):
            y = torch.randn(rows, 4)
            torch.testing.assert_close(run(program, (y,))[0], Stateful(body).eval()(y))
        TABLES.clear()


def test_no_fake_tensor_is_left_in_a_cache() -> None:
    model, x = Stateful(caches_in_a_function), torch.randn(3, 4)
    table.cache_clear()
    for _ in range(2):
        capture(model, (x,))
        assert type(model(x)) is Tensor
    assert table.cache_info().misses == 1, "what was in the cache is of use"


def test_sizes_from_data_are_those_of_the_calls_that_tell_them() -> None:
    """Their names have a counter in them, by which sums of them are ordered."""

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = [torch.ones(1)]

        def forward(self, x: Tensor) -> Tensor:
            self.rows = [row.to(x.dtype, copy=True) for row in self.rows[:1]]
            sizes = [x[x > bound].shape[0] for bound in range(7)]
            return x * sum(sizes) + torch.zeros(sum(2 * size for size in sizes)).sum()

    x = torch.arange(9.0)
    program = capture(Counts(), (x,))
    torch.testing.assert_close(run(program, (x,))[0], Counts()(x))


def test_what_a_function_had_before_is_as_it_was() -> None:
    notes.cache_clear()
    notes(4).append(7)
    with pytest.raises(errors.CaptureRefused, match=r"forward changes .*notes"):
        capture(Stateful(collects_in_a_function), (torch.randn(3, 4),))
    assert notes(4) == [4, 7]


class Rescaled(nn.Module):
    """Its first call prepares it for inference, as that of RWKV does."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4))
        self.is_rescaled = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_rescaled:
            with torch.no_grad():
                self.scale.div_(2)
            self.is_rescaled = True
        return x * self.scale


def test_a_model_that_its_first_call_prepares_is_captured_after_that_call() -> None:
    model, x = Rescaled(), torch.randn(3, 4)
    with pytest.raises(errors.CaptureRefused, match="call it once before it is compiled"):
        capture(model, (x,))
    expected = model(x)
    program = capture(model, (x,))
    assert not program.states
    torch.testing.assert_close(run(program, (x,))[0], expected)


class Prepared(nn.Module):
    """Makes a kernel for each channel of its kernel, at the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.first = torch.eye(3), True

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            self.kernel, self.first = self.kernel.repeat(x.shape[1], 1, 1).view(-1, 3).unsqueeze(1), False
        return nn.functional.conv1d(x, self.kernel, groups=x.shape[1], padding=1)


class Cast(nn.Module):
    """Keeps a table in the dtype of what it is given, and adds `step` to it."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.table, self.step = torch.arange(4), step

    def forward(self, x: Tensor) -> Tensor:
        self.table = self.table.to(x.dtype) + self.step if self.step else self.table.to(x.dtype)
        return x * self.table


@pytest.mark.parametrize(("model", "shape"), [(Prepared(), (2, 5, 7)), (Cast(0), (3, 4))], ids=["sizes", "dtype"])
def test_an_attribute_that_becomes_one_of_another_kind_is_a_cache(model: nn.Module, shape: Any) -> None:
    program, x = capture(model, (torch.randn(shape),), dynamic_shapes=({0: "n"},)), torch.randn(4, *shape[1:])
    assert not program.states
    torch.testing.assert_close(run(program, (x,))[0], model(x))
    torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_what_grows_of_an_attribute_of_another_kind_is_refused() -> None:
    with pytest.raises(errors.CaptureRefused, match="does something else at its next call"):
        capture(Cast(1), (torch.randn(3, 4),))
