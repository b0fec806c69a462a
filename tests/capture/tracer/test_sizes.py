"""Dims that vary: what keeps them free, what narrows them, and that nothing freezes one in silence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.capture.interpret import run
from torch import Tensor

from fxonnx import errors
from fxonnx.capture import Program, capture

N = {"x": {0: "n"}}
NM = {"x": {0: "n", 1: "m"}}


def traced(model: Callable[..., Any], *shape: int, dims: Any = NM) -> Program:
    return capture(model, (torch.ones(*shape),), dynamic_shapes=dims, strategy="trace")


ARITHMETIC: dict[str, Callable[[Tensor], Tensor]] = {
    "product": lambda x: x.reshape(x.shape[0] * x.shape[1]),
    "sum": lambda x: x.new_zeros(x.shape[0] + x.shape[1] + 3),
    "floor": lambda x: x[: x.shape[0] // 2],
    "ceiling": lambda x: x[: math.ceil(x.shape[0] / 2)],
    "floor of a quotient": lambda x: x[: math.floor(x.shape[1] * 0.25)],
    "modulo": lambda x: F.pad(x, (0, -x.shape[1] % 8)),
    "prod": lambda x: x.flatten()[: math.prod(x.shape) - 1],
    "max": lambda x: x.new_ones(max(x.shape[0] * x.shape[1], x.shape[0])),
    "numel": lambda x: x.reshape(x.numel(), 1),
    "len of a list": lambda x: x.expand(2, *x.shape),
    "range": lambda x: torch.arange(x.size(1)) + x,
    "strides": lambda x: x[::2, 1:],
    "from the back": lambda x: x[:, -2:] + x[-1:, :2],
    "interpolate": lambda x: F.interpolate(x[None, None], scale_factor=2.0),
    "interpolate to a size": lambda x: F.interpolate(x[None, None], size=(x.shape[0] * 2, 5)),
    "pool": lambda x: F.avg_pool2d(x[None, None], 2),
    "unfold": lambda x: x.unfold(1, 2, 1),
    "chunk": lambda x: torch.cat(x.chunk(2)[::-1]),
    "float arithmetic": lambda x: x * x.shape[0] ** -0.5 + 1 / x.shape[1],
    "tril": lambda x: torch.ones(x.shape[1], x.shape[1]).tril(),
    "repeat": lambda x: x.repeat(2, 3),
    "size of an argument": lambda x: x.view(x.size(0), -1, 1),
    "stack": lambda x: torch.stack([x, x * 2], dim=-1).flatten(1),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_keeps_dims_free(name: str) -> None:
    model = ARITHMETIC[name]
    program = traced(model, 4, 6)
    assert {info.name for info in program.symbols.values()} == {"n", "m"}
    for shape in ((4, 6), (9, 13), (16, 8)):
        x = torch.randn(*shape)
        torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_sizes_are_dims() -> None:
    program = traced(lambda x: (x.flatten(), x[: x.shape[0] // 2]), 4, 6)
    shapes = [[str(program.dim(size)) for size in node.meta["val"].shape] for node in program.outputs]
    assert shapes == [["m*n"], ["n // 2", "m"]]


# ── what freezes ────────────────────────────────────────


def loop(x: Tensor) -> Tensor:
    for _ in range(x.shape[0]):
        x = x + 1
    return x


FREEZES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "loop": (loop, "for _ in range(x.shape[0]):"),
    "len": (lambda x: x * len(x), "len(x)"),
    "int": (lambda x: x[: int(x.shape[0] / 2)], "int(x.shape[0] / 2)"),
    "list": (lambda x: x + sum([1] * x.shape[0]), "[1] * x.shape[0]"),
    "constant": (lambda x: x + torch.ones(4, 6), "torch.ones(4, 6)"),
    "view": (lambda x: x.view(4, -1), "x.view(4, -1)"),
    "math": (lambda x: x * math.sin(x.shape[0]), "math.sin"),
    "square": (lambda x: x @ x, "x @ x"),
}


@pytest.mark.parametrize("name", FREEZES)
def test_what_freezes_a_dim_says_where(name: str) -> None:
    model, code = FREEZES[name]
    with pytest.raises(errors.Error) as caught:
        traced(model, *((6, 6) if name == "square" else (4, 6)))
    found = caught.value.errors if isinstance(caught.value, errors.Failures) else [caught.value]
    assert all(isinstance(each, errors.FrozenDimension) and each.cure for each in found)
    assert any(code in place.code for each in found for place in each.locations)


def test_a_loss_that_the_model_swallows_is_found() -> None:
    def model(x: Tensor) -> Tensor:
        try:
            return x * len(x)
        except Exception:  # noqa: BLE001  that is what is tested
            return x

    with pytest.raises(errors.FrozenDimension):
        traced(model, 4, 6)


def test_a_dim_that_may_freeze_is_given_up_and_told() -> None:
    program = traced(loop, 4, 6, dims="auto")
    assert len(program.symbols) == 1
    assert "axis 0" in program.frozen[0]


# ── branches ────────────────────────────────────────


def test_a_bound_becomes_a_range_and_names_its_line() -> None:
    program = traced(lambda x: x + 1 if x.shape[0] <= 512 else x, 4, 6)
    info = next(info for info in program.symbols.values() if info.name == "n")
    assert (info.minimum, info.maximum) == (0, 512)
    (assumption,) = program.assumptions
    assert str(assumption) == "n <= 512"
    assert "x.shape[0] <= 512" in assumption.location.code


def test_a_table_of_positions_bounds_the_sequence() -> None:
    table = torch.randn(50, 6)
    program = traced(lambda x: x + table[: x.shape[0]], 4, 6, dims=N)
    assert next(iter(program.symbols.values())).maximum == 50


def test_what_holds_for_all_sizes_is_no_assumption() -> None:
    def model(x: Tensor) -> Tensor:
        if x.shape[0] == 1 or x.shape[0] * x.shape[1] < 2 or x.shape[0] + 1 <= x.shape[0]:
            return x
        return x + 1

    assert traced(model, 4, 6).assumptions == ()


def test_what_a_size_of_1_would_change_is_a_doubt_with_its_line() -> None:
    def model(x: Tensor) -> Tensor:
        return x + 1 if x.shape[0] > 1 else x.relu() if x.shape[1] != 1 else x

    program = traced(model, 4, 6)
    assert [str(each) for each in program.doubts] == ["n > 1"]
    assert "x.shape[0] > 1" in program.doubts[0].location.code


def test_a_branch_holds_for_the_example() -> None:
    program = traced(lambda x: x + 1 if x.shape[0] > 7 else x, 3, 6)
    assert next(info for info in program.symbols.values() if info.name == "n").maximum == 7


def test_a_comparison_that_changes_nothing_is_forgotten() -> None:
    program = traced(lambda x: x + (min(x.shape) > 0), 6, 3)
    assert program.assumptions == ()


def test_equal_example_sizes_tie_nothing() -> None:
    program = traced(lambda x: x + 1 if x.shape[0] == x.shape[1] else x, 4, 4)
    assert [str(each) for each in program.assumptions] == ["n != m"]


def test_a_multiple_is_an_assumption() -> None:
    program = traced(lambda x: x.view(x.shape[0] // 2, 2, -1), 4, 6, dims=N)
    assert {each.relation for each in program.assumptions} == {"=="}
    x = torch.randn(10, 6)
    torch.testing.assert_close(run(program, (x,))[0], x.view(5, 2, -1))


# ── data ────────────────────────────────────────

DATA: dict[str, Callable[[Tensor], Any]] = {
    "bool": lambda x: x + 1 if x.sum() > 0 else x,
    "item": lambda x: x * x.sum().item(),
    "tolist": lambda x: x * x[0].tolist()[0],
    "loop": lambda x: [x for _ in range(int(x.sum()))],
}


@pytest.mark.parametrize("name", DATA)
def test_data_in_python_is_refused_with_the_line(name: str) -> None:
    with pytest.raises(errors.DataDependentControlFlow) as caught:
        traced(DATA[name], 4, 6, dims=None)
    assert caught.value.locations[0].file == __file__
    assert caught.value.cure


def test_sizes_from_data_are_refused_and_go_to_export() -> None:
    with pytest.raises(errors.CaptureRefused, match=r"aten\.nonzero\.default has a result whose size comes from data"):
        traced(lambda x: x.nonzero(), 4, 6, dims=None)
    x = torch.tensor([0.0, 1.0, 2.0])
    program = capture(lambda x: x[x > 0] * 2, (x,))
    assert program.strategy == "export" and "size comes from data" in program.fallback
    torch.testing.assert_close(run(program, (x,))[0], torch.tensor([2.0, 4.0]))


def test_what_the_tracer_cannot_do_goes_to_export() -> None:
    x = torch.randn(3, 4)

    def model(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))

    program = capture(model, (x,))
    assert program.strategy == "export"
    assert "higher-order op" in program.fallback
    assert capture(torch.relu, (x,)).strategy == "trace"
