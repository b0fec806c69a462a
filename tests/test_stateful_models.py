"""A compiled model that keeps something, called again and again, from one thread and from several, is the model."""

import copy
import io
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.verification import verify

CALLS = 8
SHARED = torch.zeros(3)
ONES, TWOS = torch.zeros(1), torch.zeros(1)


@dataclass(slots=True)
class Kept:
    """An object that is no module."""

    mean: Tensor


class Keeps(nn.Module):
    """State of every kind, for the bodies below."""

    def __init__(self, body: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.mean, self.size, self.table, self.body = torch.ones(3), -1, None, body
        self.norm = nn.BatchNorm1d(3)
        self.hidden, self.entries = (torch.zeros(3), torch.ones(3)), {"h": torch.zeros(3), "calls": 0}
        self.layers, self.last = [torch.zeros(3), torch.ones(3)], deque([torch.zeros(3), torch.ones(3)], 2)
        self.kept = Kept(torch.zeros(3))

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def writes_a_buffer(self: Any, x: Tensor) -> Tensor:
    self.seen.add_(x.sum(0))
    return x + self.seen


def replaces_a_buffer(self: Any, x: Tensor) -> Tensor:
    self.seen = self.seen * 0.5 + x.mean(0)
    return x - self.seen


def counts_in_a_buffer(self: Any, x: Tensor) -> Tensor:
    self.count += 1
    return x * self.count


def writes_a_part(self: Any, x: Tensor) -> Tensor:
    self.seen[1:] += x[0, 1:]
    return x * self.seen


def replaces_an_attribute(self: Any, x: Tensor) -> Tensor:
    self.mean = self.mean * 2 - x.mean(0)
    return x + self.mean


def exchanges_two(self: Any, x: Tensor) -> Tensor:
    self.mean, self.seen = self.seen, self.mean
    return x + self.mean - 2 * self.seen


def casts_to_itself(self: Any, x: Tensor) -> Tensor:
    self.mean = self.mean.type_as(x)
    return x - self.mean


def caches_a_table(self: Any, x: Tensor) -> Tensor:
    if self.size != x.shape[0]:
        self.size, self.table = x.shape[0], torch.arange(x.shape[0], dtype=x.dtype)[:, None]
    return x * self.table


def writes_a_literal(self: Any, x: Tensor) -> Tensor:
    total = torch.tensor([0.0, 1.0, 2.0])
    for row in x:
        total += row
    return total + self.seen


def writes_what_others_share(self: Any, x: Tensor) -> Tensor:
    SHARED.add_(1)
    return x * SHARED


def normalizes(self: Any, x: Tensor) -> Tensor:
    return self.norm(x)


def replaces_a_tuple(self: Any, x: Tensor) -> Tensor:
    h, c = self.hidden
    self.hidden = (torch.tanh(h + x.mean(0)), c * 0.5 + h)
    return x + self.hidden[0] * self.hidden[1]


def replaces_an_entry(self: Any, x: Tensor) -> Tensor:
    self.entries["h"] = self.entries["h"] * 0.5 + x.mean(0)
    return x + self.entries["h"]


def replaces_in_a_list(self: Any, x: Tensor) -> Tensor:
    for at, state in enumerate(self.layers):
        self.layers[at] = state * 0.5 + x.mean(0)
        x = x + self.layers[at]
    return x


def replaces_a_list(self: Any, x: Tensor) -> Tensor:
    self.layers = [x.sum(0), *self.layers[:-1]]
    return x + self.layers[0] - 2 * self.layers[1]


def moves_a_queue(self: Any, x: Tensor) -> Tensor:
    self.last.append(x.mean(0))
    return x + self.last[0] - 2 * self.last[1]


def replaces_in_an_object(self: Any, x: Tensor) -> Tensor:
    self.kept.mean = self.kept.mean * 0.5 + x.mean(0)
    return x - self.kept.mean


BODIES = [
    writes_a_buffer, replaces_a_buffer, counts_in_a_buffer, writes_a_part, replaces_an_attribute, exchanges_two,
    replaces_a_tuple, replaces_an_entry, replaces_in_a_list, replaces_a_list, moves_a_queue, replaces_in_an_object,
    casts_to_itself, caches_a_table, writes_a_literal, writes_what_others_share, normalizes,
]  # fmt: skip


class Scripted(nn.Module):
    """Keeps a plain attribute, which TorchScript has where Python does not see it."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.state = nn.Linear(3, 3), torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.state = torch.tanh(self.linear(x).mean(0) + self.state)
        return self.state * 2


def loaded() -> nn.Module:
    torch.manual_seed(0)
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Scripted()), stream)
    stream.seek(0)
    return torch.jit.load(stream)


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Two models alike that share nothing."""
    if name == "scripted":
        return loaded(), loaded()
    model = Keeps(next(body for body in BODIES if body.__name__ == name))
    return model, copy.deepcopy(model)


def results(model: Any, x: Tensor, threads: int) -> list[Any]:
    """What calls return, as lists of numbers."""
    found: list[Any] = []

    def call() -> None:
        with torch.no_grad():
            found.append([round(value, 4) for value in model(x).flatten().tolist()])

    if threads == 1:
        for _ in range(CALLS):
            call()
        return found
    workers = [threading.Thread(target=call) for _ in range(CALLS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


NAMES = [*(body.__name__ for body in BODIES), "scripted"]


@pytest.mark.parametrize("name", NAMES)
def test_called_again_and_again(name: str) -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]])
    for threads in (1, CALLS):
        SHARED.zero_()
        mine, theirs = pair(name)
        compiled = fxonnx.compile(mine, (x,), mode="train" if name == "normalizes" else "eval")
        theirs.train(name == "normalizes")
        got = results(compiled, x, threads)
        SHARED.zero_()
        want = results(theirs, x, 1)
        assert Counter(map(str, got)) == Counter(map(str, want))
        assert threads > 1 or got == want


@pytest.mark.parametrize("name", ["moves_a_queue", "replaces_a_tuple", "replaces_an_entry", "replaces_in_an_object"])
def test_called_at_other_sizes(name: str) -> None:
    mine, theirs = pair(name)
    compiled = fxonnx.compile(mine, (torch.rand(2, 3),), dynamic_shapes={"x": {0: "n"}})
    for rows in (2, 5, 1, 2):
        x = torch.rand(rows, 3)
        torch.testing.assert_close(compiled(x), theirs.eval()(x))


class PicksOne(nn.Module):
    """Two states that are alike before the first call, one of which is read: which, sizes say, or data."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.states, self.kind = [torch.zeros(1), torch.zeros(1)], kind

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.states
        is_first = x.shape[0] == 1 if self.kind == "sizes" else x.sum() > 0
        result = x * (first if is_first else second)
        if self.kind == "written":
            first.add_(1)
            second.add_(2)
        else:
            self.states = [first + 1, second + 2]
        return result


@pytest.mark.parametrize("kind", ["sizes", "data", "written"])
def test_states_that_are_alike_before_the_first_call_are_two(kind: str) -> None:
    mine, theirs = PicksOne(kind), PicksOne(kind)
    compiled = fxonnx.compile(mine, (torch.ones(3),), dynamic_shapes={"x": {0: "n"}})
    for x in (torch.ones(1), torch.ones(1), -torch.ones(3), torch.ones(2)):
        torch.testing.assert_close(compiled(x), theirs(x))


def test_globals_that_are_alike_before_the_first_call_are_two() -> None:
    def model(x: Tensor) -> Tensor:
        result = x * (ONES if x.shape[0] == 1 else TWOS)
        ONES.add_(1)
        TWOS.add_(2)
        return result

    compiled = fxonnx.compile(model, (torch.ones(3),), dynamic_shapes={"x": {0: "n"}})
    assert [compiled(torch.ones(rows)).tolist() for rows in (1, 1, 3)] == [[0.0], [1.0], [4.0, 4.0, 4.0]]


class TwoInOne(nn.Module):
    """What is one tensor before the first call is two from then on."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        zeros = torch.zeros(3)
        self.first, self.second = {
            "one tensor": (zeros, zeros),
            "one memory": (torch.zeros(5)[:3], zeros),
            "repeated": (torch.zeros(1).expand(3), zeros),
        }[kind]
        self.first_parts = self.first if kind == "one tensor" else self.first.detach()

    def forward(self, x: Tensor) -> Tensor:
        self.first = self.first + x
        self.second = self.second * 0.5 + x
        return self.first + 10 * self.second + self.first_parts


@pytest.mark.parametrize("kind", ["one tensor", "one memory", "repeated"])
def test_what_shares_memory_is_replaced_only_with_memory_of_its_own(kind: str) -> None:
    mine, x = TwoInOne(kind), torch.rand(3)
    with pytest.raises(fxonnx.errors.CaptureRefused, match=r"(?s)replaces .* shares memory .*\.clone\(\)"):
        fxonnx.compile(mine, (x,))
    mine.first, mine.second = mine.first.clone(), mine.second.clone()
    theirs = copy.deepcopy(mine)
    compiled = fxonnx.compile(mine, (x,))
    for _ in range(3):
        torch.testing.assert_close(compiled(x), theirs(x))


@pytest.mark.parametrize("name", NAMES)
def test_verify_calls_more_than_once_and_leaves_the_model(name: str) -> None:
    SHARED.zero_()
    model, _ = pair(name)
    compiled = fxonnx.compile(model, (torch.ones(2, 3),))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    attributes = dict(vars(model))
    assert compiled.verify().ok
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(vars(model)[key] is value for key, value in attributes.items())


def test_verify_sees_what_a_second_call_makes_of_it() -> None:
    model = Keeps(writes_a_buffer)
    compiled = fxonnx.compile(model, (torch.ones(2, 3),))

    class Forgetful:
        """The compiled model, which does not write back."""

        def __getattr__(self, name: str) -> Any:
            return getattr(compiled, name)

        def __call__(self, x: Tensor) -> Any:
            seen = model.seen.clone()
            result = compiled(x)
            model.seen.copy_(seen)
            return result

    report = verify(Forgetful())  # type: ignore[arg-type]
    assert not report.ok and "of call 2" in str(report)


@pytest.mark.parametrize("make", [dict, lambda: [torch.zeros(3)], lambda: Box()], ids=["dict", "list", "object"])
def test_what_is_given_keeps_what_forward_puts_there(make: Callable[[], Any]) -> None:
    def forward(x: Tensor, given: Any) -> Tensor:
        if isinstance(given, dict):
            given["last"] = x * 2
        elif isinstance(given, list):
            given[0] = given[0] + x
        else:
            given.total = given.total + x
            given.total.mul_(2)
        return x + 1

    x = torch.tensor([1.0, 2.0, 3.0])
    compiled = fxonnx.compile(forward, (x, make()))
    mine, theirs = make(), make()
    for _ in range(CALLS):
        forward(x, theirs)
        try:
            compiled(x, mine)
        except fxonnx.errors.CallMismatch:  # a dict that has grown is another one
            assert isinstance(mine, dict)
            break
        for one, other in zip(held(mine), held(theirs), strict=True):
            torch.testing.assert_close(one, other)


class Box:
    """Holds a tensor."""

    def __init__(self) -> None:
        self.total = torch.zeros(3)


def held(given: Any) -> list[Tensor]:
    return list(given.values()) if isinstance(given, dict) else given if isinstance(given, list) else [given.total]


class Sum(nn.Module):
    """Adds up complex numbers, and turns those that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        self.total.add_(x)
        x.mul_(2j)
        return self.total + x


def test_complex_tensors_are_written() -> None:
    model, eager = Sum(), Sum()
    compiled = fxonnx.compile(model, (torch.randn(3, dtype=torch.complex64),))
    for _ in range(2):
        x = torch.randn(3, dtype=torch.complex64)
        ours, theirs = x.conj(), x.conj().clone()
        torch.testing.assert_close((compiled(ours), model.total, ours), (eager(theirs), eager.total, theirs))


def test_threads_that_share_an_argument_write_to_it_in_turn() -> None:
    class Sums(nn.Module):
        def forward(self, x: Tensor, kept: dict[str, Tensor]) -> Tensor:
            kept["sum"] = kept["sum"] + x.sum(0)
            return kept["sum"] * 2

    x = torch.ones(2, 3)
    compiled = fxonnx.compile(Sums(), (x, {"sum": torch.zeros(3)}))
    for _ in range(5):
        kept = {"sum": torch.zeros(3)}
        got = results(lambda x, kept=kept: compiled(x, kept), x, CALLS)
        assert kept["sum"].tolist() == [2.0 * CALLS] * 3
        assert sorted(each[0] for each in got) == [4.0 * (call + 1) for call in range(CALLS)]
