"""A part of a captured graph as a model of its own, with the inputs that it had in a run, and as a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.emit.files import saying_what
from fxonnx.verification.eager import eager_values


@dataclass(frozen=True, slots=True)
class Case:
    """Some calls of a graph as a module: their weights are its own, whatever else they read are its inputs."""

    module: fx.GraphModule
    inputs: tuple[torch.Tensor, ...]

    def write(self, path: Path, about: str, options: str) -> None:
        """Write a script that shows what happens, with its tensors beside it. Raises CannotWrite."""
        code = self.module.graph.python_code("self").src.strip()
        forward = "\n".join(f"    {line}" for line in code.splitlines())
        tensors = path.with_suffix(".pt")
        with saying_what(path):
            torch.save({"inputs": self.inputs, "weights": dict(self.module.named_buffers())}, tensors)
            path.write_text(_SCRIPT.format(about=about, forward=forward, options=options), encoding="utf-8")


_SCRIPT = '''"""{about}"""

from math import inf, nan  # noqa: F401
from pathlib import Path

import torch
from torch import device  # noqa: F401

import fxonnx


class Case(torch.nn.Module):
{forward}


saved = torch.load(Path(__file__).with_suffix(".pt"))
case = Case()
for name, tensor in saved["weights"].items():
    case.register_buffer(name, tensor)
compiled = fxonnx.compile(case, saved["inputs"]{options})
print(compiled.locate())
print(compiled.verify(*saved["inputs"]))
'''


def cases(program: Program, leaves: Sequence[torch.Tensor], names: Iterable[str]) -> Iterator[Case]:
    """The calls of these names as a case, then with more and more of what they are computed of, all of it last."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    if any(node.op == "get_attr" for node in program.graph.nodes):
        return  # bodies of higher-order ops are graphs themselves
    wanted = {node for node in calls if node.name in set(names)}
    count = 0
    while wanted and len(wanted) > count:
        yield case_of(program, leaves, [node for node in calls if node in wanted])
        count, more = len(wanted), wanted
        for _ in range(max(1, count // 2)):
            more = more | {used for node in more for used in node.all_input_nodes if used.op == "call_function"}
        wanted = more


def case_of(program: Program, leaves: Sequence[torch.Tensor], calls: Sequence[fx.Node]) -> Case:
    """These calls, in their order, as a model. What none of them reads is its result."""
    inside = set(calls)
    read = dict.fromkeys(used for node in calls for used in node.all_input_nodes if used not in inside)
    values = _values(program, leaves, read)
    graph, root, made, inputs = fx.Graph(), dict[str, Any](), dict[fx.Node, Any](), list[torch.Tensor]()
    for node in read:
        if node not in program.weights and isinstance(values[node], torch.Tensor):
            made[node] = graph.placeholder(node.name)
            inputs.append(values[node])
    for node in read:
        if node in program.weights:
            root[node.name] = values[node].detach()
            made[node] = graph.get_attr(node.name)
        elif node not in made:
            made[node] = values[node]  # a size, or a list of tensors of which one is taken
    for node in calls:
        arguments = fx.map_arg((node.args, node.kwargs), made.__getitem__)
        made[node] = graph.call_function(node.target, *arguments)
    results = [node for node in calls if not inside.intersection(node.users) and _is_tensor(node)]
    graph.output(tuple(made[node] for node in results))
    module = torch.nn.Module()
    for name, tensor in root.items():
        module.register_buffer(name, tensor)
    return Case(fx.GraphModule(module, graph, "Case"), tuple(inputs))


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _values(program: Program, leaves: Sequence[torch.Tensor], wanted: Iterable[fx.Node]) -> dict[fx.Node, Any]:
    """The values of nodes in one run."""
    kept = set(wanted)
    known: dict[fx.Node, Any] = {each.node: leaf for each, leaf in zip(program.inputs, leaves, strict=True)}
    known |= {node: weight.tensor for node, weight in program.weights.items()}
    known |= {state.node: state.tensor for state in program.states}
    return {**known, **{node: value for node, value in eager_values(program, leaves) if node in kept}}
