"""In-place writes said as values: every write makes a new value, and later reads of anything that shares the memory see it.

Each tensor that owns memory has a version, counted up by every write. A write into a view is carried to the owner through the views in between
(`write_back`); a view that is read at a later version than it was taken at is taken again of the owner's new value (`replay`). A write of a whole value
is then nothing but a renaming. One walk, linear time, and none at all for a graph that writes nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.capture.functional_form import SPECIAL, Form, fit, functional_form, is_mutable, run_fake, written_arguments
from fxonnx.capture.views import Emit, NotInvertible, geometry, replay, storage, write_back
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location

Mutations: TypeAlias = "dict[fx.Node, fx.Node]"
"""placeholder -> its value after a call, for those that the graph writes to"""

_HIDDEN_WRITES = {torch.ops.aten.batch_norm.default: torch.ops.aten._native_batch_norm_legit_functional.default}
_RESHAPES_ITSELF = torch.Tag.inplace_view  # squeeze_ and the like: the tensor becomes a view of itself, nothing is written


def functionalize(graph: fx.Graph, locate: Callable[[fx.Node], Location]) -> Mutations:
    """Rewrite the graph so that no op writes in place. Raises CaptureRefused, with the place, for a write that cannot be said as a value."""
    if not any(node.op == "call_function" and (is_mutable(node.target) or _writes_hidden(node)) for node in graph.nodes):
        return {}
    return _Functionalizer(graph, locate).run()


def _writes_hidden(node: fx.Node) -> bool:
    """batch_norm in training updates the running statistics, which its schema does not say."""
    return node.target in _HIDDEN_WRITES and bool(node.args[5]) and node.args[3] is not None


@dataclass(slots=True, eq=False)
class Memory:
    """What an owner and its views share."""

    version: int = 0
    unknown: bool = False  # tensors share it in a way that no view explains


@dataclass(slots=True, eq=False)
class Alias:
    """One way of looking at a memory: the owner's (no parent), or a view's, taken by `view` of its parent. `value` is right at `version`."""

    memory: Memory
    value: fx.Node
    view: fx.Node | None = None
    parent: Alias | None = None
    version: int = 0


@dataclass(slots=True, eq=False)
class _Functionalizer:
    graph: fx.Graph
    locate: Callable[[fx.Node], Location]
    aliases: dict[fx.Node, Alias] = field(default_factory=dict)
    owners: dict[int, Alias] = field(default_factory=dict)  # storage -> the owner's alias
    dead: list[fx.Node] = field(default_factory=list)

    def run(self) -> Mutations:
        nodes = list(self.graph.nodes)
        for node in nodes:
            if node.op == "placeholder":
                self._own(node)
        for node in nodes:
            if node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._refresh(node)
        end = self.graph.output_node()
        mutations = {node: self._read(alias, end) for node, alias in self._written(nodes)}
        for node in reversed(self.dead):
            self.graph.erase_node(node)
        _drop_idle(self.graph, set(nodes), mutations)
        return mutations

    def _written(self, nodes: list[fx.Node]) -> Iterator[tuple[fx.Node, Alias]]:
        for node in nodes:
            if node.op == "placeholder" and node in self.aliases and self.aliases[node].memory.version:
                yield node, self.aliases[node]

    # ── one node ──

    def _call(self, node: fx.Node) -> None:
        self._refresh(node)
        if _writes_hidden(node):
            self._train_batch_norm(node)
        elif is_mutable(node.target) and _RESHAPES_ITSELF not in node.target.tags:
            self._write(node)
        elif isinstance(node.meta.get("val"), torch.Tensor):
            self._alias(node)

    def _refresh(self, node: fx.Node) -> None:
        """Let the node read what its arguments are now."""
        if not any(each in self.aliases and self._is_stale(self.aliases[each], each) for each in node.all_input_nodes):
            return
        current = {each: self._read(self.aliases[each], node) if each in self.aliases else each for each in node.all_input_nodes}
        node.args = fx.map_arg(node.args, current.__getitem__)
        node.kwargs = fx.map_arg(node.kwargs, current.__getitem__)

    def _is_stale(self, alias: Alias, node: fx.Node) -> bool:
        return alias.value is not node or alias.version != alias.memory.version

    def _own(self, node: fx.Node) -> None:
        """A placeholder owns its memory, unless another one has it already (tied weights, a buffer that is a part of another)."""
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return
        key = storage(value)
        owner = self.owners.get(key)
        if owner is None:
            self.owners[key] = self.aliases[node] = Alias(Memory(), node)
        elif geometry(owner.value.meta["val"]) == geometry(value):
            self.aliases[node] = owner
        else:
            owner.memory.unknown = True
            self.aliases[node] = Alias(owner.memory, node)

    def _alias(self, node: fx.Node) -> None:
        """Note what a new tensor shares memory with: an argument (it is a view of it), or nothing (it is an owner)."""
        key = storage(node.meta["val"])
        if key not in self.owners:
            self.owners[key] = self.aliases[node] = Alias(Memory(), node)
            return
        source = node.args[0] if node.target is operator.getitem else node
        parent = next((each for each in source.all_input_nodes if self._shares(each, key)), None)
        if parent is None:
            self.owners[key].memory.unknown = True
            self.aliases[node] = Alias(self.owners[key].memory, node, version=self.owners[key].memory.version)
            return
        base = self._alias_of(parent)
        if geometry(parent.meta["val"]) == geometry(node.meta["val"]):
            self.aliases[node] = base
        else:
            self.aliases[node] = Alias(base.memory, node, node, base, base.memory.version)

    def _shares(self, node: fx.Node, key: int) -> bool:
        value = node.meta.get("val")
        return isinstance(value, torch.Tensor) and storage(value) == key

    def _alias_of(self, node: fx.Node) -> Alias:
        """The alias of an argument, which may be a value that we made."""
        return self.aliases[node]

    # ── reading and writing ──

    def _read(self, alias: Alias, before: fx.Node) -> fx.Node:
        """The alias's value now, taken again of its parent's if that changed; new calls go before the given node."""
        if alias.version != alias.memory.version and alias.parent is not None and alias.view is not None:
            whole = self._read(alias.parent, before)
            self._set(alias, replay(Emit(self.graph, before), alias.view, whole))
        return alias.value

    def _set(self, alias: Alias, value: fx.Node) -> None:
        alias.value, alias.version = value, alias.memory.version
        self.aliases[value] = alias

    def _store(self, alias: Alias, value: fx.Node, emit: Emit, writer: fx.Node) -> None:
        """Make `value` what the alias, its owner and through it every other view have from now on."""
        if alias.memory.unknown:
            raise self._refused(writer, "it writes into memory that other tensors share in a way the graph does not show", "write into a clone() of the tensor")
        if alias.parent is None or alias.view is None:
            alias.memory.version += 1
        else:
            whole = self._read(alias.parent, writer)
            self._store(alias.parent, self._written_back(alias.view, whole, value, emit, writer), emit, writer)
        self._set(alias, value)

    def _written_back(self, view: fx.Node, whole: fx.Node, part: fx.Node, emit: Emit, writer: fx.Node) -> fx.Node:
        try:
            return write_back(emit, view, whole, part)
        except NotInvertible as error:
            raise self._refused(writer, f"it writes through {error}, which cannot be carried back to the whole", "write into the whole tensor, by index") from error

    # ── ops that write ──

    def _write(self, node: fx.Node) -> None:
        emit = Emit(self.graph, node)
        places = [_argument(node, index, name) for index, name in written_arguments(node.target)]
        if not all(isinstance(place, fx.Node) for place in places):
            raise self._refused(node, f"{node.target} writes into a list of tensors", "write into them one by one")
        self.dead.append(node)
        if node.target in SPECIAL:
            values = [SPECIAL[node.target](emit, node, places[0])]
        else:
            values = self._values(node, places, emit)
        for place, value in zip(places, values, strict=True):
            self._store(self.aliases[place], self._own_value(value, place), emit, node)
        self._results(node, places)

    def _own_value(self, value: fx.Node, place: fx.Node) -> fx.Node:
        """A value that belongs to another memory (copy_ from a tensor) is read there, not renamed: it keeps its own alias."""
        known = self.aliases.get(value)
        if known is None or known.memory is self.aliases[place].memory:
            return value
        return value

    def _values(self, node: fx.Node, places: list[fx.Node], emit: Emit) -> list[fx.Node]:
        """The new value of every written argument, by the op's functional form."""
        form = functional_form(node.target)
        if form is None:
            raise self._refused(node, f"{node.target} writes in place and torch has no form of it that returns the value", "use an op that returns its result")
        args, kwargs = _operands(node, form)
        result = run_fake(form.target, args, kwargs)
        call = emit(form.target, args, kwargs, result)
        calls = [call] if len(places) == 1 else [emit(operator.getitem, (call, index), {}, each) for index, each in enumerate(result)]
        if form.dropped:
            return [self._cast(emit, each, place) for each, place in zip(calls, places, strict=True)]
        return [fit(emit, each, place) for each, place in zip(calls, places, strict=True)]

    def _cast(self, emit: Emit, value: fx.Node, place: fx.Node) -> fx.Node:
        """An out= argument keeps its dtype and takes the result's shape."""
        wanted = place.meta["val"].dtype
        if value.meta["val"].dtype is wanted:
            return value
        return emit(torch.ops.aten.to.dtype, (value, wanted), {}, run_fake(torch.ops.aten.to.dtype, (value, wanted), {}))

    def _results(self, node: fx.Node, places: list[fx.Node]) -> None:
        """What the op returns are the tensors it wrote to."""
        if isinstance(node.meta.get("val"), torch.Tensor):
            self.aliases[node] = self.aliases[places[0]]
            return
        for getitem in node.users:
            self.aliases[getitem] = self.aliases[places[getitem.args[1]]]

    def _train_batch_norm(self, node: fx.Node) -> None:
        """The result and, as new values, the running mean and variance."""
        emit = Emit(self.graph, node)
        target = _HIDDEN_WRITES[node.target]
        args = tuple(node.args[:8])  # all but cudnn_enabled
        results = run_fake(target, args, {})
        call = emit(target, args, {}, results)
        output, mean, variance = (emit(operator.getitem, (call, index), {}, results[index]) for index in (0, 3, 4))
        self.owners[storage(results[0])] = self.aliases[output] = self.aliases[node] = Alias(Memory(), output)
        for place, value in ((node.args[3], mean), (node.args[4], variance)):
            self._store(self.aliases[place], value, emit, node)
        self.dead.append(node)

    def _refused(self, node: fx.Node, cause: str, cure: str) -> CaptureRefused:
        return CaptureRefused("an in-place write cannot be captured", cause=cause, cure=cure, location=self.locate(node))
