"""What a capture sets for itself is not seen by models that other threads run meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fxonnx.capture.state.thread_flag import ThreadFlag
from fxonnx.capture.surroundings import no_fast_path
from fxonnx.capture.tracer.torch_private import as_exporting, unasked_masks

X = torch.linspace(-1, 1, 48).view(2, 3, 8)
PADDING = torch.tensor([[False, False, False], [False, False, True]])
ENCODER = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1).eval()
SCRIPTED: Any = torch.jit.script(nn.Sequential(nn.Linear(8, 4), nn.ReLU()))


class Asking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if torch.compiler.is_exporting() or torch.compiler.is_compiling() else x


def fused() -> Tensor:
    with torch.inference_mode():
        return ENCODER(X, src_key_padding_mask=PADDING)


MODELS: dict[str, Callable[[], Tensor]] = {
    "fused encoder": fused,
    "encoder with gradients": lambda: ENCODER(X, src_key_padding_mask=PADDING).detach(),
    "told of an export": lambda: Asking()(X),
    "TorchScript": lambda: SCRIPTED(X).detach(),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("run", MODELS.values(), ids=MODELS)
def test_models_in_other_threads_run_as_ever(run: Callable[[], Tensor]) -> None:
    expected = run()
    told = as_exporting(True, lambda: None)
    with ThreadPoolExecutor(1) as other, no_fast_path(), told, unasked_masks():
        torch.testing.assert_close(other.submit(run).result(), expected, rtol=0, atol=0)
        assert torch.compiler.is_exporting() and not torch.backends.mha.get_fastpath_enabled()
    assert torch.compiler.is_exporting() is False and torch.backends.mha.get_fastpath_enabled() is True


def test_a_flag_within_another_is_in_other_threads_what_it_was_before_both() -> None:
    flag = ThreadFlag(False, ThreadFlag(True, False))
    with ThreadPoolExecutor(1) as other:
        assert other.submit(bool, ThreadFlag(True, flag)).result() is False
    assert bool(ThreadFlag(True, flag)) is True and bool(flag) is False
