"""Convolutions of one, two and three axes, their paddings and transposes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.database import samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from torch import nn

import fxonnx
from fxonnx import errors
from fxonnx.lowering.aten.nn.convolution import conv

torch.manual_seed(0)
RANDOM = np.random.default_rng(0)

LAYERS = {
    "1d": (nn.Conv1d(4, 6, 3), (2, 4, 9)),
    "2d grouped": (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (2, 4, 9, 9)),
    "2d depthwise without bias": (nn.Conv2d(4, 4, 3, groups=4, bias=False), (2, 4, 9, 9)),
    "3d": (nn.Conv3d(2, 4, (3, 1, 2), padding=(1, 0, 2), dilation=(1, 1, 2)), (1, 2, 4, 5, 6)),
    "unbatched": (nn.Conv2d(4, 6, 3), (4, 9, 9)),
    "valid": (nn.Conv2d(2, 4, 3, padding="valid"), (2, 2, 4, 4)),
    "same, even kernel": (nn.Conv2d(2, 4, (4, 3), padding="same", dilation=(1, 2)), (1, 2, 9, 9)),
    "circular": (nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), (1, 2, 9, 9)),
    "reflect": (nn.Conv1d(2, 4, 3, padding=2, padding_mode="reflect"), (1, 2, 9)),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 2, 2, 1, 1, groups=2, dilation=2), (2, 4, 7)),
    "transposed 2d": (nn.ConvTranspose2d(2, 4, 3, 2, 1, 1), (2, 2, 4, 4)),
    "transposed 3d": (nn.ConvTranspose3d(2, 4, 3, 2, 1, 1), (1, 2, 4, 4, 4)),
    "transposed unbatched": (nn.ConvTranspose2d(2, 4, 3), (2, 4, 4)),
    "transposed further than its stride": (nn.ConvTranspose2d(2, 4, 3, 2, 1, 2, dilation=3), (2, 2, 4, 4)),
}


def kernels(x, *shape):
    """A kernel for each channel, made of data."""
    return x.mean((-2, -1)).flatten()[:, None, None, None] + torch.arange(0.0, math.prod(shape)).view(1, *shape)


GROUPED = {
    "1d": lambda x: F.conv1d(x[:, :, 0], torch.arange(3.0).expand(x.shape[1], 1, 3), padding=1, groups=x.shape[1]),
    "blurred": lambda x: F.conv2d(x, torch.ones(1, 1, 3, 5).expand(x.shape[1], 1, 3, 5) / 15, None, 1, (1, 2), 1,
                                  x.shape[1]),
    "strides and steps": lambda x: F.conv2d(x, kernels(x[0], 1, 3, 2), x[0, :, 0, 0], (2, 1), (1, 0), (1, 2),
                                            x.shape[1]),
    "two filters each": lambda x: F.conv2d(x, torch.cat([kernels(x[0], 1, 3, 3)] * 2), groups=x.shape[1]),
    "two channels each": lambda x: F.conv2d(torch.cat([x, x * 2], 1), kernels(x[0], 2, 2, 2), padding="same",
                                            groups=x.shape[1]),
    "unbatched": lambda x: F.conv2d(x[0], kernels(x[0], 1, 3, 3), groups=x.shape[1]),
    "transposed": lambda x: F.conv_transpose2d(torch.cat([x, x * 2], 1), kernels(torch.cat([x[0]] * 2), 3, 3, 2),
                                               None, (2, 1), (1, 0), (1, 0), x.shape[1], (1, 2)),
    "transposed with a bias": lambda x: F.conv_transpose1d(x[0, :, 0], kernels(x[0], 1, 1, 3)[:, 0], x[0, :, 0, 0],
                                                           3, 4, groups=x.shape[1]),
    "across the batch": lambda x: F.conv2d(x.flatten(0, 1)[None], kernels(x, 1, 2, 2),
                                           groups=x.shape[0] * x.shape[1]),
}  # fmt: skip


@pytest.mark.parametrize("other", [(1, 5, 5, 9), (3, 1, 6, 6)], ids=str)
@pytest.mark.parametrize("model", GROUPED.values(), ids=GROUPED)
def test_as_many_groups_as_a_size_says(model, other):
    dynamic = {"x": {0: "b", 1: "c", 2: "h", 3: "w"}}
    check(model, torch.randn(2, 4, 7, 8), dynamic=dynamic, again=(torch.randn(other),), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_layers(layer, shape):
    check(layer.eval(), torch.randn(shape), rtol=1e-4, atol=1e-5)


def test_a_convolution_is_one_node():
    assert operators(check(nn.Conv2d(2, 4, 3, padding=1).eval(), torch.randn(1, 2, 5, 5))) == ["Conv"]


def test_dynamic_sizes():
    layer = nn.Conv2d(2, 4, 3, 2, 1).eval()
    dynamic = {"input": {0: "n", 2: "h", 3: "w"}}
    check(layer, torch.randn(1, 2, 9, 9), dynamic=dynamic, again=(torch.randn(3, 2, 12, 7),))


@pytest.mark.parametrize("transposed", [False, True])
def test_general_form(transposed):
    def function(x, weight):
        return torch.convolution(x, weight, None, [2], [1], [1], transposed, [1 if transposed else 0], 1)

    check(function, torch.randn(2, 4, 7), torch.randn(4, 4, 3))


def test_time_batch_channel():
    check(lambda x, w, b: torch.conv_tbc(x, w, b, 1), torch.randn(7, 2, 4), torch.randn(3, 4, 5), torch.randn(5))


KERNELS_OF_ANY_SIZE = {
    "plain": lambda x, w: F.conv2d(x, w, stride=2, padding=1),
    "same": lambda x, w: F.conv2d(x, w, padding="same", dilation=2),
    "transposed": lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2, padding=1, output_padding=1),
    "a template": lambda x, w: F.conv2d(x.flatten(0, 1)[None], w.flatten(0, 1)[:, None], groups=6).unflatten(1, (2, 3)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", KERNELS_OF_ANY_SIZE)
def test_kernels_may_have_any_size(name, dtype):
    x, weight = torch.randn(2, 3, 9, 8, dtype=dtype), torch.randn(2, 3, 3, 4, dtype=dtype)
    again = (torch.randn(2, 3, 12, 11, dtype=dtype), torch.randn(2, 3, 2, 5, dtype=dtype))
    dynamic = {"x": {2: "h", 3: "v"}, "w": {2: "k", 3: "l"}}
    check(KERNELS_OF_ANY_SIZE[name], x, weight, dynamic=dynamic, again=again, rtol=1e-4, atol=1e-4)


WEIGHT = torch.randn(3, 3, 3)


@pytest.mark.parametrize("padding", [lambda n: n // 4, lambda n: 3 * n, lambda n: n % 4])
def test_padding_made_of_a_size(padding):
    def model(x):
        return F.conv1d(x, WEIGHT, padding=padding(x.shape[2])), F.conv1d(x[0], WEIGHT, padding=padding(x.shape[2]))

    check(model, torch.randn(2, 3, 8), dynamic={"x": {2: "n"}}, again=(torch.randn(2, 3, 13),))


STEPS = {
    "stride": lambda x: F.conv1d(x, WEIGHT, stride=x.shape[2] // 4),
    "dilation": lambda x: F.conv1d(x, WEIGHT, dilation=x.shape[2] // 4),
    "both": lambda x: F.conv1d(x, WEIGHT, stride=x.shape[2] // 5, dilation=x.shape[2] // 6, padding=x.shape[2] // 8),
}


@pytest.mark.parametrize("model", STEPS.values(), ids=STEPS)
def test_steps_that_a_size_says(model):
    check(model, torch.randn(2, 3, 8), dynamic={"x": {2: "n"}}, again=(torch.randn(2, 3, 17),), rtol=1e-4, atol=1e-5)


# what is said where a size stands for what ONNX writes into the graph
FIXED = {
    "'strides'": lambda x: F.conv_transpose1d(x, WEIGHT, stride=x.shape[2] // 4),
    "'pads'": lambda x: F.conv_transpose1d(x, WEIGHT, padding=x.shape[2] // 8),
    "is greater": lambda x: F.conv_transpose1d(x, WEIGHT, stride=x.shape[2], output_padding=x.shape[2] // 8),
}


@pytest.mark.parametrize("said", FIXED)
def test_a_size_where_an_attribute_is_wanted_is_refused_and_may_be_static(said):
    x = torch.randn(2, 3, 8)
    with pytest.raises(errors.UnsupportedArguments, match=said) as caught:
        fxonnx.compile(FIXED[said], (x,), dynamic_shapes={"x": {2: "n"}})
    assert caught.value.locations[0].file == __file__
    assert "leave the dim static" in caught.value.cure
    check(FIXED[said], x)


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"])
def test_samples(name):
    for function, tensors in samples(f"nn.functional.{name}", torch.float32, 5):
        check(function, *tensors, rtol=1e-4, atol=1e-4)


def test_bodies_run_eagerly():
    x, weight = RANDOM.random((1, 2, 5), dtype=np.float32), RANDOM.random((3, 2, 3), dtype=np.float32)
    expected = F.conv1d(torch.from_numpy(x), torch.from_numpy(weight), padding="same").numpy()
    result = eager(conv, x, weight, padding="same", opset=22)
    np.testing.assert_allclose(result, expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 0, 5), (0, 5)])
@pytest.mark.parametrize("padding", [1, "same"])
def test_no_channels_make_none(shape, padding):
    check(lambda x: F.conv1d(x, torch.ones(3, 0, 3), torch.ones(3), padding=padding), torch.randn(shape))


@pytest.mark.parametrize("size", [2, 3])
def test_a_transposed_convolution_may_leave_nothing(size: int) -> None:
    x, weight = torch.randn(2, 3, size, 5), torch.ones(3, 2, 3, 3)
    compiled = fxonnx.compile(lambda x: F.conv_transpose2d(x, weight, padding=2), x)
    torch.testing.assert_close(compiled(x), F.conv_transpose2d(x, weight, padding=2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64], ids=str)
def test_a_bias_of_another_dtype_beside_named_padding(dtype: torch.dtype) -> None:
    x, weight, bias = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 2), torch.tensor([1.5, -2.0, 3.0]).to(dtype)
    check(lambda x, b: F.conv2d(x, weight, b, padding="same"), x, bias, rtol=1e-4, atol=1e-5)


def test_transposed_with_a_bias_of_another_dtype():
    """Which eager takes for one image without a batch."""
    x, weight, bias = torch.randn(4, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(3).bfloat16()
    check(lambda x, weight, bias: F.conv_transpose2d(x, weight, bias, stride=2), x, weight, bias, rtol=1e-4, atol=1e-4)
