"""What a TorchScript module keeps, watched as what Python keeps is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fxonnx.capture.scripted import is_same, script_attributes
from fxonnx.capture.state.snapshot import ContainerSnapshot


@dataclass(frozen=True, slots=True)
class ScriptSnapshot(ContainerSnapshot):
    """The attributes of a module of TorchScript, its `owner`."""

    @staticmethod
    def of(owner: Any, name: str) -> ContainerSnapshot:
        """What they are now."""
        return ScriptSnapshot(owner, script_attributes(owner), name)

    def now(self) -> dict[str, Any]:
        """The attributes; the object of before where it holds the same."""
        found = script_attributes(self.owner)
        return {name: _settled(self.before.get(name), value) for name, value in found.items()}

    def put_back(self, key: str) -> None:
        """One attribute, as it was."""
        self.owner._c.setattr(key, self.before[key])

    def restore(self) -> None:
        """Put those back that are others."""
        for key in self.changed_keys():
            self.put_back(key)


def _settled(before: Any, now: Any) -> Any:
    return before if is_same(before, now) else now
