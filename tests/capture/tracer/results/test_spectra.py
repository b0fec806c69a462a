"""A signal of spectra: the shape that eager gives, in no more calls than another op's, and eager's refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import fxonnx
from fxonnx import errors

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"n_fft": 16},
    "hop": {"n_fft": 16, "hop_length": 5, "window": torch.hann_window(16)},
    "narrow": {"n_fft": 16, "hop_length": 3, "win_length": 12, "window": torch.hann_window(12)},
    "from the first": {"n_fft": 16, "center": False, "window": torch.rand(16) + 0.1},
    "a length": {"n_fft": 16, "length": 50, "window": torch.hann_window(16)},
    "both sides": {"n_fft": 16, "onesided": False},
    "complex": {"n_fft": 16, "onesided": False, "return_complex": True},
    "normalized": {"n_fft": 16, "normalized": True},
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_signals(name: str, dtype: torch.dtype) -> None:
    form = dict(FORMS[name])
    frequencies = 9 if form.get("onesided", True) else 16
    if "window" in form and dtype is torch.complex128:
        form["window"] = form["window"].double()

    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.istft(x, **form)

    first = torch.randn(2, frequencies, 12, dtype=dtype)
    compiled = fxonnx.compile(model, (first,), dynamic_shapes={"x": {0: "b", 2: "t"}})
    for b, t in ((2, 12), (1, 12), (3, 20)):
        x = torch.randn(b, frequencies, t, dtype=dtype)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    x = first[0]
    torch.testing.assert_close(fxonnx.compile(model, (x,))(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [
    {"n_fft": 18}, {"n_fft": 16, "hop_length": 17}, {"n_fft": 16, "win_length": 17},
    {"n_fft": 16, "window": torch.ones(15)}, {"n_fft": 16, "onesided": False},
])  # fmt: skip
def test_what_eager_refuses(form: dict[str, Any]) -> None:
    x = torch.randn(2, 9, 12, dtype=torch.complex64)
    with pytest.raises(RuntimeError):
        torch.istft(x, **form)
    with pytest.raises(errors.ModelRaised):
        fxonnx.compile(lambda x: torch.istft(x, **form), (x,))
