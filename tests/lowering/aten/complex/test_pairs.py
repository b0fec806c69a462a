"""Complex tensors: arithmetic on pairs, and everything that moves them."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.lowering.support import check, operators
from torch.testing._internal.common_methods_invocations import op_db

import fxonnx
from fxonnx.lowering.complex_shape import BEHIND, IN_FRONT, PART_BY_PART
from fxonnx.lowering.registry import standard

torch.manual_seed(0)


def z(*shape, dtype=torch.complex64):
    """Complex numbers."""
    return torch.randn(*shape, dtype=dtype)


FUNCTIONS = {
    "add": lambda x, y: (x + y, x + 2, 1j + x, x + y.real, torch.add(x, y, alpha=2 - 1j)),
    "sub": lambda x, y: (x - y, 3 - x, x.real - y, torch.sub(x, y, alpha=3)),
    "mul": lambda x, y: (x * y, x * 2, x * 1j, x * y.real, x.real * 1j),
    "div": lambda x, y: (x / y, x / 2, x / 2j, 1 / x, x / y.real, x.real / y),
    "parts": lambda x, y: (x.real, x.imag, torch.view_as_real(x), x.abs(), x.angle(), x.conj(), -x),
    "made": lambda x, y: (
        torch.complex(x.real, y.real),
        torch.polar(x.abs(), y.imag),
        torch.complex(x.real, y.imag[:1]),
    ),
    "compared": lambda x, y: (x == y, x != y, x == x, x.real == x, torch.isreal(x), x.isnan(), x.isfinite(), ~x.bool()),
    "sums": lambda x, y: (x.sum(), x.sum(0), x.mean(-1, keepdim=True), x.mean(), x.cumsum(1), x.sum((0, 1))),
    "joined": lambda x, y: (torch.cat([x, y]), torch.cat([x, y.real], 1), torch.stack([x, y], -1)),
    "chosen": lambda x, y: (
        torch.where(x.real > 0, x, y),
        torch.where(x.real > 0, x.real, y),
        x.masked_fill(y.real > 0, 1j),
    ),
    "cast": lambda x, y: (x.to(torch.complex128), x.real.to(torch.complex64), x.real + 0j, x.real.double() * y),
    "created": lambda x, y: (
        torch.zeros_like(x),
        torch.ones_like(x),
        torch.full_like(x, 2j),
        x.new_ones(2),
        x.new_zeros(3),
    ),
    "spaced": lambda x, y: (
        torch.linspace(x[0, 0], y[0, 0], 6),
        torch.linspace(x[0, 0], 2, 1),
        torch.linspace(1j, y[0, 0], 0),
        torch.linspace(x[0, 0].real, y[0, 0].imag, 5, dtype=torch.complex64),
    ),
    "spaced powers": lambda x, y: (torch.logspace(x[0, 0], 2, 4, base=-2), torch.logspace(x[0, 0], y[0, 0], 5)),
    "written": lambda x, y: (x.index_fill(0, torch.tensor([1]), 0), x.clone().index_put_((torch.tensor([0]),), y[1])),
    "triangles": lambda x, y: (x.tril(), y.triu(1), x.diagonal(), torch.nn.functional.pad(x, (1, 2))),
}


DOUBLE = sorted(FUNCTIONS.keys() - {"parts"})  # `angle` needs Atan, which ONNX Runtime lacks in float64


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(FUNCTIONS[name], z(3, 4), z(3, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DOUBLE)
def test_double_precision(name):
    check(FUNCTIONS[name], z(3, 4, dtype=torch.complex128), z(3, 4, dtype=torch.complex128))


@pytest.mark.parametrize("name", ["mul", "div", "joined", "parts"])
def test_dynamic_sizes(name):
    names = {"x": {0: "n"}, "y": {0: "n"}}
    check(FUNCTIONS[name], z(3, 4), z(3, 4), dynamic=names, again=(z(5, 4), z(5, 4)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 5)), ((2, 3, 4), (4,)), ((4,), (4,)), ((2, 1, 3, 4), (5, 4, 2))], ids=str
)
def test_matrix_products(shapes):
    check(torch.matmul, z(*shapes[0]), z(*shapes[1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("first", "last"), [((2, 3), (4, 5)), ((3,), (4,))], ids=str)
def test_products_of_many(first, last):
    def product(*xs):
        return torch.linalg.multi_dot(xs)

    given, other = (z(*first), z(3, 4), z(*last)), (z(*first[:-1], 6), z(6, 2), z(2, *last[1:]))
    for tensors in (given, other[:2]):
        check(product, *tensors, rtol=1e-4, atol=1e-5)
    compiled = fxonnx.compile(product, given, dynamic_shapes="auto")
    torch.testing.assert_close(compiled(*other), product(*other), rtol=1e-4, atol=1e-5)


def test_other_products():
    def function(x, y, v):
        return (
            torch.einsum("ij,kj->ik", x, y),
            torch.addmm(x @ y.mH, x, y.mH, beta=2, alpha=1j),
            torch.vdot(v, v),
            x @ v,
        )

    check(function, z(3, 4), z(3, 4), z(4), rtol=1e-4, atol=1e-5)


def test_rotary_embedding_by_complex_numbers():
    """As the original LLaMA writes it: the rotations are constant, so that few operators remain."""
    angles = torch.outer(torch.arange(8.0), 1e4 ** -(torch.arange(4) / 4))
    rotations = torch.polar(torch.ones_like(angles), angles)

    def function(x):
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * rotations[: x.shape[1], None]).flatten(3)

    compiled = check(
        function,
        torch.randn(2, 5, 3, 8),
        dynamic={"x": {0: "b", 1: "t"}},
        again=(torch.randn(1, 7, 3, 8),),
        rtol=1e-4,
        atol=1e-5,
    )
    assert operators(compiled).count("Mul") == 3


SHAPES = [
    "chunk",
    "diff",
    "expand",
    "flatten",
    "flip",
    "gather",
    "index_add",
    "index_copy",
    "index_select",
    "movedim",
    "permute",
    "repeat",
    "reshape",
    "roll",
    "scatter",
    "scatter_add",
    "select",
    "select_scatter",
    "slice",
    "slice_scatter",
    "split",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "tril",
    "triu",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "view",
    "where",
    "diagonal",
    "__getitem__",
    "t",
    "adjoint",
    "index_put",
    "masked_fill",
]
SAMPLES = {info.name: info for info in op_db if info.name in SHAPES and not info.variant_test_name}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_moved_elements(name):
    samples = list(SAMPLES[name].sample_inputs("cpu", torch.complex64, requires_grad=False))
    for sample in samples[:: max(1, len(samples) // 3)][:3]:

        def function(x, sample=sample):
            return SAMPLES[name].op(x, *sample.args, **sample.kwargs)

        if not isinstance(sample.input, (list, tuple)):
            check(function, sample.input, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*BEHIND, *IN_FRONT, *PART_BY_PART])
def test_every_row_has_a_real_lowering(name):
    targets = {target.split(".")[1] for target in standard().targets() if target.startswith("aten.")}
    assert name.split(".")[0] in targets


ROW, PLACES = torch.tensor([[1, 0, 2]]), torch.tensor([True, False, True])
CORNERS = {
    "padding with a number": lambda x: F.pad(x, (1, 1), value=2.0),
    "without an axis": lambda x: (x.repeat_interleave(2), x.roll(1)),
    "an axis of a scalar": lambda x: (x.sum().flip(0), x.sum().cumsum(0), x.sum().index_select(0, ROW[0, 1:2])),
    "vectors of nothing": lambda x: torch.cat([x, x.new_zeros(0)]),
    "a sum along an axis of a scalar": lambda x: x.sum().sum(0),
    "by places in all": lambda x: (x.take(torch.tensor(3)), x.take(torch.tensor([[0, -1]]))),
    "of the same bits": lambda x: (
        x.view(x.real.dtype), x.real.repeat(1, 2).view(x.dtype), x.view(x.real.dtype).view(x.dtype) * 2j,
        x.view(x.dtype),
    ),
    "by a mask": lambda x: (x.masked_select(PLACES), x.masked_scatter(PLACES, x.flip(0))),
    "a number scattered": lambda x: (x.scatter(1, ROW, 2.5), x.scatter(1, ROW, 2.5, reduce="add")),
    "a diagonal written": lambda x: x.diagonal_scatter(x[0, :2]),
    "by strides": lambda x: x.as_strided((2, 2), (3, 1)),
    "a real tensor as large as a complex one": lambda x: (x.real[:, :1].expand_as(x), x[:, :1].expand_as(x.real)),
    "under the shape of a complex or a real one": lambda x: (
        x.T.reshape_as(x.real), x.view_as(x.imag.double()), x.real.reshape_as(x.T), x.imag.view_as(x),
    ),
    "one shape": lambda x: torch.broadcast_tensors(x, x[0], x.real, x.real[0, 0], x.imag.double()),
    "not zero": lambda x: (x.nonzero(), torch.nonzero_static(x - x[0], size=9), *(x - x[0]).nonzero(as_tuple=True)),
    "made": lambda x: (
        x.new_empty_strided((2, 3), (1, 2)).zero_(), torch.empty_permuted((0, 3), (1, 0), dtype=x.dtype),
    ),
    "cut": lambda x: x.clone().resize_(2, 2),
    "truth": lambda x: (torch.logical_or(x, x.real), torch.logical_xor(x, x * 0)),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name):
    check(CORNERS[name], z(2, 3))


def test_scattered_products_are_refused():
    with pytest.raises(fxonnx.errors.UnsupportedArguments, match="scattering complex numbers by multiply"):
        fxonnx.compile(lambda x: x.scatter(1, ROW, x, reduce="multiply"), (z(2, 3),))


def test_zero_and_extremes():
    x = torch.tensor([0, 1, -1, 1j, -1j, -0.0 - 1j, complex(math.inf, 1), complex(1, math.nan)])
    check(lambda x: (x.angle(), x.sgn()[:6], x.isinf(), x.isnan()), x, rtol=1e-4, atol=1e-5)


def test_quotients_of_large_and_small_numbers():
    x = torch.tensor([1e30 + 1e30j, 1 + 0j, 1e-30j, 0j])
    check(lambda x: (x / x, (1 + 1j) / x, x.reciprocal()), x, rtol=1e-5, atol=1e-30)


class Turning(torch.nn.Module):
    """A state and an argument that are written to, both complex."""

    def __init__(self):
        super().__init__()
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64))

    def forward(self, x):
        self.phase.mul_(1j)
        x[0].sin_().add_(self.phase)
        return x * 2


def test_what_is_written_in_place_is_written_to_the_callers():
    mine, theirs = Turning(), Turning()
    compiled = fxonnx.compile(mine, z(3, 2))
    for _ in range(3):
        x = z(3, 2)
        y = x.clone()
        torch.testing.assert_close((compiled(x), x, mine.phase), (theirs(y), y, theirs.phase))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_the_same_bits_are_written_through_a_view_at_free_sizes(dtype):
    def turned(x):
        y = x.clone()
        y.view(dtype).mul_(1j)
        return y, y.view(dtype).view(x.dtype)

    x = torch.randn(3, 4, dtype=dtype.to_real())
    check(turned, x, dynamic={"x": {0: "n", 1: "m"}}, again=(torch.randn(2, 6, dtype=x.dtype),))


def test_pixels_of_any_size():
    x, other = torch.randn(1, 9, 2, 2, dtype=torch.complex64), torch.randn(2, 18, 3, 2, dtype=torch.complex64)
    check(lambda x: torch.pixel_shuffle(x, 3), x, dynamic="auto", again=(other,))
    check(lambda x: torch.pixel_unshuffle(x, 2), x.mT[:, :, :2], dynamic="auto", again=(other[..., :2, :],))


def test_flat_scalars():
    check(lambda x: (x.flatten(), x.ravel(), x.flatten(0, -1) * 2), torch.tensor(1 + 2j))
