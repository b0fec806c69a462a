"""Meta kernels of our own: what they ask that torch's do not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import fxonnx
from fxonnx.errors import CaptureRefused


@pytest.mark.parametrize("dynamic", [None, {"x": {2: "n"}}, {"x": {0: "n"}}])
@pytest.mark.parametrize("keys", [slice(0, 1), slice(0, 2), slice(1, None)])
def test_as_many_keys_as_values(dynamic: dict[str, dict[int, str]] | None, keys: slice) -> None:
    """torch's kernel for four axes does not count, and reads what lies behind."""
    with pytest.raises(CaptureRefused, match="keys") as refused:
        fxonnx.compile(
            lambda x: F.scaled_dot_product_attention(x, x[..., keys, :], x), (torch.randn(2, 3, 4, 5),),
            dynamic_shapes=dynamic,
        )  # fmt: skip
    assert refused.value.locations[0].file == __file__


def test_unnamed_keys_are_as_many_as_values() -> None:
    heads = [torch.randn(2, 3, length, 8) for length in (4, 5, 5)]
    compiled = fxonnx.compile(F.scaled_dot_product_attention, heads, dynamic_shapes="auto")
    others = [torch.randn(1, 3, length, 8) for length in (1, 7, 7)]
    torch.testing.assert_close(compiled(*others), F.scaled_dot_product_attention(*others))
