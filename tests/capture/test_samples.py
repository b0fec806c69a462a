"""Elements of many tensors, read in one go where they lie."""

import numpy as np
import pytest
import torch

from fxonnx.capture.samples import Samples

DTYPES = [torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.int32, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 4), (33, 7)])
def test_a_write_to_one_of_many_shows_in_it_alone(dtype, shape):
    tensors = [torch.zeros(5, dtype=torch.uint8), torch.zeros(shape, dtype=dtype), torch.zeros(9, dtype=torch.float64)]
    samples = Samples(tensors)
    before = samples.now()
    assert samples.now() == before
    tensors[1].data.fill_(1)
    after = samples.now()
    assert [old != new for old, new in zip(samples.apart(before), samples.apart(after), strict=True)] == [
        False, True, False
    ]  # fmt: skip


def test_elements_that_lie_at_odd_addresses():
    store = torch.zeros(64, dtype=torch.uint8)
    odd, even = store[1:9], store[16:32].view(torch.int32)
    samples = Samples([odd, even, torch.zeros(3, 4).t()])
    before = samples.now()
    odd[3] = 7
    assert samples.apart(samples.now())[0] != samples.apart(before)[0]
    assert samples.apart(samples.now())[1:] == samples.apart(before)[1:]


@pytest.mark.parametrize("tensors", [[], [torch.empty(0)], [torch.empty(3, device="meta")], [torch.empty(2, 0)]])
def test_what_has_no_elements_has_no_sample(tensors):
    samples = Samples(tensors)
    assert samples.now() == b""
    assert samples.apart(b"") == [b""] * len(tensors)


def test_the_memory_between_is_not_to_be_written():
    """Who puts arrays back that a model may have written to would put back what lies between, which is others'."""
    samples = Samples([torch.zeros(4), torch.zeros(4)])
    arrays = [each for each in vars(samples).values() if isinstance(each, np.ndarray)]
    assert not any(each.flags.writeable for each in arrays if not each.flags.owndata)
