"""Norms, distances, determinants, powers."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.database import samples
from tests.lowering.eager import eager
from tests.lowering.support import check

import fxonnx
from fxonnx import errors
from fxonnx.lowering.aten.math.linalg import linalg_cross, norm

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


def test_norms_of_matrices():
    def norms(x):
        matrix = torch.linalg.matrix_norm
        return (
            torch.linalg.norm(x),
            torch.linalg.norm(x, "fro"),
            torch.linalg.norm(x, 1),
            torch.linalg.norm(x, 1, dim=0),
            matrix(x, math.inf, keepdim=True),
            matrix(x, -1),
            torch.norm(x, dtype=torch.float64),
        )

    check(norms, torch.randn(3, 4))


@pytest.mark.parametrize("order", ["nuc", 2])
def test_norms_by_singular_values_are_refused(order):
    with pytest.raises(errors.UnsupportedArguments, match="singular values"):
        fxonnx.compile(lambda x: torch.linalg.matrix_norm(x, order), torch.randn(3, 4))


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


@pytest.mark.parametrize("order", [1, float("inf")])
def test_norms_of_empty_matrices_are_zero(order):
    check(lambda x: torch.linalg.matrix_norm(x, order), torch.ones(3, 0, 0))


def test_pdist():
    check(F.pdist, torch.randn(5, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32], ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (5, 3)], ids=str)
def test_trace(dtype, shape):
    check(torch.trace, torch.randint(-9, 9, shape).to(dtype))


def well_conditioned(*shape):
    """Matrices that are not close to singular."""
    return torch.randn(shape) + 4 * torch.eye(shape[-1])


def test_determinants():
    check(torch.linalg.det, well_conditioned(2, 3, 3))
    check(torch.linalg.slogdet, -well_conditioned(2, 3, 3))
    check(torch.logdet, well_conditioned(3, 3))


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_inverse(size):
    check(torch.linalg.inv, well_conditioned(2, size, size), rtol=1e-4, atol=1e-5)


def test_larger_inverses_are_refused():
    with pytest.raises(errors.UnsupportedArguments, match="up to 3 rows"):
        fxonnx.compile(torch.linalg.inv, well_conditioned(5, 5))


@pytest.mark.parametrize("power", [0, 1, 2, 5, -2])
def test_matrix_power(power):
    check(lambda x: torch.linalg.matrix_power(x, power), well_conditioned(2, 3, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["linalg.norm", "linalg.vector_norm", "linalg.cross", "dist"])
def test_samples(name):
    for function, tensors in samples(name, torch.float32, 5):
        check(function, *tensors, rtol=1e-4, atol=1e-4)


def test_bodies_run_eagerly():
    x = RANDOM.random((4, 3), dtype=np.float32)
    np.testing.assert_allclose(eager(norm, x, 2, [1]), np.linalg.norm(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(eager(linalg_cross, x, x), np.zeros((4, 3)), atol=1e-6)
