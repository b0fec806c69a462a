"""Parts of graphs copied into another one, with the bodies of their higher-order ops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import fx, nn

from fxonnx.capture.graph.views import argument
from fxonnx.capture.tracer.decisions.script import is_mark

_DRAWS_NOTHING = {"train": False, "training": False, "dropout_p": 0.0}
"""arguments of ops that draw, and the value with which they do not"""


class Copy:
    """A graph that grows out of others; `root` holds the bodies of its higher-order ops."""

    def __init__(self) -> None:
        self.graph, self.root = fx.Graph(), nn.Module()
        self.graph.owning_module = self.root
        self._bodies: dict[fx.Node, fx.Node] = {}

    def placeholder(self, like: fx.Node, name: str = "") -> fx.Node:
        """A placeholder for a value like that of a node."""
        node = self.graph.placeholder(name or str(like.target))
        node.meta = dict(like.meta)
        return node

    def call(self, like: fx.Node, args: Any, kwargs: Any) -> fx.Node:
        """A call as another, of these arguments."""
        node = self.graph.call_function(like.target, args, kwargs)
        node.meta = dict(like.meta)
        return node

    def node(self, node: fx.Node, value: Callable[[fx.Node], Any]) -> fx.Node:
        """A call, whose arguments are what `value` says. A mark keeps its condition: what Python holds then is asked of
        the run itself."""
        if is_mark(node):
            return self.call(node, (value(node.args[0]), node.args[1]), {})

        def argument(each: fx.Node) -> Any:
            return self.body(each) if each.op == "get_attr" else value(each)

        return self.call(node, fx.map_arg(node.args, argument), fx.map_arg(node.kwargs, argument))

    def body(self, node: fx.Node) -> fx.Node:
        """The body of a higher-order op."""
        if node not in self._bodies:
            self._bodies[node] = self.add_body(getattr(node.graph.owning_module, str(node.target)))
        return self._bodies[node]

    def add_body(self, module: fx.GraphModule) -> fx.Node:
        """A body of its own."""
        name = f"body_{len(self.root._modules)}"
        self.root.add_module(name, module)
        return self.graph.get_attr(name)

    def module(self, results: Sequence[Any]) -> fx.GraphModule:
        """The graph, which returns these, as a body."""
        self.graph.output(tuple(results))
        return fx.GraphModule(self.root, self.graph)


def inputs_of(node: fx.Node) -> list[fx.Node]:
    """The nodes that a call reads, without the bodies of higher-order ops. A mark reads its condition."""
    read = node.args[:1] if is_mark(node) else node.all_input_nodes
    return [each for each in read if isinstance(each, fx.Node) and each.op != "get_attr"]


def needed_for(values: Iterable[Any], known: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """The calls that these values need, down to those that are known."""
    needed, waiting = set[fx.Node](), [each for each in values if isinstance(each, fx.Node)]
    while waiting:
        node = waiting.pop()
        if node in needed or known(node):
            continue
        needed.add(node)
        waiting.extend(inputs_of(node))
    return needed


def is_drawn(node: fx.Node) -> bool:
    """Whether a call draws random numbers, by itself or in a body."""
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        given = {each.name: argument(node, each.name) for each in node.target._schema.arguments}
        return not any(name in given and given[name] == nothing for name, nothing in _DRAWS_NOTHING.items())
    bodies = (each for each in node.all_input_nodes if each.op == "get_attr")
    modules = (getattr(each.graph.owning_module, str(each.target)) for each in bodies)
    return any(is_drawn(each) for module in modules for each in module.graph.nodes)


def drop_idle(graph: fx.Graph, results: Iterable[Any]) -> None:
    """Take out the calls behind the last mark whose value nobody reads. Those before it are what other ways to the mark
    have too, one by one."""
    kept = {each for each in results if isinstance(each, fx.Node)}
    for node in reversed(list(graph.nodes)):
        if is_mark(node):
            return
        is_call = node.op in ("call_function", "get_attr")
        if is_call and not node.users and node not in kept and node.meta.get("val", node) is not None:
            graph.erase_node(node)
