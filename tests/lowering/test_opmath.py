"""float16 and bfloat16: composed operators are computed in float32 and rounded once, as torch's kernels do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import fxonnx

from .support import operators


def _numbers(*shape: int, spread: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * spread + shift


_ROWS, _OTHERS = _numbers(8, 96, spread=3), _numbers(8, 96, spread=2, shift=0.5)
_IMAGE, _CHANNELS = _numbers(2, 8, 5, 5, spread=2, shift=3), _numbers(8)
_HEADS = (_numbers(1, 4, 32, 16, spread=6), _numbers(1, 4, 32, 16, spread=5, shift=0.1), _numbers(1, 4, 32, 16))
_PAIRS = (_numbers(2, 8, 9), _numbers(2, 8, 64), _numbers(2, 64, 9))

COMPOSED: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "gelu": (F.gelu, (_ROWS,)),
    "gelu of tanh": (lambda x: F.gelu(x, approximate="tanh"), (_ROWS,)),
    "silu": (F.silu, (_ROWS,)),
    "mish": (F.mish, (_ROWS,)),
    "glu": (F.glu, (_ROWS,)),
    "hardswish": (F.hardswish, (_ROWS,)),
    "softmax": (lambda x: F.softmax(x, -1), (_ROWS,)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), (_ROWS,)),
    "layer_norm": (lambda x, w: F.layer_norm(x, (96,), w[0], w[1]), (_ROWS, _OTHERS)),
    "rms_norm": (lambda x, w: F.rms_norm(x, (96,), w[0]), (_ROWS, _OTHERS)),
    "group_norm": (lambda x, w: F.group_norm(x, 4, w, w), (_IMAGE, _CHANNELS)),
    "instance_norm": (lambda x, w: F.instance_norm(x, None, None, w, w), (_IMAGE, _CHANNELS)),
    "batch_norm": (lambda x, w: F.batch_norm(x, w, w * w + 1, w, w), (_IMAGE, _CHANNELS)),
    "batch_norm in training": (lambda x, w: F.batch_norm(x, None, None, w, w, training=True), (_IMAGE, _CHANNELS)),
    "normalize": (F.normalize, (_ROWS,)),
    "cosine_similarity": (F.cosine_similarity, (_ROWS, _OTHERS)),
    "var": (lambda x: x.var(1), (_OTHERS,)),
    "mean": (lambda x: x.mean(1), (_OTHERS,)),
    "logsumexp": (lambda x: x.logsumexp(1), (_ROWS,)),
    "cumprod": (lambda x: x.cumprod(1), (_numbers(8, 13, spread=0.2, shift=1),)),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), (_ROWS,)),
    "average pool with a divisor": (lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=7), (_IMAGE,)),
    "adaptive average pool": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (_IMAGE,)),
    "linear over three axes": (lambda x, w, b: F.linear(x, w.T, b), (_PAIRS[1], _PAIRS[2][0], _PAIRS[0][0, 0])),
    "baddbmm": (lambda a, b, c: torch.baddbmm(a, b, c, beta=0.7, alpha=1.3), _PAIRS),
    "add with alpha": (lambda a, b: torch.add(a, b, alpha=0.3), (_ROWS, _OTHERS)),
    "addcdiv": (lambda a, b: torch.addcdiv(a, b, b * b + 1, value=0.3), (_ROWS, _OTHERS)),
    "mse_loss": (F.mse_loss, (_ROWS, _OTHERS)),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.arange(8)), (_ROWS,)),
    "attention": (F.scaled_dot_product_attention, _HEADS),
    "causal attention": (lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), _HEADS),
    "masked attention": (lambda *x: F.scaled_dot_product_attention(*x, attn_mask=x[0][0, 0] @ x[1][0, 0].T), _HEADS),
    "rounding to decimals": (lambda x: torch.round(x, decimals=1), (_ROWS,)),
}


def _error(result: torch.Tensor, exact: torch.Tensor) -> float:
    return (result.double() - exact).square().mean().sqrt().item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", COMPOSED)
def test_errors_are_those_of_eager(name: str, dtype: torch.dtype) -> None:
    function, given = COMPOSED[name]
    given = tuple(x.to(dtype) for x in given)
    exact, eager = function(*(x.double() for x in given)), function(*given)
    for opset in (None, 21, 13):
        ours = fxonnx.compile(function, given, opset=opset)(*given)
        assert ours.dtype == eager.dtype
        rounding = exact.abs().max().item() * torch.finfo(dtype).eps / 8
        assert _error(ours, exact) <= 1.5 * _error(eager, exact) + rounding, opset


@pytest.mark.parametrize("name", ["attention", "masked attention"])
def test_scores_are_in_float32_up_to_the_softmax(name: str) -> None:
    function, given = COMPOSED[name]
    compiled = fxonnx.compile(function, tuple(x.half() for x in given), opset=18)
    (softmax,) = (node for node in compiled.stages[-1].graph.all_nodes() if node.op == "Softmax")
    assert softmax.inputs[0].dtype.name == "float32"


def test_one_operator_rounds_by_itself() -> None:
    compiled = fxonnx.compile(lambda x: F.relu(x) + x, (_ROWS.half(),))
    assert "Cast" not in operators(compiled, "lower")


MIXED: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "outer": (torch.outer, (torch.ones(4), torch.ones(3))),
    "inner": (torch.inner, (torch.tensor(2.0), torch.ones(3))),
    "addr": (torch.addr, (torch.ones(4, 3), torch.ones(4), torch.ones(3))),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3), (torch.ones(3), torch.zeros(3))),
    "addcmul": (torch.addcmul, (torch.ones(3), torch.ones(3), torch.ones(3))),
    "where": (lambda a, b: torch.where(a > 0, a, b), (torch.ones(3), torch.zeros(3))),
    "column_stack": (lambda a, b: torch.column_stack((a, b)), (torch.ones(3), torch.zeros(3))),
    "layer_norm": (lambda x, w: F.layer_norm(x, (3,), w, w), (_numbers(4, 3), torch.ones(3))),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), (_numbers(4, 3), torch.ones(3))),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w, w), (_numbers(2, 4, 3), torch.ones(4))),
    "batch_norm": (lambda x, w: F.batch_norm(x, w, w, w, w), (_numbers(2, 4, 3), torch.ones(4))),
    "prelu": (F.prelu, (_numbers(2, 4), torch.ones(4))),
    "mse_loss": (F.mse_loss, (_numbers(4), torch.ones(4))),
    "matmul": (torch.matmul, (_numbers(4, 3), torch.ones(3))),
}
_DTYPES = (torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("name", MIXED)
def test_two_dtypes_meet_as_in_eager(name: str) -> None:
    function, (first, *others) = MIXED[name]
    for one in _DTYPES:
        for other in _DTYPES:
            given = (first.to(one), *(each.to(other) for each in others))
            try:
                expected = function(*given)
            except RuntimeError:  # torch does not promote these
                continue
            found = fxonnx.compile(function, given)(*given)
            torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


def test_a_cross_product_of_two_dtypes_is_refused_as_by_torch() -> None:
    with pytest.raises(fxonnx.errors.ModelRaised, match="expected scalar type Float but found Double"):
        fxonnx.compile(torch.linalg.cross, (torch.ones(4, 3), torch.ones(4, 3, dtype=torch.float64)))


BEYOND: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "times": lambda x: x * -1e9,
    "a mask": lambda x: (1 - x) * -1e9,
    "through": lambda x: x / 70000.0,
    "times little": lambda x: x * 1e-8,
    "through little": lambda x: x / 1e-8,
    "times a whole number": lambda x: x * 100_000,
    "in place": lambda x: x.clone().mul_(1e6),
    "times a tensor of rank 0": lambda x: x * torch.tensor(1e6),
    "times a whole tensor of rank 0": lambda x: x * torch.tensor(100_000),
    "times a size": lambda x: x * (x.shape[0] * 10_000),
    "through little, rounded down": lambda x: x // 1e-8,
    "through little, rounded": lambda x: torch.div(x, 1e-8, rounding_mode="trunc"),
    "for infinity": lambda x: torch.nan_to_num(x, posinf=1e9),
    "for what is below": lambda x: torch.nan_to_num(-x, nan=1.0, neginf=-1e9),
    "plus": lambda x: x + 70000.0,
    "minus": lambda x: x - torch.tensor(1e6),
}


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", BEYOND)
def test_numbers_beyond_float16(name: str, dims: Any) -> None:
    """A product takes such a number as it is, a sum as an infinity."""
    model, x = BEYOND[name], torch.tensor([0.0, 1.0, 1e-3, -0.05, 60000.0, float("inf"), float("nan")]).half()
    for optimize in (True, False):
        compiled = fxonnx.compile(model, (x,), dynamic_shapes=dims, optimize=optimize)
        torch.testing.assert_close(compiled(x), model(x), rtol=2e-3, atol=0, equal_nan=True)
