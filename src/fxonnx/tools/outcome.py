"""How a command ends: what it prints about an error, and its exit code."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

from fxonnx import errors

DONE, FAILED, USAGE, INTERNAL = range(4)


class Usage(Exception):
    """A command line that parses and still asks for something that is not there; the text says what there is."""


class Outcome:
    """`with Outcome() as outcome: …` prints what went wrong to stderr and keeps the exit code in `outcome.code`.

    0 done, 1 an error in the model or its surroundings, 2 usage, 3 a fault of fxonnx. Interrupts and exits pass.
    """

    def __init__(self) -> None:
        self.code = DONE

    def __enter__(self) -> Outcome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        match error:
            case Usage():
                self.code = self.report(USAGE, f"fxonnx: {error}")
            case errors.Error():
                self.code = self.report(FAILED, str(error).lstrip("\n"))
            case errors.InternalError():
                self.code = self.report(INTERNAL, str(error))
            case BrokenPipeError():  # who reads has seen enough: `fxonnx explain aten.gelu | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            case Exception():
                where = "".join(traceback.format_exception(error))
                what = f"fxonnx stopped with {type(error).__name__}: {error}"
                self.code = self.report(INTERNAL, str(errors.InternalError(what, text=where)))
            case _:
                return False
        return True

    def report(self, code: int, text: str) -> int:
        """Print and return the code."""
        print(text, file=sys.stderr)
        return code
