"""Checks of data inside the branches of torch.cond, hoisted: a branch returns what it checks, and the graph around it
checks that.

    cond(p, {assert a; y}, {z})   becomes   y, ok = cond(p, {y, a}, {z, true}); assert ok
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import fx

from fxonnx.capture.graph.checks import ASSERTION
from fxonnx.capture.locate import Locator
from fxonnx.errors import CaptureRefused

_TRUE = torch.ops.aten.full.default
_LOOPS = frozenset({"while_loop", "scan", "map_impl", "associative_scan"})


def hoist_checks(graph: fx.Graph, locate: Locator) -> None:
    """Hoist the checks of tensors out of all branches. Raises CaptureRefused for those in the bodies of loops."""
    for node in list(graph.nodes):
        bodies = _bodies(node)
        for body in bodies:
            hoist_checks(body, locate)
        name = getattr(node.target, "__name__", "")
        if name in _LOOPS:
            _refuse(name, bodies, locate)
        elif name == "cond" and bodies:
            _hoist(node, bodies)


def _bodies(node: fx.Node) -> list[fx.Graph]:
    """The graphs that a higher-order op is given."""
    if not isinstance(node.target, torch._ops.HigherOrderOperator):
        return []
    owner = node.graph.owning_module
    given = (each for each in node.args if isinstance(each, fx.Node) and each.op == "get_attr")
    modules = (getattr(owner, str(each.target)) for each in given)
    return [each.graph for each in modules if isinstance(each, fx.GraphModule)]


def _checks(body: fx.Graph) -> list[fx.Node]:
    return list(body.find_nodes(op="call_function", target=ASSERTION))


def _hoist(cond: fx.Node, branches: Sequence[fx.Graph]) -> None:
    values = list(cond.meta["val"])
    for branch in branches:
        for check in _checks(branch):
            condition, text = check.args
            fake = condition.meta["val"]
            branch.erase_node(check)
            for each in branches:
                _return_also(each, condition if each is branch else _true(each, fake))
            _assert(cond, len(values), text, {**check.meta, "val": fake})
            values.append(fake)
    cond.meta["val"] = tuple(values)


def _return_also(branch: fx.Graph, value: fx.node.Argument) -> None:
    output = branch.output_node()
    output.args = ((*output.args[0], value),)


def _true(branch: fx.Graph, like: torch.Tensor) -> fx.Node:
    with branch.inserting_before(branch.output_node()):
        node = branch.call_function(_TRUE, (list(like.shape), True), {"dtype": torch.bool})
    node.meta["val"] = like
    return node


def _assert(cond: fx.Node, at: int, text: fx.node.Argument, meta: dict[str, object]) -> None:
    """An assertion of one of the results."""
    with cond.graph.inserting_after(cond):
        result = cond.graph.call_function(operator.getitem, (cond, at))
    with cond.graph.inserting_after(result):
        check = cond.graph.call_function(ASSERTION, (result, text))
    result.meta, check.meta = meta, {**meta, "val": None}


def _refuse(name: str, bodies: Sequence[fx.Graph], locate: Locator) -> None:
    for check in (check for body in bodies for check in _checks(body)):
        raise CaptureRefused(
            f"a check in the body of torch.{name}",
            cause="it would have to stop a loop in the middle, and nothing in a graph of ONNX stops",
            cure="carry its truth through the loop, and check that after it",
            location=locate(check),
        )
