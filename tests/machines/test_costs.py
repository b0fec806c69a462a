"""What nodes cost: by hand, for operators of each kind."""

import pytest

from fxonnx.ir.text import parse_graph
from fxonnx.machines import Best
from fxonnx.machines.costs import Cost, cost_of

BEST = Best(1e9, ((3000, 1e9), (100000, 1e8)))


def node_of(line, types):
    """A node over inputs `a`, `b`, … of these types."""
    inputs = ", ".join(f"{name}: {type}" for name, type in zip("abcde", types, strict=False))
    return parse_graph(f"graph({inputs}) opset=21\n  {line}\n  return %0").nodes[0]


@pytest.mark.parametrize(("line", "types", "flops", "read"), [
    ("%0: f32[2,3,5] = MatMul(a, b)", ["f32[2,3,4]", "f32[4,5]"], 2 * 30 * 4, 4 * (24 + 20 + 30)),
    ("%0: f32[3,5] = Gemm(a, b) {transA=1}", ["f32[4,3]", "f32[4,5]"], 2 * 15 * 4, 4 * (12 + 20 + 15)),
    ("%0: f32[1,8,5,5] = Conv(a, b) {group=2}", ["f32[1,4,7,7]", "f32[8,2,3,3]"], 2 * 200 * 18, 4 * (196 + 144 + 200)),
    ("%0: f32[1,6,8] = Attention(a, b, b) {q_num_heads=2, kv_num_heads=2}", ["f32[1,6,8]", "f32[1,9,8]"],
     4 * 48 * 9, 4 * (48 + 72 + 72 + 48)),
    ("%0: f32[n,4] = Add(a, b)", ["f32[n,4]", "f32[4]"], 12, 4 * (12 + 4 + 12)),
    ("%0: f32[] = ReduceSum(a)", ["f16[n,4]"], 12, 2 * 12 + 4),
    ("%0: f32[12] = Reshape(a, b)", ["f32[3,4]", "i64[1]"], 0, 0),
    ("%0: f32[4,n] = Transpose(a) {perm=[1, 0]}", ["f32[n,4]"], 0, 4 * 24),
    ("%0: f32[2,4] = Gather(a, b)", ["f32[1000,4]", "i64[2]"], 0, 4 * 16),
])  # fmt: skip
def test_arithmetic_and_memory(line, types, flops, read):
    cost = cost_of(node_of(line, types), {"n": 3}, BEST, measured=1.0)
    assert (cost.flops, cost.bytes, cost.measured) == (flops, read, 1.0)
    assert cost.predicted == pytest.approx(max(flops / 1e9, read / 1e9))


def test_what_fits_into_no_cache_is_read_slowly():
    cost = cost_of(node_of("%0: f32[n] = Relu(a)", ["f32[n]"]), {"n": 1000}, BEST)
    assert cost.predicted == pytest.approx(8000 / 1e8)


def test_sizes_and_machines_that_are_not_known():
    node = node_of("%0: f32[n] = Relu(a)", ["f32[n]"])
    assert cost_of(node, {}) == Cost(None, None)
    assert cost_of(node, {"n": 4}).predicted is None
    assert Cost.sum([cost_of(node, {}), cost_of(node, {"n": 4}, BEST)]) == cost_of(node, {"n": 4}, BEST)


def test_in_words():
    assert str(Cost(1234567, 12, 1.5e-5, 0.25)) == "1.23 MFLOP, 12 B, 15 µs predicted, 250 ms measured"
    assert str(Cost(0, 0)) == "0 B"
    assert str(Cost(None, None)) == "not known"
