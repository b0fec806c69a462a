"""In-place writes said as values: every write makes a new value, and later reads of anything that shares the memory
see it.

Each tensor that owns memory has a version, counted up by every write. A write into a view is carried to the owner
through the views in between (`write_back`); a view that is read at a later version than it was taken at is taken
again of the owner's new value (`replay`). A write of a whole value is then nothing but a renaming. One walk, linear
time, and none at all for a graph that writes nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.capture.failures import Translating
from fxonnx.capture.graph.functional_form import (
    SPECIAL,
    cast,
    fills_at_random,
    fit,
    functional_form,
    in_dtype,
    is_mutable,
    kinds_of,
    operands,
    result_dtype,
    run_fake,
    shape_of,
    written_arguments,
)
from fxonnx.capture.graph.overlaps import source_in_place
from fxonnx.capture.graph.reshapes import reshaping_calls
from fxonnx.capture.graph.running_statistics import update, updated_statistics
from fxonnx.capture.graph.views import Emit, NotInvertible, View, geometry, overlaps_itself, replay, storage, write_back
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location

Mutations: TypeAlias = "dict[fx.Node, fx.Node]"
"""placeholder -> its value after a call, for those that the graph writes to"""

# returns its input, where torch's fake tensors say a copy
_HIDDEN_ALIASES = {torch.ops.aten.dropout.default: lambda input, p, train: not train or p == 0}
# the code makes a literal anew at each call, whatever torch's fake tensors say of its memory
_COPIES = frozenset({torch.ops.aten.lift_fresh_copy.default})
# squeeze_ and the like: the tensor becomes a view of itself, nothing is written
_RESHAPES_ITSELF = torch.Tag.inplace_view


def functionalize(graph: fx.Graph, locate: Callable[[fx.Node], Location], *, always: bool = False) -> Mutations:
    """Rewrite the graph so that no op writes in place, and with it what looks at a memory through the same view. Where
    none writes it is left as it is, but `always`.

    Raises CaptureRefused, with the place, for a write that cannot be said as a value.
    """
    if not always and not any(
        node.op == "call_function" and (is_mutable(node.target) or updated_statistics(node)) for node in graph.nodes
    ):
        return {}
    return _Functionalizer(graph, locate).run()


@dataclass(slots=True, eq=False)
class Memory:
    """What an owner and its views share."""

    version: int = 0
    unknown: bool = False  # tensors share it in a way that no view explains


@dataclass(slots=True, eq=False)
class Alias:
    """One way of looking at a memory: the owner's (no parent), or a view's, taken by `view` of its parent.

    `value` is right at `version`.
    """

    memory: Memory
    value: fx.Node
    view: View | None = None
    parent: Alias | None = None
    version: int = 0


def _up_to_memory_of_its_own(alias: Alias) -> tuple[list[View], Alias]:
    """The views that lead to an alias, and the nearest one before them whose elements share no memory."""
    views: list[View] = []
    while alias.parent is not None and alias.view is not None:
        views.insert(0, alias.view)
        alias = alias.parent
        if not overlaps_itself(alias.value.meta["val"]):
            break
    return views, alias


@dataclass(slots=True, eq=False)
class _Functionalizer:
    """One walk. `aliases` knows the graph's own nodes, not the calls we add: those are values, which never change."""

    graph: fx.Graph
    locate: Callable[[fx.Node], Location]
    aliases: dict[fx.Node, Alias] = field(default_factory=dict)
    owners: dict[int, Alias] = field(default_factory=dict)  # storage -> the owner's alias
    # call with several results -> its arguments, and what it read of each
    sources: dict[fx.Node, dict[fx.Node, fx.Node]] = field(default_factory=dict)
    # (op, kinds of arguments) -> the dtype of its result
    dtypes: dict[Any, torch.dtype] = field(default_factory=dict)
    dead: list[fx.Node] = field(default_factory=list)
    views: set[fx.Node] = field(default_factory=set)

    def run(self) -> Mutations:
        """Walk the graph and return what it does to its placeholders."""
        nodes = list(self.graph.nodes)
        reshaped = dict(reshaping_calls(self.graph))
        for node in nodes:
            if node.op == "placeholder":
                self._own(node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._refresh(node)
        mutations = self._mutations(nodes, reshaped)
        for node in reversed(self.dead):
            self.graph.erase_node(node)
        self._drop_idle(nodes, mutations)
        return mutations

    def _mutations(self, nodes: list[fx.Node], reshaped: dict[fx.Node, fx.Node]) -> Mutations:
        """What is written to placeholders, in the shape that the last call has left them; `set_` gives one the memory
        of another tensor, which is as if it were written to."""
        placeholders = [node for node in nodes if node.op == "placeholder" and node in self.aliases]
        last = {node: self.aliases[reshaped.get(node, node)] for node in placeholders}
        return {
            node: self._read(alias, self.graph.output_node())
            for node, alias in last.items()
            if alias.memory.version or alias.memory is not self.aliases[node].memory
        }

    def _drop_idle(self, nodes: list[fx.Node], mutations: Mutations) -> None:
        """Forget the calls we made that nobody reads, and views that were only written through."""
        kept = {node for node in nodes if node not in self.views}
        kept.update(mutations.values())
        for node in reversed(self.graph.nodes):
            if node.op == "call_function" and not node.users and node not in kept:
                self.graph.erase_node(node)

    # ── one node ──

    def _call(self, node: fx.Node) -> None:
        if node in self.aliases:  # a result of a call that wrote to several tensors
            self.dead.append(node)
            return
        sources = node.all_input_nodes
        places = (
            [_argument(node, *place) for place in written_arguments(node.target)] if is_mutable(node.target) else []
        )
        statistics = updated_statistics(node)
        self._refresh(node)
        read = {each: self.aliases[each].value if each in self.aliases else each for each in sources}
        if statistics:
            self._update_statistics(node, statistics)
        elif places and _RESHAPES_ITSELF in node.target.tags:
            self._reshape_itself(node, read)
        elif places:
            self._write(node, places)
        elif node.target is operator.getitem:
            self._alias(node, self._sources_of_result(node))
        elif isinstance(node.meta.get("val"), torch.Tensor):
            self._alias(node, read)
        else:
            self.sources[node] = read

    def _sources_of_result(self, node: fx.Node) -> dict[fx.Node, fx.Node]:
        """What one of several results may be a view of: an argument of the call; where that takes a list of tensors
        and gives one for each, the one in its place."""
        call, index = node.args
        sources = self.sources.get(call, {})
        many = call.args[0] if call.args else None
        if isinstance(many, (list, tuple)):
            return {each: value for each, value in sources.items() if value is many[index]}
        return sources

    def _refresh(self, node: fx.Node) -> None:
        """Let the node read what its arguments are now."""
        known = [each for each in node.all_input_nodes if each in self.aliases]
        if not any(self._is_stale(self.aliases[each], each) for each in known):
            return
        current = {each: self._read(self.aliases[each], node) for each in known}
        node.args = fx.map_arg(node.args, lambda each: current.get(each, each))
        node.kwargs = fx.map_arg(node.kwargs, lambda each: current.get(each, each))

    def _is_stale(self, alias: Alias, node: fx.Node) -> bool:
        return alias.value is not node or alias.version != alias.memory.version

    def _own(self, node: fx.Node) -> None:
        """A placeholder owns its memory, unless another one has it already (tied weights, a buffer that is a part of
        another)."""
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return
        owner = self.owners.get(storage(value))
        if owner is None:
            self.owners[storage(value)] = self.aliases[node] = Alias(Memory(), node)
        elif geometry(owner.value.meta["val"]) == geometry(value):
            self.aliases[node] = owner
        else:
            owner.memory.unknown = True
            self.aliases[node] = Alias(owner.memory, node)

    def _alias(self, node: fx.Node, sources: dict[fx.Node, fx.Node]) -> None:
        """Note what a new tensor shares memory with: an argument (it is a view of it), or nothing (it is an owner).
        `sources` are the arguments, and what was read of each."""
        key = storage(node.meta["val"])
        if node.target in _HIDDEN_ALIASES and _HIDDEN_ALIASES[node.target](*node.args):
            self.owners[key] = self.aliases[node] = self.aliases[next(iter(sources))]
            return
        if key not in self.owners or node.target in _COPIES:
            self.owners[key] = self.aliases[node] = Alias(Memory(), node)
            return
        parent = next((each for each in sources if each in self.aliases and storage(each.meta["val"]) == key), None)
        if parent is None:
            memory = self.owners[key].memory
            memory.unknown = True
            self.aliases[node] = Alias(memory, node, version=memory.version)
            return
        base = self.aliases[parent]
        self.views.add(node)
        same = geometry(parent.meta["val"]) == geometry(node.meta["val"])
        view = View(node, sources[parent])
        self.aliases[node] = base if same else Alias(base.memory, node, view, base, base.memory.version)

    # ── reading and writing ──

    def _read(self, alias: Alias, before: fx.Node) -> fx.Node:
        """The alias's value now, taken again of its parent's if that changed; new calls go before the given node."""
        if alias.version != alias.memory.version and alias.parent is not None and alias.view is not None:
            whole = self._read(alias.parent, before)
            alias.value, alias.version = replay(Emit(self.graph, before), alias.view, whole), alias.memory.version
        return alias.value

    def _store(self, alias: Alias, value: fx.Node, writer: fx.Node) -> None:
        """Make `value` what the alias, its owner and through it every other view have from now on."""
        if alias.memory.unknown:
            cause = "it writes into memory that other tensors share in a way the graph does not show"
            raise self._refused(writer, cause, "write into a clone() of the tensor")
        if alias.parent is None or alias.view is None:
            alias.memory.version += 1
        else:
            views, parent = _up_to_memory_of_its_own(alias)
            whole = self._read(parent, writer)
            self._store(parent, self._written_back(views, whole, value, writer), writer)
        alias.value, alias.version = value, alias.memory.version

    def _written_back(self, views: Sequence[View], whole: fx.Node, part: fx.Node, writer: fx.Node) -> fx.Node:
        try:
            return write_back(Emit(self.graph, writer), views, whole, part)
        except NotInvertible as error:
            cause = f"it writes through {error}, which cannot be carried back to the whole"
            raise self._refused(writer, cause, "write into the whole tensor, by index") from error

    # ── ops that write ──

    def _write(self, node: fx.Node, places: list[Any]) -> None:
        if not all(isinstance(place, fx.Node) for place in places):
            raise self._refused(node, f"{node.target} writes into a list of tensors", "write into them one by one")
        if source_in_place(node, places[0]):
            cause = f"{node.target} reads elements that it has written: source and place share their memory"
            raise self._refused(node, cause, "give it source.clone()")
        emit = Emit(self.graph, node)
        now = [self.aliases[place].value for place in places]
        if node.target in SPECIAL:
            values = [SPECIAL[node.target](emit, node, now[0])]
        else:
            with Translating(lambda: self.locate(node)):
                values = self._values(node, now, emit)
        fresh, values = values[: -len(places)], values[-len(places) :]
        for place, value in zip(places, values, strict=True):
            self._check_size(node, place, value)
            self._store(self.aliases[place], value, node)
        self._rename_results(node, places, fresh)
        self.dead.append(node)

    def _values(self, node: fx.Node, places: list[fx.Node], emit: Emit) -> list[fx.Node]:
        """What the op's functional form returns: the results of an op that returns others than what it writes, then
        the new value of every written argument."""
        form = functional_form(node.target)
        if form is None:
            cause = f"{node.target} writes in place, and torch has no form of it that returns the value"
            raise self._refused(node, cause, "use an op that returns its result")
        args, kwargs = operands(node, form)
        if fills_at_random(form):
            return [emit(form.target, args, kwargs, places[0].meta["val"])]
        key = kinds_of(form.target, args, kwargs)
        if torch.Tag.pointwise in form.target.tags and not form.dropped and key not in self.dtypes:
            self.dtypes[key] = result_dtype(form.target, args, kwargs)
        if key in self.dtypes:  # what is written in place has the shape of its place
            value = emit(form.target, args, kwargs, in_dtype(places[0].meta["val"], self.dtypes[key]))
            return [cast(emit, value, places[0])]
        result = run_fake(form.target, args, kwargs, places[0])
        call = emit(form.target, args, kwargs, result)
        calls = (
            [call]
            if isinstance(result, torch.Tensor)
            else [emit(operator.getitem, (call, at), {}, each) for at, each in enumerate(result)]
        )
        if form.dropped:
            return [cast(emit, each, place) for each, place in zip(calls, places, strict=True)]
        if isinstance(result, torch.Tensor):
            self.dtypes[key] = result.dtype
        fresh, values = calls[: -len(places)], calls[-len(places) :]
        for value, place in zip(values, places, strict=True):  # what is written lies in memory as its place does
            if shape_of(value.meta["val"]) == shape_of(place.meta["val"]):
                value.meta["val"] = in_dtype(place.meta["val"], value.meta["val"].dtype)
        return [*fresh, *(fit(emit, each, place) for each, place in zip(values, places, strict=True))]

    def _check_size(self, node: fx.Node, place: fx.Node, value: fx.Node) -> None:
        """Refuse a place for a result, out=, that is given another size while other tensors look at its elements: what
        is there afterwards hangs on how torch's kernel goes through memory."""
        alias, before = self.aliases[place], shape_of(place.meta["val"])
        if before == shape_of(value.meta["val"]) or 0 in before:
            return
        if any(each.memory is alias.memory and each is not alias for each in self.aliases.values()):
            cause = "out= is given another size here, while other tensors share its memory"
            raise self._refused(node, cause, "leave out=, and use the result")

    def _rename_results(self, node: fx.Node, places: list[fx.Node], fresh: list[fx.Node]) -> None:
        """What the op returns are the tensors it wrote to, or tensors of their own (batch norm's beside its running
        statistics)."""
        results = [Alias(Memory(), each) for each in fresh] or [self.aliases[place] for place in places]
        whole = isinstance(node.meta.get("val"), torch.Tensor)
        for name, alias in [(node, results[0])] if whole else [(user, results[user.args[1]]) for user in node.users]:
            self.aliases[name] = alias
            if fresh and isinstance(name.meta.get("val"), torch.Tensor):
                self.owners[storage(name.meta["val"])] = alias

    def _reshape_itself(self, node: fx.Node, sources: dict[fx.Node, fx.Node]) -> None:
        """squeeze_ and the like: the tensor becomes a view of itself."""
        form = functional_form(node.target)
        if form is None:
            raise self._refused(
                node, f"{node.target} changes what a tensor is, not only what it holds", "make a new tensor instead"
            )
        node.target = form.target
        self._alias(node, sources)

    def _update_statistics(self, node: fx.Node, statistics: list[fx.Node]) -> None:
        """A normalization in training: its results, and new values for its running statistics."""
        with Translating(lambda: self.locate(node)):
            form = update(Emit(self.graph, node), node)
        if form is None:
            cause = f"{node.target} updates running statistics, and torch has no form of it that returns them"
            raise self._refused(node, cause, "normalize with torch.nn.functional.batch_norm")
        results, values = form
        for place, value in zip(statistics, values, strict=True):
            self._store(self.aliases[place], fit(Emit(self.graph, node), value, place), node)
        self._rename_results(node, [], results)
        self.dead.append(node)

    def _refused(self, node: fx.Node, cause: str, cure: str) -> CaptureRefused:
        return CaptureRefused(
            "an in-place write cannot be captured", cause=cause, cure=cure, location=self.locate(node)
        )


def _argument(node: fx.Node, position: int, name: str) -> Any:
    return node.kwargs[name] if name in node.kwargs else node.args[position]
