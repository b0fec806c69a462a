"""What `next` takes of an iterator that the model keeps is refused, and nothing is taken."""

import itertools

import pytest
import torch
from torch import nn

import fxonnx
from fxonnx.errors import CaptureRefused

X = torch.ones(2)


class Taking(nn.Module):
    def __init__(self, kept, take=next):
        super().__init__()
        self.kept, self.take = kept, take

    def forward(self, x):
        return x * self.take(self.kept)


def generator():
    number = 0
    while True:
        number += 1
        yield number


MADE = {
    "cycle": lambda: itertools.cycle([1.0, 2.0]),
    "count": itertools.count,
    "list": lambda: iter([1.0, 2.0, 3.0]),
    "values": lambda: iter({"a": 1, "b": 2}.values()),
    "zip": lambda: zip([1, 2], [3, 4], strict=True),
    "map": lambda: map(float, range(9)),
    "generator": generator,
    "expression": lambda: (torch.full((2,), float(number)) for number in range(9)),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_what_is_kept_is_not_taken(made):
    model, other = Taking(made(), lambda kept: (next(kept), 1.0)[1]), made()
    with pytest.raises(CaptureRefused, match="iterator that it keeps: kept"):
        fxonnx.compile(model, (X,))
    one, expected = next(model.kept), next(other)
    assert torch.equal(one, expected) if isinstance(one, torch.Tensor) else one == expected


@pytest.mark.parametrize("take", [lambda kept: next(kept[0]), lambda kept: next(iter(kept[1][0]))])
def test_in_containers_and_tuples(take):
    model = Taking([itertools.count(1), (iter([2.0]),)], take)
    with pytest.raises(CaptureRefused):
        fxonnx.compile(model, (X,))
    assert model(X)[0] in (1, 2)


def test_of_functions_and_globals():
    numbers = itertools.count(1)

    def closing(x):
        return x * next(numbers)

    def by_default(x, numbers=iter([1, 2])):  # noqa: B008
        return x * next(numbers)

    def of_the_file(x):
        return x * next(NUMBERS)

    for function in (closing, by_default, of_the_file):
        with pytest.raises(CaptureRefused, match=r"(?s)iterator that it keeps.*test_iterators.py"):
            fxonnx.compile(function, (X,))
        assert torch.equal(function(X), X)


NUMBERS = itertools.count(1)


def test_what_forward_makes_and_what_it_leaves_alone_are_no_matter():
    model = Taking(itertools.count(), lambda kept: next(iter([3.0])))
    assert torch.equal(fxonnx.compile(model, (X,))(X), 3 * X)
    assert next(model.kept) == 0
