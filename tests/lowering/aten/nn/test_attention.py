"""Scaled dot-product attention of every form torch admits."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from torch import Tensor, nn

import fxonnx
from fxonnx.lowering.aten.nn.attention import safe_softmax

torch.manual_seed(0)
HEADS, LENGTH, KEYS, SIZE, DEPTH = 4, 3, 5, 8, 6


def tensors(*leading, dtype=torch.float32, keys=KEYS):
    """A query, key and value with the leading axes."""
    sizes = ((LENGTH, SIZE), (keys, SIZE), (keys, DEPTH))
    return tuple(torch.randn(*leading, *size).to(dtype) for size in sizes)


def bool_mask(*shape):
    """A mask with a row that sees nothing."""
    mask = torch.rand(shape) < 0.7
    mask[..., 0] = True
    mask[..., 1:2, :] = False
    return mask


def additive(*shape):
    """Numbers to add to the scores, with a row of -inf."""
    return torch.randn(shape).masked_fill(~bool_mask(*shape), -math.inf)


@pytest.mark.parametrize("leading", [(), (2,), (2, HEADS), (2, 3, HEADS), (1, 2, 2, HEADS)], ids=str)
def test_any_rank(leading):
    compiled = check(F.scaled_dot_product_attention, *tensors(*leading))
    assert operators(compiled, "lower").count("Attention") == 1


MASKS = [(1, KEYS), (LENGTH, 1), (LENGTH, KEYS), (2, 1, 1, KEYS), (HEADS, 1, KEYS), (2, HEADS, LENGTH, KEYS), (1, 1)]


@pytest.mark.parametrize("make", [bool_mask, additive], ids=["bool", "float"])
@pytest.mark.parametrize("shape", MASKS, ids=str)
def test_masks_broadcast(make, shape):
    mask = make(*shape)
    check(F.scaled_dot_product_attention, *tensors(2, HEADS), mask)


@pytest.mark.parametrize("shape", [(LENGTH, KEYS), (HEADS, 1, KEYS), (2, 1, 1, 1, KEYS), (3, 1, LENGTH, KEYS)], ids=str)
def test_masks_of_rank_five(shape):
    check(F.scaled_dot_product_attention, *tensors(2, 3, HEADS), bool_mask(*shape))


@pytest.mark.parametrize("keys", [LENGTH - 1, LENGTH, KEYS])
def test_the_triangle_begins_at_the_first_query_and_key(keys):
    compiled = check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *tensors(2, HEADS, keys=keys)
    )
    node = next(node for node in compiled.stages[0].graph.nodes if node.op == "Attention")
    assert bool(node.attributes.get("is_causal")) == (keys == LENGTH)


DYNAMIC = {
    "plain": ({}, 1),
    "causal": ({"is_causal": True}, 3),
    "scaled": ({"scale": 0.3}, 1),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_sizes(name):
    options, nodes = DYNAMIC[name]
    names = {"q": {0: "b", 2: "l"}, "k": {0: "b", 2: "s"}, "v": {0: "b", 2: "s"}}
    again = (torch.randn(3, HEADS, 7, SIZE), torch.randn(3, HEADS, 4, SIZE), torch.randn(3, HEADS, 4, DEPTH))

    def function(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, **options)

    compiled = check(function, *tensors(2, HEADS), dynamic=names, again=again)
    assert len(operators(compiled, "lower")) >= nodes


def test_dynamic_mask():
    names = {"x": {0: "b", 1: "l"}, "m": {0: "b", 1: "l"}}

    def function(x, m):
        q = x.view(x.shape[0], x.shape[1], 2, -1).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q, m[:, None, None, :])

    again = (torch.randn(3, 6, 8), torch.rand(3, 6) < 0.5)
    check(function, torch.randn(2, 5, 8), torch.rand(2, 5) < 0.5, dynamic=names, again=again)


@pytest.mark.parametrize("heads", [(1, 1), (2, 2), (4, 4), (1, 2)], ids=str)
def test_grouped_queries(heads):
    q, k, v = torch.randn(2, 4, 3, 8), torch.randn(2, heads[0], 5, 8), torch.randn(2, heads[1], 5, 6)
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), q, k, v)
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), q[0], k[0], v[0])


def test_leading_axes_broadcast():
    check(F.scaled_dot_product_attention, torch.randn(2, 4, 3, 8), torch.randn(1, 4, 5, 8), torch.randn(2, 1, 5, 8))


@pytest.mark.parametrize("scale", [0.0, -0.5, 2, 0.125])
def test_scales(scale):
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=scale), *tensors(2, HEADS), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("keys", [0, 1])
def test_no_keys_and_one(keys):
    check(F.scaled_dot_product_attention, *tensors(2, HEADS, keys=keys))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(dtype):
    tolerance = {torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    check(F.scaled_dot_product_attention, *tensors(2, HEADS, dtype=dtype), rtol=tolerance, atol=tolerance)


def test_a_device_spelling():
    def function(q, k, v):
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, is_causal=True)[0]

    check(function, *tensors(2, HEADS, keys=LENGTH)[:2], torch.randn(2, HEADS, LENGTH, SIZE))


@pytest.mark.parametrize("dim", [-1, 0])
def test_safe_softmax(dim):
    check(lambda x: torch.ops.aten._safe_softmax(x, dim), additive(3, 3))


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}, {"enable_gqa": True}], ids=str)
def test_dropout_of_the_softmax(options):
    query, key = torch.randn(2, 4, 64, 8), torch.randn(2, 2 if "enable_gqa" in options else 4, 64, 8)
    ones = torch.ones_like(key)

    def function(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.25, **options)

    found = fxonnx.compile(function, (query, key, ones))(query, key, ones)
    assert (found.dtype, found.shape) == (torch.float32, query.shape)
    assert found.std() > 0.05 and abs(found.mean() - 1) < 0.1  # a row of the softmax has the sum 1 before


def test_safe_softmax_runs_eagerly():
    x = additive(3, 3)
    expected = torch.ops.aten._safe_softmax(x, -1).numpy()
    np.testing.assert_allclose(eager(safe_softmax, x.numpy(), -1), expected, rtol=1e-5)


@pytest.mark.parametrize("opset", [None, 17])
def test_a_row_masked_by_the_lowest_number_is_the_mean(opset):
    mask = torch.zeros(2, 1, 5, 5)
    mask[1, :, 0] = torch.finfo(torch.float32).min
    heads = [torch.randn(2, 3, 5, 4) for _ in range(3)]
    model = F.scaled_dot_product_attention
    fxonnx.compile(model, (*heads, mask), opset=opset).verify(*heads, mask).check()


def test_a_constant_mask_of_the_lowest_number_is_not_fused():
    mask = torch.zeros(5, 5)
    mask[0] = torch.finfo(torch.float32).min
    heads = [torch.randn(2, 3, 5, 4) for _ in range(3)]
    compiled = fxonnx.compile(lambda q, k, v: (q @ k.transpose(-1, -2) * 0.5 + mask).softmax(-1) @ v, heads)
    compiled.verify(*heads).check()


PARTS = torch.randn(2, 2, 2)


@pytest.mark.parametrize("axes", [(), (0,), (1,)], ids=["heads", "heads of a batch", "batch"])
def test_nothing_left_of_a_part_is_nothing(axes):
    """Sizes of inputs that are 0 have a program of their own; these are 0 for some sizes that are not."""

    def model(x):
        begin = x.shape[0] // 2
        part = PARTS[begin : begin + 2]
        for axis in axes:
            part = part.unsqueeze(axis)
        return F.scaled_dot_product_attention(part, part, part, part @ part.mT > 0), x * 2

    for size in (1, 3, 8):
        check(model, torch.randn(5), again=(torch.randn(size),), dynamic={"x": {0: "n"}})


def test_where_nothing_vanishes_attention_is_one_node():
    def model(x):
        return F.scaled_dot_product_attention(x[:, :, 1:], x, x)

    compiled = fxonnx.compile(model, torch.randn(2, 3, 4, 8), dynamic_shapes={"x": {0: "b", 1: "h", 2: "n"}})
    assert [node.op for node in compiled.graph.nodes if node.op in ("Attention", "Softmax")] == ["Attention"]


class Scripted(nn.Module):
    """A part in TorchScript, whose code takes torch's fast paths where nothing is to be trained."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = torch.jit.script(part.eval().requires_grad_(False))

    def forward(self, *arguments: Tensor | None) -> Any:
        return self.part(*arguments)


LATER = torch.ones(5, 5).triu(1) > 0
PADDING = torch.arange(5) >= torch.tensor([[3], [5]])
MASKS = {"none": (), "later": (LATER,), "padding": (None, PADDING), "both": (LATER, PADDING)}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}])
def test_a_scripted_encoder_layer(options: dict[str, Any], masks: tuple[Tensor | None, ...]) -> None:
    torch.manual_seed(0)
    model, x = Scripted(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)), torch.randn(2, 5, 8)
    compiled = fxonnx.compile(model, (x, *masks))
    assert "aten._transformer_encoder_layer_fwd" in str(compiled.program.graph)
    torch.testing.assert_close(compiled(x, *masks), model(x, *masks), rtol=1e-4, atol=1e-5)


def test_a_scripted_encoder_layer_of_any_size() -> None:
    model = Scripted(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    dims = {"arguments": [{0: "batch", 1: "length"}]}
    compiled = fxonnx.compile(model, (torch.randn(2, 5, 8),), dynamic_shapes=dims)
    for sizes in ((2, 5), (1, 1), (3, 9)):
        x = torch.randn(*sizes, 8)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masks", [(), (PADDING,)])
def test_a_scripted_attention_with_its_weights(masks: tuple[Tensor, ...]) -> None:
    model, x = Scripted(nn.MultiheadAttention(8, 2, batch_first=True)), torch.randn(2, 5, 8)
    compiled = fxonnx.compile(model, (x, x, x, *masks))
    torch.testing.assert_close(compiled(x, x, x, *masks), model(x, x, x, *masks), rtol=1e-4, atol=1e-5)


def test_a_masked_softmax_of_nothing() -> None:
    x, mask = torch.randn(1, 2, 3, 3), torch.tensor([[0, 1, 1], [1, 0, 0], [1, 1, 1]]) > 0
    check(lambda x: torch._masked_softmax(x, mask, 3, 0), x)
    check(lambda x: torch._masked_softmax(x[0, 0], mask, 0), x)


@pytest.mark.parametrize("keys", [(2, 0, 2), (1, 0, 3), (5, 2, 0, 4), (3, 0, 3)], ids=str)
@pytest.mark.parametrize("query", [(3, 3, 3), (1, 3, 3), (2, 1, 3, 3), (3, 0, 3)], ids=str)
def test_of_no_keys_torch_takes_any_batch(query, keys):
    q, k = torch.randn(query), torch.randn(keys)
    check(lambda q, k: F.scaled_dot_product_attention(q, k, k), q, k)
