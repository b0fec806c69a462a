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


def test_a_product_of_three_and_the_reflections_of_lapack_have_shapes() -> None:
    def model(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return F.bilinear(x, y, w), *torch.geqrf(x)

    given, other = ((torch.rand(n, 3), torch.rand(n, 4), torch.rand(k, 3, 4)) for n, k in ((5, 2), (7, 6)))
    compiled = fxonnx.compile(model, given, dynamic_shapes="auto")
    for tensors in (given, other):
        torch.testing.assert_close(compiled(*tensors), model(*tensors))
