"""Calls of tensors alone take the short way, and every other call the long one, to the same answers."""

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

import fxonnx
from fxonnx.errors import CallMismatch, CheckFailed, ModelChanged

X, Y = torch.randn(3, 4), torch.randn(3, 4)


class Two(nn.Module):
    """Two tensors and an option; a structure comes back."""

    def forward(self, x, y, scale=2.0):
        return {"sum": x + y, "parts": [x * scale, (y, None)]}


def same(found, wanted):
    """Compare structures of tensors."""
    assert torch.utils._pytree.tree_structure(found) == torch.utils._pytree.tree_structure(wanted)
    torch.testing.assert_close(torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(wanted))


@pytest.mark.parametrize(("args", "kwargs"), [
    ((X, Y), {}), ((X,), {"y": Y}), ((), {"y": Y, "x": X}), ((), {"x": X, "y": Y}), ((X, Y, 2.0), {}),
    ((X, Y), {"scale": 2.0}), ((X.t().contiguous().t(), Y), {}), ((nn.Parameter(X), Y), {}),
])  # fmt: skip
def test_every_way_to_call_gives_the_same(args, kwargs):
    compiled = fxonnx.compile(Two(), (X, Y))
    for _ in range(3):
        same(compiled(*args, **kwargs), Two()(*args, **kwargs))


@pytest.mark.parametrize(("args", "kwargs"), [
    ((X,), {}), ((X, Y, 3.0), {}), ((X, Y), {"x": X}), ((X, Y), {"z": X}), ((X, X.double()), {}), ((X, None), {}),
    ((X, Y[:2]), {}), ((X, Y.to_sparse()), {}), ((X, Y + 1j), {}), ((X, [Y]), {}), ((X, Y.to("meta")), {}),
])  # fmt: skip
def test_a_call_that_does_not_fit_is_refused_every_time(args, kwargs):
    compiled = fxonnx.compile(Two(), (X, Y))
    for _ in range(2):
        with pytest.raises(CallMismatch):
            compiled(*args, **kwargs)
        same(compiled(X, Y), Two()(X, Y))


def test_sizes_are_checked_at_each_call():
    table = nn.Embedding(10, 4)
    model = nn.Module()
    model.forward = lambda x: x + table.weight[: x.shape[0]]
    compiled = fxonnx.compile(model, (X,), dynamic_shapes=({0: "n"},))
    for size in (3, 9, 3, 10):
        x = torch.randn(size, 4)
        same(compiled(x), model.forward(x))
    for _ in range(2):
        with pytest.raises(CallMismatch):
            compiled(torch.randn(11, 4))


def test_the_models_own_checks_hold():
    class Checked(nn.Module):
        def forward(self, x):
            torch._assert((x > 0).all(), "positive only")
            return x.sqrt()

    compiled = fxonnx.compile(Checked(), (X.abs() + 1,))
    same(compiled(X.abs() + 1), (X.abs() + 1).sqrt())
    with pytest.raises(CheckFailed):
        compiled(-X.abs() - 1)


def test_a_changed_weight_is_told():
    model = nn.Linear(4, 4)
    compiled = fxonnx.compile(model, (X,))
    compiled(X)
    model.weight.data[0, 0] += 1
    with pytest.raises(ModelChanged):
        compiled(X)


def test_results_of_one_call_outlive_the_next():
    compiled = fxonnx.compile(nn.ReLU(), (X,))
    first, second = compiled(X), compiled(Y)
    same([first, second], [X.relu(), Y.relu()])


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_arrays_in_arrays_out():
    compiled = fxonnx.compile(Two(), (X, Y))
    found = compiled(X.numpy(), y=Y.numpy())
    assert isinstance(found["sum"], np.ndarray)
    assert found["parts"][1][1] is None
    np.testing.assert_array_equal(found["sum"], (X + Y).numpy())


def test_a_tensor_among_arrays_gives_tensors():
    compiled = fxonnx.compile(Two(), (X, Y))
    same(compiled(X.numpy(), Y), Two()(X, Y))


@pytest.mark.parametrize("array", [
    X.numpy()[::-1], X.numpy().T.copy().T, np.broadcast_to(X.numpy()[:1], (3, 4)), X.numpy()[:, [0, 1, 2, 3]],
])  # fmt: skip
def test_arrays_lie_as_they_like(array):
    np.testing.assert_array_equal(fxonnx.compile(nn.ReLU(), (X,))(array), np.maximum(array, 0))


def test_arrays_of_bfloat16():
    compiled, x = fxonnx.compile(nn.ReLU(), (X.bfloat16(),)), X.numpy().astype(ml_dtypes.bfloat16)
    found = compiled(x)
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.astype(np.float32), np.maximum(x.astype(np.float32), 0))


def test_arrays_inside_containers():
    class Nested(nn.Module):
        def forward(self, pair):
            return pair["a"] + pair["b"][0]

    compiled = fxonnx.compile(Nested(), ({"a": X, "b": [Y]},))
    found = compiled({"a": X.numpy(), "b": [Y.numpy()]})
    np.testing.assert_array_equal(found, (X + Y).numpy())


def test_complex_arrays():
    x = X + 1j * Y
    found = fxonnx.compile(lambda x: (x * x, x.abs()), (x,))(x.numpy())
    np.testing.assert_allclose(found[0], (x * x).numpy(), rtol=1e-5)
    assert found[1].dtype == np.float32


def test_a_model_that_writes_into_an_array():
    class Counting(nn.Module):
        def forward(self, x):
            x.add_(1)
            return x * 2

    compiled, x = fxonnx.compile(Counting(), (X.clone(),)), np.zeros((3, 4), np.float32)
    np.testing.assert_array_equal(compiled(x), np.full((3, 4), 2.0))
    np.testing.assert_array_equal(x, np.ones((3, 4)))
    x.setflags(write=False)
    with pytest.raises(CallMismatch, match="cannot be written"):
        compiled(x)
