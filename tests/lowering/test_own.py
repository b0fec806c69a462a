"""Lowerings of the user's own: operators of their domains, and what is said about those that cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor

import fxonnx
from fxonnx import errors


@torch.library.custom_op("owntest::swoosh", mutates_args=())
def swoosh(x: Tensor, alpha: float = 1.0) -> Tensor:
    return x * torch.sigmoid(alpha * x)


@swoosh.register_fake
def _(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.empty_like(x)


def model(x: Tensor) -> Tensor:
    return torch.ops.owntest.swoosh(x, 2.0) + 1


X = torch.randn(2, 3)


def good(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return x * op.Sigmoid(x * alpha)


def misnamed(op: Any, x: Any, *, beta: float = 1.0) -> Any:
    return x * beta


def short(op: Any, x: Any) -> Any:
    return x


def raising(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return x * [1.0, 2.0][int(alpha) + 3]


def misspelt(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return op.sigmoid(x)


def of_numpy(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return np.tanh(x)


def unknown_attribute(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return op.Sigmoid(x, axis=1)


def nothing(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return None


def wide(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return op.Cast(x, to=11)


def fancy(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return op.custom("own.test::Fancy", x, alpha=alpha, like=x)


@pytest.mark.parametrize("key", [
    "owntest.swoosh", "owntest::swoosh", "owntest.swoosh.default", "owntest::swoosh.default",
    "torch.ops.owntest.swoosh", torch.ops.owntest.swoosh, torch.ops.owntest.swoosh.default,
])  # fmt: skip
def test_every_spelling_of_an_op_works(key: Any) -> None:
    torch.testing.assert_close(fxonnx.compile(model, X, lowerings={key: good})(X), model(X))


@pytest.mark.parametrize(("key", "body", "kind", "words"), [
    ("owntest.swosh", good, errors.InvalidOption, 'write "owntest.swoosh"'),
    ("swoosh", good, errors.InvalidOption, "by its namespace"),
    ("owntest.swoosh.Tensor", good, errors.InvalidOption, '"owntest.swoosh" serves'),
    ("aten.relu_", lambda op, self: self, errors.InvalidOption, 'write "aten.relu"'),
    ("owntest.swoosh", misnamed, errors.InvalidOption, "def misnamed(op, x, alpha)"),
    ("aten.gelu", short, errors.InvalidOption, "def short(op, self, approximate)"),
    ("owntest.swoosh", raising, errors.WrongLowering, "IndexError: list index out of range"),
    ("owntest.swoosh", misspelt, errors.WrongLowering, "op has no 'sigmoid', but Sigmoid"),
    ("owntest.swoosh", of_numpy, errors.WrongLowering, "in of_numpy"),
    ("owntest.swoosh", unknown_attribute, errors.WrongLowering, "in unknown_attribute:   return op.Sigmoid(x, axis=1)"),
    ("owntest.swoosh", nothing, errors.WrongLowering, "in nothing"),
    ("owntest.swoosh", wide, errors.WrongLowering, "in wide"),
    ("owntest.swoosh", fancy, errors.NotInOpset, '.knowing("own.test")'),
])  # fmt: skip
def test_what_cannot_serve_says_why(
    key: str, body: Callable[..., Any], kind: type[errors.Error], words: str
) -> None:
    with pytest.raises(kind) as caught:
        fxonnx.compile(model, X, lowerings={key: body})
    assert words in str(caught.value) and caught.value.cause and caught.value.cure
    if kind is errors.WrongLowering:
        assert "test_own.py" in caught.value.locations[0].file
        assert caught.value.locations[1].function == body.__name__


def test_a_registered_lowering_is_told_its_arguments() -> None:
    from fxonnx.lowering.registry import USERS

    fxonnx.register_lowering("owntest::swoosh", misnamed)
    try:
        with pytest.raises(errors.InvalidOption, match="takes other arguments"):
            fxonnx.compile(model, X)
    finally:
        del USERS.lowerings["owntest.swoosh", False]


class Fancy(OpRun):  # type: ignore[misc]
    op_domain = "own.test"

    def _run(self, x: Any, alpha: float = 1.0) -> tuple[Any]:
        return (x / (1 + np.exp(-alpha * x)) * x * 0 + x * (1 / (1 + np.exp(-alpha * x))),)


@pytest.mark.parametrize("base", [fxonnx.Target.onnxruntime(), fxonnx.Target.onnx(15)])
def test_an_operator_of_a_domain_that_the_target_knows(base: fxonnx.Target) -> None:
    target = base.knowing({"own.test": 3})
    assert "own.test" in repr(target) and target.allows("own.test") and not base.allows("own.test")
    compiled = fxonnx.compile(model, X, lowerings={"owntest.swoosh": fancy}, target=target,
                              dynamic_shapes={"x": {0: "n"}})  # fmt: skip
    file = compiled.model_proto()
    onnx.checker.check_model(file)
    assert {each.domain: each.version for each in file.opset_import}["own.test"] == 3
    found = ReferenceEvaluator(file, new_ops=[Fancy]).run(None, {"x": X.numpy()})[0]
    np.testing.assert_allclose(found, model(X), rtol=1e-5)
    with pytest.raises(errors.RuntimeFailed) as caught:
        compiled(X)
    assert "custom_ops=" in caught.value.cure


def test_results_are_like_tensors_or_types() -> None:
    def of_the_runtime(op: Any, x: Any, *, alpha: float = 1.0) -> Any:
        normal, *_ = op.custom("com.microsoft::BiasGelu", x, op.ConstantOfShape(x.shape[1:]), like=[(x.dtype, x.shape)])
        return op.custom("com.microsoft::QuickGelu", x, alpha=alpha, like=("float32", x.shape)) + normal * 0.0

    compiled = fxonnx.compile(model, X, lowerings={"owntest.swoosh": of_the_runtime}, dynamic_shapes={"x": {0: "n"}})
    for rows in (1, 2, 5):
        x = torch.randn(rows, 3)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("ask", [
    lambda op, x: op.custom("Fancy", x, like=x), lambda op, x: op.custom("a::", x, like=x),
    lambda op, x: op.custom("a::B", x, like=None), lambda op, x: op.custom("a::B", x, like=("float32", ["n"])),
    lambda op, x: op.custom("a::B", x, like=("float33", [3])), lambda op, x: op.custom("a::B", x),
])  # fmt: skip
def test_an_operator_of_theirs_that_is_not_said_well(ask: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(errors.WrongLowering) as caught:
        fxonnx.compile(model, X, lowerings={"owntest.swoosh": lambda op, x, *, alpha=1.0: ask(op, x)})
    assert "test_own.py" in str(caught.value)
