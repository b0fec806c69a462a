"""Eigenvalues and eigenvectors of matrices that need not be symmetric: their order and phase are free."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, DYNAMIC, SQUARE, matrix

import fxonnx

EPS = torch.finfo(torch.float64).eps


def decomposed(x):
    return torch.linalg.eig(x), torch.linalg.eigvals(x)


def check_vectors(x, compiled=None):
    """A V = V Λ, of vectors of length 1, as exactly as LAPACK's; the sums of the powers of the values are traces."""
    (values, vectors), alone = (compiled or fxonnx.compile(decomposed, (x,)))(x)
    (theirs, eagers), _ = decomposed(x)
    assert (values.dtype, values.shape, vectors.shape) == (theirs.dtype, theirs.shape, eagers.shape)
    if not x.numel():
        return
    wide = torch.promote_types(values.dtype, torch.complex128)
    x, values, vectors, alone = (each.to(wide) for each in (x, values, vectors, alone))
    size = x.abs().amax() * x.shape[-1]
    allowed = 8 * size * torch.finfo(theirs.dtype).eps
    assert (x @ vectors - vectors * values.unsqueeze(-2)).abs().max() <= allowed
    assert (torch.linalg.vector_norm(vectors, dim=-2) - 1).abs().max() <= allowed / size
    for found in (values, alone):
        torch.testing.assert_close(found.sum(-1), x.diagonal(dim1=-2, dim2=-1).sum(-1), rtol=0, atol=2 * allowed)
        square = (x @ x).diagonal(dim1=-2, dim2=-1).sum(-1)
        torch.testing.assert_close((found**2).sum(-1), square, rtol=0, atol=4 * allowed * size)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex128], ids=str)
@pytest.mark.parametrize("shape", [*SQUARE, (2, 2), (20, 4, 4), (12, 12)], ids=str)
def test_vectors_belong_to_values(dtype, shape):
    check_vectors(matrix(*shape, dtype=dtype))


KINDS = {
    "the identity": torch.eye(5),
    "zeros": torch.zeros(4, 4),
    "ones": torch.ones(5, 5),
    "a triangle": torch.ones(5, 5).triu() + torch.diag(torch.arange(5.0)),
    "one vector": torch.diag(torch.ones(5), 1) + 2 * torch.eye(6),
    "a permutation": torch.eye(8).roll(1, 0),
    "a rotation": torch.tensor([[0.6, -0.8], [0.8, 0.6]]),
    "huge": torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 10]]).double() * 1e200,
    "tiny": torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 10]]).double() * 1e-200,
}


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("x", KINDS.values(), ids=KINDS)
def test_special_matrices(x, is_complex):
    (values, vectors), _ = fxonnx.compile(decomposed, (x := x.double() if not is_complex else x.to(torch.cdouble),))(x)
    size = x.abs().amax().clamp(min=1e-300)
    assert (x.to(vectors.dtype) / size @ vectors - vectors * (values / size)).abs().max() <= 1e-14
    (expected, _), _ = decomposed(x)
    torch.testing.assert_close(values.sum() / size, expected.sum() / size)
    torch.testing.assert_close(values.abs().sort().values / size, expected.abs().sort().values / size)


def test_real_matrices_have_real_or_conjugate_values():
    x = matrix(100, 5, 5, dtype=torch.float64)
    (values, vectors), _ = fxonnx.compile(decomposed, (x,))(x)
    is_real = values.imag == 0
    assert (is_real.sum(-1) % 2 == 1).all()
    assert (vectors.imag.abs().amax(-2)[is_real] == 0).all()
    assert torch.equal(values.imag.sort(-1).values, -values.imag.sort(-1, descending=True).values)
    assert not values.imag[is_real].signbit().any()
    assert (vectors.imag.abs().sum(-1) > 0).any()


def test_the_largest_element_is_real():
    x = matrix(10, 4, 4, dtype=torch.complex128)
    (_, vectors), _ = fxonnx.compile(decomposed, (x,))(x)
    largest = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
    assert (largest.imag == 0).all()
    assert (largest.real > 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_size(dtype):
    compiled = fxonnx.compile(decomposed, (matrix(2, 4, 4, dtype=dtype),), dynamic_shapes={"x": DYNAMIC})
    for shape in [(1, 1, 1), (3, 2, 2), (0, 3, 3), (50, 5, 5), (2, 9, 9)]:
        check_vectors(matrix(*shape, dtype=dtype), compiled)


def test_roots_of_polynomials():
    def characteristic(x):
        return torch.linalg.eigvals(x).prod(-1).real

    x = matrix(3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(fxonnx.compile(characteristic, (x,))(x), torch.linalg.det(x))
