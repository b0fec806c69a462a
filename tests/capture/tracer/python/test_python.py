"""Python's own functions of sizes: what they answer, what they are for everything else, and that nothing stays."""

from __future__ import annotations

import builtins
import gc
import math
import numbers
import sys
from collections.abc import Callable
from math import sqrt
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.capture.state import injected
from fxonnx.capture.tracer.python import types
from fxonnx.capture.tracer.python.functions import MATH, NUMPY, PYTHON
from fxonnx.capture.tracer.python.installed import is_model_file, numbers_of_sizes

SIZES: dict[str, Callable[[Tensor], Any]] = {
    "int": lambda x: x.new_ones(int(x.shape[1] / 2)),
    "int of a product": lambda x: x.new_ones(int(x.shape[1] * 0.57)),
    "int of a root": lambda x: x.new_ones(int(x.shape[1] ** 0.5)),
    "int of what may be negative": lambda x: x.new_ones(int(x.shape[1] * 0.3 - x.shape[0] * 1.1) + 30),
    "round": lambda x: x.new_ones(round(x.shape[1] * 0.57), round(x.shape[0] / 2) + 1),
    "len": lambda x: x.reshape(len(x), -1).sum(1) + len(x),
    "float": lambda x: x * float(x.shape[1]) ** -0.5 + float(x.shape[0] / 3),
    "max": lambda x: x.new_ones(max(x.shape[1], x.shape[0]), min(x.shape), max(3, x.shape[1], 1)),
    "divmod": lambda x: x.new_ones(*(each + 1 for each in divmod(x.shape[1], 4))),
    "range": lambda x: torch.stack([x[:, i - 1] for i in range(x.shape[1] - 2, x.shape[1] + 1)]),
    "math.sqrt": lambda x: x / math.sqrt(x.shape[1]) + sqrt(x.shape[0] / 3),
    "math.isqrt": lambda x: x.new_ones(math.isqrt(x.shape[1])),
    "rounded by bits": lambda x: x.new_ones((x.shape[1] + 7) & -8, x.shape[1] & ~3 | 1, 1 + (x.shape[1] ^ 5)),
    "odd by bits": lambda x: x * 2 if x.shape[1] & 1 else x * (6 & x.shape[1]) + ~x.shape[0],
    "int.bit_length": lambda x: x.new_ones(1 << (x.shape[1] - 1).bit_length()),
    "math.log": lambda x: x * math.log(x.shape[1]) + math.log(x.shape[1], 3) + math.log2(x.shape[1]),
    "math.ceil": lambda x: torch.nn.functional.pad(x, (0, int(math.ceil(x.shape[1] / 5)) * 5 - x.shape[1])),  # noqa: RUF046
    "np.ceil": lambda x: torch.nn.functional.pad(x, (0, int(np.ceil(x.shape[1] / 8)) * 8 - x.shape[1])),
    "np.sqrt": lambda x: x / np.sqrt(x.shape[1]) + np.log2(x.shape[1]),
    "np.prod": lambda x: x.reshape(int(np.prod(x.shape))),
    "numel": lambda x: x.reshape(x.shape.numel()) * x.size()[1:].numel() + (x.shape.numel() == 0),
    "abs": lambda x: x * abs(x.shape[1] / 3 - 2.5) + max(x.shape[1] / 3, 2.0),
    "isinstance": lambda x: x * 2 if isinstance(x.shape[1], int) else x,
    "isinstance of several": lambda x: x * 2 if isinstance(x.shape[1], (str, float, numbers.Integral)) else x,
    "type": lambda x: x * 2 if type(x.shape[1]) is int and type(x.shape[1] / 2) == float else x,  # noqa: E721
    "dtype": lambda x: (x * 10).to(int) + torch.zeros(x.shape[1], dtype=float),
    "windows": lambda x: x.view(int(x.numel() / x.shape[1]), x.shape[1]),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_keep_their_expression(name: str) -> None:
    model = SIZES[name]
    compiled = fxonnx.compile(model, (torch.rand(2, 8),), dynamic_shapes={"x": {0: "b", 1: "n"}})
    for shape in ((2, 8), (3, 100), (1, 6), (5, 29)):
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_what_is_no_size_is_what_it_is() -> None:
    SizeInt, SizeFloat, SizeType = types.SizeInt, types.SizeFloat, types.SizeType
    assert (SizeInt("12"), SizeInt("c", 16), SizeFloat("2.5"), SizeInt(2.9)) == (12, 12, 2.5, 2)
    assert type(SizeInt("12")) is int
    assert SizeInt.from_bytes(b"\x01\x00", "big") == 256
    assert SizeInt == int  # noqa: E721
    assert {int: "whole"}[SizeInt] == "whole"
    assert issubclass(bool, SizeInt)
    assert not issubclass(str, SizeInt)
    assert isinstance(3, SizeInt | SizeFloat)
    assert SizeType("A", (), {}).__name__ == "A"
    assert np.zeros(2, dtype=SizeInt).dtype == np.int64
    assert torch.zeros(2, dtype=SizeFloat).dtype is torch.float64
    assert list(types.SizeRange(3)) == [0, 1, 2]
    assert PYTHON["max"]([3, 4], key=lambda each: -each) == 3
    assert PYTHON["max"](x for x in (1, 2)) == 2
    assert PYTHON["len"]({1: 2}) == 1
    with pytest.raises(TypeError):
        PYTHON["len"](3)


def test_names_are_put_back() -> None:
    here, length, root = vars(sys.modules[__name__]), builtins.len, math.sqrt
    before = dict(here)
    with pytest.raises(KeyboardInterrupt), numbers_of_sizes([]):
        assert here["len"] is not length
        assert here["sqrt"] is math.sqrt is MATH["sqrt"]
        assert np.zeros is NUMPY["zeros"] and hasattr(torch.SymInt, "__array_ufunc__")
        raise KeyboardInterrupt
    assert here == before
    assert math.sqrt is root
    assert not injected.count()


def test_a_function_of_no_module_sees_them() -> None:
    namespace: dict[str, Any] = {"__name__": "of_no_module"}
    exec("def model(x):\n    return x.new_ones(int(x.shape[0] / 2))", namespace)
    compiled = fxonnx.compile(namespace["model"], (torch.rand(8),), dynamic_shapes={"x": {0: "n"}})
    assert compiled(torch.rand(13)).shape == (6,)
    assert "int" not in namespace


def test_model_files() -> None:
    names = ("torch.nn", "math", "numpy.linalg", "fxonnx", "timm.models", "__main__", "torch.nn.modules.rnn")
    assert [name for name in names if is_model_file(name)] == list(names[4:])


def test_a_check_of_what_no_dim_says_is_one_of_each_call() -> None:
    def model(x: Tensor) -> Tensor:
        side = int(math.sqrt(x.shape[0]))
        if side * side != x.shape[0]:
            raise ValueError("no square")
        return x.new_ones(side) + x.sum()

    compiled = fxonnx.compile(model, (torch.rand(16),), dynamic_shapes={"x": {0: "n"}})
    x = torch.rand(25)
    torch.testing.assert_close(compiled(x), model(x))
    with pytest.raises(fxonnx.errors.CheckFailed, match="no square"):
        compiled(torch.rand(20))


def test_other_threads_may_import_while_names_are_put_into_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may run, and then let other threads run, wherever Python makes an object."""

    def imports(phase: str, info: dict[str, int]) -> None:
        name = f"fxonnx_imported_{len(sys.modules)}"
        monkeypatch.setitem(sys.modules, name, ModuleType(name))

    thresholds = gc.get_threshold()
    gc.callbacks.append(imports)
    try:
        gc.set_threshold(1)
        with numbers_of_sizes([]):
            pass
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(imports)
    assert injected.count() == 0


def test_a_range_that_is_returned_has_the_numbers_of_the_call() -> None:
    def function(x: torch.Tensor) -> tuple[Tensor, range, dict[str, range]]:
        return x.sum(), range(x.shape[0]), {"other": range(2, 2 * x.shape[0])}

    compiled = fxonnx.compile(function, (torch.ones(3),), dynamic_shapes={"x": {0: "n"}})
    for size in (3, 1, 7):
        assert compiled(torch.ones(size)) == function(torch.ones(size))
