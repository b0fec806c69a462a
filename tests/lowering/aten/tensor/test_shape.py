"""Views, axes and repetition: values move, none changes."""

import numpy as np
import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

import fxonnx
from fxonnx import errors
from fxonnx.lowering.aten.tensor.shape import flatten, repeat, unflatten, view

X = torch.randn(3, 4, 6)
OTHER = torch.randn(5, 7, 6)
DYNAMIC = {"x": {0: "n", 1: "m"}}

CASES = {
    "view to a matrix": lambda x: x.view(-1, 6),
    "view with sizes": lambda x: x.view(x.shape[0], x.shape[1], 2, 3).transpose(1, 2),
    "view of products": lambda x: x.reshape(x.shape[0] * x.shape[1], 3, -1),
    "view of a product of sizes": lambda x: x.reshape(-1, x.shape[1] * 6),
    "view as": lambda x: x.flatten().view_as(x),
    "flatten": lambda x: (x.flatten(), x.flatten(1), x.flatten(0, 1), x.flatten(-2)),
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "ravel": lambda x: x.ravel(),
    "permute": lambda x: x.permute(2, 0, -2),
    "transposed": lambda x: (x.mT, x.transpose(0, -1), x.swapaxes(0, 1), x[0].t(), x[0].T, x.adjoint()),
    "movedim": lambda x: (x.movedim(0, -1), x.movedim((0, 1), (1, 2)), x.moveaxis(-1, 0)),
    "squeeze": lambda x: (x[:, :1].squeeze(), x[:, :1].squeeze(1), x[:, :1].squeeze((1, 2)), x.squeeze(0)),
    "unsqueeze": lambda x: (x.unsqueeze(-1), x.unsqueeze(0), x[:, None, ..., None]),
    "atleast": lambda x: (
        torch.atleast_1d(x),
        torch.atleast_2d(x[0, 0]),
        torch.atleast_3d(x[0]),
        *torch.atleast_3d(x[0, 0], x),
    ),
    "expand": lambda x: (x[:, None].expand(-1, 5, -1, -1), x[:, :1].expand_as(x), x[:1].expand(2, *x.shape[1:])),
    "broadcast": lambda x: (torch.broadcast_to(x, (2, *x.shape)), *torch.broadcast_tensors(x, x[0])),
    "repeat": lambda x: (x.repeat(2, 1, 3), x.repeat(2, 1, 1, 1), x.tile((2, 1)), x.repeat(1, x.shape[0], 1)),
    "repeat interleave": lambda x: (x.repeat_interleave(2, 1), x.repeat_interleave(3)),
    "cartesian product": lambda x: torch.cartesian_prod(x[0, 0], x[0, :, 0]),
    "pixel shuffles": lambda x: (
        torch.pixel_shuffle(x[:, :, None].expand(-1, -1, 8, -1).mT[:, :, :4].transpose(1, 2), 2),
    ),
    "pixel unshuffle": lambda x: torch.pixel_unshuffle(torch.cat([x, x], 1)[:, None], 2),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize("dtype", (torch.bool, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64))
def test_any_dtype(dtype):
    check(
        lambda x: (x.reshape(2, -1).t(), x[:, None].expand(-1, 2, -1), x.repeat(1, 2), x.repeat_interleave(2, 0)),
        torch.ones(4, 2).to(dtype),
    )


def test_scalars_and_nothing():
    check(
        lambda x: (x.flatten(), x.squeeze(), x.expand(2), x.reshape(1, 1), x.repeat(3), x.t(), torch.atleast_3d(x)),
        torch.tensor(2.0),
    )
    check(
        lambda x: (x.reshape(0, 5), x.flatten(), x.expand(2, -1, -1), x.transpose(0, 1), x.repeat(2, 3)),
        torch.zeros(0, 4),
    )


@pytest.mark.parametrize("opset", [None, 14, 13])
def test_a_shape_that_is_computed_may_have_zeros(opset):
    again = torch.randn(3, 0, 3) if opset != 13 else torch.randn(3, 2, 3)  # before 14, a 0 copied a dim
    sizes = {"x": {0: "n", 1: "m", 2: "n"}}
    check(lambda x: x.reshape(-1, x.shape[-1]), torch.randn(4, 5, 4), dynamic=sizes, again=(again,), opset=opset)


@pytest.mark.parametrize("optimize", [False, True])
def test_a_shape_of_a_slice_that_is_empty_at_the_example(optimize):
    """x[-2:2] has two rows of two and of three, and none of four."""

    def model(x):
        part = x[-2:2]
        return part.flatten(1), part.flatten(), part.reshape(-1, 3), part.unflatten(2, (3, 1)), x[:, -2:2].flatten(0, 1)

    compiled = fxonnx.compile(model, torch.randn(4, 4, 3), dynamic_shapes={"x": {0: "n", 1: "m"}}, optimize=optimize)
    for n, m in [(4, 4), (3, 5), (2, 4), (8, 2), (1, 3)]:
        x = torch.randn(n, m, 3)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float16, torch.int32, torch.float64, torch.int64])
def test_bits_under_another_dtype(dtype):
    bits = torch.arange(-96, 96, dtype=torch.int8).reshape(2, 96)
    check(lambda x: [x.view(each) for each in (torch.uint8, torch.int16, torch.float32, torch.int64)],
          bits.view(dtype), dynamic={"x": {0: "n"}}, again=(bits[1:].view(dtype),), opset=26)  # fmt: skip


def test_resize_takes_the_first_elements():
    check(lambda x: [x.clone().resize_(3, 4), x.clone().resize_(5)], torch.arange(12.0))
    with pytest.raises(errors.UnsupportedArguments, match="uninitialized"):
        check(lambda x: x.clone().resize_(20), torch.arange(12.0))


def test_one_operator_is_enough():
    compiled = check(lambda x: x.view(x.shape[0], x.shape[1], 2, 3), X, dynamic=DYNAMIC, again=(OTHER,))
    assert operators(compiled) == ["Reshape"]
    compiled = check(lambda x: x[:, None].expand(-1, 5, -1, -1), X, dynamic=DYNAMIC, again=(OTHER,))
    assert operators(compiled) == ["Unsqueeze", "Expand"]


def test_bodies_run_eagerly():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(eager(view, x, [4, -1]), x.reshape(4, 6))
    np.testing.assert_array_equal(eager(flatten, x, 1), x.reshape(2, 12))
    np.testing.assert_array_equal(eager(unflatten, x, -1, [2, 2]), x.reshape(2, 3, 2, 2))
    np.testing.assert_array_equal(eager(repeat, x, [2, 1, 1]), np.tile(x, (2, 1, 1)))


@pytest.mark.parametrize(
    "name",
    [
        "unflatten",
        "movedim",
        "squeeze.multiple",
        "expand",
        "repeat",
        "tile",
        "atleast_3d",
        "view_as",
        "nn.functional.pixel_unshuffle",
    ],
)
def test_samples_of_torch(name):
    check_samples(name.partition(".multiple")[0], torch.float32)
