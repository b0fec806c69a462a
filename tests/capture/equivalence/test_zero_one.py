"""Sizes of 0 and 1: a model that does not decide by them runs, one that does refuses; neither is asked twice."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue

import onnxruntime
import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture import Program, capture


def captured(model: Callable[..., object], *shapes: tuple[int, ...]) -> Program:
    """Captured with the first axis of every input dynamic under the name n, the second under m."""
    names = "xyz"[: len(shapes)]
    dims = {name: dict(enumerate(("n", "m")[: len(shape)])) for name, shape in zip(names, shapes, strict=True)}
    return capture(model, tuple(torch.ones(shape) for shape in shapes), dynamic_shapes=dims)


class Attention(nn.Module):
    """Slices of a table, in-place writes, an op that looks at its memory layout: what does not depend on sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(1, 64, 6), persistent=False)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        x = x[..., None].expand(-1, -1, 6) + self.table[:, : x.shape[1]]
        y, _ = self.attention(x, x, x, need_weights=False)
        y[:, 0].relu_().add_(y.numel())
        return y.transpose(0, 1).contiguous()[:], y.shape[0]


def ragged(x: Tensor) -> Tensor:
    return x[x > 0].repeat(2) * x.shape[0]


def conditional(x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 3, lambda y: y + y.shape[0], lambda y: y[:] - 1, (x,))


def arithmetic(x: Tensor) -> Tensor:
    n, m = x.shape
    return torch.cat([x.reshape(-1), torch.arange(n * m, 2 * n * m + 3, dtype=x.dtype)]) / (n + 0.5)


def expands_if_it_must(x: Tensor) -> Tensor:
    """Positions for each row, as transformers has them: at n = 1 nothing is called."""
    positions = torch.arange(x.shape[1])[None]
    if positions.shape[0] != x.shape[0]:
        positions = positions.expand(x.shape[0], -1)
    return x + positions


def causal_if_there_are_several(x: Tensor) -> Tensor:
    x = x[..., None].expand(-1, -1, 4)
    return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=bool(x.shape[1] > 1))


MODELS = {
    "causal": causal_if_there_are_several,
    "attention": Attention().eval(),
    "ragged": ragged,
    "arithmetic": arithmetic,
    "expands": expands_if_it_must,
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("sizes", [(1, 5), (4, 1), (1, 1)])
def test_a_model_that_does_not_decide_by_them_holds(
    model: Callable[..., object], sizes: tuple[int, int]
) -> None:
    program = captured(model, (4, 5))
    assert program.variant(dict(zip("nm", sizes, strict=True))) is None
    x = torch.rand(sizes) + 0.1
    with torch.no_grad():
        torch.testing.assert_close(run(program, (x,))[0], model(x))


def test_branches_that_compute_with_sizes_have_a_program_of_their_own() -> None:
    program = captured(conditional, (4, 5))
    for sizes in ((1, 5), (4, 1), (1, 1)):
        x = torch.rand(sizes) + 0.1
        variant = program.variant(dict(zip("nm", sizes, strict=True))) or program
        torch.testing.assert_close(run(variant, (x,))[0], conditional(x))


def branches(x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] > 1 else x


def scales(x: Tensor) -> Tensor:
    return x * (2.0 if x.shape[0] != 1 else 3.0)


def chooses_a_number(x: Tensor) -> Tensor:
    return x + (2 if x.shape[0] != 1 else 3)


def squeezes(x: Tensor) -> Tensor:
    return x.squeeze(0).sum(-1)


def returns_a_flag(x: Tensor) -> tuple[Tensor, bool]:
    return x + 1, bool(x.shape[0] > 1)


def raises(x: Tensor) -> Tensor:
    if x.shape[0] == 1:
        raise ValueError("one row is too few")
    return x + 1


def writes_to_a_copy(x: Tensor) -> Tensor:
    y = x * 1
    y.transpose(0, 1).contiguous().add_(1)
    return y


class Chooses(nn.Module):
    """The same call, on another weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.many = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.one if x.shape[0] == 1 else self.many) + self.one


DECIDING = [branches, scales, chooses_a_number, squeezes, returns_a_flag, Chooses()]


@pytest.mark.parametrize("model", DECIDING, ids=lambda each: getattr(each, "__name__", "chooses_a_weight"))
def test_a_model_that_decides_by_them_has_another_program(model: Callable[..., object]) -> None:
    program = captured(model, (4, 5))
    assert program.variant({"n": 7, "m": 1}) is None
    variant = program.variant({"n": 1, "m": 5})
    assert variant is not None and set(variant.symbols) == {"m"}
    x = torch.rand(1, 7)
    with torch.no_grad():
        torch.testing.assert_close(run(variant, (x,))[0], model(x))


SCALE = torch.rand(4) + 0.5


def of_ones(x: Tensor) -> Tensor:
    """What torch.distributions checks of its arguments, where they are made of the sizes alone."""
    scale = torch.ones_like(x) * SCALE
    if not (scale > 0).all():
        raise ValueError("no scale")
    return x / scale


def of_zeros_and_sizes(x: Tensor) -> Tensor:
    """Decided the other way, by tensors made with sizes that are arguments."""
    scale = torch.zeros(x.shape[0], 4) + SCALE * x.shape[0]
    if (scale <= 0).any():
        raise ValueError("no scale")
    return x / scale


@pytest.mark.parametrize("model", [of_ones, of_zeros_and_sizes])
def test_a_check_that_is_known_at_a_size_of_1_makes_no_difference(model: Callable[[Tensor], Tensor]) -> None:
    """At that size its condition is a constant, at others a value: with an example of 1 the program is one."""
    compiled = fxonnx.compile(model, (torch.randn(1, 4),), dynamic_shapes={"x": {0: "n"}})
    for n in (1, 3):
        x = torch.randn(n, 4)
        torch.testing.assert_close(compiled(x), model(x))


def test_a_check_of_data_beside_a_known_one_stays_at_a_size_of_1() -> None:
    def model(x: Tensor) -> Tensor:
        if not (torch.ones_like(x) * SCALE > 0).all():
            raise ValueError("no scale")
        if not (x > 0).all():
            raise ValueError("not positive")
        return x.log()

    compiled = fxonnx.compile(model, (torch.rand(1, 4) + 0.1,), dynamic_shapes={"x": {0: "n"}})
    for n in (1, 3):
        with pytest.raises(errors.CheckFailed, match="not positive"):
            compiled(-torch.ones(n, 4))


def test_a_size_that_the_model_refuses_is_refused() -> None:
    program = captured(raises, (4, 5))
    with pytest.raises(errors.CallMismatch, match="one row is too few") as caught:
        program.variant({"n": 1, "m": 5})
    assert "n = 1" in caught.value.what and "m" not in caught.value.what.rpartition(" for ")[2]
    assert caught.value.locations[0].file == __file__


def test_other_sizes_are_asked_what_they_are_beside_a_size_of_1() -> None:
    """n*m is above 4 for all sizes from 3 up, and for n = 1 where m is."""

    def model(x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] * x.shape[1] > 2 else x

    program = captured(model, (4, 5))
    assert program.variant({"n": 1, "m": 3}) is None
    assert [str(each) for each in program.variant({"n": 1, "m": 2}).assumptions] == ["m <= 2"]


def test_what_is_refused_beside_a_size_of_1_is_said() -> None:
    def model(x: Tensor) -> Tensor:
        if x.shape[0] * x.shape[1] <= 2:
            raise ValueError("too few")
        return x * 2

    program = captured(model, (4, 5))
    with pytest.raises(errors.CallMismatch, match="m > 2") as caught:
        program.variant({"n": 1, "m": 2})
    assert "n = 1, m = 2" in caught.value.what  # not that of 1 alone, with which others run


def test_a_copy_that_is_written_to_is_no_view() -> None:
    """At n = 1 contiguous() returns its argument, and the write reaches y."""
    assert captured(writes_to_a_copy, (4, 5)).variant({"n": 1, "m": 5}) is not None


def test_the_model_is_asked_once_for_each_combination_and_left_as_it_was() -> None:
    calls = SimpleQueue[bool]()  # a list would be put back

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.put(self.training)
            return x + 1

    model = Counting().train()
    program = captured(model, (4, 5))
    first = calls.qsize()
    for sizes in ({"n": 3, "m": 2}, {"n": 1, "m": 9}, {"n": 1, "m": 8}, {"n": 0, "m": 8}, {"n": 0, "m": 7}):
        assert program.variant(sizes) is None
    assert calls.qsize() - first == 3  # with any size, n = 1, n = 0
    assert not any(calls.get() for _ in range(calls.qsize()))
    assert model.training


def test_a_call_of_the_compiled_model_is_checked() -> None:
    x = torch.rand(1, 5)
    good = fxonnx.compile(lambda x: x.softmax(0), (x,), dynamic_shapes={"x": {0: "n"}})
    torch.testing.assert_close(good(x), torch.ones(1, 5))
    deciding = fxonnx.compile(branches, (torch.rand(3, 5),), dynamic_shapes={"x": {0: "n"}})
    for rows in (3, 1, 4, 1):
        torch.testing.assert_close(deciding(torch.ones(rows, 5)), branches(torch.ones(rows, 5)))


def test_the_example_is_asked_when_it_is_compiled() -> None:
    """A file has both ways where their results are of one kind."""
    asked = fxonnx.compile(branches, (torch.rand(1, 5),), dynamic_shapes={"x": {0: "n"}})
    session = onnxruntime.InferenceSession(asked.model_proto().SerializeToString())
    for rows in (1, 2, 5):
        x = torch.rand(rows, 5)
        torch.testing.assert_close(asked(x), branches(x))
        torch.testing.assert_close(torch.as_tensor(session.run(None, {"x": x.numpy()})[0]), branches(x))
    with pytest.raises(errors.FrozenDimension, match="the example has n = 1") as caught:
        fxonnx.compile(lambda x: x.squeeze(), (torch.rand(1, 5),), dynamic_shapes={"x": {0: "n"}})
    assert caught.value.locations[0].file == __file__
    automatic = fxonnx.compile(branches, (torch.rand(1, 5),), dynamic_shapes="auto")
    assert "x, axis 0: always 1" in automatic.report()
    torch.testing.assert_close(automatic(torch.ones(1, 7)), torch.ones(1, 7))


def test_channels_last_examples_stay_so() -> None:
    def model(x: Tensor) -> Tensor:
        return x + 1 if x.is_contiguous(memory_format=torch.channels_last) else x - 1

    for rows in (1, 2):
        x = torch.ones(rows, 3, 4, 4).contiguous(memory_format=torch.channels_last)
        program = capture(model, x, dynamic_shapes={"x": {0: "n"}})
        assert program.variant({"n": 1}) is None
        torch.testing.assert_close(run(program, (x,))[0], x + 1)


def at_home(x: Tensor) -> Tensor:
    """A table for one resolution, an interpolated one for others."""
    height, width = x.shape[1:]
    table = torch.arange(24.0).view(1, 4, 6)
    return x + (table if (height, width) == (4, 6) else nn.functional.interpolate(table[None], (height, width))[0])


def padded(x: Tensor) -> Tensor:
    """Where one of two sizes is no multiple, both are padded; the other way of it asks by the width alone."""
    height, width = x.shape[1:]
    if height % 4 != 0 or width % 4 != 0:
        x = nn.functional.pad(x, (0, -width % 4, 0, -height % 4))
    return x.view(x.shape[0], x.shape[1] // 4, 4, -1).mean(2)


@pytest.mark.parametrize("model", [at_home, padded])
@pytest.mark.parametrize("example", [(2, 8, 8), (2, 4, 6), (1, 5, 7)], ids=str)
def test_a_way_that_is_decided_by_several_sizes_is_found(
    model: Callable[[Tensor], Tensor], example: tuple[int, int, int]
) -> None:
    compiled = fxonnx.compile(model, (torch.rand(example),), dynamic_shapes={"x": {0: "b", 1: "h", 2: "w"}})
    for shape in ((3, 4, 6), (1, 4, 6), (1, 4, 8), (2, 8, 6), (1, 7, 6), (1, 4, 1)):
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_rows_of_a_constant_that_are_written_at_size_1_are_places_of_their_own() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        room = torch.zeros(4, 3)
        at = 2 if x.shape[0] == 1 else 0
        room[at : at + 1].copy_(x.sum(0, keepdim=True))
        return room * 2

    compiled = fxonnx.compile(model, (torch.ones(3, 3),), dynamic_shapes={"x": {0: "b"}})
    for rows in (3, 1, 2):
        x = torch.rand(rows, 3)
        torch.testing.assert_close(compiled(x), model(x))
