"""`fxonnx coverage`: which ops of a model, or of torch, have a lowering."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program, capture
from fxonnx.capture.graph.decompose import Decomposer, decompositions
from fxonnx.errors import UnsupportedOperator
from fxonnx.lowering.importer import arguments_of, touches_complex
from fxonnx.lowering.registry import Registry, standard
from fxonnx.target import NEWEST_OPSET
from fxonnx.tools.checks import example_of
from fxonnx.tools.explain import takes_part
from fxonnx.tools.outcome import Result

LOWERED, TAKEN_APART, MISSING = "lowered", "taken apart", "missing"


def run(options: argparse.Namespace) -> Result:
    """The ops of a model with what becomes of each, an error where one is missing; those of torch by number without a
    model."""
    if options.model is None:
        return _of_torch()
    model, args, kwargs = example_of(options)
    program = capture(model, args, kwargs, dynamic_shapes=options.dynamic)
    found = dict(_of_model(program, standard()))
    missing = [op for op, (_, how) in found.items() if how == MISSING]
    width = max(map(len, found), default=0)
    lines = [f"{op:{width}}  {count:5}  {how}" for op, (count, how) in sorted(found.items())]
    error = UnsupportedOperator(
        f"{', '.join(missing)} cannot be lowered",
        cause="fxonnx has no lowering, and torch no decomposition",
        cure=f'@fxonnx.register_lowering("{missing[0]}")',
    ) if missing else None  # fmt: skip
    ops = [{"op": op, "calls": count, "how": how} for op, (count, how) in sorted(found.items())]
    return Result("\n".join([*lines, "", _summary(how for _, how in found.values())]), {"ops": ops}, error)


def _of_model(program: Program, registry: Registry) -> Iterator[tuple[str, tuple[int, str]]]:
    """The ops of a captured model: how often each is called, and what becomes of it."""
    calls: dict[Any, list[fx.Node]] = {}
    for node in program.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload | torch._ops.HigherOrderOperator):
            calls.setdefault(node.target, []).append(node)
    decompose = Decomposer(program)
    for target, nodes in calls.items():
        hows = {_becomes(node, registry, decompose) for node in nodes}
        name = f"higher_order.{target}" if isinstance(target, torch._ops.HigherOrderOperator) else str(target)
        how = MISSING if MISSING in hows else min(hows)
        yield name.removesuffix(".default"), (len(nodes), how)


def _becomes(node: fx.Node, registry: Registry, decompose: Decomposer) -> str:
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        return LOWERED if registry.find(f"higher_order.{node.target}", None, NEWEST_OPSET) else MISSING
    names, is_complex = arguments_of(node.target).all, touches_complex(node)
    found = any(registry.find(str(node.target), names, NEWEST_OPSET, each) for each in {is_complex, False})
    if found or not isinstance(node.meta.get("val"), torch.Tensor | tuple | list):
        return LOWERED
    return MISSING if decompose(node) is None else TAKEN_APART


def _of_torch() -> Result:
    """How many ops of aten there are that can stand in a captured graph, and what becomes of them."""
    hows = dict(_aten_ops(standard()))
    missing = sorted(op for op, how in hows.items() if how == MISSING)
    return Result(_summary(hows.values()), {**Counter(hows.values()), "without": missing})


def _aten_ops(registry: Registry) -> Iterator[tuple[str, str]]:
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        if not isinstance(packet, torch._ops.OpOverloadPacket):
            continue
        for overload in (getattr(packet, each) for each in packet.overloads()):
            if overload._schema.is_mutable or not takes_part(overload):
                continue
            if registry.find(str(overload), arguments_of(overload).all, NEWEST_OPSET):
                yield str(overload), LOWERED
            else:
                yield str(overload), TAKEN_APART if decompositions(overload) else MISSING


def _summary(hows: Any) -> str:
    counts: Mapping[str, int] = Counter(hows)
    return ", ".join(f"{counts[how]} {how}" for how in (LOWERED, TAKEN_APART, MISSING)) + f", of {sum(counts.values())}"
