"""What hangs on no input, on no state, on nothing that is drawn and on no size that varies has a value: Python may ask
for it while a model runs on fake tensors.

    stride = torch.tensor([8.0, 16.0]); int(stride[1])        16
    if self.fake_quant_enabled[0] == 1:                       as the buffer holds it; forward must not write to it
    if (x > 0).any():                                         unknown

Which nodes of a tape are known is told while it grows, by the memory that they read; a value is computed when somebody
asks, by the calls that it needs, once each and in the tape's order where they write.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from math import inf
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.functional_form import is_mutable, written_arguments
from fxonnx.capture.graph.running_statistics import updated_statistics
from fxonnx.capture.graph.views import argument, storage
from fxonnx.capture.program import LIFTED, KnownWeight, Weight
from fxonnx.capture.tracer.functions import Refusals
from fxonnx.capture.tracer.known.asked_forms import AskedForms
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import eager
from fxonnx.errors import CaptureRefused

_DROPOUTS = frozenset({"dropout", "alpha_dropout", "feature_dropout"})
_EXCHANGES = frozenset({"set_", "resize_", "resize_as_"})  # of the memory behind a tensor

_FACTORIZATIONS = frozenset({
    "inverse", "linalg_inv", "linalg_inv_ex", "svd", "linalg_svd", "_linalg_svd", "linalg_svdvals", "linalg_eigh",
    "_linalg_eigh", "linalg_eigvalsh", "linalg_eig", "linalg_eigvals", "qr", "linalg_qr", "pinverse", "linalg_pinv",
    "linalg_solve", "linalg_solve_ex", "_linalg_solve_ex", "linalg_lstsq", "linalg_matrix_exp", "linalg_lu",
    "linalg_lu_factor", "linalg_lu_factor_ex", "linalg_cholesky", "linalg_cholesky_ex", "cholesky", "cholesky_inverse",
    "linalg_solve_triangular", "linalg_matrix_rank", "_linalg_det", "_linalg_slogdet",
})  # fmt: skip

_SAID = 8  # elements

_OF_METADATA = {
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"), 0),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"), 0),
    **dict.fromkeys(("type_as", "expand_as", "view_as", "reshape_as"), 1),
}
"""op -> the argument of which it reads dtype and sizes only"""


@dataclass(slots=True, eq=False)
class KnownValues:
    """The values of one tape's nodes, as far as they are known and asked for.

    `reads` are the weights that a value was computed of, each with the line that asked first; `states` are the ids of
    those that forward writes to, as far as earlier runs have found, and `written` are found in this one. `decided` is
    how many decisions by data stand on the tape, and `uses` are those that values came of which were asked for behind
    others: the number of the first behind which something was computed of it, and that of the last before it was asked.
    """

    refuse: Refusals
    reads: dict[fx.Node, KnownWeight] = field(default_factory=dict)
    states: frozenset[int] = frozenset()
    written: set[int] = field(default_factory=set)
    decided: int = 0
    forms: AskedForms = field(init=False)
    uses: list[tuple[int, int]] = field(default_factory=list)
    _weights: dict[fx.Node, Weight] = field(default_factory=dict)
    _owned: dict[int, list[fx.Node]] = field(default_factory=dict)  # memory -> the weights in it
    _positions: dict[fx.Node, int] = field(default_factory=dict)  # call that is known -> its place on the tape
    _places: Iterator[int] = field(default_factory=count)
    _autocast: dict[fx.Node, torch.dtype] = field(default_factory=dict)
    _unknown: set[int] = field(default_factory=set)  # memories that something unknown was written to
    _written: set[int] = field(default_factory=set)  # memories that something known was written to
    _accesses: dict[int, list[fx.Node]] = field(default_factory=dict)  # memory -> the calls over it, views too
    _done: dict[int, int] = field(default_factory=dict)  # memory -> how many of those have been made
    _values: dict[fx.Node, Any] = field(default_factory=dict)
    _of_data: set[fx.Node] = field(default_factory=set)  # as far as was asked
    _since: dict[int, int] = field(default_factory=dict)  # memory -> the decision behind which it is another one
    _writes: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.forms = AskedForms(self._writes.__getitem__)

    # ── as the tape grows ──

    def add_weight(self, node: fx.Node, weight: Weight) -> None:
        """A weight's placeholder: known if it is at hand."""
        if id(weight.tensor) in self.states or weight.tensor.device.type == "meta":
            return
        if type(weight.tensor) not in (torch.Tensor, torch.nn.Parameter):
            return
        self._weights[node] = weight
        self._owned.setdefault(storage(node.meta["val"]), []).append(node)

    def add_call(self, node: fx.Node, *, writes: bool = True) -> None:
        """A call, which is known if it reads what is known, and which makes what it writes to known or unknown: unknown
        in a body, which may not be run, or more than once."""
        written = {storage(each.meta["val"]) for each in _written_by(node)}
        if not self._is_known_call(node) or not written.isdisjoint(self._owned) or (written and not writes):
            for memory in written:
                self.lose(memory)
            return
        self._positions[node] = next(self._places)
        if torch.is_autocast_enabled("cpu"):
            self._autocast[node] = torch.get_autocast_dtype("cpu")
        self._written |= written
        self._writes.update(written)
        memories = _memories(node, *_read_by(node))
        for memory in memories:
            self._accesses.setdefault(memory, []).append(node)
        self._note_decisions(memories, written | _memories(node))

    def _note_decisions(self, read: set[int], made: set[int]) -> None:
        """Note behind which decision a call was made, or what it reads."""
        before = [self._since[memory] for memory in read if memory in self._since]
        if before or self.decided:
            since = min((*before, self.decided - 1 if self.decided else inf))
            self._since |= {memory: int(min(since, self._since.get(memory, inf))) for memory in made}

    def note_use(self, node: fx.Node, *, of_sizes: bool = False) -> None:
        """Note that Python goes on by the elements of a node; `of_sizes` may have come of any decision."""
        since = 0 if of_sizes else self._since.get(storage(node.meta["val"]))
        if since is not None and self.decided:
            self.uses.append((since, self.decided - 1))
        self.forms.note(node, self.refuse.locate())

    def forget(self, nodes: Iterable[fx.Node]) -> None:
        """Let calls not be known any more."""
        for node in nodes:
            self._positions.pop(node, None)
            self._values.pop(node, None)

    def lose(self, memory: int) -> None:
        """What is in a memory is not known from here on.

        Raises CaptureRefused where a value was taken from it before: that holds at one call, and not at the next.
        """
        self._unknown.add(memory)
        read = next((self.reads[each] for each in self._owned.get(memory, ()) if each in self.reads), None)
        if read is not None:
            raise self._asked_and_written(read)

    def _asked_and_written(self, read: KnownWeight) -> CaptureRefused:
        self.written.add(id(read.weight.tensor))
        return self.refuse(
            f"forward asks for the value of {read.weight.key}, and writes to it",
            cause="Python decides by what it holds now, and a file does the same at each call",
            cure="bring the model into the state in which it is used before it is compiled (call it once); or choose "
            "with torch.where or torch.cond",
            location=read.location,
        )

    def is_lost(self, memory: int) -> bool:
        """Whether something unknown was written to a memory."""
        return memory in self._unknown

    def hangs_on_data(self, node: fx.Node) -> bool:
        """Whether inputs, states or chance say what a tensor holds; sizes may, too."""
        waiting, seen = [_source(node)], set[fx.Node]()
        while waiting:
            each = waiting.pop()
            if each in self._of_data or self._is_data(each):
                self._of_data.add(_source(node))
                return True
            if each not in seen and each not in self._weights and not _is_size(each):
                seen.add(each)
                waiting.extend(map(_source, _read_by(each)))
        return False

    def _is_data(self, node: fx.Node) -> bool:
        """Whether a node is data by itself, whatever it reads."""
        if _is_size(node):
            return bool(node.meta["val"].node.guard_log.data.are_in(dim_of(node.meta["val"])))
        if node in self._weights:
            return not self._is_known(node)
        return not _is_settled(node) or any(map(self.is_lost, _memories(node)))

    def said(self) -> tuple[KnownWeight, ...]:
        """The weights that values were computed of, in the model's words; without constants of its code."""
        return tuple(read for read in self.reads.values() if LIFTED not in read.weight.key)

    def _is_known_call(self, node: fx.Node) -> bool:
        return all(map(self._is_known, _read_by(node))) and _is_determined(node)

    def _is_known(self, node: fx.Node) -> bool:
        source = _source(node)
        if source not in self._positions and source not in self._weights:
            return False
        return not self._unknown or storage(node.meta["val"]) not in self._unknown

    # ── a question ──

    def value(self, node: fx.Node) -> torch.Tensor | None:
        """What a tensor holds now, in memory that is the tape's; None where it is not known.

        Raises CaptureRefused where it was computed of a weight that has been written to since.
        """
        if not self._is_known(node):
            return None
        self.note_use(node)
        calls, weights = self._needed(node)
        self._make(calls)
        for each in weights:
            if each not in self.reads:
                weight = self._weights[each]
                with eager():
                    content = weight.tensor.detach().clone()
                read = KnownWeight(weight, _text(content), self.refuse.locate(), content)
                if storage(each.meta["val"]) in self._unknown:
                    raise self._asked_and_written(read)
                self.reads[each] = read
        return self._value(node)

    def content(self, node: fx.Node) -> Any:
        """What a tensor holds, to be compared with what another tape's does; None where it is not known. What is
        written to may have held something else before, and is like nothing."""
        if not self._is_known(node):
            return None
        if storage(node.meta["val"]) in self._written:
            return object()
        calls, _ = self._needed(node)
        self._make(calls)
        with eager():
            return self._value(node).tolist()

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call returns for real where all nodes among its arguments are known; None where one is not."""
        nodes = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, fx.Node)]
        if not all(map(self._is_known, nodes)):
            return None
        values = {node: self.value(node) for node in nodes}
        with eager():
            given, named = fx.map_arg((args, kwargs), values.__getitem__)
            return func(*given, **named)

    def _needed(self, node: fx.Node) -> tuple[set[fx.Node], list[fx.Node]]:
        """The calls still to be made for what a tensor holds now, and the weights that they read.

        Where a memory is written to, all that reads it before comes first.
        """
        calls, weights = set[fx.Node](), list[fx.Node]()
        waiting = [_source(node), *self._waiting(storage(node.meta["val"]), inf)]
        while waiting:
            each = waiting.pop()
            if each in self._weights:
                weights.append(each)
            elif each not in calls and each not in self._values:
                calls.add(each)
                reads = _read_by(each)
                waiting.extend(map(_source, reads))
                for memory in _memories(each, *reads):
                    waiting.extend(self._waiting(memory, self._positions[each]))
        return calls, weights

    def _waiting(self, memory: int, end: float) -> Iterator[fx.Node]:
        """The calls over a memory up to a place on the tape that have not been made; none where nothing is written."""
        if memory not in self._written:
            return
        calls, done = self._accesses[memory], self._done.get(memory, 0)
        while done < len(calls) and self._positions.get(calls[done], 0) < end:
            if calls[done] in self._positions:
                yield calls[done]
            done += 1
        self._done[memory] = max(done, self._done.get(memory, 0))

    def _make(self, calls: Iterable[fx.Node]) -> None:
        """Make calls, on the real weights; they write to none of them."""
        with eager():
            for each in sorted(calls, key=self._positions.__getitem__):
                dtype = self._autocast.get(each)
                with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None, cache_enabled=False):
                    self._values[each] = self._result(each)

    def _result(self, node: fx.Node) -> Any:
        args = list(node.args)
        place = _place_of_metadata(node)
        if place is not None:
            args[place] = _like(node.args[place].meta["val"])
        args, kwargs = fx.map_arg((args, node.kwargs), self._value)
        return node.target(*args, **kwargs)

    def _value(self, node: fx.Node) -> Any:
        if node in self._weights:
            return self._weights[node].tensor
        source = _source(node)
        return self._values[node] if source is node else self._values[source][node.args[1]]


def _text(tensor: torch.Tensor) -> str:
    """What a weight holds, to be read; of a large one, that it is not another."""
    with eager():
        return str(tensor.tolist()) if tensor.numel() <= _SAID else "what it was"


def _source(node: fx.Node) -> fx.Node:
    """The call that returns a tensor, alone or among others."""
    return node.args[0] if node.target is operator.getitem else node


def _place_of_metadata(node: fx.Node) -> int | None:
    """The argument of which a call reads dtype and sizes only, where those do not vary."""
    place = _OF_METADATA.get(name_of(node.target))
    return place if place is not None and place < len(node.args) else None


def _read_by(node: fx.Node) -> list[fx.Node]:
    """The nodes whose values a call reads."""
    if (place := _place_of_metadata(node)) is None:
        return node.all_input_nodes
    rest = [each for at, each in enumerate(node.args) if at != place]
    return [each for each in pytree.tree_leaves((rest, node.kwargs)) if isinstance(each, fx.Node)]


def _written_by(node: fx.Node) -> list[fx.Node]:
    """The nodes whose memory a call writes to, or exchanges."""
    if not is_mutable(node.target):
        return updated_statistics(node)
    places = (node.kwargs.get(name, node.args[at] if at < len(node.args) else None)
              for at, name in written_arguments(node.target))  # fmt: skip
    return [each for each in pytree.tree_leaves(list(places)) if isinstance(each, fx.Node)]


def _memories(*nodes: fx.Node) -> set[int]:
    leaves = pytree.tree_leaves([node.meta.get("val") for node in nodes])
    return {storage(each) for each in leaves if isinstance(each, torch.Tensor)}


def _is_determined(node: fx.Node) -> bool:
    """Whether what a call returns hangs on what it reads alone, and has sizes that do not vary."""
    return _is_settled(node) and all(_is_plain(each) for each in pytree.tree_leaves(node.meta["val"]))


def _is_size(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.SymInt)


def _is_settled(node: fx.Node) -> bool:
    """Whether what a call returns hangs on what it reads alone, sizes among that."""
    target = node.target
    if isinstance(node.meta["val"], (torch.SymFloat, torch.SymBool)):
        return True
    if not isinstance(target, torch._ops.OpOverload) or name_of(target) in _EXCHANGES:
        return False
    return torch.Tag.nondeterministic_seeded not in target.tags or _is_idle_dropout(node)


def _is_idle_dropout(node: fx.Node) -> bool:
    return name_of(node.target) in _DROPOUTS and argument(node, "train") is False


def _is_plain(result: Any) -> bool:
    return isinstance(result, torch.Tensor) and not result._has_symbolic_sizes_strides


def _like(fake: Any) -> torch.Tensor:
    """A tensor of which nobody reads more than the metadata; without elements where their number varies."""
    shape, strides = ((0,), (1,)) if fake._has_symbolic_sizes_strides else (fake.shape, fake.stride())
    return torch.empty_strided(shape, strides, dtype=fake.dtype, device=fake.device)


@cache
def name_of(target: Any) -> str:
    """The name of an op without its overload; empty for what is none."""
    return target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else ""


@cache
def asks_for_values(func: Any) -> bool:
    """Whether what a call returns cannot be told without the values of its arguments: a number, a truth, a size; or is
    computed by no operator of ONNX. Of an index only masks do that, which have a form of their own."""
    if func is torch.ops.aten.index.Tensor:
        return False
    if name_of(func) in _FACTORIZATIONS:
        return True
    tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return func is torch.ops.aten.is_nonzero.default or not tags.isdisjoint(getattr(func, "tags", ()))


__all__ = ["KnownValues", "asks_for_values", "name_of"]
