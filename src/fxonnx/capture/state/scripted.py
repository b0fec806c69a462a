"""What a TorchScript module keeps, watched as what Python keeps is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fxonnx.capture.scripted import is_same, script_attributes
from fxonnx.capture.state.snapshot import NamedSnapshot


@dataclass(frozen=True, slots=True)
class ScriptSnapshot(NamedSnapshot):
    """The attributes of a module of TorchScript, its `owner`."""

    read = staticmethod(script_attributes)

    def now(self) -> dict[str, Any]:
        """The attributes; the object of before where it holds the same."""
        return {name: _settled(self.before.get(name), value) for name, value in self.read(self.owner).items()}

    def put_back(self, key: str) -> None:
        """One attribute, as it was."""
        self.owner._c.setattr(key, self.before[key])


def _settled(before: Any, now: Any) -> Any:
    return before if is_same(before, now) else now
