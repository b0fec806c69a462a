"""Unnamed dims are one each, whatever sizes the example has; those that the run ties become one, which is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

import fxonnx
from fxonnx.errors import CaptureRefused, Error

FREE: dict[str, tuple[Callable[..., Any], Any, list[tuple[tuple[int, ...], ...]]]] = {
    "image": (lambda x: x.flatten(1) + x.shape[2], {"x": {1: Dim.AUTO, 2: Dim.AUTO}}, [((1, 4, 4),), ((1, 5, 3),)]),
    "dynamic": (lambda x: x.mT.contiguous(), {"x": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}}, [((4, 4),), ((2, 5),)]),
    "batch and channels": (lambda x: x * x.shape[1], "auto", [((3, 3, 4),), ((5, 2, 4),)]),
    "two inputs": (lambda a, b: a.sum() + b.sum(), "auto", [((3,), (3,)), ((4,), (7,))]),
    "multiples": (lambda x: x.view(x.shape[0] // 2, 2, x.shape[1]), "auto", [((4, 4),), ((6, 5),)]),
}  # fmt: skip
TIED: dict[str, tuple[Callable[..., Any], tuple[str, ...], list[tuple[tuple[int, ...], ...]]]] = {
    "sum": (lambda a, b: a + b, ("b, axis 0: always d0", "b, axis 1: always d1"), [((4, 4), (4, 4)), ((2, 5), (2, 5))]),
    "product": (lambda a, b: a @ b, ("b, axis 0: always d1",), [((4, 4), (4, 4)), ((2, 5), (5, 3))]),
    "factors": (
        lambda a, b: a.view(b.shape[0], a.shape[1], 4),
        ("b, axis 0: always d0", "a, axis 2: always 4"),
        [((4, 4, 4), (4,)), ((2, 5, 4), (2,))],
    ),
    "slices": (
        lambda a, b: a[:, 1:] - b[:, :-1],
        ("b, axis 0: always d0", "b, axis 1: always d1"),
        [((4, 4), (4, 4)), ((2, 5), (2, 5))],
    ),
    "a layout of what agrees": (
        lambda a, b: b.expand(a.shape[0], a.shape[0], b.shape[1]).flatten(0, 1) if a.shape[0] == b.shape[0] else b,
        ("b, axis 0: always d0",),
        [((4,), (4, 3)), ((2,), (2, 5))],
    ),
    "joined": (lambda a, b: torch.cat([a, b], 1), ("b, axis 0: always d0",), [((4, 4), (4, 4)), ((2, 5), (2, 3))]),
    "chain": (
        lambda a, b, c: a @ b @ c + a,
        ("b, axis 0: always d1", "c, axis 0: always d3", "c, axis 1: always d1"),
        [((4, 4), (4, 4), (4, 4)), ((2, 5), (5, 3), (3, 5))],
    ),
    "heads": (
        lambda a, b: (b @ b.new_ones(3, 4)).reshape(2 * a.shape[0], -1) @ a.new_ones(2, 3),
        ("b, axis 0: always d0", "b, axis 1: always 3"),
        [((2, 3), (2, 3)), ((5, 7), (5, 3))],
    ),
    "a way of its own": (
        lambda x: x * 2 if x.shape[0] == x.shape[1] else x * 3,
        ("x, axis 1: always d0",),
        [((4, 4),), ((7, 7),)],
    ),
}


def agrees(model: Callable[..., Any], compiled: fxonnx.Compiled, shapes: list[tuple[tuple[int, ...], ...]]) -> None:
    for each in shapes:
        inputs = [torch.rand(shape) for shape in each]
        torch.testing.assert_close(compiled(*inputs), model(*inputs))


def examples(shapes: list[tuple[tuple[int, ...], ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.rand(shape) for shape in shapes[0])


@pytest.mark.parametrize("name", FREE)
def test_equal_sizes_are_not_one_dim(name: str) -> None:
    model, dynamic, shapes = FREE[name]
    compiled = fxonnx.compile(model, examples(shapes), dynamic_shapes=dynamic)
    assert not compiled.program.frozen
    agrees(model, compiled, shapes)


@pytest.mark.parametrize("name", TIED)
def test_what_the_run_ties_is_one_dim_and_is_said(name: str) -> None:
    model, said, shapes = TIED[name]
    compiled = fxonnx.compile(model, examples(shapes), dynamic_shapes="auto")
    assert compiled.program.frozen == said
    assert all(sentence in compiled.report() for sentence in said)
    agrees(model, compiled, shapes)


def test_a_tie_with_a_named_dim_has_its_name() -> None:
    dynamic = {"a": {0: "n", 1: "k"}, "b": {0: Dim.DYNAMIC, 1: Dim.AUTO}}
    compiled = fxonnx.compile(lambda a, b: a @ b, examples([((4, 4), (4, 4))]), dynamic_shapes=dynamic)
    assert [str(value.type) for value in compiled.graph.inputs] == ["f32[n,k]", "f32[k,d1]"]


def test_all_ties_of_a_run_are_tied_at_once() -> None:
    class Encoder(nn.Module):
        def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
            return a + b + c + d

    compiled = fxonnx.compile(Encoder(), examples([((4, 5),) * 4]), dynamic_shapes="auto")
    assert len(compiled.program.attempts) == 3
    assert {str(value.type) for value in compiled.graph.inputs} == {"f32[d0,d1]"}


# ── truths of sizes ────────────────────────────────────────

# what takes a bool, and what it assumes then
TRUTHS: dict[str, tuple[Callable[[Tensor], Any], list[str]]] = {
    "descending": (lambda x: x.sort(descending=x.shape[0] > 3)[0], ["n > 3"]),
    "is_causal": (lambda x: F.scaled_dot_product_attention(*[x[None, :, None]] * 3, is_causal=x.shape[0] > 1), []),
    "keepdim": (lambda x: x.sum(0, keepdim=not x.shape[0] % 2), ["n % 2 != 0"]),
    "largest": (lambda x: x.topk(2, largest=(x.shape[0] > 3) & (x.shape[0] < 20))[0], ["n > 3", "n < 20"]),
    "ceil_mode": (lambda x: F.avg_pool1d(x[None, None], 2, ceil_mode=x.shape[0] / 2 > 1.5), ["2*n > 6"]),
    "unbiased": (lambda x: x.var(0, unbiased=x.shape[0] >= 2), []),
    "factor": (lambda x: x * (x.shape[0] > 3), ["n > 3"]),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_a_comparison_of_sizes_where_a_bool_is_taken(name: str) -> None:
    model, assumed = TRUTHS[name]
    compiled = fxonnx.compile(model, (torch.rand(5),), dynamic_shapes={"x": {0: "n"}})
    assert [str(each) for each in compiled.program.assumptions] == assumed
    for size in (5, 9, 15, 3, 2, 24):
        x = torch.rand(size)
        torch.testing.assert_close(compiled(x), model(x))


def asked_on_the_other_way(x: Tensor) -> Tensor:
    """Multiples of 4 do what others do, but for what is asked of them alone."""
    if x.shape[0] % 4:
        return x + 1
    return x * 5 if x.shape[1] % 4 else x + 1


def asked_within_a_range(x: Tensor) -> Tensor:
    if x.shape[0] < 30 and x.shape[0] % 2:
        return x + 1
    return x * 5 if x.shape[1] > 9 else x + 1


def a_number_chosen(x: Tensor) -> Tensor:
    factor = 1
    if x.shape[0] % 4 == 0:
        factor = 1 if x.shape[1] < 9 else 5
    return x * factor


@pytest.mark.parametrize("model", [asked_on_the_other_way, asked_within_a_range, a_number_chosen])
def test_what_the_other_way_asks_is_kept(model: Callable[..., Any]) -> None:
    """Both ways leave one graph at the sizes tried; at others, the second leads on to another one, which calls take."""
    compiled = fxonnx.compile(model, (torch.rand(8, 8),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    agrees(model, compiled, [((8, 8),), ((4, 8),), ((8, 33),), ((7, 33),), ((8, 7),)])


def halved(times: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv1d(4, 4, 2, 2) for _ in range(times)))


class Pinned(nn.Module):
    """A size that is computed of another one is 1 at the primes and at the example, which broadcasts."""

    def __init__(self, body: Callable[[Tensor], Tensor], stem: nn.Module) -> None:
        super().__init__()
        self.body, self.stem = body, stem

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x))


def in_windows(x: Tensor) -> Tensor:
    padded = F.pad(x, (0, -x.shape[2] % 7))
    windows = padded.view(len(x), 4, padded.shape[2] // 7, 7).permute(0, 2, 1, 3).contiguous().view(-1, 28)
    return windows.softmax(-1).view(len(x), -1, 4, 7).permute(0, 2, 1, 3).reshape(len(x), 4, -1)[..., : x.shape[2]]


PINNED: dict[str, nn.Module] = {
    "tokens": Pinned(lambda x: x.flatten(1).view(len(x), 4, -1).transpose(1, 2).softmax(-1), halved(4)),
    "windows": Pinned(in_windows, halved(2)),
    "chunks": Pinned(lambda x: x[..., : x.shape[2] // 16 * 16].reshape(len(x), -1, 16).mean(1), nn.Identity()),
    "a table": Pinned(lambda x: x + 1 if x.shape[2] // 8 == 2 else x.flip(2), nn.Identity()),
    "multiples": Pinned(lambda x: x.view(len(x), 4, x.shape[2] // 16, 16).transpose(2, 3).contiguous().view(-1, 16),
                        nn.Identity()),
}  # fmt: skip


@pytest.mark.parametrize("name", PINNED)
@pytest.mark.parametrize("length", [16, 32])
def test_a_computed_size_that_is_1_by_accident_is_free(name: str, length: int) -> None:
    model = PINNED[name].eval()
    compiled = fxonnx.compile(model, (torch.rand(2, 4, length),), dynamic_shapes={"x": {0: "b", 2: "n"}})
    with torch.no_grad():
        agrees(model, compiled, [((batch, 4, n),) for batch, n in ((2, length), (3, 48), (1, 16), (1, 64), (5, 32))])


class Cells(nn.Module):
    """A cell at each step, whose state begins as none."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell = kind(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        state, found = None, []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            found.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(found, 1)


@pytest.mark.parametrize("dims", ["auto", {"x": {0: Dim.AUTO, 1: Dim.AUTO, 2: Dim.AUTO}}], ids=["auto", "Dim.AUTO"])
@pytest.mark.parametrize("kind", [nn.GRUCell, nn.LSTMCell])
def test_a_loop_is_rolled_up_beside_a_dim_that_is_one_number(kind: type[nn.Module], dims: Any) -> None:
    model = Cells(kind).eval()
    compiled = fxonnx.compile(model, (torch.rand(2, 6, 4),), dynamic_shapes=dims)
    assert compiled.program.frozen == ("x, axis 2: always 4",)
    with torch.no_grad():
        agrees(model, compiled, [((batch, steps, 4),) for batch, steps in ((2, 6), (1, 3), (3, 9), (2, 1), (1, 1))])


# ── what is exported ────────────────────────────────────────


class Masked(nn.Module):
    """Attention to half as many steps, which a mask is only made for where it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        mask = x.new_zeros(x.shape[1]) if torch.compiler.is_exporting() else None
        halved = x[:, ::2]
        if mask is not None and mask.shape[0] != halved.shape[1]:
            raise ValueError("the mask is of another length")
        return halved + torch.compiler.is_compiling() + (x.shape[1] if x.shape[1] > 4 else 0)


class Described(nn.Module):
    """What no file can say, unless it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if torch.compiler.is_exporting() else x * len(x.numpy().tobytes())


class Refusing(Described):
    """What raises where it is exported, and is captured at the sizes of the example alone."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            raise ValueError("not to be exported")
        return x.unflatten(1, (-1, 4)) + 1


class Padded(nn.Module):
    """A shortcut where nothing is padded, which hangs on data and changes numbers, and one that hangs on sizes."""

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1])
        if not self.is_traced(x) and bool((x == 0).any()):
            return x
        return x + 1 if self.is_traced(positions) or bool((positions < 0).any()) else x * 3

    def is_traced(self, x: Tensor) -> bool:
        return torch.compiler.is_compiling() or isinstance(x, torch._subclasses.FakeTensor)


def in_eager(model: nn.Module, attempts: tuple[str, ...]) -> None:
    compiled = fxonnx.compile(model, (torch.rand(2, 8),), dynamic_shapes={"x": {0: "batch", 1: "time"}})
    assert compiled.program.attempts == attempts
    for shape in ((2, 8), (1, 16), (3, 12), (2, 4)):
        x = torch.rand(shape) + 1
        torch.testing.assert_close(compiled(x), model(x))


def test_a_model_is_captured_as_it_is_in_eager() -> None:
    in_eager(Masked(), ("at primes",))


def test_a_tensor_is_fake_where_it_holds_data() -> None:
    """Which has no value; positions have."""
    in_eager(Padded(), ("at primes",))
    assert isinstance(torch._subclasses.FakeTensorMode().from_tensor(torch.ones(2)), torch._subclasses.FakeTensor)


def test_a_model_that_asks_is_told_that_it_is_exported_where_nothing_else_is_captured() -> None:
    compiled = fxonnx.compile(Described(), (torch.rand(2, 8),), dynamic_shapes={"x": {0: "batch"}})
    assert compiled.program.attempts == ("at primes", "telling the model that it is exported")
    torch.testing.assert_close(compiled(torch.ones(3, 8)), torch.full((3, 8), 2.0))


def test_a_model_that_raises_where_it_is_exported_is_not_told_in_the_end() -> None:
    told, at_example = "telling the model that it is exported", "at the example's sizes"
    untold = "without telling the model that it is exported"
    in_eager(Refusing(), ("at primes", told, at_example, untold, at_example))


def test_what_a_model_raises_in_eager_too_is_told() -> None:
    def strict(x: Tensor) -> Tensor:
        raise ValueError("it takes nothing")

    with pytest.raises(fxonnx.errors.ModelRaised, match="it takes nothing"):
        fxonnx.compile(strict, (torch.rand(2),))


def test_what_is_resized_in_place_has_plain_sizes() -> None:
    def model(x: Tensor) -> Tensor:
        return x.clone().resize_(25, 5)

    x = torch.randn(5, 5, 5)
    for dynamic in (None, "auto"):
        torch.testing.assert_close(fxonnx.compile(model, (x,), dynamic_shapes=dynamic)(x), model(x))
    with pytest.raises(CaptureRefused, match="resized in place") as refused:
        fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "n"}})
    assert refused.value.locations[0].file == __file__
    assert "reshape" in refused.value.cure


def _windows(x: Tensor) -> Tensor:
    """Four windows, whose rows and columns are mixed up where the image is not square: torch allows it."""
    height, width = x.shape[1] // 8, x.shape[2] // 8
    tokens = F.max_pool2d(x, 8).view(x.shape[0], 2, width // 2, 2, height // 2)
    return tokens.transpose(2, 3).flatten(1, 2)


HW = {"x": {1: "h", 2: "w"}}


def test_sizes_that_are_equal_in_the_example_alone_are_free() -> None:
    """No prime has two windows; of 32 and 32 the view seems to ask that they agree, of 32 and 96 it does not."""
    compiled = fxonnx.compile(_windows, (torch.rand(3, 32, 32),), dynamic_shapes=HW)
    assert compiled.program.attempts[-1] == "at multiples of the example's sizes that differ"
    agrees(_windows, compiled, [((3, 32, 32),), ((3, 16, 48),), ((3, 64, 16),)])


def test_sizes_that_must_agree_are_told_as_before() -> None:
    def square(x: Tensor) -> Tensor:
        return _windows(x + x.mT)

    with pytest.raises(Error, match=r"dim '[hw]' \(x, axis [12]\) is always [hw]"):
        fxonnx.compile(square, (torch.rand(3, 32, 32),), dynamic_shapes=HW)
