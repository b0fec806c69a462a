"""Meta kernels of our own: what they ask that torch's do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx
from fxonnx.errors import CaptureRefused, Error, ModelRaised


@pytest.mark.parametrize("dynamic", [None, {"x": {2: "n"}}, {"x": {0: "n"}}])
@pytest.mark.parametrize("keys", [slice(0, 1), slice(0, 2), slice(1, None)])
def test_as_many_keys_as_values(dynamic: dict[str, dict[int, str]] | None, keys: slice) -> None:
    """torch's kernel for four axes does not count, and reads what lies behind."""
    with pytest.raises(CaptureRefused, match="keys") as refused:
        fxonnx.compile(
            lambda x: F.scaled_dot_product_attention(x, x[..., keys, :], x), (torch.randn(2, 3, 4, 5),),
            dynamic_shapes=dynamic,
        )  # fmt: skip
    assert refused.value.locations[0].file == __file__


def test_unnamed_keys_are_as_many_as_values() -> None:
    heads = [torch.randn(2, 3, length, 8) for length in (4, 5, 5)]
    compiled = fxonnx.compile(F.scaled_dot_product_attention, heads, dynamic_shapes="auto")
    others = [torch.randn(1, 3, length, 8) for length in (1, 7, 7)]
    torch.testing.assert_close(compiled(*others), F.scaled_dot_product_attention(*others))


def test_a_product_of_three_and_the_reflections_of_lapack_have_shapes() -> None:
    def model(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return F.bilinear(x, y, w), *torch.geqrf(x)

    given, other = ((torch.rand(n, 3), torch.rand(n, 4), torch.rand(k, 3, 4)) for n, k in ((5, 2), (7, 6)))
    compiled = fxonnx.compile(model, given, dynamic_shapes="auto")
    for tensors in (given, other):
        torch.testing.assert_close(compiled(*tensors), model(*tensors))


COMPOSED = {
    "group norm": (nn.GroupNorm(2, 4), [(2, 4, 5)], [(3, 4, 7)]),
    "group norm without weights": (lambda x: F.group_norm(x, 2), [(2, 4, 5)], [(3, 6, 7)]),
    "the greatest row": (lambda x: torch.linalg.matrix_norm(x, -torch.inf, (-2, -1)), [(2, 2)], [(3, 5)]),
    "a spectral norm": (lambda x: torch.linalg.matrix_norm(x, 2, (0, 2), True), [(2, 3, 4)], [(5, 2, 3)]),
    "a nuclear norm": (lambda x: torch.linalg.matrix_norm(x, "nuc"), [(3, 2)], [(2, 5)]),
    "the greatest column": (lambda x: torch.linalg.norm(x, 1), [(2, 2)], [(3, 5)]),
    "chunks": (lambda x, y: torch._chunk_cat([x, y], -1, 5), [(2, 9), (2, 17)], [(3, 10), (3, 4)]),
    "a product of many": (
        lambda x, y, z: torch.linalg.multi_dot([x, y, z]), [(3, 2), (2, 4), (4, 5)], [(4, 5), (5, 2), (2, 7)],
    ),
    "a product of vectors": (lambda *xs: torch.linalg.multi_dot(xs), [(3,), (3, 4), (4,)], [(5,), (5, 2), (2,)]),
    "differences of what is added at both ends": (
        lambda x, y, z: torch.diff(x, 4, 0, y, z), [(5, 3), (1, 3), (2, 3)], [(4, 2), (2, 2), (7, 2)],
    ),
    "trapezoids": (lambda y, x: torch.trapezoid(y, x, dim=1), [(2, 3), (2, 3)], [(4, 5), (4, 5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_what_torch_composes_of_plain_numbers_has_free_sizes(name: str) -> None:
    model, shapes, others = COMPOSED[name]
    given, other = ([torch.randn(shape) for shape in each] for each in (shapes, others))
    compiled = fxonnx.compile(model, tuple(given), dynamic_shapes="auto")
    for tensors in (given, other):
        torch.testing.assert_close(compiled(*tensors), model(*tensors), rtol=1e-5, atol=1e-5)


def test_other_weights_than_channels_are_refused() -> None:
    for dynamic in (None, {"x": {0: "n"}}, {"x": {1: "n"}}):
        with pytest.raises(ModelRaised, match="weight"):
            fxonnx.compile(lambda x: F.group_norm(x, 2, torch.ones(4)), (torch.randn(2, 6, 5),), dynamic_shapes=dynamic)


def test_complex_norms_of_matrices_are_composed_for_plain_sizes() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.linalg.matrix_norm(x, -torch.inf), torch.linalg.matrix_norm(x, 2), torch.linalg.norm(x, 1)

    x = torch.randn(2, 3, dtype=torch.complex64)
    for dynamic in (None, "auto"):
        torch.testing.assert_close(fxonnx.compile(model, (x,), dynamic_shapes=dynamic)(x), model(x))


DRAWN = {
    "rand": lambda x, generator: torch.rand((x.shape[0], 3), generator=generator),
    "randn": lambda x, generator: torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device),
    "randint": lambda x, generator: torch.randint(5, (x.shape[0], 3), generator=generator),
    "randint from": lambda x, generator: torch.randint(2, 5, (x.shape[0], 3), generator=generator),
    "randperm": lambda x, generator: torch.randperm(x.shape[0], generator=generator),
}


@pytest.mark.parametrize("generator", [None, torch.Generator()], ids=["torch's own", "one of its own"])
@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_from_a_generator_has_free_sizes(name: str, generator: torch.Generator | None) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return DRAWN[name](x, generator)

    compiled = fxonnx.compile(model, (torch.randn(4, 3),), dynamic_shapes={"x": {0: "n"}})
    for rows in (4, 1, 7):
        drawn, wanted = compiled(torch.randn(rows, 3)), model(torch.randn(rows, 3))
        assert (drawn.shape, drawn.dtype) == (wanted.shape, wanted.dtype)


@pytest.mark.parametrize("dynamic", [None, ({0: "b", 1: "n"},)])
def test_differences_of_what_is_selected(dynamic: Any) -> None:
    def model(x: Tensor) -> Any:
        rows = x[x[:, 0] > 0]
        return rows.diff(dim=0), (rows > 0)[:, 1].diff(), rows.diff(n=2, dim=0)

    compiled = fxonnx.compile(model, (torch.randn(6, 5),), dynamic_shapes=dynamic)
    for rows in (6, 1, 0):
        x = torch.randn(6, 5)
        x[:, 0] = torch.where(torch.arange(6) < rows, 1.0, -1.0)
        torch.testing.assert_close(compiled(x), model(x))


INTO_PLACES: dict[str, tuple[Any, torch.Tensor]] = {
    "angle": (torch.angle, torch.zeros(2, 3)),
    "gather": (lambda x, out: torch.gather(x, 1, x.argsort(1), out=out), torch.zeros(2, 3)),
    "scatter": (lambda x, out: torch.scatter(x, 1, x.argsort(1), x + 1, out=out), torch.zeros(2, 3)),
    "scatter_add": (lambda x, out: torch.scatter_add(x, 1, x.argsort(1) // 2, x, out=out), torch.zeros(2, 3)),
    "argmax": (lambda x, out: torch.argmax(x, 1, out=out), torch.zeros(2, dtype=torch.int64)),
    "argmin": (lambda x, out: torch.argmin(x, 1, keepdim=True, out=out), torch.zeros(2, 1, dtype=torch.int64)),
    "a part of a place": (lambda x, out: torch.gather(x, 1, x.argsort(1), out=out[:, 1:]), torch.zeros(2, 4)),
    "of another dtype": (lambda x, out: torch.add(x, 1, out=out), torch.zeros(2, 3, dtype=torch.float64)),
}


@pytest.mark.parametrize(("write", "place"), INTO_PLACES.values(), ids=INTO_PLACES)
def test_what_is_written_into_a_place_of_sizes_that_vary(write: Any, place: torch.Tensor) -> None:
    def model(x: torch.Tensor, place: torch.Tensor) -> Any:
        out = place.clone()
        return write(x, out=out), out

    x = torch.tensor([[1.0, -2, 3], [0.5, 7, -1]])
    compiled = fxonnx.compile(model, (x, place), dynamic_shapes={"x": {0: "n"}, "place": {0: "n"}})
    for count in (2, 1, 4):
        inputs = torch.cat([x, x + 1])[:count], torch.cat([place, place])[:count]
        for found, expected in zip(compiled(*inputs), model(*inputs), strict=True):
            torch.testing.assert_close(found, expected)


def test_a_place_in_what_is_read_is_refused_as_by_torch() -> None:
    columns = torch.tensor([[0, 1, 1], [2, 0, 1]])

    def model(x: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        return torch.gather(x, 1, columns, out=x)

    with pytest.raises(RuntimeError):
        model(torch.ones(2, 3), columns)
    with pytest.raises(Error):
        fxonnx.compile(model, (torch.ones(2, 3), columns), dynamic_shapes={"x": {0: "n"}, "columns": {0: "n"}})
