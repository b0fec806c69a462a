"""Capture: a PyTorch model becomes a functional aten graph with places, symbolic dims and weights by reference.

    program = capture(model, (x,), {}, dynamic_shapes={"x": {0: "batch"}})
    program.graph        # torch.fx, nothing written in place
    program.inputs, program.weights, program.outputs

`torch.export` traces (`export`); arguments and results of any structure are ours (`tree`, `inputs`), so are dynamic shapes (`dynamic`, `freeze`),
in-place writes (`functionalize`), the decomposition of single ops (`decompose`) and places (`locate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

from fxonnx.capture.assemble import assemble, read_ports
from fxonnx.capture.dynamic import requests, resized
from fxonnx.capture.export import export, training_mode
from fxonnx.capture.freeze import name_symbols
from fxonnx.capture.inputs import Flat, Signature, example_arguments, leaf_names, parameters_of
from fxonnx.capture.program import Input, Program, State, SymbolInfo, Weight, Writeback
from fxonnx.capture.tree import Branch, flatten

__all__ = ["Input", "Program", "Signature", "State", "SymbolInfo", "Weight", "Writeback", "capture"]


def capture(model: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None, *, dynamic_shapes: Any = None,
            input_names: Iterable[str] | None = None, mode: str = "eval", strategy: str = "auto") -> Program:  # fmt: skip
    """The model as a Program."""
    args = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    parameters = parameters_of(model)
    arguments = example_arguments(parameters, args, kwargs or {})
    leaves, paths, tree = flatten(arguments.values)
    assert isinstance(tree, Branch)
    names = leaf_names(paths, input_names)
    inputs = tuple(zip(tree.keys, tree.parts, strict=True))
    table = requests(dynamic_shapes, inputs, names, leaves)
    with training_mode(model, mode):
        flat = Flat(model, arguments, tree)
        exported = export(flat, resized(table, names, leaves), table)
    ports = read_ports(exported, True)
    naming = name_symbols(exported, ports.inputs, table)
    signature = Signature(parameters, arguments, inputs, names, flat.result)
    return assemble(exported, signature, naming.sizes(), naming.symbols)
