"""Tensors made from sizes and numbers, and copies in another dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from tests.lowering.values import normal

import fxonnx
from fxonnx import dtypes
from fxonnx.lowering.aten.tensor import creation

FROM_DATABASE = [
    "clone",
    "contiguous",
    "fill",
    "full_like",
    "meshgrid",
    "new_full",
    "new_ones",
    "new_zeros",
    "ones_like",
    "to",
    "tril",
    "triu",
    "zeros_like",
]

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
ALL_DTYPES = (*FLOATS, *INTEGERS, torch.bool)

SEQUENCES = {
    "arange": lambda: torch.arange(5),
    "arange-step": lambda: torch.arange(1, 10, 3),
    "arange-down": lambda: torch.arange(5, 0, -2),
    "arange-empty": lambda: torch.arange(0),
    "arange-float-step": lambda: torch.arange(0, 1, 0.1),
    "arange-float-end": lambda: torch.arange(3.7),
    "arange-double-down": lambda: torch.arange(0, -3, -0.5, dtype=torch.float64),
    "arange-half": lambda: torch.arange(0, 5, dtype=torch.float16),
    "arange-int32": lambda: torch.arange(0, 5, 2, dtype=torch.int32),
    "arange-float-as-int": lambda: torch.arange(0.5, 5.5, 1.5, dtype=torch.int64),
    "linspace": lambda: torch.linspace(0, 1, 7),
    "linspace-one": lambda: torch.linspace(3, -3, 1),
    "linspace-int": lambda: torch.linspace(0, 10, 4, dtype=torch.int64),
    "logspace": lambda: torch.logspace(0, 2, 5),
    "logspace-base": lambda: torch.logspace(-1, 1, 4, base=2.0, dtype=torch.float64),
    "tril_indices": lambda: torch.tril_indices(3, 4, 1),
    "triu_indices": lambda: torch.triu_indices(4, 3, -1),
    "scalar_tensor": lambda: torch.scalar_tensor(3),
    "linspace-even": lambda: torch.linspace(-1, 1, 6, dtype=torch.float64),
}

OF_A_DYNAMIC_SIZE = {
    "zeros": lambda x: torch.zeros(x.shape[0], 2),
    "ones": lambda x: x.new_ones(x.shape[0] * 2, 3),
    "ones_like": lambda x: torch.ones_like(x, dtype=torch.int64),
    "full-of-size": lambda x: torch.full((x.shape[0],), x.shape[0]),
    "full-of-float": lambda x: torch.full((2,), x.shape[0] * 0.5),
    "full_like-of-size": lambda x: torch.full_like(x, x.shape[0]),
    "eye": lambda x: torch.eye(x.shape[0]),
    "eye of truths": lambda x: (x > 0) & ~torch.eye(*x.shape, dtype=torch.bool),
    "eye of bytes": lambda x: torch.eye(x.shape[0], 2, dtype=torch.uint8),
    "arange": lambda x: torch.arange(x.shape[0]),
    "arange-float": lambda x: torch.arange(x.shape[0], dtype=torch.float32),
    "arange-step": lambda x: torch.arange(1, x.shape[0] * 2 + 1, 2),
    "arange-down": lambda x: torch.arange(x.shape[0], 0, -1),
    "arange-half-steps": lambda x: torch.arange(0, x.shape[0], 0.5),
    "arange-to-float": lambda x: torch.arange(0.0, x.shape[0] / 2),
    "tril": lambda x: torch.tril(torch.ones(x.shape[0], x.shape[0], dtype=torch.bool)),
    "triu": lambda x: torch.full((x.shape[0], x.shape[0]), -torch.inf).triu(1),
    "meshgrid": lambda x: torch.meshgrid(torch.arange(x.shape[0]), torch.arange(3), indexing="xy"),
    "expanded": lambda x: x[:1] + torch.zeros(x.shape[0], 1),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequence(name: str) -> None:
    check(lambda x: SEQUENCES[name]() + x, torch.zeros((), dtype=torch.int64))


@pytest.mark.parametrize("name", OF_A_DYNAMIC_SIZE)
def test_of_a_dynamic_size(name: str) -> None:
    check(
        OF_A_DYNAMIC_SIZE[name],
        normal(torch.float32, 3, 4),
        dynamic={"x": {0: "n"}},
        again=(normal(torch.float32, 6, 4),),
    )


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16, torch.float64), ids=str)
def test_numbers_between_bounds_are_those_of_torch_to_the_last_bit(dtype: torch.dtype) -> None:
    """A comparison with them decides: torch.bucketize(x, torch.linspace(0, 1, 31))."""

    def spaced(x: torch.Tensor) -> list[torch.Tensor]:
        ends = (0.0, 1.0), (-1.0, 1.0), (0.3, 7.7), (2e4, 0.1)
        return [torch.linspace(*each, x.shape[0], dtype=dtype) for each in ends]

    compiled = fxonnx.compile(spaced, torch.zeros(31), dynamic_shapes=({0: "n"},))
    for size in (31, 1, 2, 100, 257):
        x = torch.zeros(size)
        assert all(map(torch.equal, compiled(x), spaced(x)))


@pytest.mark.parametrize("name", FROM_DATABASE)
def test_samples(name: str) -> None:
    check_samples(name, torch.float32)
    check_samples(name, torch.int64)


@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=str)
def test_constants_in_every_dtype(dtype: torch.dtype) -> None:
    def function(x: torch.Tensor) -> list[torch.Tensor]:
        made = [
            torch.zeros(2, 3, dtype=dtype),
            torch.ones((), dtype=dtype),
            torch.full((2, 0), 1, dtype=dtype),
            torch.eye(3, 2, dtype=dtype),
        ]
        return [
            *made,
            x.new_full((2,), 1),
            torch.ones_like(x),
            torch.zeros_like(x),
            torch.fill(x, 1),
            torch.tril(x),
            torch.triu(x, 1),
        ]

    check(function, normal(torch.float32).abs().to(dtype))


def test_numbers_convert_as_in_torch() -> None:
    check(
        lambda x: [
            torch.full((2,), -1, dtype=torch.uint8),
            torch.full((2,), 2.7, dtype=torch.int64),
            torch.full((2,), True) & x,
        ],
        torch.tensor(True),
    )


@pytest.mark.parametrize("source", ALL_DTYPES, ids=str)
def test_casts(source: torch.dtype) -> None:
    x = normal(torch.float32).abs().to(source)
    check(lambda x: [x.to(target) for target in ALL_DTYPES], x)


def test_casts_cut_towards_zero_and_wrap_around() -> None:
    check(
        lambda x, n: [x.to(torch.int64), x.bool(), n.to(torch.uint8), n.to(torch.int32)],
        torch.tensor([-1.7, 0.4, 2.5]),
        torch.tensor([-1, 256, 2**33 + 1]),
    )


def test_copies_are_the_value_itself() -> None:
    compiled = check(lambda x: x.clone().contiguous().to("cpu").detach().to(x.dtype) + 1, normal(torch.float32))
    assert operators(compiled) == ["Add"]


def test_copy_takes_dtype_and_shape_of_its_target() -> None:
    check(lambda x, y: x.copy_(y), normal(torch.float32, 3, 4), torch.arange(4))


def test_one_hot() -> None:
    indices = torch.randint(0, 5, (3, 4))
    check(lambda x: [F.one_hot(x, 5), F.one_hot(x[0, 0], 5)], indices)
    check(lambda x: F.one_hot(x, 5), indices, dynamic={"x": {0: "n"}}, again=(torch.randint(0, 5, (6, 4)),))


def test_bodies_run_eagerly() -> None:
    np.testing.assert_array_equal(eager(creation.full_of, [2, 3], 0.0), np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(eager(creation.to, np.array([1.5]), dtype=dtypes.INT64), [1])
