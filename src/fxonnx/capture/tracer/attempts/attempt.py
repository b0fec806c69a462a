"""What a run of a model is made of, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.capture.tracer.decisions.turns import Turns
from fxonnx.capture.tracer.loops.lengths.series import Lengths
from fxonnx.capture.tracer.run import Run
from fxonnx.errors import Error
from fxonnx.ir.dims import Dim, Expr


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, the names of the dims that it is about, and the equality that pins them, if one does."""

    error: Error
    symbols: frozenset[str] = frozenset()
    equality: Assumption | None = None

    @property
    def is_tie(self) -> bool:
        """Whether two dims are equal, not a dim and a number."""
        return self.equality is not None and all(
            isinstance(each, Expr) for each in (self.equality.left, self.equality.right)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """That loops `over` a dim, or a number from data, are rolled up, which runs at these `lengths` show, for an example
    at its own sizes or at primes; and what is wrong otherwise."""

    over: str
    lengths: Lengths
    example: Example
    at_example: bool
    otherwise: tuple[Failure, ...]
    number: Dim | None = None  # that comes from data, in place of a dim


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What a run is made of: an example, at its own sizes or at primes, and whether comparisons of sizes are decided
    `at_once`. `frozen` says which optional dims of the `original` are static by now, and why; `at_primes` is what was
    wrong with the run at those. `is_way` is one of a way that some sizes take: it is for those. `exporting` is one of a
    model that is told that it is exported, or that is not to be told where it is false; one with `shortcuts` of
    one that is to take those that hang on data; one `with_gradients`, 1 of tensors, 2 of weights too, of a model that
    asks autograd for some."""

    example: Example
    original: Example
    is_way: bool = False
    exporting: bool | None = None
    shortcuts: bool = False
    with_gradients: int = 0
    at_example: bool = False
    at_once: bool = False
    scale: int = 1  # of the sizes of the run to those of the example
    pinned: tuple[Failure, ...] = ()  # what was wrong with the run at the sizes that these take the place of
    frozen: tuple[str, ...] = ()
    given_up: int = 0  # kinds of small dims
    at_primes: tuple[Failure, ...] = ()
    is_enlarged: bool = False  # at multiples of the example's sizes
    states: frozenset[int] = frozenset()  # ids of weights that forward writes to and asks for
    with_states_known: tuple[Failure, ...] = ()  # what was wrong with the run that found them
    stopped: Outcome | None = None  # by plain numbers of sizes, which runs at several sizes are to explain
    rolled: Rolled | None = None
    undecided: tuple[Failure, ...] = ()  # what was wrong before plain numbers from data were decided
    turns: Turns | None = None  # of a loop that data ends, which is rolled up
    turn_by_turn: bool = False  # whether such loops are not rolled up

    @property
    def unnamed_axes(self) -> list[Axis]:
        """The dims that may vary and that the user gave no name, or one that is a label."""
        requests = self.original.requests
        return [axis for axis in self.example.requests if requests[axis].dim is None or requests[axis].may_tie]

    def unnamed(self, done: Run) -> list[str]:
        """What those are called in a run, as far as they vary on their own; in the order of the inputs."""
        dims = (done.symbols.axes[axis] for axis in sorted(self.unnamed_axes))
        return list(dict.fromkeys(dim.name for dim in dims if isinstance(dim, Expr) and dim.name is not None))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A run and what is wrong with it. `is_final` where other sizes would tell nothing new."""

    run: Run
    failures: tuple[Failure, ...] = ()
    is_final: bool = False
    small: Mapping[str, int] = field(default_factory=dict)  # sizes of 0 and 1 of the example, for which it holds
    assumed: Sequence[Assumption] = ()  # what those ask of the others
