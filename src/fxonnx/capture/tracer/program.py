"""The Program made of a run: its graph functional, what it writes to, and what holds for its sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import fx

from fxonnx.capture.call.inputs import Signature
from fxonnx.capture.graph.autocast import insert_casts
from fxonnx.capture.graph.checks import checks_of
from fxonnx.capture.graph.functional import make_functional
from fxonnx.capture.graph.functionalize import Mutations
from fxonnx.capture.graph.reshapes import reshapes
from fxonnx.capture.graph.squeezes import keep_squeezes
from fxonnx.capture.locate import Locator, strip
from fxonnx.capture.program import LIFTED, Input, Program, State, Weight, Writeback
from fxonnx.capture.state.arrays import lies_in, refuse_borrowed
from fxonnx.capture.tracer.retrace import Retrace
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.traced import TracedSizes


def program_of(run: Run, signature: Signature) -> Program:
    """The Program of a run, whose graph it takes over: functional, and without what nobody reads."""
    mutations, graph, locator = functional(run), run.tape.graph, Locator()
    outputs = tuple(graph.output_node().args[0])
    count = len(outputs) - len(signature.effects.names)
    weights = _used_weights(run, mutations)
    paths = {id(before): strip(key) for key, before, _ in run.states}
    return Program(
        graph=graph,
        inputs=tuple(Input(node, name) for node, name in zip(run.inputs, signature.names, strict=True)),
        weights={node: weight for node, weight in weights.items() if node not in mutations},
        states=tuple(
            State(_state_name(each, paths), each.tensor, node, mutations[node])
            for node, each in weights.items() if node in mutations
        ),
        writebacks=tuple(Writeback(at, mutations[node]) for at, node in enumerate(run.inputs) if node in mutations),
        by_layout=tuple(sorted(run.by_layout)),
        outputs=outputs[:count],
        rebound=outputs[count:],
        symbols=run.constraints.infos(run.symbols.hints, run.symbols.lows, run.symbols.highs),
        signature=signature,
        sizes=TracedSizes(
            run.constraints.facts,
            {str(dim): " of ".join(key) for key, dim in run.guard_log.opaque.items()},
            run.guard_log.data.said,
        ),
        locator=locator,
        assumptions=run.constraints.assumptions,
        zero_one_assumptions=tuple(each for each in run.guard_log.zero_one.values() if each is not None),
        retrace=_retrace(run),
        checks=checks_of(graph, locator),
        reshapes=run.reshapes,
        known=run.tape.values.said(),
        plain=tuple(dict.fromkeys(each.location for each in run.guard_log.plain)),
        multiples=run.constraints.multiples,
        with_gradients=run.symbols.with_gradients > 0,
    )


def _state_name(weight: Weight, paths: Mapping[int, str]) -> str:
    """That of the weight; of a tensor in a tuple, a dict or an object of the model, which has none of its own, the one
    that leads to it: `paths`, by the tensor's id."""
    return paths.get(id(weight.tensor), weight.key) if LIFTED in weight.key else weight.key


def functional(run: Run) -> Mutations:
    """Make a run's graph functional, if it is not yet: what it writes to its placeholders. Its outputs are the results
    then."""
    if run.mutations is None:
        graph, locator = run.tape.graph, Locator()
        regions: dict[Any, list[fx.Node]] = {}
        for node, dtype in run.tape.autocast:
            regions.setdefault((node.graph, dtype), []).append(node)
        for (part, dtype), nodes in regions.items():
            insert_casts(part, dtype, nodes)
        lent = {node: (run.tape.weights[node].tensor, locator(call)) for node, call in run.tape.borrowed.items()}
        run.reshapes = reshapes(graph, run.inputs, locator)
        # of its ways one may write and another not; they are joined where they compute the same values
        with _after_run(run.guard_log):
            run.mutations = make_functional(graph, locator, keep_checks=True, always=bool(run.decisions.made))
        written, arrays = run.mutations, run.changes.arrays
        refuse_borrowed(place for node, (tensor, place) in lent.items() if node in written or lies_in(tensor, arrays))
        keep_squeezes(graph)
        _replace_states(run, run.mutations)
    return run.mutations


@contextmanager
def _after_run(log: GuardLog) -> Iterator[None]:
    """While calls are made again that a run has recorded: what they ask of data is what they have asked there, and is
    answered by the run's values. What records now may be the tape of another run."""
    before, log.op, log.must_hold = (log.op, log.must_hold), "functionalize", None
    try:
        with log.asking():
            yield
    finally:
        log.op, log.must_hold = before


def _retrace(run: Run) -> Retrace:
    example = run.symbols.in_example(run.example.leaves)
    return Retrace(run.tape.cache.mode, run.guard_log, run.symbols.hints, example)


def _replace_states(run: Run, mutations: Mutations) -> None:
    """The new values of what forward replaced, which stand after the model's outputs, as mutations."""
    output = run.tape.graph.output_node()
    results = list(output.args[0])
    count = len(results) - len(run.states)
    placeholders = {id(weight.tensor): node for node, weight in run.tape.weights.items()}
    for (_, before, _), value in zip(run.states, results[count:], strict=True):
        mutations[placeholders[id(before)]] = value
    output.args = (results[:count],)


def _used_weights(run: Run, mutations: Mutations) -> dict[fx.Node, Weight]:
    """The weights that something reads or writes, or that is written somewhere, in the model's order."""
    order = {key: index for index, key in enumerate(run.tape.keys.values())}
    weights = dict(sorted(run.tape.weights.items(), key=lambda item: order.get(item[1].key, len(order))))
    kept = {*mutations, *mutations.values()}
    for node in [node for node in weights if not node.users and node not in kept]:
        del weights[node]
        run.tape.graph.erase_node(node)
    return weights
