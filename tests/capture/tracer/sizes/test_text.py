"""Text of a size: free in a message, an error where the model goes on with it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture

LOG = logging.getLogger(__name__)
TABLE = {"3": 1.0, "21": 3.0, "n": 2.0}


def printed(x: Tensor) -> Tensor:
    print("shape", x.shape, x.shape[0], f"{x.shape}", sep=", ")
    return x * 2


def logged(x: Tensor) -> Tensor:
    n = x.shape[0]
    LOG.warning("%s rows", n)
    LOG.warning(f"{n} rows of {x.shape}, " + str(list(x.shape)))
    return x * n


def warned(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn(
            f"{x.shape[0]} rows",
            stacklevel=2,
        )
    return x * 2


def asserted(x: Tensor) -> Tensor:
    n = x.shape[0]
    assert n > 1, f"{n} rows"
    torch._assert(n > 1, f"{n} rows")
    torch._check(n > 1, lambda: f"{n} rows")
    if n < 1:
        raise ValueError(f"too few: {n}")
    return x * 2


def raised_and_caught(x: Tensor) -> Tensor:
    try:
        raise ValueError(f"{x.shape[0]} rows")
    except ValueError:
        return x * 2


def check_rows(condition: Any, message: str = "") -> None:
    if not condition:
        raise ValueError(message)


def checked(x: Tensor) -> Tensor:
    check_rows(x.shape[0] > 1, f"{x.shape[0]} rows: {x}")
    check_rows(condition=x.dim() == 2, message=f"of {x.shape}")
    return x * 2


def KORNIA_CHECK(condition: bool, msg: str) -> bool:  # noqa: N802 (kornia's own name)
    if not condition:
        raise ValueError(msg)
    return True


def checked_in_capitals(x: Tensor) -> Tensor:
    KORNIA_CHECK(x.dim() == 2, f"not of {x.shape}")
    return x * 2


def named(x: Tensor) -> Tensor:
    message = f"{x.shape[0]} rows"
    LOG.warning(message)
    if x.dim() == 3:
        raise ValueError("not " + message)
    assert x.dim() == 2, message
    return x * 2


SAID: list[Callable[[Tensor], Any]] = [
    printed, logged, warned, asserted, raised_and_caught, checked, checked_in_capitals, named,
]  # fmt: skip


@pytest.mark.parametrize("model", SAID, ids=lambda model: model.__name__)
def test_text_that_is_said_is_free(model: Callable[[Tensor], Any]) -> None:
    capture(model, (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n"}})


GONE_ON_WITH: dict[str, Callable[[Tensor], Any]] = {
    "a key": lambda x: x * TABLE.get(f"{x.shape[0]}", 5.0),
    "compared": lambda x: x * 2 if str(x.shape[0]) == "3" else x,
    "counted": lambda x: x * len(f"{x.shape[0]} rows"),
    "of a shape": lambda x: x * 2 if str(x.shape) == "torch.Size([3, 4])" else x,
    "of a list": lambda x: x * 2 if repr(list(x.shape)) == "[3, 4]" else x,
    "formatted": lambda x: x * 2 if f"{x.shape[0]}" == "3" else x,
    "a product": lambda x: x * TABLE.get(str(3 * x.shape[0]), 5.0),
    "one of two": lambda x: x * {"7x4": 2.0}.get(f"{x.shape[0] // 2}x{x.shape[1]}", 5.0),
    "a float": lambda x: x * TABLE.get(str(x.shape[0] / 2), 5.0),
}


def named_and_compared(x: Tensor) -> Tensor:
    text = f"{x.shape[0]}"
    print(text)
    return x * 2 if text == "3" else x


GONE_ON_WITH["named"] = named_and_compared
GONE_ON_WITH["a condition"] = lambda x: check_rows(f"{x.shape[0]}" != "5") or x


@pytest.mark.parametrize("name", GONE_ON_WITH)
def test_text_that_the_model_goes_on_with_freezes_the_dim(name: str) -> None:
    with pytest.raises(errors.FrozenDimension, match="as text") as caught:
        capture(GONE_ON_WITH[name], (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n"}})
    assert "print()" in caught.value.cure


def test_text_by_which_something_is_kept_alone_is_right() -> None:
    class Kept(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grids: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            key = str(x.shape)
            if key not in self.grids:
                self.grids[key] = torch.linspace(-1, 1, x.shape[1]).expand(x.shape[0], -1)
            return x + self.grids[key]

    compiled = fxonnx.compile(Kept(), (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    model = Kept()
    for shape in ((5, 4), (7, 1), (1, 30), (5, 4)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_text_in_code_without_a_file_is_none_that_is_said() -> None:
    names: dict[str, Any] = {}
    exec("def model(x): return x * {'3': 2.0}.get(str(x.shape[0]), 1.0)", names)
    with pytest.raises(errors.FrozenDimension, match="freezes"):
        capture(names["model"], (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n"}})


def test_an_optional_dim_freezes_quietly() -> None:
    x = torch.randn(3, 4)
    compiled = fxonnx.compile(GONE_ON_WITH["a key"], (x,), dynamic_shapes={"x": {0: torch.export.Dim.AUTO}})
    torch.testing.assert_close(compiled(x), x)


def test_a_comparison_as_text_is_a_comparison() -> None:
    def model(x: Tensor) -> Tensor:
        return x * {"True": 2.0, "False": 3.0}[f"{x.shape[0] > 4}"]

    program = capture(model, (torch.randn(5, 4),), dynamic_shapes={"x": {0: "n"}})
    assert [str(each) for each in program.assumptions] == ["n > 4"]
    assert program.symbols["n"].minimum == 5


def test_a_tensor_as_text() -> None:
    def model(x: Tensor) -> Tensor:
        return x * len(f"{x}")

    def shown(x: Tensor) -> Tensor:
        print(x)
        return x * 2

    with pytest.raises(errors.CaptureRefused, match="text"):
        capture(model, (torch.randn(5, 4),))
    capture(shown, (torch.randn(5, 4),))
