"""Does the compiled model compute what the model computes? Asked on fresh inputs, at the examples' sizes and at
others."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch

from fxonnx import markup
from fxonnx.capture import Program
from fxonnx.capture.call.tree import flatten
from fxonnx.capture.failures import ModelStopped, Stopping, innermost
from fxonnx.capture.surroundings import training_mode
from fxonnx.errors import ModelRaised
from fxonnx.ir.dims import Shape, evaluate
from fxonnx.ir.graph import Graph
from fxonnx.runtime.limits import Limits
from fxonnx.verification.compare import Comparison, Difference, compare, fresh_like
from fxonnx.verification.steps import rounds_to_steps, steps_of

Arguments: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"

Tolerances: TypeAlias = "Mapping[str, Any]"
"""rtol and atol, as far as they are asked for; see `verification.compare`"""

NO_TOLERANCES: Tolerances = {}

# What models raise for inputs that are well typed and mean nothing, such as offsets that are not sorted.
_REFUSALS = (RuntimeError, ValueError, IndexError, AssertionError)
_NARROW = (torch.float16, torch.bfloat16)  # in the order of their tolerances
_CALLS = 2  # what a model keeps from one call to the next shows at the second


class Subject(Protocol):
    """What is checked: a compiled model, as far as it is asked."""

    model: Any
    mode: str
    program: Program
    examples: tuple[torch.Tensor, ...]

    @property
    def graph(self) -> Graph:
        """The final graph."""

    @property
    def limits(self) -> Limits:
        """The sizes that it holds for."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What it returns for these arguments."""

    def weights_in_model(self) -> AbstractContextManager[None]:
        """The model with the weights that it was compiled with."""


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What `verify` found: a comparison for each call, the examples' sizes first."""

    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether all outputs of all calls agree."""
        return all(comparison.ok for comparison in self.comparisons)

    def check(self) -> Report:
        """Itself where all agree. Raises VerificationFailed."""
        for comparison in self.comparisons:
            comparison.check()
        return self

    def __str__(self) -> str:
        return "\n".join(map(str, self.comparisons))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        header = ("", "call", "output", "dtype", "shape", "max absolute", "max relative", "tolerance", "beyond it", "")
        rows = [
            ("✓" if each.ok else "✗", call, each.name, str(each.dtype).removeprefix("torch."), list(each.shape),
             each.max_absolute, each.max_relative, each.tolerance, each.mismatches, each.problem)
            for call, comparison in enumerate(self.comparisons, start=1)
            for each in comparison.outputs
        ]  # fmt: skip
        return markup.bundle(str(self), markup.pre(repr(self)) + markup.table(header, rows))

    def __repr__(self) -> str:
        outputs = [output for each in self.comparisons for output in each.outputs]
        worst = max((output.max_relative for output in outputs), default=0.0)
        wrong = sum(not output.ok for output in outputs)
        said = f"{wrong} of {len(outputs)} outputs differ" if wrong else f"{len(outputs)} outputs agree"
        return f"<fxonnx report: {said}, max error {worst:.2g} relative>"


def verify_on(
    compiled: Subject, args: tuple[Any, ...], kwargs: Mapping[str, Any], tolerances: Tolerances = NO_TOLERANCES
) -> Report:
    """Compare on these arguments. Raises CallMismatch where they do not fit, ModelRaised."""
    arguments = args, dict(kwargs)
    actual = _actual(compiled, arguments)
    try:
        with Stopping():
            expected = _expected(compiled, arguments)
    except ModelStopped as stopped:
        raise _model_raised(stopped.__cause__ or stopped) from stopped.__cause__
    return Report((_comparison(compiled, actual, expected, tolerances),))


def _model_raised(error: BaseException) -> ModelRaised:
    place, _ = innermost(error)
    return ModelRaised(
        f"the model raised {type(error).__name__}: {error}",
        cause="it was run on the arguments that were given to compare on",
        cure="give arguments for which model(*args) works",
        location=place,
    )


def verify(compiled: Subject, seed: int = 0, tolerances: Tolerances = NO_TOLERANCES) -> Report:
    """Compare on random inputs like the examples, and at a second size of every dynamic dim.

    Where the model itself refuses random integers (offsets must be sorted, say), the examples' integers are kept, and
    only the other inputs are fresh; where it refuses sizes, the first comparison stands alone.
    """
    first = _compare_fresh(compiled, {}, seed, tolerances)
    second = [_compare_fresh(compiled, sizes, seed, tolerances) for sizes in _other_sizes(compiled)]
    first = first or _compare(compiled, _arguments(compiled, compiled.examples), tolerances)
    return Report((first, *filter(None, second)))


def _compare_fresh(
    compiled: Subject, sizes: Mapping[str, int], seed: int, tolerances: Tolerances
) -> Comparison | None:
    """The comparison on random inputs of these sizes; None where the model refuses them all."""
    resized = _resized_examples(compiled, sizes)
    for keep_integers in (False, True):
        generator = torch.Generator().manual_seed(seed)
        fresh = [
            leaf if keep_integers and not leaf.is_floating_point() else fresh_like(leaf, generator) for leaf in resized
        ]
        arguments = _arguments(compiled, fresh)
        try:
            expected = _expected(compiled, arguments)
        except _REFUSALS:
            continue
        return _compare(compiled, arguments, tolerances, expected)
    return None


def _arguments(compiled: Subject, leaves: Sequence[torch.Tensor]) -> Arguments:
    return compiled.program.signature.arguments_for(leaves)


@dataclass(frozen=True, slots=True)
class _Call:
    """What one call returns, and the tensors in its arguments after it."""

    results: list[Any]
    arguments: list[Any]


def _calls(subject: Any, arguments: Arguments, owned: Sequence[torch.Tensor]) -> list[_Call]:
    """Two calls on equal arguments, the second from the state that the first has left; the tensors that belong to the
    model are as before afterwards."""
    before = [(each, each.clone(), _version(each)) for each in owned]
    calls: list[_Call] = []
    try:
        for _ in range(_CALLS):
            args, kwargs = copy.deepcopy(arguments, _detached(flatten(arguments)[0]))
            results, _, _ = flatten(subject(*args, **kwargs))
            given, _, _ = flatten((args, kwargs))
            # what a later call writes to is what an earlier one has returned, where the model returns its own state
            calls.append(_Call(copy.deepcopy(results, _detached(results)), given))
    finally:
        for tensor, content, version in before:
            if version is None or version != _version(tensor):
                tensor.copy_(content)
    return calls


def _detached(leaves: Sequence[Any]) -> dict[int, Any]:
    """Copies, by their ids, of the tensors that torch copies in its graph of gradients alone."""
    tensors = (each for each in leaves if isinstance(each, torch.Tensor))
    return {id(each): each.detach().clone() for each in tensors if each.requires_grad and not each.is_leaf}


def _version(tensor: torch.Tensor) -> int | None:
    """How often a tensor was written to; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


def _owned(compiled: Subject) -> list[torch.Tensor]:
    """The tensors that a call may write to: states, and buffers."""
    buffers = compiled.model.buffers() if isinstance(compiled.model, torch.nn.Module) else ()
    states = {id(state.tensor) for state in compiled.program.states}
    return [*(state.tensor for state in compiled.program.states), *(each for each in buffers if id(each) not in states)]


def _expected(compiled: Subject, arguments: Arguments) -> list[_Call]:
    """Calls of the model, in the mode it was captured in."""
    gradients = torch.set_grad_enabled(compiled.program.with_gradients)
    with gradients, training_mode(compiled.model, compiled.mode), compiled.weights_in_model():
        return _calls(callable_model(compiled.model), arguments, _owned(compiled))


def callable_model(model: Any) -> Any:
    """The model as something to call, which an ExportedProgram is not."""
    return model.module() if isinstance(model, torch.export.ExportedProgram) else model


def _compare(
    compiled: Subject, arguments: Arguments, tolerances: Tolerances, expected: list[_Call] | None = None
) -> Comparison:
    """Calls of both on the same arguments, from the same state."""
    expected = _expected(compiled, arguments) if expected is None else expected
    return _comparison(compiled, _actual(compiled, arguments), expected, tolerances)


def _actual(compiled: Subject, arguments: Arguments) -> list[_Call]:
    """Calls of the compiled model."""
    with torch.no_grad():
        return _calls(compiled, arguments, _owned(compiled))


def _comparison(
    compiled: Subject, actual: list[_Call], expected: list[_Call], tolerances: Tolerances
) -> Comparison:
    """The outputs of the first call, and whatever else is wrong: what arguments hold after it, the next call."""
    names = compiled.program.signature.output_names()[: len(expected[0].results)]
    how: dict[str, Any] = {**tolerances, "quantized": rounds_to_steps(compiled.program, compiled.graph)}
    found = computed_in(compiled.program)
    narrow = [found.get(leaf) for leaf in compiled.program.results][: len(expected[0].results)]
    known, outputs = steps_of(compiled.graph), iter(compiled.graph.outputs)
    steps = [None if leaf is None else known.get(next(outputs)) for leaf in compiled.program.results]
    how_first = {**how, "computed_in": narrow, "steps": steps[: len(expected[0].results)]}
    first = compare(actual[0].results, expected[0].results, names=names, **how_first)
    more: list[Difference] = []
    for number, (one, other) in enumerate(zip(actual, expected, strict=True), start=1):
        again = compare(one.results, other.results, **how_first).outputs if number > 1 else ()
        after = compare(one.arguments, other.arguments, **how).outputs
        more += [replace(each, name=f"{each.name} of call {number}") for each in again if not each.ok]
        more += [replace(each, name=f"an argument after call {number}") for each in after if not each.ok]
    return Comparison((*first.outputs, *more), drawn_in(compiled.program))


def drawn_in(program: Program) -> tuple[str, ...]:
    """The ops of a program that draw random numbers, each once."""
    random = torch.Tag.nondeterministic_seeded
    calls = (node.target for node in program.graph.nodes if random in getattr(node.target, "tags", ()))
    return tuple(dict.fromkeys(str(target).removesuffix(".default") for target in calls))


def computed_in(program: Program) -> dict[torch.fx.Node | None, torch.dtype | None]:
    """The narrowest dtype of 16 bits among the values that each is computed of; None where there is none."""
    found: dict[torch.fx.Node | None, torch.dtype | None] = {}
    for node in program.graph.nodes:
        own = getattr(node.meta.get("val"), "dtype", None)
        dtypes = [own if own in _NARROW else None, *(found[each] for each in node.all_input_nodes)]
        found[node] = max(dtypes, key=lambda dtype: _NARROW.index(dtype) if dtype else -1)
    return found


# ── sizes ──


def _other_sizes(compiled: Subject) -> list[dict[str, int]]:
    """Sizes near the examples', different from each other and within the limits; none where nothing is dynamic."""
    example = compiled.program.sizes_of(compiled.examples)
    for step in (1, -1, 2, -2, 8):
        others = {name: size + step * index for index, (name, size) in enumerate(example.items(), start=1)}
        if others and min(others.values()) > 0 and compiled.limits.admit(others):
            return [others]
    return []


def _resized_examples(compiled: Subject, sizes: Mapping[str, int]) -> list[torch.Tensor]:
    known = {**compiled.program.sizes_of(compiled.examples), **sizes}
    return [
        _resized(leaf, value.shape, known)
        for leaf, value in zip(compiled.examples, compiled.graph.inputs, strict=False)
    ]


def _resized(leaf: torch.Tensor, shape: Shape, sizes: Mapping[str, int]) -> torch.Tensor:
    """The example with every dim at its wanted size: its elements, repeated from the start where it is too short."""
    for axis, dim in enumerate(shape[: leaf.dim()]):
        known = isinstance(dim, int) or dim.symbols <= sizes.keys()
        size = evaluate(dim, sizes) if known else leaf.shape[axis]
        if size != leaf.shape[axis]:
            leaf = leaf.index_select(axis, torch.arange(size) % max(leaf.shape[axis], 1))
    return leaf
