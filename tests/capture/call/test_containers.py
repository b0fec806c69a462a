"""Containers are what is derived of them: opened, and put together again as what they were."""

import collections
import dataclasses
import enum
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import fxonnx
from fxonnx.capture.call.containers import holds_tensor
from fxonnx.capture.call.tree import Mismatch, flatten, match, unflatten, unopened
from fxonnx.errors import CaptureRefused, InputMismatch


class D(dict):
    pass


class O(collections.OrderedDict):  # noqa: E742 (short, as D and L)
    pass


class L(list):
    pass


class T(tuple):
    pass


class Point(collections.namedtuple("Point", "x y")):
    pass


class Slotted:
    __slots__ = ("t", "unset")

    def __init__(self, t: Any) -> None:
        self.t = t


class Plain:
    def __init__(self, t: Any) -> None:
        self.t, self.n = t, 2


@dataclasses.dataclass(frozen=True)
class Frozen:
    t: Any
    n: int = 1


class Mirrored(dict):
    """Has each item as an attribute too."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        vars(self).update(items)


class Choice(enum.Enum):
    A = 1


MAKE = {
    "dict": lambda t: {"a": t, "b": 1}, "D": lambda t: D(a=t), "O": lambda t: O(a=t), "L": lambda t: L([t, None]),
    "T": lambda t: T((t, 3)), "Point": lambda t: Point(t, 2), "Slotted": Slotted, "Plain": Plain, "Frozen": Frozen,
    "Mirrored": lambda t: Mirrored(a=t), "defaultdict": lambda t: collections.defaultdict(list, a=t),
    "deque": lambda t: collections.deque([t], maxlen=2), "UserDict": lambda t: collections.UserDict(a=t),
    "namespace": lambda t: types.SimpleNamespace(t=t), "values": lambda t: {"a": t}.values(),
    "items": lambda t: {"a": t}.items(), "odict values": lambda t: collections.OrderedDict(a=t).values(),
    "proxy": lambda t: types.MappingProxyType({"a": t}), "nested": lambda t: D(a=L([T((t,))])),
    "enum": lambda t: [t, Choice.A], "size": lambda t: (t, torch.Size([2, 3])),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_apart_and_together(name: str) -> None:
    t, other = torch.ones(2), torch.zeros(3)
    value = MAKE[name](t)
    leaves, paths, tree = flatten(value)
    assert len(leaves) == len(paths) == 1 and leaves[0] is t
    again = unflatten(tree, [other])
    assert type(again) is type(value)
    found, _, same = flatten(again)
    assert found[0] is other and same == tree
    assert [leaf for _, leaf in match(tree, MAKE[name](other))] == [other]
    if name == "Mirrored":
        assert again.a is again["a"] is other


@pytest.mark.parametrize("name", MAKE)
def test_as_result_and_as_argument(name: str) -> None:
    def forward(x: torch.Tensor, given: Any) -> Any:
        return MAKE[name](flatten(given)[0][0] * 2 + x)

    x = torch.rand(3)
    compiled = fxonnx.compile(forward, (x, MAKE[name](torch.zeros(3))))
    y = torch.rand(3)
    result = compiled(x, MAKE[name](y))
    assert type(result) is type(MAKE[name](x))
    torch.testing.assert_close(flatten(result)[0], [y * 2 + x])


def iterator(x: torch.Tensor) -> Any:
    return iter([x])


def closure(x: torch.Tensor) -> Any:
    return lambda: x


CLOSED = {
    "set": lambda x: {x}, "frozenset": lambda x: frozenset([x]), "generator": iterator, "map": lambda x: map(abs, [x]),
    "closure": closure, "keys": lambda x: {x: 1}, "keys view": lambda x: {x: 1}.keys(),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_a_tensor_in_what_is_not_opened_is_refused(name: str) -> None:
    x = torch.rand(3)
    with pytest.raises(CaptureRefused, match="returns a tensor in a") as refused:
        fxonnx.compile(lambda x: (x + 1, CLOSED[name](x * 2)), (x,))
    assert refused.value.locations[0].file == __file__
    if name != "closure":  # a function is the model's own, as far as one can tell
        with pytest.raises(InputMismatch, match="holds tensors"):
            fxonnx.compile(lambda x, given: x + 1, (x, CLOSED[name](x)))


class Registered:
    """Its number is in the context that pytree keeps."""

    def __init__(self, t: Any, n: int) -> None:
        self.t, self.n = t, n


pytree.register_pytree_node(Registered, lambda each: ([each.t], each.n), lambda leaves, n: Registered(*leaves, n))


def test_what_a_registered_type_is_known_by_is_compared() -> None:
    _, _, tree = flatten(Registered(torch.ones(2), 1))
    assert list(match(tree, Registered(torch.zeros(2), 1)))
    with pytest.raises(Mismatch):
        list(match(tree, Registered(torch.zeros(2), 2)))


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: {1, 2}, lambda value: value.add(3)),
        (lambda: np.zeros(3), lambda value: value.fill(1)),
        (lambda: bytearray(b"a"), lambda value: value.extend(b"b")),
        (lambda: Plain(0), lambda value: setattr(value, "n", 5)),
    ],
    ids=["set", "array", "bytes", "object"],
)
def test_a_constant_that_is_written_to_is_another(make: Any, change: Any) -> None:
    value = make()
    _, _, tree = flatten([value])
    assert not list(match(tree, [make()]))
    change(value)
    with pytest.raises(Mismatch):
        list(match(tree, [value]))


def test_one_container_in_two_places_stays_one() -> None:
    inner = {"t": torch.ones(2)}
    leaves, _, tree = flatten({"a": inner, "b": inner})
    assert len(leaves) == 1
    again = unflatten(tree, leaves)
    assert again["a"] is again["b"]
    with pytest.raises(Mismatch, match="same object"):
        list(match(tree, {"a": inner, "b": dict(inner)}))


def test_a_lazy_object_is_not_asked() -> None:
    class Lazy:
        def __getattribute__(self, name: str) -> Any:
            raise ImportError(name)

    assert not holds_tensor([Lazy()])


def test_models_are_no_containers() -> None:
    _, _, tree = flatten([nn.Linear(2, 2), Choice.A])
    assert not list(unopened(tree))


SIZES: dict[str, Callable[[torch.Tensor], Any]] = {
    "shape": lambda x: (x * 2, x.shape),
    "part of a shape": lambda x: (x * 2, x.shape[1:]),
    "size()": lambda x: (x.mT * 2, x.mT.size()),
    "a Size of one's own": lambda x: (x * 2, torch.Size([2 * x.shape[0], 3])),
    "a list": lambda x: (x * 2, list(x.shape)),
    "a tuple": lambda x: (x * 2, tuple(x.shape)),
}


@pytest.mark.parametrize("dynamic", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_come_back_as_what_they_were(name: str, dynamic: Any) -> None:
    model = SIZES[name]
    compiled = fxonnx.compile(model, (torch.ones(3, 4),), dynamic_shapes=dynamic)
    for rows in (3, 5, 1) if dynamic else (3,):
        x = torch.rand(rows, 4)
        (result, sizes), (expected, expected_sizes) = compiled(x), model(x)
        assert sizes == expected_sizes and type(sizes) is type(expected_sizes)
        torch.testing.assert_close(result, expected)
