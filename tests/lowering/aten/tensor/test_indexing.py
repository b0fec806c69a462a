"""Indexing by positions and masks; how many elements a mask selects only the running model knows."""

from itertools import product

import numpy as np
import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

import fxonnx
from fxonnx import errors
from fxonnx.lowering.aten.tensor.indexing import gather, index, index_select, take

X = torch.randn(5, 6, 4, 7)
OTHER = torch.randn(8, 9, 4, 7)
DYNAMIC = {"x": {0: "n", 1: "m"}}
PAIR, COLUMN, TRIPLE = torch.tensor([1, -2]), torch.tensor([[0], [-1]]), torch.tensor([0, 3, -1])

CASES = {
    "one": lambda x: (x[PAIR], x[:, PAIR], x[..., COLUMN], x[torch.tensor(1)]),
    "int32": lambda x: (x[:, PAIR.int()], x[PAIR.int(), :, COLUMN.int()]),
    "adjacent in front": lambda x: (x[PAIR, PAIR], x[PAIR, COLUMN]),
    "adjacent behind": lambda x: (x[:, PAIR, PAIR], x[:, COLUMN, TRIPLE], x[:, :, COLUMN, PAIR]),
    "separated": lambda x: (x[PAIR, :, PAIR], x[:, COLUMN, :, PAIR], x[PAIR, :, COLUMN, PAIR]),
    "with a number": lambda x: (x[0, :, PAIR], x[:, torch.tensor(1), :, PAIR], x[..., 1, PAIR]),
    "with slices and new axes": lambda x: (x[1:, PAIR, None], x[None, :, PAIR, ::2], x[PAIR, 1:3, 0]),
    "everything": lambda x: x[PAIR, PAIR, PAIR, PAIR],
    "rows": lambda x: x[torch.arange(x.shape[0]), torch.arange(x.shape[0]) // 2],
    "rows and columns": lambda x: x[torch.arange(x.shape[0])[:, None], torch.arange(x.shape[1])],
    "no element": lambda x: x[torch.zeros(0, dtype=torch.int64)],
    "index select": lambda x: (x.index_select(1, PAIR.abs()), x.index_select(-1, TRIPLE.abs())),
    "gather": lambda x: (x.gather(2, TRIPLE.abs().expand(2, 3, 3).unsqueeze(-1)), x.argsort(1).gather(1, x.argsort(1))),
    "take": lambda x: x.take(COLUMN),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


def test_taken_along_an_axis():
    check(
        lambda x: (x.take_along_dim(x.argmax(1, keepdim=True), 1), x.take_along_dim(TRIPLE.abs().view(1, 1, 3, 1), 2)),
        X,
    )
    check(lambda x: x.take_along_dim(PAIR.abs()), X)


MASKED = {
    "all axes": lambda x: x[x > 0],
    "first axis": lambda x: x[x[:, 0, 0, 0] > 0],
    "middle axis": lambda x: x[:, x[0, :, 0, 0] > 0],
    "first axes": lambda x: x[x[:, :, 0, 0] > 0],
    "middle axes": lambda x: x[:, x[0, :, :, 0] > 0],
    "with positions": lambda x: x[:, :, torch.tensor([True, False, True, False]), torch.tensor(-2)],
    "separated": lambda x: x[torch.tensor(-2), :, torch.tensor([True, False, False, True])],
    "masked select": lambda x: (x.masked_select(x > 0), x.masked_select(x[0, 0] > 0)),
    "nonzero": lambda x: ((x > 0).nonzero(), x[0].relu().argwhere()),
    "nonzero by axis": lambda x: (x > 0).nonzero(as_tuple=True),
    "nothing selected": lambda x: x[x > 100],
}


@pytest.mark.parametrize("function", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_masks(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


def test_a_computed_mask_and_index():
    x, mask, places = torch.randn(4, 5), torch.tensor([True, False, True, True]), torch.tensor([4, -5, 0])
    check(lambda x, mask, places: (x[mask], x[mask, places], x[places.abs() // 2, :2]), x, mask, places)


def test_scalars():
    check(
        lambda x: (x.index_select(0, torch.tensor([0])), x.gather(0, torch.tensor(0)), x.take(torch.tensor([0, 0]))),
        torch.tensor(3.0),
    )


@pytest.mark.parametrize("dtype", (torch.bool, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64))
def test_any_dtype(dtype):
    x = torch.tensor([[0, 1], [2, 3], [4, 5]]).to(dtype)
    check(lambda x: (x[PAIR], x[PAIR, PAIR], x[x.bool()], x.gather(1, PAIR.abs()[None] - 1), x.nonzero()), x)


@pytest.mark.parametrize("right", (False, True))
def test_buckets(right):
    values, bounds = torch.tensor([[0.5, 1.0, float("nan")], [3.0, -9.0, float("inf")]]), torch.tensor([-1.0, 1.0, 3.0])
    check(lambda v, b: (torch.bucketize(v, b, right=right), torch.bucketize(v, b, out_int32=True)), values, bounds)
    check(lambda v, b: torch.searchsorted(b, v, right=right), values, torch.stack([bounds, bounds + 1]))


@pytest.mark.parametrize("right", (False, True))
def test_nan_among_the_boundaries_is_met_as_in_a_binary_search(right):
    def model(x):
        bounds = x.sort()[0]
        return torch.searchsorted(bounds, x, right=right), torch.bucketize(0.5, bounds[0], right=right)

    rows = torch.linspace(0.1, 0.9, 9).repeat(9, 1).masked_fill(torch.ones(9, 9).bool().triu(), float("nan"))
    for again in (rows[:, :6], rows[:, :1]):
        check(model, rows, again=(again,), dynamic={"x": {1: "n"}})
    check(lambda x: torch.bucketize(x, rows[4]), rows)


def test_memory_is_read_only_where_the_value_holds_it():
    check(lambda x: x.as_strided((3, 2), (2, 5), 1), torch.randn(4, 5))
    check(lambda x: x.t().as_strided((3, 2), (2, 5), 1), torch.randn(4, 5))
    check(lambda x: torch.as_strided_scatter(x, torch.ones(2, 2), (2, 2), (5, 1), 1), torch.randn(4, 5))


VIEWS = {
    "a row": lambda x: x[1],
    "rows": lambda x: x[1:][:2],
    "a column": lambda x: x[:, 1:2],
    "a diagonal": lambda x: x.diagonal(),
    "a part": lambda x: x.split(1)[2],
    "of all": lambda x: x.unbind(1)[2].unsqueeze(0),
    "again and again": lambda x: x[:1].expand(3, 5),
    "of a computed one": lambda x: (x * 2).t()[2],
    "a reshape": lambda x: x.reshape(5, -1)[1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_memory_of_a_view_is_that_of_the_whole(name):
    view, dynamic = VIEWS[name], {"x": {0: "n"}}
    for strided in (
        lambda x: view(x).as_strided((4,), (2,)),
        lambda x: view(x).as_strided((2, 3), (5, 1), 0),
        lambda x: view(x).as_strided(size=(2, 2), stride=(1, 2), storage_offset=3),
    ):
        check(strided, torch.randn(4, 5), dynamic=dynamic)


def test_memory_of_a_view_that_was_written_to():
    def through_another(x):
        whole = x.clone()
        row = whole[1]
        whole[2] = 7
        row.mul_(3)
        return row.as_strided((12,), (1,), 0), whole

    check(through_another, torch.randn(4, 5), dynamic={"x": {0: "n"}})


def overlapping(x):
    """Chunks of 4 rows, each of which begins in the middle of the one before."""
    parts = x.view(x.shape[0], x.shape[1] // 4, 4, x.shape[2])
    (batch, count, *rest), (outer, inner, *strides) = parts.shape, parts.stride()
    return parts.as_strided((batch, count * 2 - 1, *rest), (outer, inner // 2, *strides))


def test_memory_of_a_size_that_is_a_multiple():
    compiled = fxonnx.compile(overlapping, torch.randn(2, 8, 3), dynamic_shapes={"x": {0: "b", 1: "n"}})
    for sizes in [(2, 8), (3, 16), (1, 4), (5, 12)]:
        x = torch.randn(*sizes, 3)
        torch.testing.assert_close(compiled(x), overlapping(x))


def test_one_operator_is_enough():
    assert operators(check(lambda x: x[:, PAIR], X, dynamic=DYNAMIC, again=(OTHER,))) == ["Gather"]
    assert operators(check(lambda x, m: x[:, m], torch.randn(2, 3), torch.tensor([True, False, True]))) == ["Compress"]


def test_bodies_run_eagerly():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    places = np.array([2, 0])
    for found, expected in (
        (eager(index, x, [places]), x[places]),
        (eager(index, x, [places, places]), x[places, places]),
        (eager(index, x, [None, np.array([True, False, True, False])]), x[:, [0, 2]]),
        (eager(index_select, x, 1, places), x[:, places]),
        (eager(gather, x, 1, places[:, None]), np.take_along_axis(x[:2], places[:, None], 1)),
        (eager(take, x, places), x.take(places)),
    ):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "name",
    [
        "__getitem__",
        "index_select",
        "gather",
        "take",
        "take_along_dim",
        "masked_select",
        "argwhere",
        "searchsorted",
        "repeat_interleave",
        "_unsafe_masked_index",
    ],
)
def test_samples_of_torch(name):
    check_samples(name, torch.float32)


def test_masks_of_which_one_selects_one_and_another_none() -> None:
    """Then nothing is written."""

    def written(m: torch.Tensor, n: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        y = y.clone()
        y[m, n] = 0.0
        return y

    y = torch.ones(2, 2)
    compiled = fxonnx.compile(written, (torch.tensor([True, False]), torch.tensor([True, True]), y))
    for each in ((True, False), (False, False), (True, True)):
        for other in ((True, False), (False, False), (True, True)):
            if 1 in (sum(each), sum(other)) or sum(each) == sum(other):
                masks = torch.tensor(each), torch.tensor(other)
                assert torch.equal(compiled(*masks, y), written(*masks, y))


@pytest.mark.parametrize(
    "place", [lambda y, m, n: y[m, n], lambda y, m, n: y.unsqueeze(1)[m, :, n] + 1], ids=["beside", "apart"]
)
def test_masks_read_as_many_as_one_selects_where_the_other_selects_one(place) -> None:
    """Whatever the example's counts are; others than 1 that differ are refused, as by torch."""
    y, rows, columns = torch.randn(3, 4), ("110", "100", "000", "111"), ("0110", "0010", "0000", "1110")
    masks = [[torch.tensor([each == "1" for each in name]) for name in names] for names in (rows, columns)]
    for first in ((0, 0), (1, 3), (2, 1)):
        compiled = fxonnx.compile(place, (y, masks[0][first[0]], masks[1][first[1]]))
        for row, column in product(*masks):
            if 1 in (row.sum(), column.sum()) or row.sum() == column.sum():
                assert torch.equal(compiled(y, row, column), place(y, row, column))
            else:
                with pytest.raises(errors.Error):
                    compiled(y, row, column)


def test_places_beside_a_mask_that_selects_one() -> None:
    y, places = torch.randn(4, 5), torch.tensor([0, 2, 4])
    masks = [torch.tensor(each, dtype=torch.bool) for each in ([1, 0, 1, 1], [0, 0, 1, 0])]
    for example in masks:
        compiled = fxonnx.compile(lambda y, mask: y[mask, places], (y, example))
        assert all(torch.equal(compiled(y, mask), y[mask, places]) for mask in masks)
