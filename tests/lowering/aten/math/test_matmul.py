"""Products: every rank, every spelling, einsum, distances."""

import numpy as np
import pytest
import torch
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from torch import nn

from fxonnx.lowering.aten.math.matmul import addmm, cdist, linear, matmul

torch.manual_seed(0)
RANDOM = np.random.default_rng(0)


def normal(*shapes):
    """A tensor of normal numbers for each shape."""
    return [torch.randn(shape) for shape in shapes]


LAYERS = {
    "matrix": ((3, 4), ["Gemm"]),
    "batch": ((2, 3, 4), ["MatMul", "Add"]),
    "vector": ((4,), ["MatMul", "Add"]),
    "empty": ((0, 4), ["Gemm"]),
}


@pytest.mark.parametrize(("shape", "expected"), LAYERS.values(), ids=LAYERS)
def test_linear(shape, expected):
    compiled = check(nn.Linear(4, 5).eval(), *normal(shape))
    assert [op for op in operators(compiled, "lower") if op != "Transpose"] == expected


def test_linear_never_copies_its_weight():
    layer = nn.Linear(64, 64).eval()
    compiled = check(layer, *normal((2, 3, 64)), dynamic={"input": {0: "n", 1: "s"}}, again=tuple(normal((3, 5, 64))))
    assert "Transpose" not in operators(compiled)
    (weight,) = (value.data for value in compiled.stages[-1].graph.constants() if value.shape == (64, 64))
    assert np.shares_memory(weight.array(), layer.weight.detach().numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int32, torch.int8], ids=str)
def test_linear_of_any_dtype(dtype):
    x, weight = (torch.randint(-5, 5, shape).to(dtype) for shape in ((2, 3, 4), (5, 4)))
    check(torch.nn.functional.linear, x, weight)
    check(torch.nn.functional.linear, x[0], weight)


RANKS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((4, 2, 3), (3,)),
    ((3,), (4, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize("shapes", RANKS, ids=str)
def test_matmul_of_every_rank(shapes):
    check(torch.matmul, *normal(*shapes))


SPELLINGS = {
    "mm": (torch.mm, (2, 3), (3, 4)),
    "bmm": (torch.bmm, (2, 3, 4), (2, 4, 5)),
    "mv": (torch.mv, (2, 3), (3,)),
    "dot": (torch.dot, (3,), (3,)),
    "vdot": (torch.vdot, (3,), (3,)),
    "outer": (torch.outer, (3,), (4,)),
    "inner": (torch.inner, (2, 3, 4), (5, 6, 4)),
    "vecdot": (lambda x, y: torch.linalg.vecdot(x, y, dim=0), (2, 3), (2, 3)),
    "addmm": (lambda x, y, z: torch.addmm(x, y, z, beta=0.5, alpha=2), (5,), (3, 4), (4, 5)),
    "addmv": (lambda x, y, z: torch.addmv(x, y, z, beta=2, alpha=0.3), (3,), (3, 4), (4,)),
    "addr": (lambda x, y, z: torch.addr(x, y, z, beta=2, alpha=0.3), (3, 4), (3,), (4,)),
    "baddbmm": (lambda x, y, z: torch.baddbmm(x, y, z, beta=3, alpha=2), (2, 3, 5), (2, 3, 4), (2, 4, 5)),
    "addbmm": (lambda x, y, z: torch.addbmm(x, y, z, alpha=3), (3, 5), (2, 3, 4), (2, 4, 5)),
    "tensordot": (lambda x, y: torch.tensordot(x, y, ([1, 2], [2, 0])), (2, 3, 4), (4, 5, 3)),
    "bilinear": (torch.nn.functional.bilinear, (2, 6, 3), (2, 6, 4), (5, 3, 4), (5,)),
    "chain_matmul": (torch.chain_matmul, (2, 3), (3, 5), (5, 2)),
    "multi_dot": (lambda x, y, z: torch.linalg.multi_dot([x, y, z]), (2, 3), (3, 5), (5,)),
}


@pytest.mark.parametrize(("function", "shapes"), [(f, s) for f, *s in SPELLINGS.values()], ids=SPELLINGS)
def test_spellings(function, shapes):
    check(function, *normal(*shapes))


def test_addmm_of_ints():
    x, y, z = (torch.randint(-9, 9, shape) for shape in ((5,), (3, 4), (4, 5)))
    check(lambda x, y, z: torch.addmm(x, y, z, beta=2, alpha=3), x, y, z)


def test_beta_zero_reads_nothing():
    x = torch.full((3, 5), torch.nan)
    check(lambda x, y, z: torch.addmm(x, y, z, beta=0), x, *normal((3, 4), (4, 5)))
    check(lambda x, y, z: torch.baddbmm(x, y, z, beta=0), x[None], *normal((1, 3, 4), (1, 4, 5)))


EQUATIONS = [
    ("i,j->ij", (3,), (4,)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("ij->", (3, 4)),
    ("ij->ji", (3, 4)),
    ("bii->bi", (2, 3, 3)),
    ("ii,ij", (3, 3), (3, 4)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 6)),
    ("bqhd,bkhd->bhqk", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("nchw,cd->ndhw", (2, 3, 4, 5), (3, 6)),
    ("ij,kj->", (2, 3), (4, 3)),
    ("b i d , b j d -> b i j", (2, 3, 4), (2, 5, 4)),
    ("ij,j", (1, 3), (1,)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("abcd,cdef->abef", (2, 3, 4, 5), (4, 5, 2, 3)),
    ("i,i->", (3,), (3,)),
    ("i,ij,j->", (3,), (3, 4), (4,)),
    ("...,->...", (2, 3), ()),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
    ("aB,Bc", (2, 3), (3, 4)),
]


@pytest.mark.parametrize(("equation", "shapes"), [(e, s) for e, *s in EQUATIONS], ids=[e for e, *_ in EQUATIONS])
def test_einsum(equation, shapes):
    check(lambda *tensors: torch.einsum(equation, *tensors), *normal(*shapes), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("empty", [(0, 3, 0), (2, 0, 2)])
def test_diagonals_of_nothing(empty):
    def diagonals(x):
        return torch.einsum("iji->j", x), torch.einsum("iji->ij", x)

    check(diagonals, torch.rand(empty))
    check(diagonals, torch.rand(2, 3, 2), dynamic={"x": {0: "n", 1: "m", 2: "n"}}, again=(torch.rand(empty),))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool], ids=str)
def test_einsum_sums_integers_in_int64(dtype):
    check(lambda x: torch.einsum("ij->i", x), torch.ones(3, 300).to(dtype))


def test_tensordot_of_integers_stays():
    check(
        lambda x, y: torch.tensordot(x, y, dims=2), torch.full((3, 1, 4), 9).byte(), torch.full((5, 4, 2), 7).byte()[:1]
    )


def test_einsum_of_dynamic_sizes():
    def scores(q, k):
        return torch.einsum("bshd,bthd->bhst", q, k)

    dynamic = {"q": {0: "n", 1: "s"}, "k": {0: "n", 1: "t"}}
    compiled = check(
        scores,
        *normal((2, 4, 3, 5), (2, 6, 3, 5)),
        dynamic=dynamic,
        again=tuple(normal((3, 7, 3, 5), (3, 8, 3, 5))),
    )
    assert "Einsum" not in operators(compiled, "lower")


def test_a_projection_is_one_matmul():
    compiled = check(lambda x, w: torch.einsum("bsh,hd->bsd", x, w), *normal((2, 3, 4), (4, 5)))
    assert operators(compiled) == ["MatMul"]


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_cdist(p):
    check(lambda x, y: torch.cdist(x, y, p), *normal((2, 5, 4), (2, 6, 4)))


def test_the_greatest_distance_passes_over_nan():
    x = torch.tensor([[1.0, float("nan")], [float("nan")] * 2, [3.0, -4.0]])
    check(lambda x: torch.cdist(x, x, float("inf")), x)


def test_cdist_of_many_rows_is_a_product():
    compiled = check(torch.cdist, *normal((2, 35, 4), (2, 6, 4)), rtol=1e-4, atol=1e-4)
    assert "MatMul" in operators(compiled)


def test_bodies_run_eagerly():
    x, weight, bias = (RANDOM.random(shape, dtype=np.float32) for shape in ((3, 4), (5, 4), (5,)))
    np.testing.assert_allclose(eager(linear, x, weight, bias), x @ weight.T + bias, rtol=1e-5)
    np.testing.assert_allclose(eager(linear, x[None], weight, bias), (x @ weight.T + bias)[None], rtol=1e-5)
    np.testing.assert_allclose(eager(matmul, x, weight.T), x @ weight.T, rtol=1e-5)
    np.testing.assert_allclose(eager(addmm, bias, x, weight.T, alpha=2), 2 * x @ weight.T + bias, rtol=1e-5)
    distances = np.sqrt(((x[:, None] - weight) ** 2).sum(-1))
    np.testing.assert_allclose(eager(cdist, x, weight), distances, rtol=1e-5)
