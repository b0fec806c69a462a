"""Counting: how often numbers occur, and how many elements or points lie between edges."""

import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.support import check


def test_counting():
    check(lambda x: (x.bincount(), x.bincount(minlength=9), x.bincount(torch.ones(5))), torch.tensor([1, 4, 1, 0, 4]))
    check(lambda x: x.bincount(minlength=3), torch.zeros(0, dtype=torch.int64))
    for weights in (torch.ones(0), torch.ones(0).half()):
        check(lambda x, w: x.bincount(w, minlength=3), torch.zeros(0, dtype=torch.int64), weights)
    check(lambda x, w: x.bincount(w), torch.ones(4, dtype=torch.int64), torch.ones(4),
          dynamic={"x": {0: "n"}, "w": {0: "n"}}, again=(torch.ones(0, dtype=torch.int64), torch.ones(0)))  # fmt: skip
    check(lambda x: (x.histc(4, -1, 2), x.histc(5), x[:1].histc(3)), torch.tensor([-1.5, -1.0, 0.3, 2.0, 0.29, 7.0]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
def test_rows_of_a_sparse_matrix(dtype):
    rows = torch.tensor([0, 0, 2, 2, 5], dtype=dtype)
    starts = torch._convert_indices_from_coo_to_csr
    check(lambda x: (starts(x, 7), starts(x, 6, out_int32=True)), rows, dynamic={"x": {0: "n"}}, again=(rows[:0],))
    check(lambda x: starts(x, 0), rows[:0])


def test_samples_of_torch():
    check_samples("histc", torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_histograms(dtype):
    x, weight = torch.randn(5, 10).to(dtype), torch.rand(5, 10).to(dtype)
    check(lambda x: torch.histogram(x, 7), x)
    check(lambda x: x.histogram(), x)
    check(lambda x: torch.histogram(x, 5, range=(-1.0, 1.0)), x)
    check(lambda x, weight: torch.histogram(x, 5, weight=weight, density=True), x, weight)
    check(torch.histogram, x, torch.tensor([-2.0, -1.0, 0.0, 0.5, 3.0]).to(dtype))
    check(lambda x: torch.histogram(x, 4), torch.ones(3).to(dtype))


def histogram_of_points(x, bins, **options):
    hist, edges = torch.histogramdd(x, bins, **options)
    return hist, *edges


def test_points_in_boxes():
    x, weight = torch.randn(4, 5, 2), torch.rand(4, 5)
    check(lambda x: histogram_of_points(x, [3, 2]), x, dynamic={"x": {0: "n"}}, again=(torch.randn(7, 5, 2),))
    check(lambda x: histogram_of_points(x, 4, range=[-1.0, 1.0, 0.0, 2.0]), x)
    check(lambda x, weight: histogram_of_points(x, [3, 2], weight=weight, density=True), x, weight)
    check(lambda x, *edges: histogram_of_points(x, edges), x, torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.0, 1.0]))
    check(lambda x: histogram_of_points(x, [2, 2]), x[:0], opset=13)


@pytest.mark.parametrize("density", [False, True])
def test_a_histogram_of_nothing_is_between_0_and_1(density):
    sizes, again = {"x": {0: "n"}}, (torch.rand(0),)
    check(lambda x: torch.histogram(x, 4, density=density), torch.rand(5), dynamic=sizes, again=again)


def test_histograms_between_edges_that_are_not_sorted():
    """Counted as torch's search by halves finds them."""
    torch.manual_seed(1)
    x = torch.randn(40, 2) * 4
    edges = [torch.tensor([-8.5, -1.8, -4.3, 2.4]), torch.tensor([-4.0, 3.3, -3.9, 1.0, 2.8])]
    check(lambda x: torch.histogramdd(x, edges)[0], x)
    check(lambda x, ends: torch.histogram(x, ends), x[:, 0], torch.tensor([-5.0, 2.0, 1.0, 4.0]))


def test_histograms_between_as_many_edges_as_there_are():
    x, edges = torch.randn(40), torch.tensor([-2.0, -1.0, 0.0, 0.5, 3.0])
    check(torch.histogram, x, edges, dynamic=[{0: "n"}, {0: "m"}], again=(x[:9], edges[1:]))
