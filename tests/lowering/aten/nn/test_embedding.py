"""Embeddings and bags of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

from fxonnx.lowering.aten.nn.embedding import embedding

torch.manual_seed(0)
TABLE = torch.randn(10, 3)
INDICES, OFFSETS, ENDS = torch.tensor([1, 2, 4, 5, 4, 3, 2, 9]), torch.tensor([0, 3, 3, 6]), torch.tensor([0, 3, 3, 8])
MODES = ["sum", "mean", "max"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
def test_embedding(dtype):
    indices = torch.tensor([[1, 2], [6, 0]], dtype=dtype)
    compiled = check(torch.nn.Embedding(7, 4, padding_idx=0).eval(), indices)
    assert operators(compiled) == ["Gather"]


BAGS = {
    "plain": (OFFSETS, {}),
    "padded": (OFFSETS, {"padding_idx": 4}),
    "padded from the end": (OFFSETS, {"padding_idx": -1}),
    "last offset": (ENDS, {"include_last_offset": True}),
    "int32": (OFFSETS.int(), {}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("offsets", "options"), BAGS.values(), ids=BAGS)
def test_bags(offsets, options, mode):
    indices = INDICES.to(offsets.dtype)
    check(lambda i, o: F.embedding_bag(i, TABLE, o, mode=mode, **options), indices, offsets)


@pytest.mark.parametrize("mode", MODES)
def test_bags_of_unknown_sizes(mode):
    again = (torch.randint(0, 10, (5,)), torch.tensor([0, 2]))
    dynamic = {"i": {0: "n"}, "o": {0: "bags"}}
    check(lambda i, o: F.embedding_bag(i, TABLE, o, mode=mode), INDICES, OFFSETS, dynamic=dynamic, again=again)


@pytest.mark.parametrize("mode", MODES)
def test_bags_of_one_length_are_a_reduction(mode):
    again = (torch.randint(0, 10, (5, 4)),)
    compiled = check(
        lambda i: F.embedding_bag(i, TABLE, mode=mode), INDICES.view(2, 4), dynamic={"i": {0: "n"}}, again=again
    )
    assert "ScatterND" not in operators(compiled)


@pytest.mark.parametrize("padding", [4, -1])
@pytest.mark.parametrize("mode", MODES)
def test_padded_bags_of_tables_of_unknown_sizes(mode, padding):
    again = torch.randint(0, 7, (6,)), torch.tensor([0, 2]), torch.randn(7, 2)
    dynamic = {"i": {0: "n"}, "o": {0: "bags"}, "w": {0: "rows", 1: "features"}}
    check(
        lambda i, o, w: F.embedding_bag(i, w, o, mode=mode, padding_idx=padding),
        INDICES, OFFSETS, TABLE, dynamic=dynamic, again=again,
    )  # fmt: skip


def test_weighted_bags():
    weights = torch.randn(8)
    check(lambda i, o, w: F.embedding_bag(i, TABLE, o, mode="sum", per_sample_weights=w), INDICES, OFFSETS, weights)


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_rows_that_are_read_are_shortened(norm):
    weight, indices = torch.randn(6, 4) * 3, torch.tensor([[0, 2], [2, 5]])
    check(lambda weight, indices: F.embedding(indices, weight.clone(), max_norm=1.5, norm_type=norm), weight, indices)


def test_bodies_run_eagerly():
    table = TABLE.numpy()
    np.testing.assert_array_equal(eager(embedding, table, INDICES.numpy()), table[INDICES.numpy()])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"padding_idx": 2}])
def test_the_greatest_of_a_bag_with_nan(options):
    table = torch.tensor([[torch.nan, 1.0], [1.0, torch.nan], [2.0, 2.0]])
    bags = torch.tensor([0, 1, 1, 0, 2, 0, 0, 2]), torch.tensor([0, 2, 4, 6])
    check(lambda i, o: F.embedding_bag(i, table, o, mode="max", **options), *bags)
    check(lambda i: F.embedding_bag(i, table, mode="max", **options), bags[0].view(4, 2))
