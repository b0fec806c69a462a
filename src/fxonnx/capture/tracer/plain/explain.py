"""A run whose plain numbers are expressions again: found by runs at several sizes, and proved at others.

    some runs that take plain numbers ──align──▶ calls with unknowns ──solve, run again──▶ a run with expressions
                                                         the model leaves that graph at other sizes ◀──prove──┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from fxonnx.capture.call.example import Example, empty_like
from fxonnx.capture.equivalence.same_graph import Difference, compare
from fxonnx.capture.failures import TooManyCalls, Translating
from fxonnx.capture.tracer.earlier_call import recording_at
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.plain.rerun import Rerun
from fxonnx.capture.tracer.plain.unknowns import Unlike, align, make_the_same_calls
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.sizes.lookups import alike, looked_up
from fxonnx.capture.tracer.sizes.primes import prime_near
from fxonnx.capture.tracer.sizes.text import Key, keys_held
from fxonnx.errors import Error
from fxonnx.ir.dims import Expr, evaluate

Sizes = Mapping[str, int]
_PRIMES = ((1.0, 2.0, 4.0), (1.0, 0.8, 0.6))  # how large the primes of the runs are, beside the example's sizes
_RUNS = 4
_MULTIPLES = (2, 3, 5, 7, 4, 6)
_FACTORS = ((0.5, 0.5), (3, 1), (1, 3), (8, 8))
_STEPS = (1, 4, 8, 32)
_BETWEEN = (2, 3)  # with the others, all that a size divided by 4 may leave
_FAR = 1024  # a size at which what goes by steps of some hundreds has several of them
_MOST_DIMS = 6
_NEAR = 32
_MORE = 1_000  # calls at other sizes, until it is plain that they are others


def explained(example: Example, original: Example, symbols: SymbolTable) -> Run | None:
    """A run of the model in which no number is plain that comes from sizes, or None. `symbols` are those of the dims of
    an example, which are 2 or more, as they need not be in the `original`."""
    given, first = (symbols.in_example(each.leaves) for each in (example, original))
    if given.keys() != symbols.hints.keys():
        return None
    for series in _series(symbols, given):
        for own_python in (False, True):
            runs = _runs(series, example, replace(symbols, own_python=own_python))
            run = _joined(runs) if len(runs) == len(series) else None
            if run is not None and _is_proved(run, example, [given] if first == given else [first, given]):
                return run
            if runs and len(runs) < len(series):  # it makes other calls at other sizes, whoever counts
                break
    return None


def _series(symbols: SymbolTable, given: Sizes) -> Iterator[Sequence[Sizes]]:
    """Sizes for some runs: primes and one of multiples of the example's, which tells a floor from a ceiling; where a
    model does not take primes, multiples alone."""
    multiples = [_multiples(given, turn) for turn in range(_RUNS)]
    for factors in _PRIMES:
        yield [*(_primes(symbols, given, factors, turn) for turn in range(_RUNS - 1)), multiples[0]]
    yield multiples


def _multiples(given: Sizes, turn: int) -> Sizes:
    factors = (_MULTIPLES[(at + turn) % len(_MULTIPLES)] for at in range(len(given)))
    return {name: max(size, 1) * factor for (name, size), factor in zip(given.items(), factors, strict=True)}


def _primes(symbols: SymbolTable, given: Sizes, factors: Sequence[float], turn: int) -> Sizes:
    chosen: dict[str, int] = {}
    for at, (name, size) in enumerate(given.items()):
        wanted = int(max(size, 11) * factors[(at * turn + turn) % len(factors)])
        chosen[name] = prime_near(min(wanted, symbols.highs.get(name, wanted)), chosen.values())
    return chosen


def _fit(symbols: SymbolTable, sizes: Sizes) -> bool:
    within = all(symbols.lows.get(name, 0) <= size <= symbols.highs.get(name, size) for name, size in sizes.items())
    return within and symbols.has_room(sizes)


def _runs(series: Sequence[Sizes], example: Example, symbols: SymbolTable) -> list[Run]:
    """Runs at the sizes of a series that take plain numbers, up to one that makes other calls; none where the model
    does not run at one of them, or asks data. With Python's own `int`, where a model takes nothing else, none of its
    numbers keeps its expression."""
    if not all(_fit(symbols, sizes) for sizes in series):
        return []
    runs: list[Run] = []
    for sizes in series:
        run = Run.prepare(example, replace(symbols, hints=dict(sizes), takes_plain=True))
        try:
            with Translating():
                run()
        except Error:
            return []
        if run.data.names or run.decisions.made or run.guard_log.specializations:
            return []
        if runs and not make_the_same_calls(runs[0], run):
            break
        runs.append(run)
    return runs


def _joined(runs: Sequence[Run]) -> Run | None:
    """One run without plain numbers."""
    first = runs[0]
    if any(run.returned.structure != first.returned.structure for run in runs):
        return None
    try:
        with Translating():
            found = Rerun(runs)(*align(runs))
    except (Unlike, Error):
        return None
    found.guard_log.keys.update(*(run.guard_log.keys for run in runs))
    found.guard_log.hashed.update(*(run.guard_log.hashed for run in runs))
    return found


def _is_proved(run: Run, example: Example, given: Sequence[Sizes]) -> bool:
    """Whether the model leaves the graph of the run at the sizes `given`, and at all others that it takes, at least
    one."""
    if not all(_is_proved_at(sizes, run, example) for sizes in given):
        return False
    keys = looked_up(given[-1], _keys(run, example), _plain_dims(run, given[-1]))
    tried = (*_others(given[-1]), *keys, *alike(given[-1], run.guard_log.hashed))
    others = [sizes for sizes in tried if sizes not in given and _is_taken(run, sizes)]
    count = 0
    for sizes in (*others, *_of_other_numbers(run, given[-1], others)):
        found = _is_proved_at(sizes, run, example)
        if found is False:
            return False
        count += found is True
    return count > 0


def _others(given: Sizes) -> Iterator[Sizes]:
    """Sizes far from the example's, in one order and the other, and near ones that have other divisors; and each one
    alone so far that a part of the example is several."""
    for factors in _FACTORS:
        yield {name: max(int(size * factors[at % 2]), 2) for at, (name, size) in enumerate(given.items())}
    for step in _BETWEEN:
        yield {name: size + step for name, size in given.items()}
    for step in _STEPS:
        yield {name: size + step for name, size in given.items()}
        yield {name: size + step * number for number, (name, size) in enumerate(given.items(), start=1)}
    for name, size in given.items():
        yield {**given, name: size * -(-_FAR // max(size, 1))}


def _keys(run: Run, example: Example) -> set[Key]:
    """What sizes may be looked up among: text of one wherever the model holds something."""
    is_text = any(each.as_text for each in run.guard_log.plain)
    return run.guard_log.keys.union(*map(keys_held, example.flat.modules() if is_text else ()))


def _plain_dims(run: Run, given: Sizes) -> list[Expr]:
    """The dims of one size each of which plain numbers are made, in order."""
    dims = dict.fromkeys(each.dim for each in run.guard_log.plain if isinstance(each.dim, Expr))
    return [dim for dim in dims if len(dim.symbols) == 1 and dim.symbols <= given.keys()][:_MOST_DIMS]


def _of_other_numbers(run: Run, given: Sizes, tried: Sequence[Sizes]) -> Iterator[Sizes]:
    """Sizes near by for what is made plain and is the same number at all that are tried, as the remainder of an even
    size is."""
    dims = {each.dim for each in run.guard_log.plain if isinstance(each.dim, Expr) and each.dim.symbols <= given.keys()}
    same = {dim for dim in dims if all(evaluate(dim, sizes) == evaluate(dim, given) for sizes in tried)}
    for step in range(1, _NEAR):
        sizes = {name: size + step for name, size in given.items()}
        others = {dim for dim in same if evaluate(dim, sizes) != evaluate(dim, given)}
        if others and _is_taken(run, sizes):
            same -= others
            yield sizes


def _is_taken(run: Run, sizes: Sizes) -> bool:
    return _fit(run.symbols, sizes) and run.constraints.holds(sizes)


def _is_proved_at(sizes: Sizes, run: Run, example: Example) -> bool | None:
    """Whether it does so at these sizes; None where the model does not take them."""
    symbols = replace(run.symbols, most_calls=len(run.tape.graph.nodes) + _MORE)
    try:
        with Translating():
            fixed = recording_at(sizes, at_sizes(example, symbols, sizes), symbols, False)
    except TooManyCalls:
        return False
    except Error:
        return None
    try:
        compare(run.captured_graph(), fixed.graph, sizes)
    except Difference:
        return False
    return True


def at_sizes(example: Example, symbols: SymbolTable, sizes: Sizes) -> Example:
    """An example of these sizes, with no dim that varies."""
    shapes = [
        [evaluate(symbols.axes.get((leaf, axis), size), sizes) for axis, size in enumerate(each.shape)]
        for leaf, each in enumerate(example.leaves)
    ]
    leaves: list[torch.Tensor] = [
        empty_like(leaf, shape, leaf.device) for leaf, shape in zip(example.leaves, shapes, strict=True)
    ]
    return Example(example.flat, example.names, leaves, {})
