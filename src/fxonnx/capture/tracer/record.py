"""Records what a model calls while it runs on fake tensors: a dispatch mode before decomposition, and an fx graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any
from weakref import WeakMethod

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxonnx.capture.call.dense import not_dense
from fxonnx.capture.failures import TooManyCalls
from fxonnx.capture.graph.checks import ASSERTION, answered
from fxonnx.capture.graph.functional_form import is_mutable, reshaped
from fxonnx.capture.graph.reshapes import RETURNS_ITS_ARGUMENT
from fxonnx.capture.graph.views import geometry, storage
from fxonnx.capture.locate import strip
from fxonnx.capture.program import LIFTED, Weight
from fxonnx.capture.state.arrays import is_borrowed
from fxonnx.capture.state.gradients import Gradients
from fxonnx.capture.tracer.decisions.members import members
from fxonnx.capture.tracer.decisions.script import decided
from fxonnx.capture.tracer.functions import Refusals
from fxonnx.capture.tracer.known.forms import KNOWN_FORMS
from fxonnx.capture.tracer.known.size_elements import SizeElements
from fxonnx.capture.tracer.known.values import KnownValues, asks_for_values
from fxonnx.capture.tracer.lists import composed_of_lists
from fxonnx.capture.tracer.locations import said
from fxonnx.capture.tracer.quantized.stand_ins import StandIns
from fxonnx.capture.tracer.results.cache import FakeCache
from fxonnx.capture.tracer.results.default_dtype import dtype_of_factory, said_in_full, takes_default
from fxonnx.capture.tracer.results.meta import alias
from fxonnx.capture.tracer.size_checks import SIZE_CHECKS
from fxonnx.capture.tracer.sizes.fx_nodes import SizeNodes
from fxonnx.capture.tracer.sizes.nodes import BoolNode, FloatNode, IntNode, dim_of, sym_size
from fxonnx.capture.tracer.sizes.twins import ORIGINALS
from fxonnx.capture.tracer.torch_private import (
    CallMode,
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    UnsupportedOperatorException,
    alive,
    eager,
    is_traceable_wrapper_subclass,
    is_transformed,
)
from fxonnx.capture.tracer.transformed import transformed, without_gradient
from fxonnx.ir.dims import Dim

_NOWHERE = {"": ("", "")}
_LITERAL, _LITERAL_COPY = torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default
_NUMBERS = (torch.ops.aten.item.default, torch.ops.aten._local_scalar_dense.default)
_HIDING = frozenset({  # composite calls of what makes sizes of data, reads it, or makes what it returns by itself
    torch.ops.aten.where.default, torch.ops.aten.is_nonzero.default, torch.ops.aten.combinations.default,
    torch.ops.aten.histogramdd.default, torch.ops.aten.histogramdd.int_bins, torch.ops.aten.histogramdd.TensorList_bins,
})  # fmt: skip
_DESCRIBING = frozenset({  # calls that say what a tensor is; TorchScript asks so for sizes, as plain numbers
    torch.ops.prim.device.default, torch.ops.aten.size.int, torch.ops.aten.size.default, torch.ops.aten.numel.default,
})  # fmt: skip
_SCALAR_ASSERTION = torch.ops.aten._assert_scalar.default
_NO_RESULT = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)


class Recorder(CallMode):
    """Stands before every aten call (at the PreDispatch key), computes its fake result and hands both to the tape."""

    def __init__(self, tape: Tape, *, whole: bool = True) -> None:
        super().__init__(whole=whole)
        self._tape = tape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call. Real tensors among its arguments are the model's own.

        What torch transforms (vmap, grad, autograd) arrives as the calls that are made of it.
        """
        if self.pre_dispatch and is_transformed(args, kwargs, of_weights=self._tape.gradients.of_weights):
            if missing := without_gradient(func, args):
                what, cause, cure = missing
                raise self._tape.refuse(what, cause=cause, cure=cure)
            with Recorder(self._tape, whole=False):
                return transformed(func, args, kwargs or {})
        if func in _HIDING:
            with self:
                return func.decompose(*args, **kwargs or {})
        of_lists = composed_of_lists(func)
        if of_lists is not None:
            with self:
                return of_lists(func, args, kwargs or {})
        found = self._tape.quantized.call(func, args, kwargs or {}, self)
        return self._tape.call(func, args, kwargs or {}) if found is NotImplemented else found


@dataclass(slots=True, eq=False, weakref_slot=True)
class Tape:
    """The graph as it grows, and what its nodes stand for.

    `fake` makes a weight's stand-in, `keys` knows weights by name, `place` gives a call's meta, `refuse` takes note of
    what cannot be recorded. `held` are the ids of tensors that the model has before a call, without a name perhaps.
    """

    cache: FakeCache
    fake: Callable[[torch.Tensor], Any]
    keys: dict[int, str]
    place: Callable[[], dict[str, Any]]
    refuse: Refusals
    graph: fx.Graph = field(default_factory=fx.Graph)
    weights: dict[fx.Node, Weight] = field(default_factory=dict)
    autocast: list[tuple[fx.Node, torch.dtype]] = field(default_factory=list)
    sizes: Any = None  # how a size stands in the arguments of a call; by default as nodes that compute it
    borrowed: dict[fx.Node, fx.Node] = field(default_factory=dict)  # weight in numpy's memory -> the call that wraps it
    most_calls: float = inf
    layouts_asked: list[fx.Node] = field(default_factory=list)  # of which the model asks how they lie in memory
    values: KnownValues = field(init=False)
    elements: SizeElements = field(init=False)
    quantized: StandIns = field(default_factory=StandIns)
    held: Set[int] = frozenset()
    depth: int = 0  # of bodies of higher-order ops that are being recorded
    _nodes: dict[int, fx.Node | tuple[fx.Node, int]] = field(default_factory=dict)  # id of a fake tensor -> its node
    _returning: dict[int, list[fx.Node]] = field(default_factory=dict)  # id of a fake tensor -> nodes that return it
    _stand_ins: dict[int, Any] = field(default_factory=dict)  # id of a weight -> its fake tensor
    _kept: list[Any] = field(default_factory=list)  # what has an id above lives as long as the tape
    _last: fx.Node | None = None  # placeholder
    _lifted: Iterator[int] = field(default_factory=count)
    gradients: Gradients = field(default_factory=Gradients)
    _views: dict[int, list[Any]] = field(default_factory=dict)  # storage -> the fake tensors over it

    def __post_init__(self) -> None:
        self.sizes = self.sizes or SizeNodes(self.graph, self.cache.guard_log)
        self.cache.guard_log.must_hold = WeakMethod(self.must_hold)
        self.cache.guard_log.keep_answer = WeakMethod(self.keep_answer)
        self.values = KnownValues(self.refuse)
        self.elements = SizeElements(self.values)

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One call: its result, and a node for it."""
        func = ORIGINALS.get(func, func)
        is_lent = func is _LITERAL and is_borrowed(args[0])
        if func is _LITERAL and not is_lent:
            func = _LITERAL_COPY  # the code makes the tensor anew at each call: what is written to it is gone then
        args = tuple(map(self.read, args))
        kwargs = {name: self.read(value) for name, value in kwargs.items()} if kwargs else {}
        if func in SIZE_CHECKS:
            return SIZE_CHECKS[func](*args, **kwargs)
        if asks_for_values(func) and (answer := self._answer(func, args, kwargs)) is not None:
            return answer
        if func in KNOWN_FORMS and (result := KNOWN_FORMS[func](self, *args, **kwargs)) is not NotImplemented:
            return result
        for position, name in reshaped(func):
            self._keep_layout(kwargs[name] if name in kwargs else args[position])
        result = self._result(func, args, kwargs)
        if func in _DESCRIBING:
            return result
        if takes_default(func, args, kwargs, result):
            return said_in_full(self.call, func, args, kwargs)
        self.record(func, args, kwargs, result)
        if is_lent:
            self.borrowed[self._node(result).args[0]] = self._node(result)
        return result

    def record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """A node for a call on fake tensors that has this result."""
        if isinstance(result, torch.Tensor) and result.layout is not torch.strided:
            self._refuse_not_dense(result, f"what {func} returns")
        if len(self.graph.nodes) > self.most_calls:
            raise TooManyCalls("the model makes many more calls at other sizes", location=self.refuse.locate())
        given = tuple(map(self.operand, args)), {name: self.operand(value) for name, value in kwargs.items()}
        node = self.graph.call_function(func)
        given[1].update(dtype_of_factory(func, given[1], result))
        node.args, node.kwargs = given  # later, because fx warns of sizes that are no nodes
        node.meta = self.place()
        node.meta["val"] = result
        if args and result is args[0]:
            node.meta[RETURNS_ITS_ARGUMENT] = True
        self._note(node, result)
        self.values.add_call(node, writes=not self.depth)
        if torch.is_autocast_enabled("cpu"):
            self.autocast.append((node, torch.get_autocast_dtype("cpu")))

    def known(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What a tensor of the model holds now, to be read only; None where that hangs on inputs, states or chance.
        What is asked of sizes is answered, and noted, as a comparison of sizes is."""
        node = self._node(self.read(tensor))
        value = self.values.value(node)
        truth = self.elements.item(node) if value is None and tensor.dtype is torch.bool and not tensor.dim() else None
        if truth is None:
            return value
        answer = bool(truth)
        with eager():
            return torch.tensor(answer)

    def is_data(self, tensor: torch.Tensor) -> bool:
        """Whether inputs, states or chance say what a tensor of the model holds."""
        return self.values.hangs_on_data(self._node(self.read(tensor)))

    def selected(self, rows: torch.Tensor) -> Iterator[torch.Tensor] | None:
        """The rows of a selection out of a fixed range, as its decisions tell them; None where it is none."""
        return members(rows, self._node(self.read(rows)))

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What a call that asks for values returns where these are known, or sizes, a tensor as a constant; or None."""
        operands = self.operand(args)
        answer = self.values(func, operands, {name: self.operand(value) for name, value in kwargs.items()})
        if answer is None and func in _NUMBERS:
            return self.elements.item(operands[0])
        return pytree.tree_map_only(torch.Tensor, lambda each: self.call(_LITERAL_COPY, (each,), {}), answer)

    def _result(self, func: Any, args: Any, kwargs: Any) -> Any:
        try:
            return self.cache(torch.ops.aten.clone.default if func is _LITERAL_COPY else func, args, kwargs)
        except _NO_RESULT as error:
            self.refuse.met.append(error)
            raise

    def _keep_layout(self, tensor: Any) -> None:
        """Let the nodes of a tensor that is about to become a view of itself keep what it was."""
        self._node(tensor)  # which makes one for what is one of several results
        before = alias(self.cache.mode, tensor)
        self._kept.append(tensor)
        for node in self._returning.pop(id(tensor), ()):
            value = node.meta["val"]
            many = value if isinstance(value, tuple | list) else [value]
            kept = [before if each is tensor else each for each in many]
            node.meta["val"] = kept if many is value else before

    # ── arguments ──

    def read(self, value: Any) -> Any:
        """An argument with fake tensors in place of the model's own."""
        if isinstance(value, torch.Tensor):
            return value if id(value) in self._nodes else self._stand_in(value)
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.read, value)) if type(value) in (list, tuple) else list(map(self.read, value))
        return value

    def _stand_in(self, tensor: torch.Tensor) -> Any:
        known = self._stand_ins.get(id(tensor))
        if known is not None:
            return known
        if (inside := alive(tensor)) is not tensor:
            return self.read(inside)
        if isinstance(tensor, FakeTensor) and tensor.fake_mode is self.cache.mode:
            if self._adopts(tensor):
                return tensor
            raise self.refuse(
                "a tensor was made in a way that cannot be recorded",
                cause="no aten call returned it: it was copied, deserialized or wrapped",
                cure="make it with torch functions",
            )
        if is_traceable_wrapper_subclass(tensor):
            raise self.refuse(
                f"a {type(tensor).__name__} cannot be recorded",
                cause="it is made of other tensors, and calls on it are calls on those",
                cure="give the model plain tensors for weights: dequantized, or packed with calls that unpack them",
            )
        key = self.keys.get(id(tensor)) or self._lifted_key()
        self._refuse_not_dense(tensor, f"the weight {key}")
        fake = self._stand_ins[id(tensor)] = self.fake(tensor)
        self._kept.append(tensor)
        self.gradients.note(tensor)
        node = self.placeholder(key, fake)
        weight = self.weights[node] = Weight(key, tensor, is_held=id(tensor) in self.held)
        self.values.add_weight(node, weight)
        return fake

    def _refuse_not_dense(self, tensor: torch.Tensor, name: str) -> None:
        wrong = not_dense(tensor)
        if wrong is None:
            return
        raise self.refuse(
            f"{name} is {wrong.what}",
            cause="a graph of ONNX has dense arrays of numbers only",
            cure=f"compute with a dense one: {wrong.cure}",
        )

    def _lifted_key(self) -> str:
        """A key for a constant of the code: where it was met, and a number."""
        number = next(self._lifted)
        module, _ = next(iter(self.place().get("nn_module_stack", _NOWHERE).values()))
        return ".".join(filter(None, (strip(module), f"{LIFTED}{number}")))

    def _adopts(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor that no call returned is the same view of a storage as one that did, as what `torch.zeros`
        hands out is of what `aten.zeros` returned; it stands on the tape then."""
        views = self._views.get(storage(tensor), []) if tensor.layout is torch.strided else []
        known = next((each for each in reversed(views) if geometry(each) == geometry(tensor)), None)
        if known is None:
            return False
        self._nodes[id(tensor)] = self._nodes[id(known)]
        self._kept.append(tensor)
        return True

    def nodes_of(self, tensors: Iterable[torch.Tensor]) -> set[fx.Node]:
        """The nodes of tensors that are on the tape."""
        found = (self._nodes.get(id(each)) for each in tensors)
        return {each[0] if isinstance(each, tuple) else each for each in found if each is not None}

    def rewind(self) -> None:
        """Take inputs and weights for what they were before calls wrote to them, or returned them."""
        for node in self.graph.find_nodes(op="placeholder"):
            self._nodes[id(node.meta["val"])] = node

    def input(self, name: str, fake: Any) -> fx.Node:
        """A placeholder for an example input; all of them come before any call."""
        node = self.placeholder(name, fake)
        self.sizes.after(node)
        return node

    def placeholder(self, name: str, fake: Any) -> fx.Node:
        """A placeholder, after those there are."""
        with (
            self.graph.inserting_before(next(iter(self.graph.nodes), None))
            if self._last is None
            else self.graph.inserting_after(self._last)
        ):
            node = self._last = self.graph.placeholder(name.replace(".", "_"))
        node.meta["val"] = fake
        self._note(node, fake)
        return node

    def operand(self, value: Any) -> Any:
        """An argument as the graph has it: nodes for tensors and floats, sizes with their expression."""
        if isinstance(value, torch.Tensor):
            return self._node(value)
        if isinstance(value, (list, tuple)):
            return list(map(self.operand, value))
        if isinstance(value, torch.SymInt):
            return self.sizes(value)
        if isinstance(value, torch.SymFloat):
            return self.sizes.real(value.node)
        if isinstance(value, torch.SymBool):
            return self.truth(value.node) if value.node.comes_from_data else value.node.guard_bool()
        return value

    def _node(self, tensor: Any) -> fx.Node:
        found = self._nodes[id(tensor)]
        if isinstance(found, fx.Node):
            return found
        many, index = found
        with self.graph.inserting_after(many):
            node = self.graph.call_function(operator.getitem, (many, index))
        node.meta = {**many.meta, "val": tensor}
        self._nodes[id(tensor)] = node
        self._returning.setdefault(id(tensor), []).append(node)
        return node

    def truth(self, condition: Any) -> Any:
        """What is asked of sizes and numbers, as the calls that compute it."""
        known = condition.statically_known()
        if known is not None:
            return known
        found = self.sizes.reals.get(id(condition), (condition, None))[1]
        if found is None:
            word, *parts = condition.tree
            operands = tuple(map(self._part, parts))
            found = self.graph.call_function(_TRUTHS[word])
            found.args = operands  # later, as in `record`
            found.meta = {**self.place(), "val": torch.SymBool(condition)}
            self.sizes.reals[id(condition)] = condition, found
        return found

    def _part(self, part: Any) -> Any:
        if isinstance(part, BoolNode):
            return self.truth(part)
        if isinstance(part, (FloatNode, IntNode)):
            return self.sizes.real(part)
        log = self.cache.guard_log
        return self.operand(sym_size(part, log))

    # ── bodies of higher-order ops ──

    def add(self, target: Any, args: Any, kwargs: Any, result: Any) -> fx.Node:
        """A node for a call that is no op, and what it returns."""
        node = self.graph.call_function(target, args, kwargs)
        node.meta = {**self.place(), "val": result}
        self._note(node, result)
        return node

    def body(self, module: fx.GraphModule) -> fx.Node:
        """The node of a function that a higher-order op calls."""
        if self.graph.owning_module is None:
            self.graph.owning_module = nn.Module()
        name = f"body_{len(self.graph.owning_module._modules)}"
        self.graph.owning_module.add_module(name, module)
        return self.graph.get_attr(name)

    def forget(self, nodes: Sequence[fx.Node]) -> list[tuple[fx.Node, torch.dtype]]:
        """Let nobody read what these nodes return any more, which are about to leave the graph; which autocast they are
        under."""
        gone = set(nodes)
        for leaf in pytree.tree_leaves([node.meta.get("val") for node in nodes]):
            source = self._nodes.get(id(leaf))
            if source is not None and (source if isinstance(source, fx.Node) else source[0]) in gone:
                del self._nodes[id(leaf)]
                self._views[storage(leaf)] = [each for each in self._views[storage(leaf)] if each is not leaf]
        self.sizes.forget(gone)
        self.values.forget(nodes)
        found = [each for each in self.autocast if each[0] in gone]
        self.autocast = [each for each in self.autocast if each[0] not in gone] if found else self.autocast
        return found

    def must_hold(self, condition: Any, text: str) -> None:
        """Record that an op, or the model, takes what it asks of sizes and numbers from data for true."""
        node = self.graph.call_function(_SCALAR_ASSERTION, (self.truth(condition), text or said()))
        node.meta = {**self.place(), "val": None}

    def keep_answer(self, relation: str, difference: Dim, answer: bool) -> None:
        """Record what the model was answered, which may be of the number of an iteration."""
        size = self.operand(sym_size(difference, self.cache.guard_log))
        node = self.graph.call_function(answered)
        node.args = relation, size, answer  # later, because fx warns of sizes that are no nodes
        node.meta = {**self.place(), "val": None}

    def take_for(self, condition: Any, truth: bool, text: str) -> None:
        """Record that the model is right where a condition, of a tensor or of sizes, has this truth."""
        if isinstance(condition, torch.Tensor):
            self.check(condition if truth else condition.logical_not(), text)
        else:
            self.must_hold(condition if truth else condition.sym_not(), text)

    def check(self, condition: torch.Tensor, text: str) -> None:
        """Record that the model raises, with this text, where a condition is false."""
        node = self.graph.call_function(ASSERTION, (self.operand(self.read(condition)), text))
        node.meta = {**self.place(), "val": None}

    def ask_layout(self, tensor: torch.Tensor) -> None:
        """Note that the model's Python asks how a tensor lies in memory. A weight lies as it does."""
        if id(tensor) in self._nodes:
            self.layouts_asked.append(self._node(tensor))

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor stands on the tape."""
        return id(tensor) in self._nodes or (isinstance(tensor, FakeTensor) and self._adopts(tensor))

    def mark(self, condition: Any, number: int, live: Iterable[torch.Tensor]) -> fx.Node:
        """Record that Python goes on by the truth of a tensor, or of what is asked of sizes and numbers, and which
        tensors it holds then."""
        is_tensor = isinstance(condition, torch.Tensor)
        asked = self.operand(self.read(condition)) if is_tensor else self.truth(condition)
        held = list(map(self.operand, live))
        node = self.graph.call_function(decided, (asked, number, held))
        node.meta = {**self.place(), "val": None}
        self.values.decided += 1
        return node

    # ── results ──

    def _note(self, node: fx.Node, result: Any) -> None:
        self._kept.append(result)
        if isinstance(result, torch.Tensor):
            self._returning.setdefault(id(result), []).append(node)
            self._known(result, node)
        elif isinstance(result, (torch.SymFloat, torch.SymBool)):
            self.sizes.tell(result, node)
        elif isinstance(result, (list, tuple)):
            for index, each in enumerate(result):
                if isinstance(each, torch.Tensor):
                    self._returning.setdefault(id(each), []).append(node)
                    if self._nodes.get(id(each)) not in node.all_input_nodes or is_mutable(node.target):
                        self._known(each, (node, index))  # else it is an argument
        if self.cache.guard_log.data:
            self._tell(node, result)

    def _tell(self, node: fx.Node, result: Any) -> None:
        """Let a call tell the sizes that come from data."""
        if isinstance(result, (list, tuple)):
            for each in result:
                if isinstance(each, torch.Tensor) and self.cache.guard_log.data.are_in(*map(dim_of, each.shape)):
                    self.sizes.tell(each, self._node(each))
        elif isinstance(result, (torch.Tensor, torch.SymInt)):
            self.sizes.tell(result, node)

    def _known(self, tensor: torch.Tensor, source: fx.Node | tuple[fx.Node, int]) -> None:
        self._nodes[id(tensor)] = source
        if tensor.layout is torch.strided:
            self._views.setdefault(storage(tensor), []).append(tensor)

    def output(self, results: list[Any]) -> None:
        """End the graph."""
        results = list(map(self.read, results))
        self.graph.output(list(map(self.operand, results)))


_TRUTHS: dict[str, Any] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "and": operator.and_,
    "or": operator.or_,
    "not": torch.sym_not,
}
