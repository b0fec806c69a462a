"""One op taken apart: the smaller ops compute the same, for static and dynamic sizes, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.capture.interpret import writes
from torch import Tensor, fx

from fxonnx.capture import Program, capture
from fxonnx.capture.graph.decompose import Decomposer

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))

CASES: dict[str, Callable[[Tensor], Any]] = {
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, x),
    "std": lambda x: torch.std(x, 1),
    "hardswish": torch.nn.functional.hardswish,
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
    "huber_loss": lambda x: torch.nn.functional.huber_loss(x, x * 2),
    "huber_loss of two dtypes": lambda x: torch.nn.functional.huber_loss(x.half(), x * 2),
    "soft_margin_loss of two dtypes": lambda x: torch.nn.functional.soft_margin_loss(x.bfloat16(), x.sign()),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x, (6,)),
    "trapezoid": lambda x: torch.trapezoid(x[:2], dim=1),
    "aminmax": lambda x: torch.aminmax(x, dim=0),
    "dist": lambda x: torch.dist(x, x * 2),
}


def evaluate(graph: fx.Graph, arguments: list[Any]) -> Any:
    """A decomposition's result for the values of the node's distinct arguments."""
    return fx.Interpreter(fx.GraphModule({}, graph)).run(*arguments)


def last_call(program: Program, name: str) -> fx.Node:
    return next(node for node in program.graph.nodes if name in str(node.target))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dynamic", [None, {0: "n"}], ids=["static", "dynamic"])
def test_decomposition_computes_the_op(name: str, dynamic: dict[int, str] | None) -> None:
    function = CASES[name]
    program = capture(function, (X,), dynamic_shapes=None if dynamic is None else (dynamic,))
    node = last_call(program, name.partition(" ")[0])
    graph = Decomposer(program)(node)
    assert graph is not None
    assert not writes(graph)
    assert all(inner.target is not node.target for inner in graph.nodes)
    assert len(graph.find_nodes(op="placeholder")) == len(node.all_input_nodes)
    for rows in (4,) if dynamic is None else (4, 5):
        values = dict(
            zip(
                node.all_input_nodes,
                [_value(program, each, X.repeat(2, 1)[:rows]) for each in node.all_input_nodes],
                strict=True,
            )
        )
        expected = node.target(
            *fx.map_arg(node.args, values.__getitem__), **fx.map_arg(node.kwargs, values.__getitem__)
        )
        result = evaluate(graph, list(values.values()))
        torch.testing.assert_close(tuple(result) if isinstance(expected, tuple) else result, expected)


def _value(program: Program, node: fx.Node, x: Tensor) -> Any:
    """The value of a node for another x, by interpreting the graph up to it."""
    values: dict[fx.Node, Any] = {program.inputs[0].node: x}
    for each in program.graph.nodes:
        if each.op == "call_function" and each not in values:
            values[each] = each.target(
                *fx.map_arg(each.args, values.__getitem__), **fx.map_arg(each.kwargs, values.__getitem__)
            )
        if each is node:
            return values[each]
    raise AssertionError(node)


def test_equal_calls_share_the_work_and_keep_their_places() -> None:
    def function(x: Tensor) -> Tensor:
        first = torch.nn.functional.hardswish(x)
        return torch.nn.functional.hardswish(first)

    program = capture(function, (X,))
    decomposer = Decomposer(program)
    one, two = (decomposer(node) for node in program.graph.nodes if "hardswish" in str(node.target))
    assert len(decomposer._known) == 1
    assert one is not None and two is not None
    lines = [program.location(next(iter(reversed(graph.nodes)))).line for graph in (one, two)]
    inner = [
        program.location(graph.find_nodes(op="call_function", target=torch.ops.aten.add.Tensor)[0]).code
        for graph in (one, two)
    ]
    assert lines == [0, 0] or lines[0] != lines[1]
    assert inner == ["first = torch.nn.functional.hardswish(x)", "return torch.nn.functional.hardswish(first)"]


def test_no_decomposition() -> None:
    program = capture(lambda x: x + 1, (X,))
    assert Decomposer(program)(last_call(program, "add")) is None


def test_every_node_knows_its_type() -> None:
    program = capture(CASES["einsum"], (X,), dynamic_shapes=({0: "n"},))
    graph = Decomposer(program)(last_call(program, "einsum"))
    assert graph is not None
    assert all(node.meta.get("val") is not None for node in graph.nodes if node.op != "output")
    result = graph.output_node().args[0]
    assert isinstance(result, fx.Node)
    assert [str(program.dim(size)) for size in result.meta["val"].shape] == ["n", "n"]
