"""Subnormal numbers are 0 only while a model runs in which they make no difference."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxonnx
from fxonnx.runtime.subnormals import are_flushed

TINY = torch.tensor([1e-40, -3e-41, 1e-42, 0.0, 1.0, -2.0])
X = torch.randn(2, 3, 8)


class Attends(nn.Module):
    """Attention with a mask of -100, as windows have, and something after it."""

    def __init__(self, after):
        super().__init__()
        self.after = after
        self.register_buffer("mask", torch.tensor([[0.0, -100.0, 0.0], [-100.0, 0.0, 0.0], [0.0, 0.0, -90.0]]))

    def forward(self, x):
        q, k, v = x, x.flip(1), x.flip(2)
        weights = (q @ k.transpose(-1, -2) + self.mask).softmax(-1)
        return self.after(weights @ v, weights, x)


NO_DIFFERENCE = {
    "alone": lambda y, p, x: y,
    "gelu": lambda y, p, x: F.gelu(y),
    "layer_norm": lambda y, p, x: F.layer_norm(y, (8,)),
    "divided by a constant": lambda y, p, x: y / 3.0,
    "squared": lambda y, p, x: y.pow(2),
    "compared with one half": lambda y, p, x: torch.where(y > 0.5, y, -y),
    "log_softmax": lambda y, p, x: y.log_softmax(-1),
    "positions": lambda y, p, x: y + torch.arange(3.0).add(1).log()[:, None],
}
A_DIFFERENCE = {
    "weights": lambda y, p, x: (y, p),
    "probabilities": lambda y, p, x: y.softmax(-1),
    "logarithm": lambda y, p, x: (y, p.clamp(max=0.5).log()),
    "root": lambda y, p, x: y.abs().sqrt(),
    "divided by": lambda y, p, x: x / y,
    "compared with 0": lambda y, p, x: (y, p > 0),
    "as truths": lambda y, p, x: (y, x.bool()),
    "sign": lambda y, p, x: (y, x.sign()),
    "norm without epsilon": lambda y, p, x: F.layer_norm(y, (8,), eps=1e-45),
    "no attention": lambda y, p, x: x * 0.5,
}


def flushes(model, x, **options) -> bool:
    return fxonnx.compile(model.eval(), (x,)).configure(**options).session._flush


@pytest.mark.parametrize("name", NO_DIFFERENCE)
def test_where_they_make_none_subnormal_numbers_are_0(name):
    model = Attends(NO_DIFFERENCE[name])
    compiled = fxonnx.compile(model, (X,))
    assert compiled.session._flush
    torch.testing.assert_close(compiled(X), model(X))
    assert not are_flushed()


@pytest.mark.parametrize("name", A_DIFFERENCE)
def test_where_they_make_one_they_stay(name):
    assert not flushes(Attends(A_DIFFERENCE[name]), X)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_logarithm_of_what_a_mask_leaves_is_eagers(threads):
    model = Attends(lambda y, p, x: (y, p.log()))
    compiled = fxonnx.compile(model, (X,)).configure(threads=threads)
    for found, wanted in zip(compiled(X), model(X), strict=True):
        torch.testing.assert_close(found, wanted)


def test_attention_as_one_operator_is_known():
    model = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    assert flushes(model, X)
    assert not flushes(nn.Linear(8, 8), X)


def test_what_moves_numbers_leaves_them():
    class Moves(nn.Module):
        def forward(self, x, q):
            return F.scaled_dot_product_attention(q, q, q, is_causal=True), x.flip(0)

    compiled = fxonnx.compile(Moves(), (TINY, X))
    assert compiled.session._flush
    assert compiled(TINY, X)[1].equal(TINY.flip(0))


def test_the_caller_may_say_so():
    model = Attends(NO_DIFFERENCE["alone"])
    assert not flushes(model, X, session_options={"session.set_denormal_as_zero": "0"})
    assert flushes(nn.Linear(8, 8), X, session_options={"session.set_denormal_as_zero": "1"})


def test_the_mode_of_the_thread_is_left_as_it_was():
    compiled = fxonnx.compile(Attends(NO_DIFFERENCE["alone"]), (X,))
    torch.set_flush_denormal(True)
    try:
        compiled(X)
        assert are_flushed()
    finally:
        torch.set_flush_denormal(False)
    compiled(X)
    assert not are_flushed()
    assert (TINY * 0.5)[0] != 0


def test_the_first_session_of_a_process_leaves_the_mode_too():
    """ONNX Runtime sets it for good in the thread that makes the first session, where that asks for it."""
    code = (
        "import torch, fxonnx; x = torch.randn(1, 4, 8); m = torch.nn.TransformerEncoderLayer(8, 2).eval();"
        "c = fxonnx.compile(m, (x,)); c(x); assert c.session._flush;"
        "print((torch.tensor([1e-40]) * 0.5 != 0).item())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True"]


def test_what_is_told_apart_here_is():
    """The tables above would say nothing of numbers that eager rounds to 0 itself."""
    weights = (torch.tensor([0.0, -100.0])).softmax(-1)
    assert 0 < weights[1].item() < torch.finfo(torch.float32).tiny
    assert math.isfinite(weights.log()[1].item())
