"""One run of a model under the recorder, and the Program made of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn

from fxonnx.capture.assemble import prepare
from fxonnx.capture.autocast import insert_casts
from fxonnx.capture.clean import clean
from fxonnx.capture.export import no_fast_path, quiet, unadvised
from fxonnx.capture.functionalize import Mutations
from fxonnx.capture.guards import Assumption
from fxonnx.capture.inputs import Flat, Signature
from fxonnx.capture.locate import Locator, strip
from fxonnx.capture.program import Input, Program, State, Weight, Writeback
from fxonnx.capture.recording import Recording
from fxonnx.capture.tracer.answers import Answers
from fxonnx.capture.tracer.decisions import OPPOSITE, Decisions
from fxonnx.capture.tracer.places import Places
from fxonnx.capture.tracer.record import Recorder, Tape
from fxonnx.capture.tracer.retrace import Retrace
from fxonnx.capture.tracer.sizes import TracedSizes
from fxonnx.capture.tracer.stand_ins import Symbols, WeightStandIns, input_stand_in
from fxonnx.capture.tracer.torch_private import as_exporting, enable_python_dispatcher, fake_mode, unasked_masks
from fxonnx.capture.tracer.untouched import Changes, untouched
from fxonnx.capture.tracer.verdict import Verdict, judge
from fxonnx.errors import CaptureRefused


@dataclass(eq=False)
class Run:
    """A run of a model: what it is run on, the graph it leaves on the tape, and what it decided by sizes."""

    flat: Flat
    names: Sequence[str]
    symbols: Symbols
    decisions: Decisions
    places: Places
    tape: Tape
    fakes: list[Any]
    inputs: list[fx.Node]
    changes: Changes = field(default_factory=Changes)

    @staticmethod
    def prepare(
        flat: Flat, names: Sequence[str], leaves: Sequence[torch.Tensor], symbols: Symbols
    ) -> Run:
        """Stand-ins for the inputs, where they have symbols at the sizes that those have in this run."""
        places = Places(flat)
        decisions = Decisions(dict(symbols.lows), symbols.highs, symbols.hints, places)
        mode = fake_mode(symbolic=bool(symbols.axes))
        tape = Tape(Answers(mode, decisions), WeightStandIns(mode), _keys(flat), places.meta)
        fakes = [input_stand_in(mode, leaf, number, symbols, decisions) for number, leaf in enumerate(leaves)]
        inputs = [tape.input(name, fake) for name, fake in zip(names, fakes, strict=True)]
        return Run(flat, names, symbols, decisions, places, tape, fakes, inputs)

    def __call__(self) -> None:
        """The model, once. Raises what it raises; the model is left as it was found."""
        surroundings = (
            quiet(), unadvised(), no_fast_path(), torch.no_grad(), self.places.followed(), enable_python_dispatcher(),
            as_exporting(), unasked_masks(), self.tape.answers.mode, Recorder(self.tape),
        )  # fmt: skip
        with untouched(self.flat) as self.changes, ExitStack() as stack:
            for each in surroundings:
                stack.enter_context(each)
            results = self.flat(*self.fakes)
        self.tape.output([*results, *(value for _, _, value in self.changes.buffers)])

    def recording(self) -> Recording:
        """What the run left, to be compared with another; the graph is cleaned."""
        graph = self.tape.graph
        clean(graph)
        outputs = tuple(graph.output_node().args[0])
        return Recording(
            graph, tuple(self.inputs), self.tape.weights, outputs, self.flat.returned.tree, Locator()
        )  # fmt: skip

    def forget_idle_decisions(self, other: Run) -> None:
        """Drop decisions that the other run, which left the same graph, took the other way."""
        taken = self.decisions.taken
        idle = [key for key in taken if (OPPOSITE[key[0]], key[1]) in other.decisions.taken]
        for key in idle:
            del taken[key]
        self.__dict__.pop("verdict", None)

    def same_graph(self, other: Run) -> bool:
        """Whether two runs left the same calls, on the same sizes."""
        return self._calls() == other._calls()

    def _calls(self) -> list[Any]:
        return [
            (node.name, str(node.target), str(node.args), str(node.kwargs), _shapes(node.meta.get("val")))
            for node in self.tape.graph.nodes
        ]

    @cached_property
    def verdict(self) -> Verdict:
        """What the decisions mean."""
        return judge(self.decisions.taken.values(), self.symbols.hints)


def _shapes(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_shapes(each) for each in value]
    return [str(size) for size in value.shape] if isinstance(value, torch.Tensor) else str(value)


def _keys(flat: Flat) -> dict[int, str]:
    """The model's tensors by identity: state_dict keys, and paths of those that are plain attributes."""
    if not isinstance(flat.model, nn.Module):
        return {}
    keys: dict[int, str] = {}
    for name, tensor in (*flat.model.named_parameters(), *flat.model.named_buffers()):
        keys.setdefault(id(tensor), name)
    for path, module in flat.model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                keys.setdefault(id(value), f"{path}.{name}" if path else name)
    return keys


def program_of(run: Run, signature: Signature, frozen: tuple[str, ...]) -> Program:
    """The Program of a run, whose graph it takes over: functional, and without what nobody reads."""
    graph, locator = run.tape.graph, Locator()
    for dtype in dict.fromkeys(dtype for _, dtype in run.tape.autocast):
        insert_casts(graph, dtype, enabled=True, nodes=[node for node, each in run.tape.autocast if each is dtype])
    mutations = prepare(graph, locator)
    outputs = _replaced_buffers(run, mutations)
    weights = _used_weights(run, mutations)
    return Program(
        graph=graph,
        inputs=tuple(Input(node, name) for node, name in zip(run.inputs, signature.names, strict=True)),
        weights={node: weight for node, weight in weights.items() if node not in mutations},
        states=tuple(
            State(each.key, each.tensor, node, mutations[node]) for node, each in weights.items() if node in mutations
        ),
        writebacks=tuple(Writeback(at, mutations[node]) for at, node in enumerate(run.inputs) if node in mutations),
        outputs=outputs,
        symbols=run.verdict.infos(run.symbols),
        signature=signature,
        sizes=TracedSizes(run.verdict.facts, {str(dim): " of ".join(key) for key, dim in run.decisions.opaque.items()}),
        locator=locator,
        frozen=frozen,
        assumptions=tuple(run.verdict.kept),
        doubts=tuple(
            Assumption(each.left, each.relation, each.right, each.location)
            for each in run.decisions.doubts.values()
            if each is not None
        ),
        retrace=Retrace(run.tape.answers.mode, run.decisions, run.symbols.hints),
        strategy="trace",
    )


def _replaced_buffers(run: Run, mutations: Mutations) -> tuple[Any, ...]:
    """The model's outputs; the new values of buffers that forward replaced, which stand after them, are mutations."""
    output = run.tape.graph.output_node()
    results = list(output.args[0])
    count = len(results) - len(run.changes.buffers)
    placeholders = {id(weight.tensor): node for node, weight in run.tape.weights.items()}
    for (key, before, _), value in zip(run.changes.buffers, results[count:], strict=True):
        if id(before) not in placeholders or value.meta["val"].shape != before.shape:
            raise CaptureRefused(f"forward replaces the buffer {strip(key)} by a tensor of another kind",
                                 cure="write into the buffer instead, with copy_()")  # fmt: skip
        mutations[placeholders[id(before)]] = value
    output.args = (results[:count],)
    return tuple(results[:count])


def _used_weights(run: Run, mutations: Mutations) -> dict[fx.Node, Weight]:
    """The weights that something reads or writes, in the model's order."""
    order = {key: index for index, key in enumerate(run.tape.keys.values())}
    weights = dict(sorted(run.tape.weights.items(), key=lambda item: order.get(item[1].key, len(order))))
    for node in [node for node in weights if not node.users and node not in mutations]:
        del weights[node]
        run.tape.graph.erase_node(node)
    return weights
