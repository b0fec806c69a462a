"""Padding in every mode, with pads that cut, and of dynamic sizes."""

import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.support import check
from torch.nn import functional as F

X = torch.randn(2, 3, 5, 6)
OTHER = torch.randn(4, 3, 7, 8)
DYNAMIC = {"x": {0: "n", 2: "h", 3: "w"}}


@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
@pytest.mark.parametrize("pads", ((1, 2), (1, 2, 0, 3), (-1, 2), (-1, -2, 1, -1), (0, 0, 0, 0)), ids=str)
@pytest.mark.parametrize("mode", ("constant", "reflect", "replicate", "circular"))
def test_like_torch(mode, pads, dynamic):
    ranks = {2: lambda x: x[0], 4: lambda x: x}
    check(lambda x: F.pad(ranks[len(pads)](x), pads, mode), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize("value", (0, 2.5, float("-inf")))
def test_constants(value):
    check(lambda x: (F.pad(x, (1, 0, 2, 1), value=value), torch.constant_pad_nd(x, (1, 1, 0, 0, 1, 0), value)), X)


def test_a_pad_that_is_a_size():
    check(
        lambda x: F.pad(x, (0, 10 - x.shape[1])), torch.randn(2, 4), dynamic={"x": {1: "m"}}, again=(torch.randn(2, 7),)
    )


@pytest.mark.parametrize("opset", [None, 17, 13])
def test_pads_that_come_from_data(opset):
    def model(x, k):
        pad = int(k)
        weight = torch.ones(2, 3, 2)
        return F.pad(x, (0, 0, pad, 1)), F.conv1d(x, weight, padding=pad), F.conv1d(x, weight, padding=1 + pad // 2)

    x, k = torch.randn(2, 3, 5), torch.tensor(3)
    compiled = check(model, x, k, dynamic={"x": {0: "n", 2: "w"}}, again=(torch.randn(4, 3, 7), k), opset=opset)
    for pad in (0, 1, 4):
        torch.testing.assert_close(compiled(x, torch.tensor(pad)), model(x, torch.tensor(pad)))


@pytest.mark.parametrize("dtype", (torch.bool, torch.int16, torch.int64, torch.float16, torch.float64))
def test_any_dtype(dtype):
    check(lambda x: F.pad(x, (1, 2), value=1), torch.tensor([[0, 1], [2, 3]]).to(dtype))


def test_nothing_stays_nothing():
    check(lambda x: (F.pad(x, (1, 1, 1, 1), "circular"), F.pad(x, (1, 1))), torch.zeros(0, 2, 3, 3))


@pytest.mark.parametrize("name", ("nn.functional.pad", "constant_pad_nd"))
def test_samples_of_torch(name):
    check_samples(name, torch.float32)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["length first", "batch first"])
def test_sequences(batch_first, side):
    """Which one is the longest is no matter."""

    def model(*sequences):
        return torch.nn.utils.rnn.pad_sequence(sequences, batch_first, 7.0, padding_side=side)

    sizes = {"sequences": [{0: "a"}, {0: "b"}, {0: "c"}]}
    given, again = ([torch.randn(length, 2) for length in lengths] for lengths in ([4, 6, 3], [5, 1, 7]))
    check(model, *given, dynamic=sizes, again=tuple(again))
    check(model, *given)
