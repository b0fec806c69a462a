"""Short-time Fourier transforms, there and back."""

import pytest
import torch
from tests.lowering.support import check

torch.manual_seed(0)

STFT = {
    "plain": {},
    "hop": {"hop_length": 5},
    "short window": {"win_length": 12},
    "no centre": {"center": False},
    "constant": {"pad_mode": "constant"},
    "replicated": {"pad_mode": "replicate"},
    "normalized": {"normalized": True},
    "two sides": {"onesided": False},
}


@pytest.mark.parametrize("option", STFT)
def test_stft(option):
    options = {"return_complex": True, **STFT[option]}
    window = torch.hann_window(options.get("win_length", 20))
    check(lambda x: torch.stft(x, 20, window=window, **options), torch.randn(2, 100), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_fft", [16, 20, 1024, 1100])
def test_stft_of_a_dynamic_signal(n_fft):
    window = torch.hann_window(n_fft)
    samples = 3 * n_fft
    check(
        lambda x: torch.stft(x, n_fft, window=window, return_complex=True).abs(),
        torch.randn(samples),
        dynamic={"x": {0: "t"}},
        again=(torch.randn(samples + 7),),
        rtol=1e-3,
        atol=1e-4,
    )


def test_stft_of_complex_and_of_float64():
    x = torch.randn(100, dtype=torch.complex64)
    check(lambda x: torch.stft(x, 20, window=torch.hann_window(20), return_complex=True), x, rtol=1e-4, atol=1e-5)
    check(
        lambda x: torch.view_as_real(torch.stft(x, 20, window=torch.ones(20).double(), return_complex=True)),
        x.real.double(),
    )


@pytest.mark.parametrize(
    "option", [{}, {"normalized": True}, {"length": 90}, {"length": 120}, {"center": False}], ids=str
)
def test_istft(option):
    window = torch.hamming_window(20)

    def function(x):
        return torch.istft(x, 20, 5, window=window, **option)

    spectrum = torch.randn(2, 11, 21, dtype=torch.complex64)
    again = (torch.randn(2, 11, 30, dtype=torch.complex64),)
    dynamic = {"x": {2: "frames"}} if "length" not in option else None
    check(function, spectrum, dynamic=dynamic, again=again if dynamic else None, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("option", [{}, {"normalized": True}, {"length": 50}, {"center": False}], ids=str)
def test_complex_signals_back(option):
    window = torch.hamming_window(16)

    def function(x):
        return torch.istft(x, 16, 4, window=window, onesided=False, return_complex=True, **option)

    spectrum = torch.randn(2, 16, 21, dtype=torch.complex64)
    check(function, spectrum, rtol=1e-3, atol=1e-4)
    if "length" not in option:
        again = (torch.randn(2, 16, 30, dtype=torch.complex64),)
        check(function, spectrum, dynamic={"x": {2: "frames"}}, again=again, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_fft", [16, 20])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("option", [{}, {"normalized": True}, {"win_length": 10}], ids=str)
def test_complex_windows(option, dtype, n_fft):
    window = torch.randn(option.get("win_length", n_fft), dtype=dtype) + 2
    told = {"hop_length": 4, "window": window, "onesided": False, "return_complex": True, **option}
    for signal in (torch.randn(2, 100, dtype=dtype), torch.randn(100, dtype=dtype.to_real())):
        check(lambda x: torch.view_as_real(torch.stft(x, n_fft, **told)), signal, rtol=1e-4, atol=1e-4)
    spectrum = torch.randn(2, n_fft, 21, dtype=dtype)
    check(lambda x: torch.view_as_real(torch.istft(x, n_fft, **told)), spectrum, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("opset", [13, 17])
def test_doubles_before_and_since_the_operator(opset):
    def parts(x):
        window = torch.hann_window(8, dtype=torch.float64)
        return torch.view_as_real(torch.stft(x, 8, window=window, return_complex=True))

    x, again = (torch.randn(2, samples).double() for samples in (50, 33))
    check(parts, x, dynamic={"x": {1: "n"}}, again=(again,), opset=opset)


@pytest.mark.parametrize(("n_fft", "dtype"), [(16, torch.float32), (20, torch.float32), (32, torch.float64)])
def test_frames_have_no_imaginary_part_at_half_the_rate(n_fft, dtype):
    """By convolution and by the operator: the angle there is 0 or π, never -π."""

    def angles_where_mirrored(x):
        spectra = torch.stft(x, n_fft, 5, window=torch.hann_window(n_fft, dtype=dtype), return_complex=True)
        return spectra.angle()[:, :: n_fft // 2]

    check(angles_where_mirrored, torch.randn(3, 200, dtype=dtype), rtol=1e-4, atol=1e-3)
