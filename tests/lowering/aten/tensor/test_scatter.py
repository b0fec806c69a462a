"""Writes by position and mask: the tensor with some elements replaced, added to, or reduced."""

import numpy as np
import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

from fxonnx.lowering.aten.tensor.scatter import index_add, index_put, scatter, slice_scatter

X = torch.randn(5, 6, 4)
OTHER = torch.randn(8, 9, 4)
DYNAMIC = {"x": {0: "n", 1: "m"}}
PAIR, COLUMN = torch.tensor([1, -2]), torch.tensor([[0], [-1]])


def put(x, indices, values, accumulate=False):
    """`x[indices] = values`, out of place."""
    return torch.ops.aten.index_put(x, indices, values, accumulate)


CASES = {
    "one axis": lambda x: put(x, (PAIR,), torch.tensor(7.0)),
    "behind": lambda x: put(x, (None, None, PAIR), x[..., :2] * 2),
    "adjacent": lambda x: (put(x, (PAIR, COLUMN), x[0, 0]), put(x, (None, PAIR, PAIR), torch.ones(2))),
    "separated": lambda x: put(x, (PAIR, None, PAIR), x[:2, :, 0] * 2),
    "added": lambda x: put(x, (torch.tensor([1, 1, 0]),), x[:3], accumulate=True),
    "everything": lambda x: put(x, (PAIR, PAIR, PAIR), torch.tensor([1.0, 2.0])),
    "assignment": lambda x: assigned(x),
    "scatter": lambda x: (x.scatter(2, PAIR.abs().expand(2, 3, 2), x), x.scatter(1, x.argsort(1), x)),
    "scatter value": lambda x: (
        x.scatter(0, PAIR.abs().expand(1, 1, 2), 2.0),
        x.scatter(2, PAIR.abs().expand(1, 1, 2), 3, reduce="add"),
    ),
    "scatter add": lambda x: x.scatter_add(1, torch.zeros_like(x, dtype=torch.int64), x),
    "index add": lambda x: (x.index_add(0, PAIR.abs(), x[:2], alpha=2), x.index_add(1, torch.tensor([0, 0]), x[:, :2])),
    "index copy": lambda x: (x.index_copy(0, PAIR.abs(), x[:2] * 2), x.index_copy(1, PAIR.abs(), x[:, :2] * 2)),
    "index fill": lambda x: (x.index_fill(1, PAIR, 3), x.index_fill(-1, PAIR, x[0, 0, 0])),
    "select scatter": lambda x: (x.select_scatter(x[0] * 2, 0, -1), x.select_scatter(x[:, 0] * 2, 1, 2)),
    "slice scatter": lambda x: (
        x.slice_scatter(x[:2] * 2, 0, 1, 3),
        x.slice_scatter(x[:, ::2] * 2, 1, step=2),
        x.slice_scatter(x[:, 2:], 1, 0, -2),
    ),
    "put": lambda x: (x.put(COLUMN, torch.ones(2, 1)), x.put(torch.tensor([3, 3]), torch.ones(2), accumulate=True)),
}


def assigned(x):
    """Writes as models write them."""
    y = x.clone()
    y[:, 1:3] = 0
    y[0, ..., 1] += 5
    y[y > 1] = 1
    y[:, PAIR] = y[:, 2:4].clone()
    return y


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


MASKED = {
    "a number": lambda x: put(x, (x > 0,), torch.tensor(3.0)),
    "a row": lambda x: put(x, (x[:, :, 0] > 0,), x[0, 0]),
    "a row of a middle axis": lambda x: put(x, (None, x[0, :, 0] > 0), x[0, 0]),
    "one per axis in front": lambda x: put(x, (None, x[0] > 0), x[:, 0, :1]),
    "as many as are selected": lambda x: put(x, (x > 0,), x[x > 0] * 2),
    "rows as selected": lambda x: put(x, (None, x[0, :, 0] > 0), x[:, x[0, :, 0] > 0] * 2),
    "added": lambda x: put(x, (x > 0,), torch.tensor(3.0), accumulate=True),
    "masked scatter": lambda x: (x.masked_scatter(x > 0, x * 2), x.masked_scatter(x[0] > 0, x * 2)),
}


@pytest.mark.parametrize("function", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_masks(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize("include_self", (True, False))
@pytest.mark.parametrize("reduce", ("sum", "prod", "mean", "amax", "amin"))
@pytest.mark.parametrize("dtype", (torch.float32, torch.int64))
def test_reductions(reduce, include_self, dtype):
    x, source = torch.tensor([5.0, -1.0, 2.0, 8.0]).to(dtype), torch.tensor([3.0, -7.0, 4.0, 9.0, 2.0]).to(dtype)
    places = torch.tensor([0, 2, 0, 2, 3])
    check(lambda x, s: x.scatter_reduce(0, places, s, reduce, include_self=include_self), x, source)
    if reduce != "sum":
        rows = torch.stack([x, x], 1), torch.stack([source, source], 1)
        check(lambda x, s: x.index_reduce(0, places, s, reduce, include_self=include_self), *rows)


def test_nan_spoils_an_extremum():
    x, source = torch.tensor([float("nan"), 1.0, 2.0]), torch.tensor([3.0, float("nan"), 0.0])
    for reduce in ("amax", "amin"):
        check(lambda x, s, reduce=reduce: x.scatter_reduce(0, torch.tensor([0, 1, 2]), s, reduce), x, source)


@pytest.mark.parametrize("dtype", (torch.bool, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64))
def test_any_dtype(dtype):
    x = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(dtype)
    check(
        lambda x: (
            put(x, (PAIR,), x[0]),
            x.scatter(0, torch.tensor([[0, 1]]), x),
            x.index_fill(0, PAIR, 1),
            x.select_scatter(x[:, 0], 1, 1),
        ),
        x,
    )
    if dtype is not torch.bool:
        check(
            lambda x: (
                x.index_add(0, PAIR.abs(), x[:2]),
                put(x, (torch.tensor([0, 0]),), x[1:], True),
                x.scatter_reduce(0, torch.tensor([[0, 1]]), x, "amax"),
            ),
            x,
        )


def test_scalars():
    check(
        lambda x: (
            x.scatter(0, torch.tensor(0), torch.tensor(5.0)),
            x.index_add(0, torch.tensor([0]), x),
            x.index_fill(0, torch.tensor(0), 2),
        ),
        torch.tensor(3.0),
    )


def test_a_mask_is_one_where():
    assert operators(check(lambda x, m: put(x, (m,), torch.tensor(1.0)), X, X > 0)) == ["Where"]


def test_bodies_run_eagerly():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    places = np.array([0, 2])
    for found, expected in (
        (eager(index_put, x, [places], np.zeros(2, np.float32)), [[0, 0], [2, 3], [0, 0]]),
        (eager(index_add, x, 0, places, np.ones((2, 2), np.float32)), [[1, 2], [2, 3], [5, 6]]),
        (eager(scatter, x, 0, places[None], np.ones((1, 2), np.float32), "add"), [[1, 1], [2, 3], [4, 6]]),
        (eager(slice_scatter, x, np.zeros((1, 2), np.float32), 0, 1, 2), [[0, 1], [0, 0], [4, 5]]),
    ):
        assert np.array_equal(found, np.array(expected, np.float32))


@pytest.mark.parametrize(
    "name",
    [
        "index_put",
        "index_add",
        "index_copy",
        "index_fill",
        "scatter",
        "scatter_add",
        "put",
        "masked_scatter",
        "slice_scatter",
        "select_scatter",
    ],
)
def test_samples_of_torch(name):
    check_samples(name, torch.float32)
