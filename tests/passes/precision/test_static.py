"""Layers on steps that a calibration finds: errors, kernels, methods, and what stays in floating point."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.lowering.support import operators
from torch import nn

import fxonnx
from fxonnx.passes.precision.ranges import extremes, steps, without_outliers

torch.manual_seed(0)


class Residual(nn.Module):
    """Convolutions with activations, a sum of two ways, a gate, and a head."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.depthwise, self.second = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 100)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        x = torch.relu(x + self.second(nn.functional.hardswish(self.depthwise(x))))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Encoder(nn.Module):
    """A normalization with a large channel, read by layers alone, and by a sum as well."""

    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 96), nn.Linear(96, 64, bias=False)
        self.last = nn.Linear(64, 64)
        with torch.no_grad():
            self.norm.weight[3] = 60

    def forward(self, x):
        x = self.norm(x)
        return self.last(self.norm(self.down(torch.relu(self.up(x))))) + x


def apart(found, wanted):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    return ((found - wanted).norm() / wanted.norm()).item()


def kernels(compiled, tmp_path):
    compiled.save(tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 3
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]


def test_a_network_of_convolutions_runs_in_integers(tmp_path):
    model = Residual().eval()
    batches = [torch.randn(2, 3, 12, 12) for _ in range(4)]
    precision = fxonnx.int8_static([(x, torch.zeros(2)) for x in batches])  # with labels, as a loader gives them
    compiled = fxonnx.compile(model, (batches[0],), dynamic_shapes={"x": {0: "batch"}}, precision=precision)
    for x in (torch.randn(2, 3, 12, 12), torch.randn(1, 3, 12, 12)):
        assert apart(compiled(x), model(x)) < 0.05
    used = kernels(compiled, tmp_path)
    assert used.count("QLinearConv") == 3 and "Conv" not in used and "HardSigmoid" not in used
    assert {"QLinearAdd", "QLinearMul", "MatMulIntegerToFloat"} <= set(used)
    assert not {"Add", "Mul", "Relu", "MaxPool"} & set(used), "the number of a gate is on steps as well"


@pytest.mark.parametrize(("shape", "groups", "integers"), [
    ((16, 16), 16, True), ((32, 16), 2, True), ((16, 16), 1, True),
    ((16, 32), 16, False), ((32, 16), 16, False), ((16, 16), 4, False),
])  # fmt: skip
def test_small_groups_are_computed_in_floats(shape, groups, integers, tmp_path):
    ends = nn.Conv2d(4, shape[0], 1), nn.Conv2d(shape[1], 4, 1)
    model = nn.Sequential(ends[0], nn.ReLU(), nn.Conv2d(*shape, 3, groups=groups), nn.ReLU(), ends[1])
    x = torch.randn(2, 4, 9, 9)
    compiled = fxonnx.compile(model.eval(), (x,), precision=fxonnx.int8_static([x]))
    assert apart(compiled(x), model(x)) < 0.05
    used = kernels(compiled, tmp_path)
    assert used.count("QLinearConv") == (3 if integers else 2) and ("Conv" not in used) is integers


def test_other_runtimes_get_standard_pairs():
    x = torch.randn(2, 3, 12, 12)
    precision = fxonnx.int8_static([x], keep=["first", "head"])
    model = Residual().eval()
    compiled = fxonnx.compile(model, (x,), target=fxonnx.Target.onnx(), precision=precision)
    assert apart(compiled(x), model(x)) < 0.05
    large = {value.name: value.dtype.name for value in compiled.graph.constants() if value.type.size > 100}
    assert sorted(large.values()) == ["float32", "float32", "uint8", "uint8"]


@pytest.mark.parametrize("options", [{}, {"method": "entropy"}, {"smooth": 0.5}], ids=str)
def test_methods(options):
    torch.manual_seed(0)
    model, batches = Encoder().eval(), [torch.randn(2, 5, 64) for _ in range(3)]
    compiled = fxonnx.compile(model, (batches[0],), precision=fxonnx.int8_static(iter(batches), **options))
    assert operators(compiled).count("com.microsoft::MatMulIntegerToFloat") == 3
    error = {"method": 0.5, "smooth": 0.02}  # entropy cuts the large channel off
    assert apart(compiled(batches[1]), model(batches[1])) < max(map(error.get, options), default=0.1)
    assert operators(compiled).count("Mul") == ("smooth" in options) * 2  # where a sum reads it too, and behind Relu


def test_ranges():
    values = np.concatenate([np.random.default_rng(0).normal(size=100_000), [100.0]]).astype(np.float32)
    (ends,) = extremes([[values[:10]], [values]], 1)
    assert ends == (float(values.min()), 100.0)
    ((low, high),) = without_outliers([[values]], [ends])
    assert low == ends[0] and 3 < high < 20
    scale, zero = steps(-1.0, 3.0)
    assert (scale.dtype, zero.dtype, int(zero)) == (np.float32, np.uint8, 64)
    assert steps(0.0, 0.0)[0] > 0


def test_what_is_no_calibration():
    for wrong, options in (([], {}), ("x", {}), ([1], {"method": "mean"}), ([1], {"smooth": 2})):
        with pytest.raises(fxonnx.errors.InvalidOption):
            fxonnx.int8_static(wrong, **options)
    with pytest.raises(fxonnx.errors.CallMismatch):
        fxonnx.compile(nn.Linear(8, 8), (torch.randn(1, 8),), precision=fxonnx.int8_static([torch.randn(1, 9)]))
