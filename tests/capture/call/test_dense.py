"""Only plain, dense tensors are taken, as examples, in calls, as weights and inside of a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import fxonnx
from fxonnx import errors
from fxonnx.capture.call.dense import not_dense, not_plain

EYE = torch.eye(3)


class Named(Tensor):
    """A subclass that torch knows nothing of."""


OTHERS: dict[str, Callable[[], Tensor]] = {
    "sparse_coo": EYE.to_sparse,
    "sparse_csr": EYE.to_sparse_csr,
    "sparse_csc": EYE.to_sparse_csc,
    "sparse_bsr": lambda: EYE.to_sparse_bsr((1, 1)),
    "opaque": EYE.to_mkldnn,
    "quantized": lambda: torch.quantize_per_channel(EYE, torch.ones(len(EYE)), torch.zeros(len(EYE)), 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(2)]),
}
SUBCLASSES: dict[str, Callable[[], Tensor]] = {
    "NestedTensor": lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged),
    "FakeTensor": lambda: FakeTensorMode().from_tensor(EYE),
    "Named": lambda: EYE.as_subclass(Named),
}


class Holder(nn.Module):
    """Multiplies with a buffer."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mm(self.weight, x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*OTHERS, *SUBCLASSES])
def test_an_example_of_another_kind_is_refused(kind: str) -> None:
    value = {**OTHERS, **SUBCLASSES}[kind]()
    with pytest.raises(errors.InputMismatch, match=kind.partition("_")[0]) as caught:
        fxonnx.compile(lambda x: x + 1, value)
    assert caught.value.cause and "pass" in caught.value.cure


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamic", [None, {"x": {0: "n"}}])
@pytest.mark.parametrize("kind", [*OTHERS, *SUBCLASSES])
def test_a_call_with_another_kind_is_refused(kind: str, dynamic: object) -> None:
    compiled = fxonnx.compile(lambda x: x + 1, EYE, dynamic_shapes=dynamic)
    with pytest.raises(errors.CallMismatch, match=kind.partition("_")[0]):
        compiled({**OTHERS, **SUBCLASSES}[kind]())
    torch.testing.assert_close(compiled(nn.Parameter(EYE)), EYE + 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OTHERS)
def test_a_weight_of_another_kind_is_refused_with_its_line(kind: str) -> None:
    with pytest.raises(errors.CaptureRefused, match="the weight weight is .*" + kind.partition("_")[0]) as caught:
        fxonnx.compile(Holder(OTHERS[kind]()), EYE)
    assert caught.value.locations[0].code == "return torch.mm(self.weight, x)"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [Tensor.to_sparse, Tensor.to_sparse_csr, Tensor.to_sparse_csc])
def test_a_sparse_value_inside_is_refused_with_its_line(make: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(errors.Error, match="sparse") as caught:
        fxonnx.compile(lambda x: make(x) @ x, EYE)
    assert caught.value.locations[0].file == __file__


def test_what_is_plain_and_dense() -> None:
    for tensor in (EYE, EYE.t(), nn.Parameter(EYE), nn.Buffer(EYE), EYE[:0], torch.zeros((), dtype=torch.bool)):
        assert not_dense(tensor) is None and not_plain(tensor) is None
