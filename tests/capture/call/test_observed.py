"""Dims from calls: what varies is dynamic, what always agrees has one name; and dims that were forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.call.observed import Call


@dataclass
class Pair:
    first: Tensor
    rest: tuple[Tensor, ...]


class Net(nn.Module):
    """Takes what calls can have: positional and keyword tensors, objects, numbers; and writes to what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, *, mask: Tensor | None = None, cache: dict[str, Tensor] | None = None) -> Tensor:
        y = self.fc(x)
        y = y if mask is None else y * mask[..., None]
        if cache is not None:
            cache["past"] = torch.cat([cache["past"], x], 1)
            y = y + cache["past"].sum(1, keepdim=True)
        return y

    def encode(self, x: Tensor) -> Tensor:
        return self.fc(x).relu()


def sizes(compiled: Any) -> list[str]:
    return [f"{each.name}{list(map(str, each.shape))}".replace("'", "") for each in compiled.graph.inputs]


def x(*shape: int) -> Tensor:
    return torch.randn(*shape)


@pytest.mark.parametrize(("examples", "expected"), [
    ([(x(2, 3, 4),), (x(5, 3, 4),)], ["x[batch, 3, 4]"]),
    ([x(2, 3, 4), x(2, 6, 4)], ["x[2, x_1, 4]"]),
    ([(x(2, 3, 4),), (x(2, 3, 4),)], ["x[2, 3, 4]"]),
    ([((x(2, 3, 4),), {"mask": x(2, 3)}), ((x(3, 5, 4),), {"mask": x(3, 5)})],
     ["x[batch, x_1, 4]", "mask[batch, x_1]"]),
    ([{"x": x(1, 3, 4), "cache": {"past": x(1, 2, 4)}}, {"x": x(3, 3, 4), "cache": {"past": x(3, 7, 4)}}],
     ["x[batch, 3, 4]", "cache.past[batch, cache_1, 4]"]),
])  # fmt: skip
def test_what_varies_is_a_dim(examples: list[Any], expected: list[str]) -> None:
    compiled = fxonnx.compile(Net(), examples=examples)
    assert sizes(compiled) == expected
    assert compiled.verify().ok


def test_a_pair_is_two_arguments_where_it_cannot_be_keywords() -> None:
    def model(pair: Any, more: Any) -> Tensor:
        return pair[0] + pair[1] + more["b"]

    calls = [((x(n), x(n)), {"b": x(n)}) for n in (2, 5)]
    assert sizes(fxonnx.compile(model, examples=calls)) == ["pair.0[batch]", "pair.1[batch]", "more.b[batch]"]


def test_calls_are_observed_before_the_model_writes() -> None:
    model = Net()
    with fxonnx.observe(model) as calls:
        for rows, past in ((2, 3), (2, 3), (4, 6)):
            model(x(rows, 1, 4), cache={"past": x(rows, past, 4)})
    model(x(9, 1, 4))
    assert [tuple(each.kwargs["cache"]["past"].shape) for each in calls] == [(2, 3, 4), (4, 6, 4)]
    compiled = fxonnx.compile(model, examples=calls)
    assert sizes(compiled) == ["x[batch, 1, 4]", "cache.past[batch, cache_1, 4]"]
    torch.testing.assert_close(compiled(x_ := x(3, 1, 4), cache={"past": x_}), model(x_, cache={"past": x_}))


def test_a_method_is_observed() -> None:
    model = Net()
    with fxonnx.observe(model.encode) as calls:
        model.encode(x(2, 4))
        model.encode(x(3, 4))
    assert "encode" not in vars(model)
    assert sizes(fxonnx.compile(model.encode, examples=calls)) == ["x[batch, 4]"]


def test_objects_and_names() -> None:
    calls = [(Pair(x(n, m), (x(n, m), x(k))),) for n, m, k in ((2, 3, 4), (3, 5, 6), (4, 5, 7))]
    compiled = fxonnx.compile(lambda pair: pair.first + pair.rest[0] + pair.rest[1].sum(), examples=calls,
                              input_names=["a", "b", "0"])  # fmt: skip
    assert sizes(compiled) == ["a[batch, a_1]", "b[batch, a_1]", "0[_0_0]"]


@pytest.mark.parametrize(("ask", "words"), [
    (lambda: fxonnx.compile(Net(), examples=[]), "examples=[(x1,), (x2,)]"),
    (lambda: fxonnx.compile(Net(), examples=x(2, 3, 4)), "examples=[(x1,), (x2,)]"),
    (lambda: fxonnx.compile(Net(), x(2, 3, 4), examples=[x(2, 3, 4)]), "stand in the place of"),
    (lambda: fxonnx.compile(Net(), examples=[x(2, 3, 4)], dynamic_shapes="auto"), "stand in the place of"),
    (lambda: fxonnx.compile(Net(), examples=[x(2, 3, 4), x(2, 4)]), "x is float32[2, 4], and was float32[2, 3, 4]"),
    (lambda: fxonnx.compile(Net(), examples=[x(2, 4), x(3, 4), {"x": x(2, 4), "mask": x(2)}]),
     "mask is given in one of them alone"),
    (lambda: fxonnx.compile(Net(), examples=[{"x": x(2, 4), "mask": x(2)}, x(2, 4), x(3, 4)]), "for n in [1, 2]"),
    (lambda: fxonnx.compile(Net(), examples=[(), ()]), "missing a required argument"),
    (lambda: fxonnx.observe(len), "examples=[(x1,), (x2,)]"),
])  # fmt: skip
def test_calls_that_are_no_examples_say_why(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(errors.Error) as caught:
        ask()
    assert words in str(caught.value) and caught.value.cause and caught.value.cure


def test_a_call_is_a_pair() -> None:
    assert Call((1,), {"a": 2}).kwargs == {"a": 2}


def test_a_forgotten_dim_is_mentioned() -> None:
    def scored(x: Tensor, mask: Tensor) -> Tensor:
        return x.sum(-1) + mask.sum()

    compiled = fxonnx.compile(scored, (x(2, 4), x(2, 3)), dynamic_shapes={"x": {0: "batch"}})
    question = "mask axis 0 is 2 like `batch`: did you mean it?"
    assert question in compiled.report() and "x axis" not in compiled.report()
    with pytest.raises(errors.CallMismatch) as caught:
        compiled(x(3, 4), x(3, 3))
    assert question in caught.value.cause
    with pytest.raises(errors.FrozenDimension) as frozen:
        fxonnx.compile(lambda x, mask: x * mask, (x(2, 4), x(2, 4)), dynamic_shapes={"x": {0: "batch"}})
    assert question in frozen.value.cause
