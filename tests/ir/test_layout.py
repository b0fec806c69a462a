"""A layout tells where elements are after movements: numpy moves the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxonnx.ir.dims import symbol
from fxonnx.ir.layout import Layout, quotient, reshape_target, size_of

B, T = symbol("b"), symbol("t")


def written(layout, x):
    """What a layout says, in numpy: cut, take apart, pick, order, draw together."""
    for axis, (begin, end) in layout.cuts.items():
        x = x.take(range(begin, end), axis)
    before = [factor for axis in layout.source for factor in axis]
    x = x.reshape([factor.size for factor in before])
    for factor, index in layout.picked.items():
        x = x.take([index], before.index(factor))
    after = [factor for axis in layout.axes for factor in axis]
    order = [*map(before.index, after), *(before.index(factor) for factor in layout.picked)]
    return x.transpose(order).reshape(layout.shape)


@st.composite
def movements(draw):
    """A shape, and some movements from it: of numpy's arrays and of layouts."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4))
    x = y = np.arange(np.prod(shape)).reshape(shape)
    layout = Layout.of(tuple(shape))
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["turn", "view", "pick", "cut"]))
        axis = draw(st.integers(0, max(y.ndim - 1, 0)))
        if y.ndim == 0 or y.size > 500:
            break
        if kind == "turn":
            perm = draw(st.permutations(range(y.ndim)))
            y, layout = y.transpose(perm), layout.transposed(perm)
        if kind == "view":
            sizes = draw(st.permutations([*y.shape, 1]) if draw(st.booleans()) else st.just(split(y.shape)))
            moved = layout.reshaped(tuple(sizes))
            y, layout = (y, layout) if moved is None else (y.reshape(sizes), moved)
        if kind == "pick":
            index, keep = draw(st.integers(0, y.shape[axis] - 1)), draw(st.booleans())
            moved = layout.pick(axis, index, keep=keep)
            y, layout = (y, layout) if moved is None else (y.take([index] if keep else index, axis), moved)
        if kind == "cut":
            begin = draw(st.integers(0, y.shape[axis] - 1))
            moved = layout.cut(axis, begin, y.shape[axis])
            y, layout = (y, layout) if moved is None else (y.take(range(begin, y.shape[axis]), axis), moved)
    return x, y, layout


def split(shape):
    """Even sizes in halves."""
    return [part for size in shape for part in ((2, size // 2) if size % 2 == 0 else (size,))]


@given(movements())
def test_layouts_move_as_numpy_does(case):
    x, y, layout = case
    assert layout.shape == y.shape
    np.testing.assert_array_equal(written(layout, x), y)
    np.testing.assert_array_equal(written(layout.simplified(), x), y)


def test_sizes_with_names_are_divided_exactly_or_not_at_all():
    assert quotient(12 * B, B) == 12
    assert quotient(12 * B * T, 4 * T) == 3 * B
    assert quotient(B, T) is None and quotient(B, 2) is None and quotient(7, 2) is None
    assert Layout.of((B, T)).reshaped((T, B)) is None
    joined = Layout.of((T, B, 768)).reshaped((T, 12 * B, 64))
    assert joined is not None
    heads = joined.transposed([1, 0, 2]).reshaped((B, 12, T, 64))
    assert heads is not None
    assert [[factor.size for factor in axis] for axis in heads.axes] == [[B], [12], [T], [64]]


def test_the_fewest_factors_are_left():
    there = Layout.of((6, 4)).reshaped((2, 3, 4))
    back = there.reshaped((6, 4)).simplified()
    assert back.axes == back.source and [len(axis) for axis in back.axes] == [1, 1]
    assert size_of(back.axes[0]) == 6


@pytest.mark.parametrize(
    ("source", "dims", "target"),
    [((B, T, 8), (B, T, 2, 4), [0, 0, 2, 4]), ((B, T), (B * T,), [-1]), ((B, T), (T, B), None), ((2, 0), (0, 2), None)],
)
def test_a_reshape_says_sizes_with_0_and_minus_1(source, dims, target):
    assert reshape_target(source, dims, lambda dim: False) == target


def test_a_reshape_that_copies_nothing_says_all_sizes():
    assert reshape_target((B, T, 8), (B, T * 8), lambda dim: dim == T) == [0, -1]
    assert reshape_target((B, T, 8), (B, T * 8), lambda dim: dim == B) is None
    assert reshape_target((B, 8), (B, 2, 4), lambda dim: True) == [0, 2, 4]
