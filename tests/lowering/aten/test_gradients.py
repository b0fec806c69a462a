"""Models that differentiate in their forward pass, with functions or with autograd, by ops that torch keeps whole."""

import pytest
import torch
import torch.nn.functional as F
from tests.lowering.support import check
from torch.func import grad, hessian

IMAGES, SIGNALS, POINTS = torch.randn(2, 4, 9, 8), torch.randn(2, 4, 11), torch.randn(5, 3)
QUERIES, KEYS = torch.randn(2, 2, 5, 4), torch.randn(2, 2, 6, 4)


def squared(function):
    """The gradients of the sum of squares, by every argument."""

    def gradients(*arguments):
        return grad(lambda *given: (function(*given) ** 2).sum(), tuple(range(len(arguments))))(*arguments)

    return gradients


CASES = {
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, stride=3, padding=2), SIGNALS, torch.randn(6, 4, 3), torch.randn(6)),
    "conv2d": (lambda x, w: F.conv2d(x, w, stride=2, padding=(1, 0), dilation=2), IMAGES, torch.randn(3, 4, 3, 2)),
    "groups": (lambda x, w: F.conv2d(x, w, groups=2), IMAGES, torch.randn(6, 2, 3, 3)),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1, groups=2),
        IMAGES, torch.randn(4, 3, 3, 3),
    ),
    "transposed, with more behind than a step": (
        lambda x, w: F.conv_transpose1d(x, w, stride=2, output_padding=3, dilation=4), SIGNALS, torch.randn(4, 2, 3),
    ),
    "averages": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGES),
    "averages without padding": (lambda x: F.avg_pool2d(x, (3, 2), 2, 1, count_include_pad=False), IMAGES),
    "averages by a divisor": (lambda x: F.avg_pool3d(x, 2, divisor_override=3), IMAGES),
    "adaptive averages": (lambda x: F.adaptive_avg_pool2d(x, (4, 3)), IMAGES),
    "adaptive maxima": (lambda x: F.adaptive_max_pool2d(x, 3), IMAGES),
    "maxima of cubes": (lambda x: F.max_pool3d(x[None], 2), IMAGES),
    "repeated edges": (lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"), IMAGES),
    "antialiased": (lambda x: F.interpolate(x, (4, 11), mode="bilinear", antialias=True), IMAGES),
    "antialiased by factors": (
        lambda x: F.interpolate(x, scale_factor=(0.4, 1.3), mode="bicubic", antialias=True), IMAGES
    ),
    "antialiased between corners": (
        lambda x: F.interpolate(x, (4, 3), mode="bilinear", antialias=True, align_corners=True), IMAGES
    ),
    "masked": (lambda x, y: x.masked_scatter(x > 0.5, y), IMAGES, IMAGES + 1),
    "products of three": (F.bilinear, POINTS, POINTS + 1, torch.randn(2, 3, 3), torch.randn(2)),
    "attention": (F.scaled_dot_product_attention, QUERIES, KEYS, KEYS),
    "causal": (lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True), QUERIES, KEYS[:, :, :5]),
    "masked attention": (
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, m, scale=0.3), QUERIES, KEYS, torch.randn(5, 6)
    ),
    "distances": (torch.cdist, POINTS, POINTS[1:] + 1),
    "distances by sums": (lambda x, y: torch.cdist(x, y, p=1), POINTS, POINTS[1:] + 1),
    "distances by cubes": (lambda x, y: torch.cdist(x, y, p=3), POINTS, POINTS[1:] + 1),
    "distances by maxima": (lambda x, y: torch.cdist(x, y, p=torch.inf), POINTS, POINTS[1:] + 1),
    "pairs": (torch.pdist, POINTS),
    "determinant": (lambda x: torch.linalg.det(x[:3]), POINTS),
    "logarithm of a determinant": (lambda x: torch.linalg.slogdet(x[:3])[1], POINTS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    function, *arguments = CASES[name]
    check(squared(function), *arguments, rtol=1e-3, atol=1e-3)


def test_sizes_may_vary():
    def gradients(x, w):
        convolved = squared(lambda x, w: F.conv2d(x, w, stride=2, padding=1))(x, w)
        return convolved, squared(lambda x: F.avg_pool2d(x, 3, 2))(x), squared(lambda x: F.adaptive_avg_pool2d(x, 3))(x)

    sizes, again = {"x": {0: "n", 2: "h", 3: "w"}}, (torch.randn(3, 4, 7, 12), torch.randn(3, 4, 3, 3))
    check(gradients, IMAGES, torch.randn(3, 4, 3, 3), dynamic=sizes, again=again, rtol=1e-3, atol=1e-3)


def test_autograd_of_a_normalized_weight():
    def gradients(v, g, x):
        with torch.enable_grad():
            v, g = v.detach().requires_grad_(), g.detach().requires_grad_()
            return torch.autograd.grad(F.linear(x, torch._weight_norm(v, g, 0)).tanh().sum(), (v, g))

    check(gradients, torch.randn(3, 4), torch.rand(3, 1), torch.randn(2, 4))


def test_gradients_over_products_of_sizes():
    def gradients(x):
        return squared(F.instance_norm)(x)

    sizes = {"x": {0: "n", 1: "c", 2: "l"}}
    check(gradients, torch.randn(2, 3, 6), dynamic=sizes, again=(torch.randn(4, 5, 7),), rtol=1e-3, atol=1e-3)


def test_second_derivatives():
    check(hessian(lambda x: (x.sin() ** 2).prod()), POINTS[0])


def test_output_padding_beyond_a_step_at_other_sizes():
    def gradients(x, w):
        return squared(lambda x, w: F.conv_transpose1d(x, w, stride=2, output_padding=3, dilation=4))(x, w)

    sizes, again = {"x": {2: "n"}}, (torch.randn(2, 4, 7), torch.randn(4, 2, 3))
    check(gradients, SIGNALS, torch.randn(4, 2, 3), dynamic=sizes, again=again, rtol=1e-3, atol=1e-3)


COMPLEX = {
    "repeated ends": lambda x: F.pad(x, (2, 1), mode="replicate"),
    "repeated edges": lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"),
    "masked": lambda x: (x * 2).masked_scatter(x.real > 0.5, x + 1),
    "logarithm of a determinant": lambda x: torch.linalg.slogdet(x[..., :3, :3])[1],
}


@pytest.mark.parametrize("name", COMPLEX)
def test_gradients_of_complex_tensors(name):
    function, x = COMPLEX[name], torch.randn(2, 3, 4, dtype=torch.complex64)
    check(grad(lambda x: function(x).abs().square().sum()), x, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_what_is_filled_in():
    def gradient(x, index, value):
        return grad(lambda value: (x.index_fill(1, index, value) ** 2).sum())(value)

    check(gradient, POINTS, torch.tensor([2, 0, 2]), torch.tensor(3.0))
