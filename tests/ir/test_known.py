"""Shape arithmetic followed in dims: what is known must be what is computed."""

import numpy as np
import pytest
from tests.ir.graphs import evaluate

from fxonnx import dtypes
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import evaluate as size_of
from fxonnx.ir.dims import maximum, minimum, symbol
from fxonnx.ir.infer.known import _KNOWN
from fxonnx.ir.types import parse_type

n, m = symbol("n"), symbol("m")
ARRAY = np.zeros((6, 5, 4), np.float32)

PROGRAMS = {
    "Shape": (lambda op, x: op.Shape(x, start=-2), (m, 4)),
    "Size": (lambda op, x: op.Size(x), (4 * n * m,)),
    "Cast": (lambda op, x: op.Cast(op.Shape(x), to=dtypes.INT32), (n, m, 4)),
    "Identity": (lambda op, x: op.Identity(op.Shape(x)), (n, m, 4)),
    "Reshape": (lambda op, x: op.Reshape(op.Size(x), [1]), (4 * n * m,)),
    "Squeeze": (lambda op, x: op.Squeeze(op.Shape(x, start=2), [0]), (4,)),
    "Unsqueeze": (lambda op, x: op.Unsqueeze(op.Size(x), [0]), (4 * n * m,)),
    "Concat": (lambda op, x: op.Concat(op.Shape(x, end=1), [7], axis=0), (n, 7)),
    "Gather": (lambda op, x: op.Gather(op.Shape(x), [-1, 0]), (4, n)),
    "Slice": (lambda op, x: op.Slice(op.Shape(x), [0], [2**62], [0], [2]), (n, 4)),
    "Add": (lambda op, x: op.Shape(x) + 1, (n + 1, m + 1, 5)),
    "Sub": (lambda op, x: op.Shape(x) - op.Shape(x, end=1), (0, m - n, 4 - n)),
    "Mul": (lambda op, x: op.Shape(x) * [1, 2, 3], (n, 2 * m, 12)),
    "Max": (lambda op, x: op.Max(op.Shape(x), [5]), (maximum(n, 5), maximum(m, 5), 5)),
    "Min": (lambda op, x: op.Min(op.Shape(x), [5]), (minimum(n, 5), minimum(m, 5), 4)),
    "Div": (lambda op, x: op.Shape(x) / 2, (n // 2, m // 2, 2)),
    "Mod": (lambda op, x: op.Shape(x) % 4, (n % 4, m % 4, 0)),
    "Neg": (lambda op, x: -op.Shape(x), (-n, -m, -4)),
    "ReduceProd": (lambda op, x: op.ReduceProd(op.Shape(x), keepdims=0), (4 * n * m,)),
    "ConstantOfShape": (lambda op, x: op.ConstantOfShape([2], value=np.array([7])), (7, 7)),
    "Expand": (lambda op, x: op.Expand(op.Shape(x, end=1), [3]), (n, n, n)),
    "Range": (lambda op, x: op.Range(5, 0, -2), (5, 3, 1)),
    "Where": (lambda op, x: op.Where(np.array([True, False, True]), op.Shape(x), op.Shape(x) * 2), (n, 2 * m, 4)),
}


def build(program):
    """The graph of a program of one input, and the value it returns."""
    op = Builder()
    result = program(op, op.input(parse_type("f32[n,m,4]"), "x"))
    return op.finish([result]), result.value


def test_every_entry_has_a_program():
    assert PROGRAMS.keys() == _KNOWN.keys()


@pytest.mark.parametrize(("program", "expected"), PROGRAMS.values(), ids=PROGRAMS)
def test_known_and_computed(program, expected):
    graph, value = build(program)
    assert value.known == expected
    (computed,) = evaluate(graph, [ARRAY])
    assert computed.dtype == value.dtype.numpy
    assert computed.ravel().tolist() == [size_of(dim, {"n": 6, "m": 5}) for dim in expected]


@pytest.mark.parametrize("program", [
    lambda op, x: op.Shape(x) / 0,
    lambda op, x: op.Shape(x) % 0,
    lambda op, x: (op.Shape(x) - 5) / 2,  # may be negative, where Div and // differ
    lambda op, x: op.Cast(op.constant([300]), to=dtypes.INT8),  # does not fit
    lambda op, x: op.Cast(op.Cast(op.Shape(x), to=dtypes.FLOAT32), to=dtypes.INT64),
    lambda op, x: op.Expand(op.constant([1]), [65]),  # long: data, no shape
    lambda op, x: op.Gather(op.Shape(x), op.Shape(x)),
    lambda op, x: op.Slice(op.Shape(x), [-1], [-(2**62)], [0], [-1]),
    lambda op, x: op.ReduceProd(x, keepdims=0),
], ids=range(9))  # fmt: skip
def test_what_is_not_known(program):
    assert build(program)[1].known is None


@pytest.mark.parametrize(
    ("left", "right", "quotient"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3), (2**62 + 1, 1, 2**62 + 1)]
)
def test_ints_are_divided_towards_zero(left, right, quotient):
    assert build(lambda op, x: op.constant([left]) / [right])[1].known == (quotient,)


def test_expand_to_nothing():
    assert build(lambda op, x: op.Expand(op.Shape(x, end=1), [0]))[1].known == ()
