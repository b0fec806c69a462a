"""Activations: all of torch.nn's, in every float dtype, at NaN and infinities, and softmax along every axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from tests.lowering.values import FLOATS, normal, special

import fxonnx
from fxonnx.lowering.aten.nn import activation

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "logsigmoid": F.logsigmoid,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softplus-sharp": lambda x: F.softplus(x, beta=2.0, threshold=5.0),
    "elu": F.elu,
    "elu-alpha": lambda x: F.elu(x, alpha=0.3),
    "selu": F.selu,
    "celu": F.celu,
    "celu-alpha": lambda x: F.celu(x, alpha=0.3),
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -2.0, 0.5),
    "leaky_relu": F.leaky_relu,
    "leaky_relu-slope": lambda x: F.leaky_relu(x, 0.3),
    "rrelu": F.rrelu,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "softshrink": lambda x: F.softshrink(x, 0.7),
    "hardshrink": lambda x: F.hardshrink(x, 0.7),
    "threshold": lambda x: F.threshold(x, 0.1, 2.0),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2], dtype=x.dtype)),
}

# What ONNX Runtime has no float64 kernel for.
WITHOUT_DOUBLE = (
    "gelu",
    "gelu-tanh",
    "elu",
    "elu-alpha",
    "selu",
    "celu",
    "celu-alpha",
    "leaky_relu",
    "leaky_relu-slope",
    "rrelu",
    "hardsigmoid",
    "hardswish",
)
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_at_special_values(name: str) -> None:
    values = special()
    check(
        ACTIVATIONS[name], values[values.isfinite()] if name == "gelu" else values
    )  # torch says that gelu(inf) is NaN


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_activations_in_every_dtype(dtype: torch.dtype) -> None:
    names = [name for name in ACTIVATIONS if dtype is not torch.float64 or name not in WITHOUT_DOUBLE]
    tolerance = TOLERANCE.get(dtype)
    check(lambda x: [ACTIVATIONS[name](x) for name in names], normal(dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_piecewise_activations_of_integers(dtype: torch.dtype) -> None:
    check(lambda x: [F.relu(x), F.relu6(x)], normal(torch.float32).abs().to(dtype))


@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax], ids=lambda function: function.__name__)
@pytest.mark.parametrize("dim", [0, 1, -1, -3])
def test_softmax_along_every_axis(function, dim: int) -> None:
    x = normal(torch.float32, 3, 4, 5)
    check(lambda x: function(x, dim), x, dynamic={"x": {0: "n"}}, again=(normal(torch.float32, 7, 4, 5),))


def test_softmax_in_another_dtype_and_of_a_scalar() -> None:
    check(
        lambda x: [F.softmax(x, 1, dtype=torch.float64), F.log_softmax(x, 0, dtype=torch.float64), F.softmin(x, 1)],
        normal(torch.float32),
    )
    check(lambda x: [F.softmax(x, 0), F.log_softmax(x, -1)], torch.tensor(3.0))
    check(lambda x: F.softmax(x, 1, dtype=torch.float32), torch.arange(6).reshape(2, 3))
    check(lambda x: torch.ops.aten._safe_softmax(x, 1), torch.tensor([[1.0, 2.0], [-torch.inf, -torch.inf]]))


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (2, 4, 5), (2, 4, 5, 6)], ids=str)
def test_prelu_with_a_weight_per_channel(shape: tuple[int, ...]) -> None:
    channels = shape[1] if len(shape) > 1 else 1
    check(F.prelu, torch.tensor(-2.0) if not shape else normal(torch.float32, *shape), torch.rand(channels))


def test_glu_halves_any_axis() -> None:
    check(lambda x: [F.glu(x, 0), F.glu(x, -1)], normal(torch.float32, 4, 6))
    check(
        lambda x: F.glu(x), normal(torch.float32, 4, 6), dynamic={"x": {0: "n"}}, again=(normal(torch.float32, 5, 6),)
    )


def test_an_op_that_is_one_operator_stays_one() -> None:
    compiled = check(lambda x: F.relu(x), normal(torch.float32))
    assert operators(compiled) == ["Relu"]
    assert operators(check(lambda x: F.silu(x), normal(torch.float32))) == ["Sigmoid", "Mul"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (activation.silu, F.silu),
        (activation.mish, F.mish),
        (activation.softplus, F.softplus),
        (activation.prelu, F.prelu),
    ],
    ids=["silu", "mish", "softplus", "prelu"],
)
def test_bodies_run_eagerly(body, expected) -> None:
    x = normal(torch.float32)
    weights = [torch.tensor([0.3])] if body is activation.prelu else []
    result = eager(body, x.numpy(), *(weight.numpy() for weight in weights))
    np.testing.assert_allclose(result, expected(x, *weights).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [F.elu, F.selu, F.celu, F.hardswish, F.hardsigmoid, F.leaky_relu, F.mish, torch.tan, torch.sinh, torch.cosh],
)
def test_double_precision_where_the_runtime_has_no_kernel(function):
    limits = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-9, -1e-9, 0.999, -1.001, 40, -40])
    x = torch.cat([limits.double(), torch.randn(50, dtype=torch.float64) * 3])
    expected = function(x)
    torch.testing.assert_close(fxonnx.compile(function, (x,))(x), expected, rtol=1e-13, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("opset", [None, 13])
def test_weights_and_bounds_that_are_no_numbers(number, opset):
    x, weight = torch.tensor([[1.0, -2.0, torch.nan], [torch.inf, -torch.inf, 0.0]]), torch.tensor([number])
    several, limit = torch.tensor([number, 0.5, -0.5]), torch.tensor(number)
    check(lambda x: (F.hardtanh(x, torch.nan, 1), F.hardtanh(x, -1, torch.nan)), x, opset=opset)
    check(lambda x: (F.leaky_relu(x, number), F.celu(x, number)), x, opset=opset)
    check(lambda x: (torch.clamp(x, number, 1), torch.clamp(x, -1, number)), x, opset=opset)
    check(lambda x: (F.prelu(x, weight), F.prelu(x, several)), x, opset=opset)
    check(lambda x, w, b: (F.prelu(x, w), torch.clamp(x, b, b), torch.clamp(x, -1, b)), x, weight, limit, opset=opset)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_of_rows_with_special_values(dtype, dim):
    inf, nan = torch.inf, torch.nan
    rows = [[1.0, inf, -2.0], [3.0, 4.0, -inf], [1.0, nan, 2.0], [inf, inf, 1.0], [-inf, -inf, -inf]]
    for x in (torch.tensor(rows, dtype=dtype), torch.zeros(3, 0, dtype=dtype), torch.zeros(0, 3, dtype=dtype)):
        check(lambda x: (x.log_softmax(dim), x.softmax(dim)), x)
