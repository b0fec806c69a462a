"""Blocks that raise an error of another kind for what goes wrong in them: whose doing it is, and where."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, ClassVar

from fxonnx.errors import Error, InternalError


class Turning(AbstractContextManager[Any]):
    """`with OfSomeKind(…): …` raises what `turned` makes of what the block raises, and that as its cause.

    KeyboardInterrupt and the like pass, and so does what `passing` names.
    """

    passing: ClassVar[tuple[type[Exception], ...]] = (Error, InternalError)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, self.passing):
            return
        other = self.turned(error)
        if other is not None:
            raise other from other.__cause__ or error

    @abstractmethod
    def turned(self, error: Exception) -> Exception | None:
        """What is raised for it, which may name another cause; None where it passes."""
