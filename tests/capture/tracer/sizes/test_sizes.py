"""Dims that vary: what keeps them free, what narrows them, and that nothing freezes one in silence."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.capture.interpret import run
from torch import Tensor

import fxonnx
from fxonnx import errors
from fxonnx.capture import Program, capture

N = {"x": {0: "n"}}
NM = {"x": {0: "n", 1: "m"}}


def traced(model: Callable[..., Any], *shape: int, dims: Any = NM) -> Program:
    return capture(model, (torch.ones(*shape),), dynamic_shapes=dims)


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
    "len": lambda x: x * len(x),
    "int": lambda x: x[: int(x.shape[0] / 2)],
    "a quotient that is rounded twice": lambda x: x[: math.floor(x.shape[0] / 100 * 100)],
    "int of a float that no dim says": lambda x: x[: int(x.shape[0] * 0.3)],
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


SLICES: dict[str, Callable[[Tensor], Tensor]] = {
    "first": lambda x: x[:3],
    "last": lambda x: x[-3:],
    "after": lambda x: x[3:],
    "before": lambda x: x[:-3],
    "inner": lambda x: x[1:-1],
    "window": lambda x: x[:, -31:],
    "broadcast": lambda x: x[:1] + x[:, -1:],
    "difference": lambda x: x[1:] - x[:-1],
    "steps": lambda x: x[1::2],
}


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_is_cut_to_the_axis_whatever_its_size(name: str) -> None:
    compiled = fxonnx.compile(SLICES[name], torch.ones(6, 6), dynamic_shapes=NM)
    assert str(compiled.limits) == ""
    for n in (6, 2, 3, 1, 9):
        x = torch.randn(n, n + 1)
        torch.testing.assert_close(compiled(x), SLICES[name](x))


def test_a_slice_of_what_slices_were_joined_to_broadcasts() -> None:
    def differences(x: Tensor) -> Tensor:  # of running sums, over the neighbours up to 2 away
        return torch.cat([x[2:5], x[5:] - x[:-5], x[-1:] - x[-5:-3]])

    def model(x: Tensor) -> Tensor:
        return differences(differences(x) + 1)

    compiled = fxonnx.compile(model, torch.rand(12, 4), dynamic_shapes={"x": {0: "n"}})
    for n in (12, 5, 6, 23):
        x = torch.rand(n, 4)
        torch.testing.assert_close(compiled(x), model(x))


def test_sizes_as_tensors() -> None:
    def model(x: Tensor) -> Tensor:
        n, m = x.shape
        sizes = torch.tensor([[n, 2], [m, n * m]]) + torch.tensor(x.shape).sum() + torch.as_tensor(n)
        x = x * sizes.sum() + x.new_tensor([n / 2, 3]).sum()
        return x + torch.tensor(3.0) * torch.tensor(m, dtype=x.dtype)

    program = traced(model, 4, 6)
    x = torch.randn(7, 3)
    torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_truths_of_sizes_as_tensors() -> None:
    def model(x: Tensor) -> list[Tensor]:
        n, m = x.shape
        return [torch.tensor(n % 3 == 0), torch.as_tensor([n > 5, m == 3]), torch.tensor([n > 5, 2, m])]

    compiled = fxonnx.compile(model, torch.randn(4, 6), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for n, m in [(4, 6), (9, 3)]:
        x = torch.randn(n, m)
        torch.testing.assert_close(compiled(x), model(x))


def test_sizes_as_indices() -> None:
    def model(x: Tensor) -> Tensor:
        x = x * 1
        x[x.shape[0] - 1] = 5
        x[0, x.shape[1] // 2] += 1
        return x[x.shape[0] // 2] + x[:, x.shape[1] - 1].sum() + x[..., x.shape[0] // x.shape[0]].mean()

    program = traced(model, 4, 6)
    x = torch.randn(7, 3)
    torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_linspace_of_as_many_steps_as_there_are_rows() -> None:
    def model(x: Tensor) -> Tensor:
        return x[:, 0] * torch.linspace(0.5, x.shape[0] - 0.5, x.shape[0])

    compiled = fxonnx.compile(model, torch.ones(4, 6), dynamic_shapes=NM)
    for n in (4, 9, 2, 1, 0):
        x = torch.randn(n, 3)
        torch.testing.assert_close(compiled(x), model(x))


def test_max_pool1d_over_a_length_that_varies() -> None:
    program = traced(lambda x: F.max_pool1d(x, 3, 2, padding=1), 4, 16)
    x = torch.randn(4, 23)
    torch.testing.assert_close(run(program, (x,))[0], F.max_pool1d(x, 3, 2, padding=1))


def test_an_empty_view_taken_twice() -> None:
    program = traced(lambda x: x + x[0:0][:, 1:2].sum() + x[0:0][:, 1:2].sum(), 4, 6)
    assert len(program.symbols) == 2


def test_the_layout_of_a_copy_decides_nothing() -> None:
    program = traced(lambda x: x[:, ::2].transpose(0, 1).contiguous() * 2, 4, 6)
    assert not program.assumptions and not program.zero_one_assumptions


def test_sizes_of_sizes_take_no_time() -> None:
    """Each stands in the next three times: told apart they were 3^20."""

    def model(x: Tensor) -> Tensor:
        for _ in range(20):
            x = F.pad(x, (0, -x.shape[1] % 3))
            x = x[:, : x.shape[1] - x.shape[1] % 2 + 2]
        return x

    assert len(traced(model, 4, 6).symbols) == 2


# ── what freezes ────────────────────────────────────────


def table(x: Tensor) -> Tensor:
    return x * (3, 1, 4, 1, 5)[operator.index(x.shape[0]) % 5]


FREEZES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "table": (table, "operator.index"),
    "constant": (lambda x: x + torch.ones(4, 6), "torch.ones(4, 6)"),
    "view": (lambda x: x.view(4, -1), "x.view(4, -1)"),
    "math": (lambda x: x * math.gcd(x.shape[0], 4), "math.gcd"),
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
            return x * (3, 1, 4, 1, 5)[operator.index(x.shape[0]) % 5]
        except Exception:  # noqa: BLE001  that is what is tested
            return x

    with pytest.raises(errors.FrozenDimension):
        traced(model, 4, 6)


def test_a_dim_that_may_freeze_is_given_up_and_told() -> None:
    program = traced(table, 4, 6, dims="auto")
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

    assert not traced(model, 4, 6).assumptions


def test_what_a_size_of_1_would_change_is_assumed_with_its_line() -> None:
    def model(x: Tensor) -> Tensor:
        return x + 1 if x.shape[0] > 1 else x.relu() if x.shape[1] != 1 else x

    program = traced(model, 4, 6)
    assert [str(each) for each in program.zero_one_assumptions] == ["n > 1"]
    assert "x.shape[0] > 1" in program.zero_one_assumptions[0].location.code


def test_a_branch_holds_for_the_example() -> None:
    program = traced(lambda x: x + 1 if x.shape[0] > 7 else x, 3, 6)
    assert next(info for info in program.symbols.values() if info.name == "n").maximum == 7


def test_a_comparison_that_changes_nothing_is_forgotten() -> None:
    program = traced(lambda x: x + (min(x.shape) > 0), 6, 3)
    assert not program.assumptions


CHOICES: dict[str, Callable[[Tensor], Any]] = {
    "a size": lambda x: x * 2 if x.shape[0] == 77 else x + 1,
    "a multiple": lambda x: x * 2 if x.shape[0] % 77 == 0 else x + 1,
    "a sum": lambda x: x * 2 if x.shape[0] + x.shape[1] == 30 else x + 1,
    "a range, then parity": lambda x: (x * 2 if x.shape[0] % 2 == 0 else x) if 33 <= x.shape[0] <= 59 else x / 2,
    "a quotient": lambda x: x * 2 if x.shape[0] / 3 > 5 else x + 1,
    "a whole quotient": lambda x: x * 2 if (x.shape[0] / 3).is_integer() else x + 1,
    "two that cancel": lambda x: x + 1 if (x.shape[0] > 50) == (x.shape[1] > 50) else x - 1,
    "a constant": lambda x: x * (torch.tensor([1.0]) if x.shape[0] > 50 else torch.tensor([3.0])),
    "a key": lambda x: {"long" if x.shape[0] > 50 else "short": x + 1},
    "a negative trunc": lambda x: x * math.trunc((x.shape[0] - 100) / 3),
    "shifts": lambda x: x[: (x.shape[0] >> 1) + 1] * (x.shape[1] << 2),
}


@pytest.mark.parametrize("example", [(5, 4), (77, 4), (40, 4)], ids=str)
@pytest.mark.parametrize("name", CHOICES)
def test_every_decision_is_kept(name: str, example: tuple[int, int]) -> None:
    """Where the program says that it holds, it does what the model does; for the example it says so, or has another
    one for it."""
    model = CHOICES[name]
    program = traced(model, *example)
    if not holds(program, *example):
        assert name == "a size" and example[0] == 77
        way = program.beyond({"n": 77, "m": 4}, {"n"})
        assert isinstance(way, Program) and not way.assumptions
    for n, m in product((example[0], 2, 29, 30, 51, 77, 78, 154), (2, 4, 60)):
        if holds(program, n, m):
            x = torch.rand(n, m)
            found = run(program, (x,))[0]
            got = program.signature.unflatten([found] if isinstance(found, Tensor) else found.values())
            torch.testing.assert_close(got, model(x))


def holds(program: Program, n: int, m: int) -> bool:
    return all(each.holds({"n": n, "m": m}) for each in program.assumptions)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x * 2 if math.floor(x.shape[0] * 0.3) > 5 else x,
        lambda x: x * 2 if round(x.shape[0] / 3) > 5 else x,
        lambda x: x * 2 if x.shape[0] * 0.13 > 2.2 else x,
        lambda x: x * 2 if abs(1 - 96 / x.shape[0]) < abs(1 - 40 / x.shape[1]) else x + 1,
        lambda x: F.pad(x, (0, 1)) if min(x.shape[0] * 0.3, 7.1) >= x.shape[1] ** 0.5 else x,
    ],
    ids=["floor", "round", "compare", "two", "sizes of the result"],
)
def test_both_ways_are_taken_where_a_number_decides_that_no_dim_says(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for shape in ((5, 4), (1, 4), (17, 40), (18, 1), (96, 3)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x))
    assert not compiled.program.assumptions


def test_a_remainder_of_a_float_freezes() -> None:
    with pytest.raises(errors.FrozenDimension) as caught:
        traced(lambda x: x * (x.shape[0] % 2.5), 5, 4)
    assert caught.value.locations[0].file == __file__


@pytest.mark.parametrize("step", [2, 3])
def test_a_few_numbers_are_a_way_each(step: int) -> None:
    def model(x: Tensor) -> Tensor:
        for _ in range(x.shape[0] % step):
            x = F.pad(x, (0, 0, 0, 1))
        return x

    compiled = fxonnx.compile(model, (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for n in (5, 6, 7, 1, 12):
        x = torch.randn(n, 3)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("layer", [torch.nn.LayerNorm(6), torch.nn.BatchNorm1d(6)], ids=str)
def test_a_layer_that_takes_one_size_freezes_it(layer: torch.nn.Module) -> None:
    with pytest.raises(errors.FrozenDimension):
        capture(layer.eval(), (torch.randn(4, 6),), dynamic_shapes={"input": {0: "n", 1: "m"}})


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
    "loop": lambda x: [x for _ in range(int(x.sum()))],
}


@pytest.mark.parametrize("name", DATA)
def test_data_in_python_is_refused_with_the_line(name: str) -> None:
    with pytest.raises(errors.DataDependentControlFlow) as caught:
        traced(DATA[name], 4, 6, dims=None)
    assert caught.value.locations[0].file == __file__
    assert caught.value.cure


@pytest.mark.parametrize("shapes", [None, {"x": {0: "n"}}])
def test_a_row_of_a_lazy_conjugate_is_one(shapes: object) -> None:
    def model(x: Tensor) -> Tensor:
        return torch.view_as_real(x.conj()[:, 1:][1].resolve_conj())

    x = torch.randn(3, 4, dtype=torch.complex64)
    program = capture(model, (x,), dynamic_shapes=shapes)
    torch.testing.assert_close(run(program, (x,))[0], model(x))


PARTS: dict[str, Callable[[Tensor], Any]] = {
    "halves": lambda x: x.split(x.shape[0] // 2)[1],
    "two halves": lambda x: operator.sub(*x.split(x.shape[0] // 2)),
    "thirds": lambda x: [part.sum(0) for part in x.split(x.shape[0] // 3 + 1)],
    "three chunks": lambda x: torch.stack([part.sum(0) for part in x.chunk(3)]),
}


@pytest.mark.parametrize("name", PARTS)
def test_how_many_parts_there_are_is_a_decision(name: str) -> None:
    model = PARTS[name]
    compiled = fxonnx.compile(model, (torch.rand(8, 24),), dynamic_shapes={"x": {0: "n"}})
    for rows in (8, 6, 12, 20) if name == "two halves" else (8, 6, 7, 11, 12, 20, 5, 24):
        x = torch.rand(rows, 24)
        torch.testing.assert_close(compiled(x), model(x))


ASKED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "the same": lambda x, y: x.sum() + int(x.is_same_size(y)),
    "a way": lambda x, y: x + 1 if torch.is_same_size(x, y) else x - y.sum(),
    "bytes": lambda x, y: x * x.nbytes + y.sum(),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_torch_asks_of_sizes_in_its_own_code(name: str) -> None:
    model, x = ASKED[name], torch.rand(4, 5)
    for dims in ({"x": {0: "n"}, "y": {0: "m"}}, {"x": {0: "n"}, "y": {0: "n"}}):
        compiled = fxonnx.compile(model, (x, x + 1), dynamic_shapes=dims)
        for rows, others in ((4, 4), (3, 3), *([(3, 6)] if dims["y"] == {0: "m"} else [])):
            given = torch.rand(rows, 5), torch.rand(others, 5)
            torch.testing.assert_close(compiled(*given), model(*given))
