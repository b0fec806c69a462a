"""Calls that are no ops of aten, made once more: of a loop that was rolled up before, its body is recorded again."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from fxonnx.capture.assumption import OPPOSITE
from fxonnx.capture.graph.checks import answered
from fxonnx.capture.graph.for_loop import FOR_LOOP
from fxonnx.capture.tracer.loops.calls import LoopBody, answer_alike, called, filled, with_values
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.recording import BEYOND, Recording
from fxonnx.capture.tracer.loops.steps import PLACED, Inner
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of

if TYPE_CHECKING:
    from fxonnx.capture.tracer.loops.play import Player

def replayed(player: Player, tape: Tape, target: Any, args: Any, kwargs: Any) -> Any:
    """A call, recorded on a tape; on sizes it is computed."""
    if target is FOR_LOOP:
        return _loop(player, tape, *args, **kwargs)
    if target is answered and player.keeps_answers:
        relation, difference, answer = args
        return tape.keep_answer(relation, dim_of(difference), answer)
    if target is answered and player.by is not None:
        return _by_data(player, *args)
    return called(tape, target, args, kwargs)


def _by_data(player: Player, relation: str, difference: Any, answer: bool) -> None:
    """Hold an answer for that of all iterations of a loop that goes by a number from data. A call is checked for it
    where that number alone says so: `t < n` is so in all of m iterations where m - 1 < n, `if outs` where 0 < m."""
    log, said = player.tape.cache.guard_log, relation if answer else OPPOSITE[relation]
    body = player.bodies[-1] if player.bodies else None
    dim = dim_of(difference) if body is None else body.worst(said, dim_of(difference))
    if dim is None or not log.data.are_in(dim):
        answer_alike(log, relation, difference, answer)
    elif log.statically_known(said, dim, 0) is not True:
        with nullcontext() if body is None else body.outside():
            player.check(said, dim, BEYOND)


def _loop(
    player: Player, tape: Tape, body: LoopBody, trips: Any, carried: Any, outer: Any, condition: Any = None
) -> list[Any]:
    """A loop of these carried values and tensors of outside."""
    if condition is not None:
        raise NotRolled("a loop that data ends stands in one that is rolled up")
    form, recording = body.form, Recording(player, tape, dim_of(trips))
    before = player.iterations
    player.iterations = {**before, form.iteration: recording.index}
    sources = iter(body.sources)
    initial = [tape.read(each) for each in carried]
    shapes = filled(form.carried, sources, body.read)
    read = [recording.carry(each, list(map(dim_of, shape))) for each, shape in zip(initial, shapes, strict=True)]
    read += [recording.take(tape.read(each)) for each in outer]
    values: dict[Inner, Any] = dict(zip(form.arguments[1:], read, strict=True))
    for number, target, given, sizes, place in form.calls:
        player.at(place.node)
        args, kwargs = with_values(filled(given, sources, body.read), values)
        shape = filled(sizes, sources, body.read)
        if target in PLACED:
            values[number] = recording.place(target, args, kwargs, list(map(dim_of, shape)))
        elif isinstance(target, torch._ops.OpOverload):
            values[number] = recording.tape.call(target, args, kwargs)
        else:
            values[number] = replayed(player, recording.tape, target, args, kwargs)
    results = with_values(filled(form.results, sources, body.read), values)
    after, rows = results[: len(initial)], results[len(initial) :]
    found = recording.end(initial, after, rows)
    player.iterations = before
    return found
