"""Fourier transforms of every kind, length and scaling."""

import numpy as np
import pytest
import torch
from tests.lowering.support import check, operators

import fxonnx
from fxonnx.lowering.aten.spectral.fft import matrix

torch.manual_seed(0)

UNITS = np.array([1, 1j])
ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
REAL_ONLY = {"rfft", "ihfft"}


def signal(name, *shape):
    """Complex numbers, or real ones for the transforms that take no others."""
    return torch.randn(*shape) if name.rstrip("n2") in REAL_ONLY else torch.randn(*shape, dtype=torch.complex64)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("length", [5, 8])
@pytest.mark.parametrize("name", ONE)
def test_along_one_axis(name, length, norm):
    check(lambda x: getattr(torch.fft, name)(x, dim=1, norm=norm), signal(name, 2, length, 3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [3, 4, 9])
@pytest.mark.parametrize("name", ONE)
def test_cut_and_padded(name, n):
    check(lambda x: getattr(torch.fft, name)(x, n), signal(name, 2, 6), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fft2", "ifftn", "rfft2", "irfftn", "hfft2", "ihfftn"])
def test_along_several_axes(name):
    function = getattr(torch.fft, name)
    check(lambda x: (function(x), function(x, s=(4, 5), norm="ortho")), signal(name, 2, 4, 6), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fft", "ifft", "irfft", "fft2", "irfft2", "hfftn"])
def test_of_real_numbers_and_integers(name):
    check(getattr(torch.fft, name), torch.randn(3, 6), rtol=1e-4, atol=1e-5)
    check(getattr(torch.fft, name), torch.arange(18).reshape(3, 6), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ONE)
def test_dynamic_length(name):
    def function(x):
        return getattr(torch.fft, name)(x)

    again = (signal(name, 3, 7),)
    check(function, signal(name, 2, 6), dynamic={"x": {0: "b", 1: "n"}}, again=again, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [64, 100, 400, 1000, 1200])
def test_accuracy(length):
    """ONNX Runtime's DFT alone is 500 times worse at lengths that are no powers of two."""
    x = torch.randn(2, length)
    expected = np.fft.rfft(x.double().numpy())
    found = fxonnx.compile(torch.fft.rfft, (x,))(x).numpy()
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize(("length", "operator"), [(64, "DFT"), (100, "MatMul"), (3000, "DFT")])
def test_the_form_follows_from_the_length(length, operator):
    x = torch.randn(2, length)
    assert operator in operators(fxonnx.compile(torch.fft.rfft, (x,)))


@pytest.mark.parametrize("kind", ["c2c", "r2c", "r2c whole", "c2r"])
@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_matrices(kind, n):
    content = matrix(kind, n, 0, forward=kind != "c2r")
    rng = np.random.default_rng(0)
    given = rng.standard_normal(content.shape[:2])
    found = np.einsum("jc,jckd->kd", given, content)
    transforms = {"r2c": lambda x: np.fft.rfft(x.real), "c2r": lambda x: np.fft.irfft(x, n) * n}
    expected = transforms.get(kind, np.fft.fft)(given @ UNITS[: given.shape[1]])
    np.testing.assert_allclose(found @ UNITS[: found.shape[1]], expected, atol=1e-12)


def test_float64():
    check(lambda x: (torch.fft.rfft(x), torch.fft.irfft(torch.fft.rfft(x))), torch.randn(2, 30, dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies(n):
    def function(x):
        return torch.fft.fftfreq(n, 0.5) + x, torch.fft.rfftfreq(n, 2.0, dtype=torch.float64) + x

    check(function, torch.zeros(1))


def test_shifts():
    def function(x):
        return torch.fft.fftshift(x), torch.fft.ifftshift(x, dim=1)

    check(function, torch.randn(3, 5), dynamic={"x": {1: "n"}}, again=(torch.randn(3, 8),))


def test_a_filter_in_the_spectrum():
    """What FNet, GFNet and AFNO do."""
    weight = torch.randn(8, 5, dtype=torch.complex64)

    def function(x):
        return torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") * weight, s=(8, 8), norm="ortho")

    check(function, torch.randn(2, 8, 8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [None, {"x": {1: "n"}}])
@pytest.mark.parametrize("length", [16, 100, 25, 1])
def test_a_real_signal_has_no_imaginary_part_at_half_the_rate(length, sizes):
    """The angle of a negative number is π or -π by the sign of an imaginary part that only rounding leaves."""

    def angles_where_mirrored(x):
        spectra = torch.fft.rfft(x), torch.fft.fft(x), torch.fft.rfft2(x.reshape(2, 8, -1))[:, 0]
        return [spectrum.angle()[:, :: max(x.shape[1] // 2, 1)] for spectrum in spectra]

    check(angles_where_mirrored, torch.randn(16, length), dynamic=sizes, rtol=1e-4, atol=1e-3)
