"""What a container holds, to tell whether it holds something else later, and to put it back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeAlias

Container: TypeAlias = "dict[Any, Any] | list[Any] | set[Any] | deque[Any]"
CONTAINERS = (dict, list, set, deque)


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    """A container, the objects that were in it, and a name for it."""

    owner: Container
    before: Any  # a dict, or a list
    name: str

    @staticmethod
    def of(owner: Container, name: str) -> ContainerSnapshot:
        """What it holds now."""
        return ContainerSnapshot(owner, dict(owner) if isinstance(owner, dict) else list(owner), name)

    def has_changed(self) -> bool:
        """Whether it holds other objects, or in another order."""
        owner, before = self.owner, self.before
        if len(owner) != len(before) or not all(map(is_, owner, before)):
            return True
        return isinstance(owner, dict) and not all(map(is_, owner.values(), before.values()))

    def changed_keys(self) -> Iterator[Any]:
        """The keys of a dict that are new, gone, or of another object."""
        assert isinstance(self.owner, dict)
        for key in self.owner.keys() | self.before.keys():
            if self.owner.get(key, self) is not self.before.get(key, self):
                yield key

    def restore(self) -> None:
        """Put it back; what is as it was is not touched."""
        if self.has_changed():
            owner = self.owner
            owner.clear()
            owner.update(self.before) if isinstance(owner, (dict, set)) else owner.extend(self.before)


__all__ = ["CONTAINERS", "Container", "ContainerSnapshot"]
