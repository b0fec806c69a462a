"""What a requested precision loses: by outputs and by layers."""

import pytest
import torch
from torch import nn

import fxonnx


class Model(nn.Module):
    """Two layers, of which one has an outlier among its weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.even, self.uneven = nn.Linear(64, 64), nn.Linear(64, 64)
        with torch.no_grad():
            self.uneven.weight[:, 7] = 3

    def forward(self, x):
        return self.uneven(torch.relu(self.even(x)))


X = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
REQUESTS = ["float16", "int8-dynamic", "int4-weights", fxonnx.int8_static([X])]


@pytest.mark.parametrize("precision", REQUESTS, ids=lambda each: getattr(each, "dtype", each))
def test_layers_that_lose_most_come_first(precision):
    model = Model().eval()
    compiled = fxonnx.compile(model, (X,), precision=precision)
    found = compiled.losses()
    wanted = model(X).detach()
    error = (compiled(X) - wanted).norm() / wanted.norm()
    assert [loss.name for loss in found.outputs] == ["output"]
    assert found.outputs[0].error == pytest.approx(float(error), rel=1e-3)
    assert {loss.name for loss in found.layers} == {"even", "uneven"}
    assert all(0 < loss.error < 1 for loss in found.layers)
    if precision == "int4-weights":
        assert found.layers[0].name == "uneven"
        kept = fxonnx.compile(model, (X,), precision=fxonnx.int4_weights(keep=[found.layers[0].name])).losses()
        assert [loss.name for loss in kept.layers] == ["even"] and kept.outputs[0].error < found.outputs[0].error


def test_the_report_tells_them():
    assert "loses" not in fxonnx.compile(Model(), (X,)).report()
    assert fxonnx.compile(Model(), (X,)).losses() is None
    said = fxonnx.compile(Model(), (X,), precision="int8-weights").report()
    assert "precision: error of output " in said and "for keep=[…]: " in said
