"""How inputs lie in memory: whether a reshape is a view that a write reaches is asked of each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.capture.call.memory import memory_order
from fxonnx.errors import CallMismatch, FrozenDimension


def _flat(x: Tensor) -> Tensor:
    x.flatten().fill_(2)
    return x * 1


def _computed(x: Tensor) -> Tensor:
    y = x * 1
    y.reshape(-1)[1:] = 2
    return y


def _turned(x: Tensor) -> Tensor:
    x.transpose(0, -1).reshape(-1).add_(1)
    return x + 0


def _strided(x: Tensor) -> Tensor:
    return x.as_strided((2, 2), (1, 2)) * 1


MODELS = {"flat": _flat, "computed": _computed, "turned": _turned}
LAYOUTS: dict[str, Callable[[int, int], Tensor]] = {
    "rows": lambda n, m: torch.randn(n, m),
    "columns": lambda n, m: torch.randn(m, n).t(),
    "last first": lambda n, m: torch.randn(2, m, n).permute(2, 1, 0),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("example", [(4, 5), (1, 4), (4, 1)])
def test_calls_of_the_layout_of_the_example(model: str, layout: str, example: tuple[int, int]) -> None:
    """One row is a view where several are a copy: what is written to is another tensor then, which no file can say."""
    make = LAYOUTS[layout]
    try:
        compiled = fxonnx.compile(MODELS[model], (make(*example),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    except FrozenDimension:
        assert 1 in example and make(2, 2).is_contiguous() is (model == "turned")
        return
    for sizes in (example, (4, 5), (7, 3), (4, 1), (1, 4)):
        x = make(*sizes)
        other = x.as_strided(x.shape, x.stride(), 0).clone(memory_format=torch.preserve_format)
        torch.testing.assert_close(compiled(other), MODELS[model](x))
        torch.testing.assert_close(other, x)


@pytest.mark.parametrize("model", [*MODELS.values(), _strided])
def test_a_call_of_another_layout_is_refused(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(4, 5),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    with pytest.raises(CallMismatch, match="strides"):
        compiled(torch.randn(3, 7).t())
    x = torch.randn(7, 3)
    torch.testing.assert_close(compiled(x.clone()), model(x))


@pytest.mark.parametrize("model", [*MODELS.values(), _strided])
def test_a_call_of_another_shape_is_refused_for_that(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(4, 5),), dynamic_shapes={"x": {0: "n"}})
    with pytest.raises(CallMismatch, match="axis 1 has size 7 instead of 5"):
        compiled(torch.randn(4, 7))


def test_where_nothing_depends_on_it_any_layout_will_do() -> None:
    compiled = fxonnx.compile(lambda x: x.reshape(-1) * 2, (torch.randn(4, 5),), dynamic_shapes={"x": {0: "n"}})
    x = torch.randn(5, 7).t()
    torch.testing.assert_close(compiled(x), x.reshape(-1) * 2)


@pytest.mark.parametrize("shape", [(4, 1, 3), (1, 1, 5), (1, 4, 1), (3, 2, 4)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_strides_tell_the_order(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """But for axes of one element beside each other."""
    back = sorted(range(3), key=axes.__getitem__)
    tensor = torch.empty([shape[axis] for axis in axes]).permute(back)
    told = [axis for axis in memory_order(tensor) if shape[axis] > 1]
    assert told == [axis for axis in axes if shape[axis] > 1]
    assert tensor.permute(memory_order(tensor)).is_contiguous()


def test_ways_by_data_keep_which_layouts_matter() -> None:
    def branching(x: torch.Tensor) -> torch.Tensor:
        y = x * 2 if x.sum() > 0 else x - 1
        return x.as_strided((2, 2), (1, 2)) + y[:2, :2]

    x = torch.rand(4, 4)
    compiled = fxonnx.compile(branching, x)
    for each in (x, -x):
        torch.testing.assert_close(compiled(each), branching(each))
    with pytest.raises(CallMismatch, match="strides"):
        compiled(x.t())


ASKING: dict[str, Callable[[Tensor], Tensor]] = {
    "whether it is contiguous": lambda x: x * 2 if x.is_contiguous() else x * 3,
    "whether channels are last": lambda x: x * 2 if x.is_contiguous(memory_format=torch.channels_last) else x * 3,
    "a stride": lambda x: x * x.stride(1),
    "all strides": lambda x: x + torch.tensor(x.stride()).sum(),
    "that of what is computed of it": lambda x: x + (x * 2).stride(1),
}
INDIFFERENT: dict[str, Callable[[Tensor], Tensor]] = {
    "to bring it in order": lambda x: (x if x.is_contiguous() else x.contiguous()).view(-1),
    "of what is in order": lambda x: x * x.contiguous().stride(1),
    "for nothing": lambda x: x * 2 if x.stride(0) > 0 else -x,
}
ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(1, 3).contiguous().transpose(1, 3),
}


@pytest.mark.parametrize("dims", [None, {"x": {0: "n", 2: "h"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", ASKING)
def test_a_call_of_another_layout_is_refused_where_python_asks_for_it(name: str, dims: Any) -> None:
    model, x = ASKING[name], torch.randn(2, 3, 4, 4)
    for example in (x, ORDERS["channels last"](x)):
        compiled = fxonnx.compile(model, (example,), dynamic_shapes=dims)
        torch.testing.assert_close(compiled(example), model(example))
        for lay_out in (torch.Tensor.contiguous, *ORDERS.values()):
            if lay_out(x).stride() != example.stride():
                with pytest.raises(CallMismatch, match="asks for its strides"):
                    compiled(lay_out(x))


@pytest.mark.parametrize("name", INDIFFERENT)
def test_layouts_that_make_no_difference_are_taken(name: str) -> None:
    model, x = INDIFFERENT[name], torch.randn(2, 3, 4, 4)
    compiled = fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "n", 2: "h"}})
    for rows in (2, 1, 5):
        for lay_out in (torch.Tensor.contiguous, *ORDERS.values()):
            given = lay_out(torch.randn(rows, 3, 6, 4))
            torch.testing.assert_close(compiled(given), model(given))
