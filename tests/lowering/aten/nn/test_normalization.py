"""Normalizations, evaluated and in training."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.database import samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from torch import nn

import fxonnx
from fxonnx.lowering.aten.nn.normalization import layer_norm, rms_norm

torch.manual_seed(0)
RANDOM = np.random.default_rng(0)
SHAPE, OTHER = (2, 4, 5, 6), (3, 4, 7, 6)
WEIGHT, BIAS, MEAN, VARIANCE = torch.randn(4), torch.randn(4), torch.randn(4), torch.rand(4)

FUNCTIONS = {
    "batch, running": (lambda x: F.batch_norm(x, MEAN, VARIANCE, WEIGHT, BIAS), ["BatchNormalization"]),
    "batch, no weight": (lambda x: F.batch_norm(x, MEAN, VARIANCE, None, BIAS), ["BatchNormalization"]),
    "batch, its own": (lambda x: F.batch_norm(x, None, None, WEIGHT, BIAS, training=True), None),
    "layer": (lambda x: F.layer_norm(x, [6], x[0, 0, 0], x[1, 0, 0]), None),
    "layer, two axes": (lambda x: F.layer_norm(x, [5, 6]), ["LayerNormalization"]),
    "root mean square": (lambda x: F.rms_norm(x, [6], x[0, 0, 0]), None),
    "root mean square, two axes": (lambda x: F.rms_norm(x, [5, 6], eps=1e-3), ["RMSNormalization"]),
    "group": (lambda x: F.group_norm(x, 2, WEIGHT, BIAS), None),
    "group, plain": (lambda x: F.group_norm(x, 2), ["Reshape", "InstanceNormalization", "Reshape"]),
    "instance": (lambda x: F.instance_norm(x, weight=WEIGHT, bias=BIAS), ["InstanceNormalization"]),
    "instance, running": (
        lambda x: F.instance_norm(x, MEAN, VARIANCE, WEIGHT, BIAS, use_input_stats=False),
        ["BatchNormalization"],
    ),
    "neighbours": (lambda x: F.local_response_norm(x, 3), None),
    "norm": (lambda x: F.normalize(x, dim=1), None),
}


@pytest.mark.parametrize(("function", "expected"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions(function, expected):
    x = torch.randn(SHAPE)
    compiled = check(function, x, rtol=1e-4, atol=1e-5)
    assert expected is None or operators(compiled) == expected


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "two axes" not in name])
def test_functions_of_unknown_sizes(name):
    function, _ = FUNCTIONS[name]
    dynamic = {"x": {0: "n", 2: "h"}}
    check(function, torch.randn(SHAPE), dynamic=dynamic, again=(torch.randn(OTHER),), rtol=1e-4, atol=1e-5)


LAYERS = {
    "batch 1d of a matrix": (nn.BatchNorm1d(4), (3, 4)),
    "batch 3d": (nn.BatchNorm3d(4), (2, 4, 3, 3, 3)),
    "instance unbatched": (nn.InstanceNorm1d(4), (4, 5)),
    "group without affine": (nn.GroupNorm(2, 4, affine=False), (2, 4)),
    "layer without bias": (nn.LayerNorm((4, 5), bias=False), (2, 3, 4, 5)),
    "weight": (nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 5, 3)), (3, 4, 9)),
    "weight as a whole": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 5), dim=None), (3, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_layers(layer, shape):
    check(layer.eval(), torch.randn(shape), rtol=1e-4, atol=1e-5)


aten = torch.ops.aten
WITH_STATISTICS = {
    "layer": lambda x: aten.native_layer_norm(x, [5, 6], None, None, 1e-5),
    "group": lambda x: aten.native_group_norm(x, WEIGHT, BIAS, 2, 4, 30, 2, 1e-5),
    "batch": lambda x: aten._native_batch_norm_legit_functional(x, WEIGHT, BIAS, MEAN, VARIANCE, True, 0.1, 1e-5),
    "batch, evaluated": lambda x: aten._native_batch_norm_legit_functional(
        x, WEIGHT, BIAS, MEAN, VARIANCE, False, 0.1, 1e-5
    ),
    "batch, no training": lambda x: aten._native_batch_norm_legit_no_training(
        x, WEIGHT, BIAS, MEAN, VARIANCE, 0.1, 1e-5
    ),
    "batch, no statistics": lambda x: aten._native_batch_norm_legit.no_stats(x, WEIGHT, BIAS, True, 0.1, 1e-5),
    "batch, with update": lambda x: aten._batch_norm_with_update_functional(x, WEIGHT, BIAS, MEAN, VARIANCE, 0.1, 1e-5),
}


@pytest.mark.parametrize("function", WITH_STATISTICS.values(), ids=WITH_STATISTICS)
def test_statistics(function):
    check(function, torch.randn(SHAPE), rtol=1e-4, atol=1e-5)


def test_running_statistics_of_unknown_sizes():
    dynamic = {"x": {0: "n", 2: "h"}}
    check(
        WITH_STATISTICS["batch"], torch.randn(SHAPE), dynamic=dynamic, again=(torch.randn(OTHER),), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_other_dtypes(dtype):
    tolerance = 1e-9 if dtype is torch.float64 else 1e-2
    x = (torch.randn(3, 8) * 50).to(dtype)
    check(lambda x: (F.layer_norm(x, [8]), F.rms_norm(x, [8])), x, rtol=tolerance, atol=tolerance)


def test_training_mode_normalizes_by_the_batch():
    layer, x = nn.BatchNorm2d(4).train(), torch.randn(SHAPE)
    compiled = fxonnx.compile(layer, x, mode="train")
    torch.testing.assert_close(compiled(x), layer(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic_shapes", [None, "auto"])
def test_a_cumulative_average_of_the_batches(dynamic_shapes):
    layer = nn.BatchNorm1d(4, momentum=None)
    reference = copy.deepcopy(layer)
    compiled = fxonnx.compile(layer, torch.randn(6, 4), mode="train", dynamic_shapes=dynamic_shapes)
    for x in torch.randn(4, 6, 4) * 3:
        torch.testing.assert_close(compiled(x), reference(x).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "group_norm", "instance_norm", "local_response_norm"])
def test_samples(name):
    for function, tensors in samples(f"nn.functional.{name}", torch.float32, 4):
        check(function, *tensors, rtol=1e-4, atol=1e-4)


def test_a_batch_of_nothing():
    nothing = torch.ones(0)
    check(lambda x, mean, variance: F.batch_norm(x, mean, variance), nothing, nothing, nothing)
    check(lambda x: (F.layer_norm(x, (0,)), F.rms_norm(x, (0,))), torch.ones(3, 0))


def test_bodies_run_eagerly():
    x = RANDOM.random((2, 6), dtype=np.float32)
    given = torch.from_numpy(x)
    result, *_ = eager(layer_norm, x, [6], bias=np.zeros(6, np.float32))
    np.testing.assert_allclose(result, F.layer_norm(given, [6]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(eager(rms_norm, x, [6]), F.rms_norm(given, [6]), rtol=1e-4)


@pytest.mark.parametrize("opset", [None, 13])
def test_in_float64(opset):
    image, weight = torch.randn(2, 4, 5, 6).double(), torch.randn(4).double()
    check(lambda x, w: F.group_norm(x, 2, w, w), image, weight, opset=opset)
    check(lambda x, w: F.instance_norm(x, None, None, w, w), image, weight, opset=opset)


@pytest.mark.parametrize("norm", [lambda x: F.group_norm(x * 2, 2), lambda x: F.instance_norm(x * 2)])
def test_over_nothing(norm):
    sizes = {"x": {0: "batch", 2: "height"}}
    check(lambda x: norm(x).sum((2, 3)), torch.randn(2, 4, 5, 6), dynamic=sizes, again=(torch.randn(3, 4, 0, 6),))


@pytest.mark.parametrize("order", [1, 2, 3.5, float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_renorm(order, dtype):
    check(lambda x: torch.renorm(x, order, -1, 1.5), torch.randn(2, 3, 4).to(dtype))
