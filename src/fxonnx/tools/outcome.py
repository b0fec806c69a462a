"""How a command ends: what it prints, what it prints about an error, and its exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fxonnx import errors

DONE, FAILED, USAGE, INTERNAL = range(4)


class Usage(Exception):
    """A command line that parses and still asks for something that is not there; the text says what there is."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command found: as text, as data for `--json`, and the error that it is, if it is one. `always` is printed
    where nothing else is."""

    text: str
    data: Mapping[str, Any]
    error: errors.Error | None = None
    always: str = ""


class Outcome:
    """`with Outcome() as outcome: outcome.print(result)` prints what went wrong to stderr and keeps the exit code in
    `outcome.code`.

    0 done, 1 an error in the model or its surroundings, 2 usage, 3 a fault of fxonnx. Interrupts and exits pass.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.code = DONE
        self._as_json, self._quiet = as_json, quiet
        self._is_told = False

    def __enter__(self) -> Outcome:
        return self

    def print(self, result: Result) -> None:
        """Print what a command found, and raise the error that it is."""
        self._is_told = True
        text = json.dumps(result.data, indent=2) if self._as_json else result.always if self._quiet else result.text
        if text:
            print(text, flush=True)
        if result.error is not None:
            raise result.error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        match error:
            case None:
                return False
            case Usage():
                self.report(USAGE, f"fxonnx: {error}", what=str(error))
            case errors.Error() | errors.InternalError():
                code = FAILED if isinstance(error, errors.Error) else INTERNAL
                self.report(code, str(error).lstrip("\n"), error=error.code, what=str(error.args[0]))
            case BrokenPipeError():  # who reads has seen enough: `fxonnx explain aten.gelu | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            case Exception():
                where = "".join(traceback.format_exception(error))
                what = f"fxonnx stopped with {type(error).__name__}: {error}"
                self.report(INTERNAL, str(errors.InternalError(what, text=where)), what=what)
            case _:
                return False
        return True

    def report(self, code: int, text: str, **said: str) -> None:
        """Print an error, for `--json` as data too where nothing has been printed yet, and keep the code."""
        self.code = code
        print(text, file=sys.stderr)
        if self._as_json and not self._is_told:
            print(json.dumps({"ok": False, "exit_code": code, **said, "message": text}, indent=2), flush=True)
