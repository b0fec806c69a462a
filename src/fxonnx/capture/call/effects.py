"""What forward leaves in the objects that it is given: the attributes and entries that are others afterwards.

The model is called with objects of our own, made like the caller's. What it has changed in them is told here, and done
again to the caller's objects after each call: `cache.keys = …` sets the caller's, `seen.append(…)` lets it grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from fxonnx.capture.call.containers import CLOSED, base_of
from fxonnx.capture.call.tree import Constant, Path, Tree, flatten, result_name, segment, unflatten
from fxonnx.capture.state.snapshot import attributes_of

Way: TypeAlias = "tuple[tuple[bool, Any], ...]"
"""how to get at a part of the arguments: (whether it is an attribute, its name or key), one after the other"""

_SEQUENCES = (list, deque, set)


@dataclass(frozen=True, slots=True)
class Edit:
    """What forward changes in one container: what is gone, and what is where afterwards.

    Of a list, a deque or a set `keys` are all positions. A source is a number, of a new value, or the way to a part of
    the arguments as they were.
    """

    way: Way
    of_attributes: bool
    gone: tuple[Any, ...]
    keys: tuple[Any, ...]
    sources: tuple[int | Way, ...]


_NOTHING = Constant(())


@dataclass(frozen=True, slots=True)
class Effects:
    """All edits, and the structure of the new values, with a name for each tensor in it."""

    edits: tuple[Edit, ...] = ()
    tree: Tree = _NOTHING
    names: tuple[str, ...] = ()

    def apply(self, arguments: Mapping[str, Any], leaves: Iterable[Any]) -> None:
        """Do to a caller's arguments what forward did to ours; `leaves` are the new tensors."""
        values = unflatten(self.tree, leaves)
        found = [
            [_follow(arguments, source) if isinstance(source, tuple) else values[source] for source in edit.sources]
            for edit in self.edits
        ]
        owners = [_follow(arguments, edit.way) for edit in self.edits]
        for edit, owner, contents in zip(self.edits, owners, found, strict=True):
            _carry_out(edit, owner, contents)


NO_EFFECTS = Effects()


@dataclass(slots=True, eq=False)
class ArgumentsBefore:
    """The containers and objects among the arguments of a call, as they were before it."""

    met: dict[int, tuple[Any, Way, Path]] = field(default_factory=dict)  # id -> what it is, the way and a name
    contents: list[tuple[Any, Way, Path, Any, dict[str, Any]]] = field(default_factory=list)

    @staticmethod
    def of(arguments: dict[str, Any]) -> ArgumentsBefore:
        """Those of a call's arguments by name."""
        before = ArgumentsBefore()
        waiting: list[tuple[Any, Way, Path]] = [(value, ((False, name),), (name,)) for name, value in arguments.items()]
        while waiting:
            value, way, path = waiting.pop()
            if id(value) in before.met or isinstance(value, CLOSED):
                continue
            before.met[id(value)] = value, way, path
            waiting.extend(before._open(value, way, path))
        return before

    def _open(self, value: Any, way: Way, path: Path) -> Iterator[tuple[Any, Way, Path]]:
        """What is inside; noted where it can be changed."""
        if isinstance(value, torch.Tensor):
            return
        items, attributes = _items(value), dict(attributes_of(value))
        if attributes or (items and not isinstance(value, tuple)) or items is not None:
            self.contents.append((value, way, path, items, attributes))
        for key, each in _pairs(items):
            yield each, (*way, (False, key)), (*path, segment(type(value), key))
        for key, each in attributes.items():
            yield each, (*way, (True, key)), (*path, segment(type(value), key))

    def effects(self) -> tuple[list[Any], Effects]:
        """The new tensors in what has changed by now, and the changes."""
        edits: list[Edit] = []
        new: list[Any] = []
        labels: list[Path] = []
        for owner, way, path, items, attributes in self.contents:
            for before, after in ((items, _items(owner)), (attributes, dict(attributes_of(owner)))):
                if _differ(before, after):
                    edit = self._edit(way, before, after, new, before is attributes)
                    edits.append(edit)
                    sources = zip(edit.keys, edit.sources, strict=True)
                    labels += [(*path, segment(type(owner), key)) for key, each in sources if isinstance(each, int)]
        leaves, paths, tree = flatten(new)
        names = (result_name((*labels[int(path[0])], *path[1:])) for path in paths)
        return leaves, Effects(tuple(edits), tree, tuple(names)) if edits else NO_EFFECTS

    def _edit(self, way: Way, before: Any, after: Any, new: list[Any], of_attributes: bool) -> Edit:
        known, now = dict(_pairs(before)), dict(_pairs(after))
        gone: tuple[Any, ...] = ()
        if isinstance(after, dict) and _in_order(known, now):
            gone = tuple(key for key in known if key not in now)
            now = {key: each for key, each in now.items() if key not in known or not _is_same(known[key], each)}
        elif isinstance(after, dict):  # `move_to_end`, or an entry taken out and put back: all in their new order
            gone = tuple(known)
        return Edit(way, of_attributes, gone, tuple(now), tuple(self._source(each, new) for each in now.values()))

    def _source(self, value: Any, new: list[Any]) -> int | Way:
        """Where a value comes from; one that was not among the arguments is a new one."""
        if id(value) in self.met and (isinstance(value, torch.Tensor) or _items(value) is not None):
            return self.met[id(value)][1]
        new.append(value)
        return len(new) - 1


def _items(value: Any) -> dict[Any, Any] | list[Any] | None:
    """What a container of Python's holds; None of everything else."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, (tuple, *_SEQUENCES)) else None


def _pairs(contents: dict[Any, Any] | list[Any] | None) -> Iterable[tuple[Any, Any]]:
    return contents.items() if isinstance(contents, dict) else enumerate(contents or ())


def _differ(before: Any, after: Any) -> bool:
    """Whether contents are others, or in another order."""
    one, other = list(_pairs(before)), list(_pairs(after))
    return len(one) != len(other) or not all(
        key == other_key and _is_same(each, other_each)
        for (key, each), (other_key, other_each) in zip(one, other, strict=True)
    )


def _in_order(known: dict[Any, Any], now: dict[Any, Any]) -> bool:
    """Whether keys come as a dict keeps them: those that were there before first, as they stood."""
    return list(now) == [*(key for key in known if key in now), *(key for key in now if key not in known)]


def _is_same(before: Any, after: Any) -> bool:
    """Whether a value is the one before, or an equal constant."""
    return before is after or (not isinstance(before, torch.Tensor) and Constant(before).matches(after))


def _follow(arguments: Mapping[str, Any], way: Way) -> Any:
    found: Any = arguments
    for is_attribute, key in way:
        found = dict(attributes_of(found))[key] if is_attribute else _items(found)[key]  # type: ignore[index]
    return found


def _carry_out(edit: Edit, owner: Any, contents: list[Any]) -> None:
    """By the methods of Python's own containers: what those of a subclass do besides is among the edits."""
    if edit.of_attributes:
        for name in edit.gone:
            object.__delattr__(owner, name)
        for name, value in zip(edit.keys, contents, strict=True):
            object.__setattr__(owner, name, value)
    elif isinstance(owner, dict):
        base: Any = base_of(owner)
        for key in edit.gone:
            base.__delitem__(owner, key)
        for key, value in zip(edit.keys, contents, strict=True):
            base.__setitem__(owner, key, value)
    else:
        base = next(each for each in _SEQUENCES if isinstance(owner, each))
        base.clear(owner)
        (base.update if base is set else base.extend)(owner, contents)
