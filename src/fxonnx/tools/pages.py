"""The pages of errors: their docstrings, as text."""

from __future__ import annotations

import inspect

from fxonnx.errors import BY_CODE


def error_index() -> str:
    """One line for each error: code, name, what it means."""
    width = max(len(each.__name__) for each in BY_CODE.values())
    said = {code: summary(inspect.cleandoc(each.__doc__ or "")) for code, each in BY_CODE.items()}
    return "\n".join(f"{code}  {each.__name__:{width}}  {said[code]}" for code, each in BY_CODE.items())


def error_page(code: str) -> str | None:
    """The page of an error; None for a code that no error has."""
    found = BY_CODE.get(code.upper())
    return None if found is None else f"{found.code}  {found.__name__}\n\n{inspect.cleandoc(found.__doc__ or '')}"


def summary(text: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(text.partition("\n\n")[0].split())
