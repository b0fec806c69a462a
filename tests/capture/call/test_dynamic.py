"""Dynamic sizes: every way to ask for them, the names they get, and that none freezes in silence."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor, nn
from torch.export import Dim

import fxonnx
from fxonnx import errors
from fxonnx.capture import Program, capture
from fxonnx.ir.dims import evaluate


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


def shapes(program: Program) -> list[list[str]]:
    """The inputs' shapes with the names that the user will see."""
    return [[str(program.dim(size)) for size in item.node.meta["val"].shape] for item in program.inputs]


def add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


# ── forms ────────────────────────────────────────

N = Dim("n")
FORMS: dict[str, Any] = {
    "short": {"x": {0: "n"}, "y": {0: "n"}},
    "negative axis": {"x": {-2: "n"}, "y": {-2: "n"}},
    "Dim": {"x": {0: N}, "y": {0: N}},
    "by position": ({0: N}, {0: N}),
    "a tuple for each tensor": ((N, None), ("n", None)),
    "hints and a name": {"x": {0: "n", 1: Dim.STATIC}, "y": {0: Dim.DYNAMIC}},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    program = capture(add, (ones(4, 3), ones(4, 3)), dynamic_shapes=FORMS[form])
    assert shapes(program) == [["n", "3"], ["n", "3"]]
    assert run(program, (ones(7, 3), ones(7, 3)))[0].shape == (7, 3)


@pytest.mark.parametrize("spec", [({0: N}, {0: N}), (({0: N}, {0: N}),), {"xs": ({0: N}, {0: N})}])
def test_as_many_arguments_as_are_given(spec: Any) -> None:
    def total(*xs: Tensor) -> Tensor:
        return xs[0] + xs[1]

    assert shapes(capture(total, (ones(4, 3), ones(4, 3)), dynamic_shapes=spec)) == [["n", "3"], ["n", "3"]]


def test_nested_arguments_by_every_name() -> None:
    def model(past: list[tuple[Tensor, Tensor]], **more: Tensor) -> Tensor:
        return past[0][0] + past[1][1] + more["z"]

    arguments = ([(ones(4), ones(4)), (ones(4), ones(4))],)
    for spec in (
        {"past": [({0: "n"}, None), (None, {0: "n"})], "z": {0: "n"}},
        {"past": {0: "n"}, "z": {0: "n"}},
        {"past.0.0": {0: "n"}, "past.1.1": {0: "n"}, "z": {0: "n"}},
        {"past": {0: ({0: "n"}, None), 1: (None, {0: "n"})}, "z": {0: "n"}},
    ):
        program = capture(model, arguments, {"z": ones(4)}, dynamic_shapes=spec)
        assert shapes(program)[0] == shapes(program)[3] == shapes(program)[4] == ["n"], spec


def test_by_input_name() -> None:
    program = capture(
        add, (ones(4), ones(4)), input_names=["left", "right"], dynamic_shapes={"left": {0: "n"}, "right": {0: "n"}}
    )
    assert shapes(program) == [["n"], ["n"]]


def test_derived_dims() -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        return x[::2] + y

    for spec in ({"x": {0: "2*n"}, "y": {0: "n"}}, ({0: 2 * N}, {0: N})):
        program = capture(model, (ones(8), ones(4)), dynamic_shapes=spec)
        assert shapes(program) == [["2*n"], ["n"]]


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"z": {0: "n"}}, "no input"),
        ({"x": {2: "n"}}, "no axis 2"),
        ({"x": {0: "not a name"}}, "no name for a dim"),
        ({"x": {0: "past + time"}}, "names 'past', which no size of an input tells"),
        ({"x": {0: "rows", 1: "rows*columns"}}, "names 'columns', which no size of an input tells"),
        ({"x": {0: 1.5}}, "1.5"),
        ({"x": "n"}, "rank"),
        (({0: "n"},), "1 entries for 2"),
        ("automatic", "automatic"),
        (3, "int"),
        ({"x": {0: "n"}, "y": {0: "n"}}, "two sizes"),
    ],
)
def test_what_does_not_fit_is_refused(spec: Any, word: str) -> None:
    with pytest.raises(errors.InvalidDynamicShapes, match=word):
        capture(lambda x, y: (x + 1, y + 1), (ones(4, 3), ones(5, 3)), dynamic_shapes=spec)


# ── sizes ────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_any_example_size_will_do(size: int) -> None:
    program = capture(lambda x: x.relu().flatten(1), ones(size, 3, 2), dynamic_shapes={"x": {0: "batch"}})
    assert shapes(program) == [["batch", "3", "2"]]
    assert run(program, (ones(9, 3, 2),))[0].shape == (9, 6)


def test_equal_example_sizes_do_not_tie_dims() -> None:
    def model(x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] == x.shape[1] else x

    program = capture(model, ones(5, 5), dynamic_shapes={"x": {0: "a", 1: "b"}})
    assert shapes(program) == [["a", "b"]]
    (assumption,) = program.assumptions
    assert str(assumption) in ("a != b", "b != a")
    assert assumption.holds({"a": 3, "b": 4}) and not assumption.holds({"a": 4, "b": 4})
    assert assumption.location.function == "model"


def test_a_branch_on_a_size_narrows_its_range() -> None:
    def model(x: Tensor) -> Tensor:
        return x + 1 if x.shape[0] > 7 else x

    program = capture(model, ones(3), dynamic_shapes={"x": {0: "n"}})
    (info,) = program.symbols.values()
    assert (info.name, info.maximum) == ("n", 7)
    assert [str(each) for each in program.assumptions] == ["n <= 7"]
    with pytest.raises(errors.FrozenDimension, match="0 to 100"):
        capture(model, ones(3), dynamic_shapes={"x": {0: Dim("n", max=100)}})
    assert next(iter(capture(model, ones(3), dynamic_shapes={"x": {0: Dim("n", max=6)}}).symbols.values())).maximum == 6


def test_names_of_ours_avoid_the_users() -> None:
    program = capture(
        add, (ones(4, 3), ones(3)), dynamic_shapes={"x": {0: "d0", 1: Dim.DYNAMIC}, "y": {0: Dim.DYNAMIC}}
    )
    assert shapes(program) == [["d0", "d1"], ["d1"]]


# ── auto ────────────────────────────────────────


def half(x: Tensor) -> Tensor:
    count = int(x.shape[0] / 2)
    return x[:count]


def test_auto() -> None:
    program = capture(lambda x: x @ ones(3, 5), ones(1, 4, 3), dynamic_shapes="auto")
    assert shapes(program) == [["d0", "d1", "3"]]
    assert program.frozen == ("x, axis 2: always 3",)


def test_auto_at_two_axes_is_two_dims() -> None:
    program = capture(lambda x: x.transpose(0, 1), ones(4, 4), dynamic_shapes={"x": {0: "auto", 1: "auto"}})
    assert shapes(program) == [["d0", "d1"]]


def test_auto_keeps_what_is_broadcast() -> None:
    program = capture(add, (ones(1, 5), ones(3, 1)), dynamic_shapes="auto")
    assert shapes(program) == [["1", "d0"], ["d1", "1"]] or shapes(program) == [["d0", "d1"], ["d0", "1"]]


def test_auto_reports_what_an_assumption_pins() -> None:
    program = capture(lambda x: x.reshape(-1, 4) + ones(10, 4), ones(8, 5), dynamic_shapes="auto")
    assert shapes(program) == [["8", "5"]]
    assert "pinned by" in program.frozen[0]


# ── what freezes ────────────────────────────────────────


def views_as_three(x: Tensor) -> Tensor:
    return x.view(3, -1) + ones(3, 1)


def adds_a_constant(x: Tensor) -> Tensor:
    return x + ones(3, 5)


def squares(x: Tensor) -> Tensor:
    return x @ x


@pytest.mark.parametrize(
    ("model", "example", "count", "text", "code"),
    [
        (views_as_three, (3, 5), 1, "dim 'b' (x, axis 0) freezes at 3", "return x.view(3, -1) + ones(3, 1)"),
        (adds_a_constant, (3, 5), 2, "dim 's' (x, axis 1) freezes at 5", "return x + ones(3, 5)"),
        (squares, (5, 5), 1, "dim 's' (x, axis 1) is always b", "return x @ x"),
    ],
)
def test_a_dim_that_freezes_is_an_error_with_the_line(
    model: Callable[..., Any], example: tuple[int, ...], count: int, text: str, code: str
) -> None:
    with pytest.raises(errors.Error) as caught:
        capture(model, ones(*example), dynamic_shapes={"x": {0: "b", 1: "s"}})
    failures = caught.value.errors if isinstance(caught.value, errors.Failures) else (caught.value,)
    assert len(failures) == count
    assert all(isinstance(each, errors.FrozenDimension) for each in failures)
    assert text in str(caught.value)
    assert {(place.file, place.code) for place in caught.value.locations} == {(__file__, code)}


# ── expressions ────────────────────────────────────────

EXPRESSIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "sum": (lambda n: n + 3, "n + 3"),
    "floor": (lambda n: n // 4, "n // 4"),
    "ceiling": (lambda n: -(-n // 4), "-((-n) // 4)"),
    "modulo": (lambda n: n % 4, "n % 4"),
    "power": (lambda n: n**3, "n*n*n"),
    "max": (lambda n: torch.sym_max(n, 70), "max"),
    "min": (lambda n: torch.sym_min(n, 7), "min"),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_evaluate_like_the_sizes(name: str) -> None:
    compute, _ = EXPRESSIONS[name]
    program = capture(lambda x: ones(1).expand(compute(x.shape[0])), ones(41), dynamic_shapes={"x": {0: "n"}})
    output = program.outputs[0].meta["val"].shape[0]
    dim = program.dim(output)
    assert not isinstance(dim, int)
    assert [evaluate(dim, {"n": n}) for n in (41, 83, 6)] == [compute(n) for n in (41, 83, 6)]


def test_what_dims_cannot_say_is_a_size_of_its_own() -> None:
    program = capture(
        lambda x: nn.functional.interpolate(x, scale_factor=1.3), ones(1, 1, 40), dynamic_shapes={"x": {2: "n"}}
    )
    size = program.outputs[0].meta["val"].shape[2]
    assert str(program.dim(size)) == "size0"
    assert program.dim(size) is program.dim(size)
    assert list(program.sizes.opaque) == ["size0"]


def test_the_model_is_traced_once_where_nothing_is_wrong() -> None:
    calls = SimpleQueue[int]()  # a list would be put back

    def model(x: Tensor) -> Tensor:
        calls.put(1)
        return x + 1

    capture(model, ones(2, 3), dynamic_shapes={"x": {0: "n"}})
    assert calls.qsize() == 1
    capture(model, ones(1, 3), dynamic_shapes={"x": {0: "n"}})  # once more: is it the same at 1
    assert calls.qsize() == 3


# ── what every call must keep ────────────────────────────────────────


def reshapes(x: Tensor) -> Tensor:
    return x.reshape(-1, 3, x.shape[1])


def halves(x: Tensor) -> Tensor:
    left, right = x.chunk(2)
    return left + right


def checks(x: Tensor) -> Tensor:
    torch._check(x.shape[0] >= 5)
    return x + 1


@pytest.mark.parametrize(
    ("model", "example", "good", "bad"),
    [
        (reshapes, (6, 4), [(9, 4), (3, 7), (12, 1)], [(7, 4), (8, 3)]),
        (halves, (6, 4), [(8, 4)], [(7, 4)]),
        (checks, (6, 4), [(5, 4)], [(4, 4)]),
    ],
)
def test_divisibility_and_equality_are_assumptions_with_their_line(
    model: Callable[..., Any], example: tuple[int, ...], good: list[tuple[int, int]], bad: list[tuple[int, int]]
) -> None:
    program = capture(model, ones(*example), dynamic_shapes={"x": {0: "n", 1: "m"}})
    assert all(each.location.function == model.__name__ for each in program.assumptions)
    assert program.assumptions

    def holds(sizes: tuple[int, int]) -> bool:
        return all(each.holds(dict(zip("nm", sizes, strict=True))) for each in program.assumptions)

    assert [sizes for sizes in (*good, *bad) if holds(sizes)] == good
    for sizes in good:
        x = torch.rand(sizes)
        torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_torchs_own_steps_are_not_repeated() -> None:
    """reshape asks six things of n, all of which follow from the first."""
    program = capture(reshapes, ones(6, 4), dynamic_shapes={"x": {0: "n", 1: "m"}})
    assert [str(each) for each in program.assumptions] == ["n % 3 == 0"]


def test_layout_is_no_assumption() -> None:
    def model(x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x.transpose(1, 2).contiguous(), 2).flatten(1)

    assumed = capture(model, ones(3, 4, 6, 8), dynamic_shapes={"x": {0: "n", 3: "w"}}).assumptions
    assert [str(each) for each in assumed] == ["w >= 2"]  # one window, which the pool asks for


def test_one_name_has_one_range() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x + 1 if x.shape[0] < 9 else x), (y + 1 if y.shape[0] < 7 else y)

    shapes = {"x": {0: Dim("n", min=3)}, "y": {0: Dim("n", min=3)}}
    program = capture(model, (ones(4), ones(4)), dynamic_shapes=shapes)
    assert {(info.name, info.minimum, info.maximum) for info in program.symbols.values()} == {("n", 3, 6)}


def test_a_size_is_read_off_a_multiple_of_it() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        parts = x.view(x.shape[0], 4, -1) * torch.arange(x.shape[1] // 4)
        return parts * 3 if x.shape[1] > 40 else parts.sum(1) * x.shape[1]

    compiled = fxonnx.compile(model, ones(2, 8), dynamic_shapes=({0: "batch", 1: "4*n"},))
    for shape in ((2, 8), (3, 12), (1, 4), (2, 44)):
        torch.testing.assert_close(compiled(ones(*shape)), model(ones(*shape)))
    with pytest.raises(errors.CallMismatch, match=r"axis 1 of input 0 is 10\n.*4\*n"):
        compiled(ones(2, 10))
