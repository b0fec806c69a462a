"""Tolerances tell rounding from error; fresh inputs resemble the example."""

import pytest
import torch

from fxonnx import errors
from fxonnx.verification.compare import compare, difference, fresh_like, tolerance

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.complex64], ids=str)
def test_equal_is_ok(dtype):
    x = (torch.randn(40) * 3).abs().to(dtype)
    found = difference("x", x.clone(), x)
    assert found.ok
    assert found.max_absolute == found.max_relative == found.mismatches == 0


@pytest.mark.parametrize("dtype", FLOATS[:4], ids=str)
def test_another_order_of_adding_is_ok(dtype):
    torch.manual_seed(0)
    a, b = torch.randn(16, 4096, dtype=torch.float64).to(dtype), torch.randn(4096, 16, dtype=torch.float64).to(dtype)
    order = torch.randperm(4096)
    assert difference("x", a[:, order] @ b[order], a @ b).ok


@pytest.mark.parametrize("dtype", FLOATS[:4], ids=str)
def test_a_percent_or_a_few_ulps_more_than_allowed_is_not(dtype):
    x = torch.ones(10, dtype=dtype)
    y = x.clone()
    y[3] += 4 * tolerance(dtype)
    found = difference("x", y, x)
    assert (found.ok, found.mismatches, found.worst) == (False, 1, (3,))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_are_exact(dtype):
    x = torch.zeros(2, 3, dtype=dtype)
    y = x.clone()
    y[1, 2] = 1
    found = difference("x", y, x)
    assert (found.ok, found.mismatches, found.worst) == (False, 1, (1, 2))


def test_integers_beyond_float64_are_exact():
    x = torch.tensor([2**53])
    assert not difference("x", x + 1, x).ok


def test_integers_may_be_given_a_tolerance():
    assert compare([torch.tensor([101])], [torch.tensor([100])], rtol=0.01).ok


def test_nan_and_infinity_must_meet_their_like():
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([nan, inf, -inf, 1.0])
    assert difference("x", x.clone(), x).ok
    for wrong in (
        [0, inf, -inf, 1],
        [nan, -inf, -inf, 1],
        [nan, 3e38, -inf, 1],
        [nan, inf, -inf, nan],
        [nan, inf, -inf, inf],
    ):
        found = difference("x", torch.tensor(wrong, dtype=torch.float32), x)
        assert found.mismatches == 1 and found.max_absolute == found.max_relative == inf


def test_a_mask_value_does_not_excuse_its_neighbours():
    x = torch.tensor([torch.finfo(torch.float32).min, -1e9, 1.0, 2.0, 3.0])
    y = x.clone()
    y[2] = 1.1
    assert difference("x", y, x).worst == (2,)


def test_cancellation_is_measured_by_the_scale():
    x = torch.tensor([1000.0, 900.0, 1e-5])
    assert difference("x", x + torch.tensor([0.0, 0.0, 1e-3]), x).ok


def test_huge_values_do_not_overflow():
    x = torch.tensor([1e300, 2e300], dtype=torch.float64)
    assert not difference("x", x * 1.01, x).ok


def test_zeros_are_not_ok_for_anything():
    assert not difference("x", torch.full((3,), 1e-3), torch.zeros(3)).ok
    assert difference("x", torch.full((3,), 1e-40), torch.zeros(3)).ok


def test_empty_and_scalar():
    assert difference("x", torch.empty(0, 3), torch.empty(0, 3)).ok
    found = difference("x", torch.tensor(1.0), torch.tensor(2.0))
    assert (found.ok, found.worst) == (False, ())


def test_misfits_are_told_and_not_raised():
    assert (
        "dtype is torch.float64 instead of torch.float32"
        in difference("x", torch.ones(1).double(), torch.ones(1)).problem
    )
    assert "shape is [1] instead of [1, 1]" in difference("x", torch.ones(1), torch.ones(1, 1)).problem
    assert difference("x", 3, 3).ok
    assert difference("x", None, torch.ones(1)).problem
    assert not compare([torch.ones(1)], []).ok


def test_the_report_reads():
    good, bad = torch.ones(2), torch.tensor([1.0, 2.0])
    report = compare([good, bad], [good, good], names=["logits", "loss"])
    assert str(report).splitlines()[0].startswith("✓ logits: float32[2]  max error 0 absolute")
    assert "✗ loss: float32[2]" in str(report)
    assert "1 elements beyond it, worst at [1]" in str(report)
    with pytest.raises(errors.VerificationFailed, match="1 of 2 outputs") as caught:
        report.check()
    assert "loss" in caught.value.cause
    assert compare([good], [good]).check().ok


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.complex64], ids=str)
def test_fresh_values_are_like_the_example(dtype):
    generator = torch.Generator().manual_seed(0)
    example = (torch.rand(50, 4) * 9 - 4).relu().to(dtype)
    fresh = fresh_like(example, generator)
    assert (fresh.dtype, fresh.shape) == (example.dtype, example.shape)
    assert not difference("x", fresh, example).ok
    if not dtype.is_complex:
        wide, bounds = fresh.double(), example.double()
        assert bounds.min() <= wide.min() <= wide.max() <= bounds.max()
    assert difference("x", fresh_like(example, torch.Generator().manual_seed(0)), fresh).ok


def test_what_is_constant_stays():
    generator = torch.Generator().manual_seed(0)
    for example in (
        torch.ones(5),
        torch.ones(5, dtype=torch.bool),
        torch.full((5,), 7),
        torch.tensor(2.5),
        torch.empty(0, 3),
    ):
        assert fresh_like(example, generator).equal(example)


def test_infinite_elements_stay():
    example = torch.tensor([0.0, -torch.inf, 1.0, torch.inf])
    fresh = fresh_like(example, torch.Generator().manual_seed(0))
    assert fresh[[1, 3]].equal(example[[1, 3]])
    assert fresh[[0, 2]].isfinite().all()


def test_the_whole_range_of_int64():
    example = torch.tensor([torch.iinfo(torch.int64).min, 0, torch.iinfo(torch.int64).max])
    assert sorted(fresh_like(example, torch.Generator().manual_seed(0)).tolist()) == sorted(example.tolist())


def test_a_quantized_model_may_be_a_step_off():
    expected = torch.randint(0, 255, (50,), dtype=torch.uint8)
    assert not compare([expected + 1], [expected]).ok
    assert compare([expected + 1], [expected], quantized=True).ok
    assert not compare([expected + 40], [expected], quantized=True).ok
    assert not compare([expected.long() + 1], [expected.long()], quantized=True).ok
