"""Joining and cutting: sizes and bounds may be symbolic."""

import numpy as np
import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

import fxonnx
from fxonnx import errors
from fxonnx.lowering.aten.tensor.joining import cat, diff, flip, roll, select, slice_, unfold

X = torch.randn(5, 8, 6)
OTHER = torch.randn(7, 11, 6)
DYNAMIC = {"x": {0: "n", 1: "m"}}

CASES = {
    "cat": lambda x: torch.cat([x, x.double(), x.long()], -1),
    "cat with nothing": lambda x: torch.cat([torch.zeros(0), x, x[..., :0], x], 2),
    "stack": lambda x: (torch.stack([x, x], -1), torch.stack([x, x * 2])),
    "hstack and others": lambda x: (
        torch.hstack([x, x]),
        torch.vstack([x[0, 0], x[0, 0]]),
        torch.dstack([x[0], x[0]]),
        torch.column_stack([x[0, 0], x[0, 0]]),
    ),
    "slice": lambda x: (x[:, 1:], x[:, -2:], x[..., ::2], x[1:3, :-1], x[:, :, 4:100]),
    "slice to a size": lambda x: x[..., : x.shape[1] - 1, :],
    "slice from a size": lambda x: x.flatten(0, 1)[x.shape[1] :],
    "narrow": lambda x: (x.narrow(1, 1, 2), x.narrow(-1, -3, 2)),
    "select": lambda x: (x[0], x[:, -1], x[..., -2]),
    "split": lambda x: (*x.split(4, -1), *x.split([1, 2, 3], 2)),
    "chunk": lambda x: (*x.chunk(2, -1), *x.chunk(4, 2)),
    "tensor split": lambda x: (*x.tensor_split(4, -1), *x.tensor_split((1, 4), 2), *x.tensor_split((-1,), 2)),
    "unbind": lambda x: x.unbind(-1),
    "split by name": lambda x: (
        *torch.dsplit(x, 2),
        *torch.dsplit(x, (1, 3)),
        *torch.hsplit(x[0], 3),
        *torch.vsplit(x.mT[0], 2),
    ),
    "roll": lambda x: (x.roll((1, -2), (0, 1)), x.roll(3), x.roll(-1, 2), x.roll(9, 0)),
    "flip": lambda x: (x.flip(0, -1), x.fliplr(), x.flipud()),
    "rot90": lambda x: tuple(x.rot90(turns, (0, 2)) for turns in range(-1, 4)),
    "unfold": lambda x: (x.unfold(1, 3, 2), x.unfold(-1, 2, 2)),
    "diff": lambda x: (x.diff(), x.diff(2, 0), x.diff(dim=1, prepend=x[:, :1]), (x > 0).diff()),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize("dtype", (torch.bool, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64))
def test_any_dtype(dtype):
    x = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]]).to(dtype)
    check(lambda x: (torch.cat([x, x]), x[1:3], x[:, 1], *x.split(3), x.roll(1, 0), x.flip(1), x.unfold(0, 2, 1)), x)


def test_parts_of_a_dynamic_axis():
    check(lambda x: x.chunk(2), torch.randn(6, 2), dynamic={"x": {0: "n"}}, again=(torch.randn(9, 2),))


@pytest.mark.parametrize("length", [11, 5])
def test_differences_of_differences_of_a_dynamic_axis(length):
    check(
        lambda x: x.diff(n=6), torch.randn(3, 9), dynamic={"x": {0: "n", 1: "m"}}, again=(torch.randn(2, length),)
    )


def test_an_index_that_is_a_size():
    check(lambda x: x[x.shape[1] - 1], torch.randn(6, 3), dynamic={"x": {1: "m"}}, again=(torch.randn(6, 5),))


def test_rolled_further_than_the_axis_is_long():
    check(lambda x: x.roll(5, 0), torch.randn(7, 2), dynamic={"x": {0: "n"}}, again=(torch.randn(3, 2),))


def test_qkv_is_one_split():
    assert operators(check(lambda x: x.unbind(-1), torch.randn(2, 3))).count("Split") == 1
    assert operators(check(lambda x: x.split([1, 2], -1), torch.randn(2, 3))) == ["Split"]


def test_as_many_results_as_a_dynamic_size_says():
    with pytest.raises(errors.Error):
        fxonnx.compile(lambda x: x.unbind(0), (torch.randn(3, 2),), dynamic_shapes={"x": {0: "n"}})


def test_bodies_run_eagerly():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(eager(cat, [x, x], 1), np.concatenate([x, x], 1))
    np.testing.assert_array_equal(eager(slice_, x, 1, 1, None, 2), x[:, 1::2])
    np.testing.assert_array_equal(eager(select, x, 1, -1), x[:, -1])
    np.testing.assert_array_equal(eager(roll, x, [1], [0]), np.roll(x, 1, 0))
    np.testing.assert_array_equal(eager(flip, x, [1]), x[:, ::-1])
    np.testing.assert_array_equal(eager(unfold, x, 1, 2, 1), np.lib.stride_tricks.sliding_window_view(x, 2, 1))
    np.testing.assert_array_equal(eager(diff, x), np.diff(x))


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "stack",
        "dstack",
        "column_stack",
        "split",
        "chunk",
        "hsplit",
        "vsplit",
        "roll",
        "rot90",
        "diff",
        "unfold",
        "kron",
    ],
)
def test_samples_of_torch(name):
    check_samples(name, torch.float32)


@pytest.mark.parametrize("function", [torch.hstack, torch.vstack, torch.dstack, torch.column_stack])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.int64], ids=str)
def test_numbers_without_dims_count_as_much_where_they_get_some(function, dtype):
    check(lambda x, y: function([x, y]), torch.tensor(2, dtype=dtype), torch.ones(1))
    check(lambda x, y: function([x, y]), torch.tensor(2, dtype=dtype), torch.ones(1, dtype=torch.int32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int64, torch.complex64], ids=str)
def test_chunks_beside_each_other(dtype):
    x, y = ((3 * torch.randn(shape)).to(dtype) for shape in ((2, 5, 3), (2, 6, 2)))
    check(lambda x, y: (torch._chunk_cat([x, y], 1, 4), torch._chunk_cat([x, y], -2, 2)), x, y)
    check(lambda x: torch._chunk_cat([x[:, 0], x[:, 1]], 0, 3), x, dynamic={"x": {0: "n"}}, again=(torch.cat([x, x]),))
