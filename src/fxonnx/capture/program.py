"""What capture hands to lowering: a functional aten graph, and what its placeholders and outputs mean to the user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import fx

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.call.inputs import Signature
from fxonnx.capture.graph.checks import Check
from fxonnx.capture.graph.reshapes import Reshape
from fxonnx.capture.locate import Locator
from fxonnx.errors import CallMismatch
from fxonnx.ir.dims import Comparison, Dim, Expr, evaluate, symbol
from fxonnx.ir.extent import Extent
from fxonnx.location import Location


class Sizes(Protocol):
    """The sizes of a graph as dims; `opaque` tells what a symbol of ours stands for that no dim says."""

    opaque: dict[str, str]

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dim of a size found in a shape or in an argument."""

    def expression(self, expression: Any) -> Dim:
        """The dim of what stands behind a torch.SymInt."""


class SmallSizes(Protocol):
    """Knows which program sizes of 0 and 1 need, and those that the captured one does not hold for."""

    @property
    def others(self) -> Sequence[tuple[Mapping[str, int], Program]]:
        """The programs for other sizes that are known by now, each with the sizes that it is fixed at."""

    @property
    def names(self) -> Set[str]:
        """The dims whose sizes of 0 and 1 are asked about."""

    @property
    def known(self) -> Sequence[tuple[Mapping[str, int], Sequence[Assumption]]]:
        """The sizes of 0 and 1 for which it is known to hold, and what they ask of the others."""

    def ask(self, sizes: Mapping[str, int]) -> Any:
        """Find out about these sizes of 0 and 1, so that no call has to wait for it."""

    def ask_ones(self, *, leading: bool = False, admitted: bool = False) -> None:
        """Ask about sizes of 1, each dim's alone and all together, or that of the leading dims, a batch, alone; or of
        these about those that the program `admitted` where it decided by sizes."""

    @property
    def held(self) -> list[str]:
        """The sizes that are known to need none of their own: "n = 1"."""

    def __call__(self, sizes: Mapping[str, int]) -> Program | None:
        """The program of their own that these sizes need, or None. Raises CallMismatch where there is none."""

    def assumptions(self, small: Mapping[str, int]) -> Sequence[Assumption]:
        """What the program asks of the others where these sizes are small. Raises Difference where it is wrong for
        them, and Error where the model cannot be captured with them."""

    def beyond(self, sizes: Mapping[str, int], concerned: Collection[str]) -> Program | str:
        """The program for sizes that the captured one does not hold for, as it decides by the dims that are concerned;
        or why there is none."""

    def without_empty(self, dims: Collection[Dim]) -> SmallSizes:
        """The same where the program does not run with one of these dims at 0: such sizes need another one."""


LIFTED = "lifted_tensor_"
"""How a weight's key ends that is a constant of the model's code; torch.export's name for it."""


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that the caller brings. `name` is the user's: "x", "past.0.key"; unique."""

    node: fx.Node
    name: str


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that the model owns, by reference: a parameter, a buffer, or a constant of its code.

    `key` is its state_dict key where it has one, `extent` where a file has its bytes. A `replaceable` one is an input
    of the file as well. One that `is_held` by a tuple, a
    dict or an object of the model has no such key, and is there from call to call.
    """

    key: str
    tensor: torch.Tensor
    extent: Extent | None = None
    replaceable: bool = False
    is_held: bool = False

    @property
    def is_literal(self) -> bool:
        """Whether it is made anew by each call, so that what is in it tells it from others."""
        return LIFTED in self.key and not self.is_held


@dataclass(frozen=True, slots=True)
class KnownWeight:
    """A weight of which forward made plain numbers, truths or text: what is captured holds for its `value`.

    Prints as that: "sigma = 2.0", "flag = [0, 1]". `content` are all its elements, copied.
    """

    weight: Weight
    value: str
    location: Location
    content: torch.Tensor

    def __str__(self) -> str:
        return f"{self.weight.key} = {self.value}"


@dataclass(frozen=True, slots=True)
class State:
    """A buffer that the model changes: `node` is its value before a call, `result` its value after."""

    key: str
    tensor: torch.Tensor
    node: fx.Node
    result: fx.Node


@dataclass(frozen=True, slots=True)
class Writeback:
    """An input that the model changes in place: its index in `Program.inputs`, and its value after a call."""

    input: int
    result: fx.Node


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """A dynamic size: its name, and the sizes that were captured for (`maximum` None: no bound)."""

    name: str
    minimum: int
    maximum: int | None


Retraced: TypeAlias = "tuple[fx.Graph, Sequence[Assumption]]"
"""a graph, and what it assumes about sizes"""


@dataclass(frozen=True, slots=True)
class Program:
    """A captured model.

    `graph` has placeholders, call_function nodes (aten overloads, `operator.getitem`, arithmetic on symbolic ints,
    higher-order ops), get_attr nodes for the bodies of higher-order ops (`subgraphs`), and an output. It writes
    nothing in place. Every tensor node has its fake tensor in `meta["val"]`. `outputs` are the leaves of the model's
    return value: nodes, or Python numbers that the capture found to be constant; `rebound` are the new values that
    forward puts into objects among its arguments (`signature.effects`). `frozen` tells which dims were asked
    for with "auto" or `Dim.AUTO` and came out constant, and why; `assumptions` are comparisons of sizes in the
    model's Python code that a call must answer as the example did; `zero_one_assumptions` are those that come out so
    for all sizes from 2 up, and about which `variant` knows more. `attempts` tells what was tried. `retrace(body,
    values, whole, location)` records a function of the graph's fake values. `checks` are the model's own of its data.
    `by_layout` are the inputs that have to lie in memory as their fake tensors do: what the model writes reaches other
    elements elsewhere. `reshapes` change the shapes of inputs, in this order, once a call has written what it writes.
    `known` are the weights whose value decided what was captured, `plain` the lines that make plain numbers of sizes,
    which runs at several sizes found to be expressions; `multiples` has {n: 4*n} where n is a multiple of 4.
    A model that is `with_gradients` asks autograd for some itself: PyTorch runs it outside of torch.no_grad() only.
    """

    graph: fx.Graph
    inputs: tuple[Input, ...]
    weights: Mapping[fx.Node, Weight]
    states: tuple[State, ...]
    writebacks: tuple[Writeback, ...]
    outputs: tuple[Any, ...]
    rebound: tuple[Any, ...]
    symbols: Mapping[str, SymbolInfo]
    signature: Signature
    sizes: Sizes
    locator: Locator
    retrace: Callable[[Callable[..., Any], Sequence[Any], bool, Location], Retraced]
    subgraphs: Mapping[fx.Node, fx.GraphModule] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    assumptions: Sequence[Assumption] = ()
    zero_one_assumptions: tuple[Assumption, ...] = ()
    attempts: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    reshapes: tuple[Reshape, ...] = ()
    known: tuple[KnownWeight, ...] = ()
    plain: tuple[Location, ...] = ()
    multiples: Mapping[str, Dim] = field(default_factory=dict)
    zero_one: SmallSizes | None = None
    by_layout: tuple[int, ...] = ()
    with_gradients: bool = False

    @property
    def results(self) -> tuple[Any, ...]:
        """What a call computes for the caller: the outputs, and the nodes of `rebound` that are none of them."""
        nodes = dict.fromkeys(leaf for leaf in self.rebound if isinstance(leaf, fx.Node))
        returned = {leaf for leaf in self.outputs if isinstance(leaf, fx.Node)}
        return (*self.outputs, *(node for node in nodes if node not in returned))

    @property
    def writes(self) -> bool:
        """Whether a call writes to anything: states, inputs, objects among its arguments."""
        return bool(self.states or self.writebacks or self.reshapes or self.signature.effects.edits)

    def sizes_of(self, tensors: Iterable[torch.Tensor]) -> dict[str, int]:
        """What the named dims of the inputs are in some tensors, in the order of `inputs`."""
        found: dict[str, int] = {}
        for each, tensor in zip(self.inputs, tensors, strict=True):
            dims = map(self.sizes.dim, each.node.meta["val"].shape)
            named = zip(dims, tensor.shape, strict=True)
            found |= {dim.name: size for dim, size in named if isinstance(dim, Expr) and dim.name is not None}
        return found

    def names_written(self) -> list[str]:
        """The names of what is written behind the outputs: in objects among the arguments, in inputs, in states."""
        own = dict(zip(self.rebound, self.signature.effects.names, strict=True))
        names = [own[node] for node in self.results[len(self.outputs) :]]
        names += [self.inputs[writeback.input].name for writeback in self.writebacks]
        return names + [state.key for state in self.states]

    def assuming(self, more: Iterable[Assumption]) -> Program:
        """The same with further assumptions."""
        return replace(self, assumptions=tuple(dict.fromkeys((*self.assumptions, *more))))

    def variant(self, sizes: Mapping[str, int]) -> Program | None:
        """The program that is needed where some of these sizes, by name of the dim, are 0 or 1: None where it is this
        one.

        The first question about such sizes takes about twice as long as capturing did. Raises CallMismatch where the
        model cannot be captured for them.
        """
        return None if self.zero_one is None else self.zero_one(sizes)

    def admits(self, sizes: Mapping[str, int]) -> bool:
        """Whether sizes, by name of the dim, are among those that it was captured for."""
        return not self.deciding(sizes)

    def deciding(self, sizes: Mapping[str, int]) -> frozenset[str]:
        """The names of dims by which it is decided that it was not captured for these sizes: none where it was."""
        for info in self.symbols.values():
            size = sizes.get(info.name, info.minimum)
            if size < info.minimum or (info.maximum is not None and size > info.maximum):
                return frozenset({info.name})
        asked = (each for each in self.assumptions if each.symbols <= sizes.keys())
        return next((each.symbols for each in asked if not each.holds(sizes)), frozenset())

    def holds(self, fixed: Mapping[str, int]) -> list[list[Comparison]]:
        """For which sizes, with some `fixed`, it computes what the model does: where all comparisons of one of these
        lists hold. Sizes of 0 and 1 are known as far as they were asked about."""
        general, small_sizes = self.comparisons(fixed), self.zero_one
        if small_sizes is None:
            return [general] if general else []
        known: list[tuple[Mapping[str, int], Sequence[Assumption]]] = [({}, ()), *small_sizes.known]
        found = []
        for small, assumed in known:
            ones: list[Comparison] = [(symbol(name), "==", size) for name, size in small.items()]
            large: list[Comparison] = [(symbol(name), ">=", 2) for name in sorted(small_sizes.names - small.keys())]
            found.append([*general, *ones, *large, *((each.left, each.relation, each.right) for each in assumed)])
        return found

    def comparisons(self, fixed: Mapping[str, int]) -> list[Comparison]:
        """What sizes of 2 and more have to be for this program, with some `fixed`: all of these hold."""
        found: list[Comparison] = [(symbol(name), "==", size) for name, size in fixed.items()]
        for each in dict.fromkeys(self.symbols.values()):
            found += [(symbol(each.name), ">=", each.minimum)] if each.minimum else []
            found += [(symbol(each.name), "<=", each.maximum)] if each.maximum is not None else []
        return found + [(each.left, each.relation, each.right) for each in self.assumptions]

    def beyond(self, sizes: Mapping[str, int], concerned: Collection[str]) -> Program | str:
        """The program for sizes, by name of the dim, that this one does not hold for, as its Python code decides by the
        dims that are `concerned`: a way of its own, captured when it is first taken. Or why there is none."""
        return "it was captured once" if self.zero_one is None else self.zero_one.beyond(sizes, concerned)

    def without_empty(self, dims: Collection[Dim]) -> Program:
        """The same, which does not run where one of these dims is 0: those sizes have a program of their own."""
        return self if self.zero_one is None else replace(self, zero_one=self.zero_one.without_empty(dims))

    def beside(self, general: Program) -> Program:
        """The same with the states of another program of the model: what that writes to is no constant here.

        Raises CallMismatch where this one writes to what is a constant there.
        """
        constant = {id(weight.tensor) for weight in general.weights.values()}
        written = {id(state.tensor) for state in general.states}
        for state in self.states:
            if id(state.tensor) in constant:
                raise CallMismatch(
                    f"with this size the model writes to {state.key}",
                    cause="with other sizes it does not, and the file holds it as a constant",
                    cure="compile the model for this size: leave the dim out of dynamic_shapes",
                )
        shared = {node: weight for node, weight in self.weights.items() if id(weight.tensor) in written}
        kept = {node: weight for node, weight in self.weights.items() if node not in shared}
        more = (State(weight.key, weight.tensor, node, node) for node, weight in shared.items())
        return replace(self, weights=kept, states=(*self.states, *more))

    def dim(self, size: int | torch.SymInt) -> Dim:
        """A size found in the graph as a dim over the user's names."""
        return self.sizes.dim(size)

    def shape(self, index: int, sizes: Mapping[str, int]) -> list[int]:
        """How large an input is to be where the named dims have these sizes."""
        return [evaluate(self.dim(size), sizes) for size in self.inputs[index].node.meta["val"].shape]

    def strides(self, index: int, sizes: Mapping[str, int]) -> list[int]:
        """How an input is to lie in memory where the named dims have these sizes."""
        return [evaluate(self.dim(stride), sizes) for stride in self.inputs[index].node.meta["val"].stride()]

    def location(self, node: fx.Node) -> Location:
        """The node's place in the user's model."""
        return self.locator(node)
