"""The bits of numbers."""

import pytest
import torch
from tests.lowering.support import check

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"]
EDGES = [0.0, -0.0, 1.0, -2.5, 1e-40, -3e38, float("inf"), -float("inf"), float("nan"), 5e-324, -1e-310, 1.7e308]


@pytest.mark.parametrize("dtype", DTYPES)
def test_hashes(dtype):
    x = (torch.randn(3, 4, 2, dtype=torch.float64) * 50).to(getattr(torch, dtype))
    check(lambda x: (x.hash_tensor(), x.hash_tensor(1), x.hash_tensor((0, -1), keepdim=True)), x)
    check(lambda x: (x.hash_tensor(), x.hash_tensor(-1), x.hash_tensor(0, keepdim=True)), x[0, 0, 0])


@pytest.mark.parametrize("opset", [None, 17, 13])
def test_hashes_of_any_size(opset):
    check(
        lambda x: (x.hash_tensor(), x.hash_tensor(0)),
        torch.randn(3, 4),
        dynamic={"x": {0: "n", 1: "m"}},
        again=(torch.randn(5, 1),),
        opset=opset,
    )


def test_bits_of_all_kinds_of_numbers():
    x = torch.tensor(EDGES, dtype=torch.float64)[:, None]
    check(lambda x: x.hash_tensor(1), x)
    check(lambda x: x.hash_tensor(1), x.float())
