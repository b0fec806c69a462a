"""A flag of the whole process, as torch has them, that is set for one thread only: others run models meanwhile."""

from __future__ import annotations

from threading import get_ident
from typing import Any


class ThreadFlag:
    """True or false in the thread that made it; in all others what the flag was before, `elsewhere`."""

    def __init__(self, here: bool, elsewhere: Any) -> None:
        self._here, self._elsewhere, self._thread = here, elsewhere, get_ident()

    def __bool__(self) -> bool:
        return self._here if get_ident() == self._thread else bool(self._elsewhere)
