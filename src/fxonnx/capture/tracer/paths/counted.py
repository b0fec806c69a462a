"""What runs return that differ in nothing but plain numbers: a counter that Python has counted up in a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fxonnx.capture.call.inputs import Returned
from fxonnx.capture.call.tree import SLOT, Branch, Constant, Path, Slot, Tree, segment


class Unlike(Exception):
    """Two runs return other structures, or leave other things in their arguments."""


@dataclass(slots=True, eq=False)
class Counted:
    """What several runs return, with a slot for each plain number that is another one in each of them; and those
    numbers, by the place of their slot among all."""

    returned: Returned
    numbers: dict[int, list[int]]

    @staticmethod
    def of(returned: Sequence[Returned]) -> Counted:
        """Of all runs. Raises Unlike."""
        walk = _Walk()
        tree = walk([each.tree for each in returned], ())
        first = returned[0]
        if any(each.effects.edits != first.effects.edits for each in returned):
            raise Unlike
        if any(each.effects.tree != first.effects.tree for each in returned):
            raise Unlike
        return Counted(Returned(tree, walk.paths, first.effects), walk.numbers)

    def filled(self, results: Iterable[Any], number: Callable[[Sequence[int]], Any]) -> Iterator[Any]:
        """The results of a run, with what stands for the numbers among them."""
        given = iter(results)
        for place in range(len(self.returned.paths)):
            yield number(self.numbers[place]) if place in self.numbers else next(given)
        yield from given


@dataclass(slots=True, eq=False)
class _Walk:
    paths: list[Path] = field(default_factory=list)
    numbers: dict[int, list[int]] = field(default_factory=dict)

    def __call__(self, trees: Sequence[Tree], path: Path) -> Tree:
        """The structure of all."""
        first = trees[0]
        if isinstance(first, Branch):
            alike = (first.type, first.keys, first.about)
            if any(not isinstance(each, Branch) or (each.type, each.keys, each.about) != alike for each in trees):
                raise Unlike
            inner = zip(first.keys, *(each.parts for each in trees if isinstance(each, Branch)), strict=True)
            parts = tuple(self(some, (*path, segment(first.type, key))) for key, *some in inner)
            return Branch(first.type, first.keys, parts, first.about, first.rebuild)
        is_slot = isinstance(first, Slot)
        if any(each != first for each in trees):
            values: list[Any] = [each.value if isinstance(each, Constant) else None for each in trees]
            if any(type(each) is not int for each in values):
                raise Unlike
            self.numbers[len(self.paths)] = values
            is_slot = True
        if is_slot:
            self.paths.append(path)
        return SLOT if is_slot else first


__all__ = ["Counted", "Unlike"]
