"""Running sums and products of float32 are kept in float64 where the target knows it (wide_accumulators)."""

import numpy as np
import pytest
import torch
from torch import nn

import fxonnx
from fxonnx import Target

RISING, NEAR_ONE = torch.rand(3, 4000, generator=torch.manual_seed(0)) * 3, 0.95 + torch.rand(3, 4000) / 10
RUNNING = {
    "cumsum": (lambda x: x.cumsum(1), RISING),
    "cumsum of a first axis": (lambda x: x.mT.cumsum(0), RISING),
    "cumprod": (lambda x: x.cumprod(-1), NEAR_ONE),
    "cumulative_trapezoid": (lambda x: torch.cumulative_trapezoid(x, dim=1), RISING),
    "of a complex tensor": (lambda x: torch.view_as_real(torch.complex(x, x * 2).cumsum(1)), RISING),
    "of a constant": (lambda x: x[:, :1] * 0 + RISING.cumsum(1), RISING),
}


class Computing(nn.Module):
    """What a function computes."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def error(found, function, x):
    """How far off the worst element is, beside the greatest one."""
    exact = function(x.double()) if function is not RUNNING["of a constant"][0] else RISING.double().cumsum(1)
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("opset", [10, 17, 24, 26])
@pytest.mark.parametrize("name", RUNNING)
def test_as_exact_as_torch(name, opset):
    function, x = RUNNING[name]
    compiled = fxonnx.compile(Computing(function), (x,), opset=opset, dynamic_shapes={"x": {1: "n"}})
    assert error(compiled(x), function, x) <= 1.01 * error(function(x), function, x)
    if name != "of a constant":
        assert torch.equal(compiled(x[:, :1]), function(x[:, :1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("opset", [10, 24, 26])
def test_narrow_floats_are_rounded_once(dtype, opset):
    x, model = RISING[:, :200].to(dtype), Computing(lambda x: (x.cumsum(1), x.cumprod(1)))
    if dtype is torch.bfloat16 and opset < 13:
        pytest.skip("bfloat16 is younger")
    for found, wanted in zip(fxonnx.compile(model, (x,), opset=opset)(x), model(x), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(("target", "wide"), [
    (Target.onnxruntime(), True), (Target.onnxruntime(provider="CUDA"), True), (Target.onnx(), True),
    (Target.tensorrt(), False), (Target.openvino(), False),
], ids=str)  # fmt: skip
def test_where_the_target_knows_doubles(target, wide):
    nodes = fxonnx.compile(Computing(lambda x: x.cumsum(1)), (RISING,), target=target).graph.nodes
    assert [node.op for node in nodes] == (["Cast", "CumSum", "Cast"] if wide else ["CumSum"])


def test_integers_and_doubles_stay():
    function = lambda x: ((x > 1).cumsum(1), x.double().cumsum(1))  # noqa: E731
    compiled = fxonnx.compile(Computing(function), (RISING,))
    assert [np.dtype(each.dtype.numpy) for each in compiled.graph.outputs] == [np.int64, np.float64]
    for found, wanted in zip(compiled(RISING), function(RISING), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-15, atol=0)
