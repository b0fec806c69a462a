"""Norms of vectors, distances, cross products."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.database import samples
from tests.lowering.eager import eager
from tests.lowering.support import check

import fxonnx
from fxonnx.lowering.aten.math.vectors import linalg_cross, norm

torch.manual_seed(0)
RANDOM = np.random.default_rng(0)
ORDERS = [0, 1, 2, 3.5, math.inf, -math.inf]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("shape", [(3, 4), ()], ids=str)
def test_vector_norm(order, shape):
    def norms(x):
        vectors = torch.linalg.vector_norm
        return vectors(x, order), vectors(x, order, dim=-1, keepdim=True), torch.norm(x, order, dim=-1)

    check(norms, torch.randn(shape))


@pytest.mark.parametrize("order", [0, 1, 2, 3.5, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64], ids=str)
def test_sums_of_powers(order, dtype):
    power_sum = torch.ops.aten.linalg__powsum
    x = torch.randn(3, 4).to(dtype)
    check(lambda x: (power_sum(x, order), power_sum(x, order, [-1], True)), x)
    check(lambda x: power_sum(x, order, dtype=torch.float64), x.real)


DISTANCES = {
    "cosine": (lambda x, y: F.cosine_similarity(x, y, dim=1), (2, 3, 4), (2, 3, 4)),
    "cosine broadcast": (lambda x, y: F.cosine_similarity(x, y, dim=-1), (2, 3, 4), (4,)),
    "cosine along a broadcast axis": (lambda x, y: F.cosine_similarity(x, y, dim=-2), (1, 2, 3), (2, 1, 3)),
    "cosine of scalars": (lambda x, y: F.cosine_similarity(x, y, dim=0), (), ()),
    "pairwise": (F.pairwise_distance, (2, 4), (2, 4)),
    "dist": (lambda x, y: torch.dist(x, y, 3), (5, 4), (4,)),
    "cross": (lambda x, y: torch.cross(x, y, dim=1), (2, 3, 4), (2, 3, 4)),
    "cross broadcast": (torch.linalg.cross, (4, 3), (1, 3)),
}


@pytest.mark.parametrize(("function", "shapes"), [(f, s) for f, *s in DISTANCES.values()], ids=DISTANCES)
def test_distances(function, shapes):
    check(function, *(torch.randn(shape) for shape in shapes))


def test_distances_of_integers_wrap_around():
    check(F.pairwise_distance, torch.tensor([[1, 2, 3]], dtype=torch.uint8), torch.tensor([[5, 1, 7]]).byte())


def test_pdist():
    check(F.pdist, torch.randn(5, 4))
    check(lambda x: F.pdist(x, 1.0), torch.randn(5, 4), dynamic={"x": {0: "n"}}, again=(torch.randn(9, 4),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32], ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (5, 3)], ids=str)
def test_trace(dtype, shape):
    check(torch.trace, torch.randint(-9, 9, shape).to(dtype))


@pytest.mark.parametrize("name", ["linalg.norm", "linalg.vector_norm", "linalg.cross", "dist"])
def test_samples(name):
    for function, tensors in samples(name, torch.float32, 5):
        check(function, *tensors, rtol=1e-4, atol=1e-4)


def test_bodies_run_eagerly():
    x = RANDOM.random((4, 3), dtype=np.float32)
    np.testing.assert_allclose(eager(norm, x, 2, [1]), np.linalg.norm(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(eager(linalg_cross, x, x), np.zeros((4, 3)), atol=1e-6)


@pytest.mark.parametrize("other", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(), (4,)], ids=str)
def test_cosine_similarity_of_dtypes_that_differ(other, shape):
    """A number of no dims counts as a tensor of some."""
    x, y = torch.tensor([1, 2, -1, 0.5], dtype=torch.float16), torch.full(shape, 2, dtype=other)
    for pair in ((x, y), (y, x)):
        found = fxonnx.compile(lambda a, b: F.cosine_similarity(a, b, dim=0), pair)(*pair)
        torch.testing.assert_close(found, F.cosine_similarity(*pair, dim=0), rtol=1e-2, atol=0)
