"""Reading a text line by line, left to right, with errors that point at the place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
_DECODER = json.JSONDecoder()


class ParseError(ValueError):
    """The text is no graph; the message shows the line and the column."""


class Scanner:
    """A position in the text. Lines are visited in order; blank ones are skipped."""

    __slots__ = ("column", "line", "lines", "number")

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.number = -1
        self.line = ""
        self.column = 0
        self.next_line()

    def next_line(self) -> None:
        """Go to the first character of the next line that has one; past the last line, stand on an empty one."""
        self.number += 1
        while self.number < len(self.lines) and not self.lines[self.number].strip():
            self.number += 1
        self.line = self.lines[self.number].rstrip(" \r") if self.number < len(self.lines) else ""
        self.column = len(self.line) - len(self.line.lstrip(" "))

    @property
    def at_end(self) -> bool:
        """Whether the line has no more characters."""
        return self.column >= len(self.line)

    def peek(self, word: str) -> bool:
        """Whether `word` stands here."""
        return self.line.startswith(word, self.column)

    def take(self, word: str) -> bool:
        """Step over `word`; False, and nothing consumed, where it does not stand here."""
        found = self.peek(word)
        self.column += len(word) if found else 0
        return found

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over what the pattern matches here."""
        found = pattern.match(self.line, self.column)
        if found:
            self.column = found.end()
        return found

    def expect(self, wanted: str | re.Pattern[str], what: str = "") -> re.Match[str]:
        """Step over a word or a pattern that must stand here. Raises ParseError."""
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted
        found = self.match(pattern)
        if found is None:
            raise self.error(f"expected {what or repr(wanted)}")
        return found

    def string(self) -> str:
        """Step over a quoted string and return what it says."""
        if not self.peek('"'):
            raise self.error("expected a string in double quotes")
        with self.expecting("the string is not closed, or escaped wrongly"):
            text, self.column = _DECODER.raw_decode(self.line, self.column)
        return str(text)

    def items(self, end: str, read: Callable[[], Item]) -> list[Item]:
        """What `read` reads, again and again between commas, up to `end`, which is consumed."""
        found: list[Item] = []
        while not self.take(end):
            if found:
                self.expect(", ", f"', ' or {end!r}")
            found.append(read())
        return found

    def rest_of_line(self) -> str:
        """Step over the rest of the line and return it."""
        text, self.column = self.line[self.column :], len(self.line)
        return text

    def error(self, message: str) -> ParseError:
        """The failure to raise for what stands here."""
        return ParseError(f"line {min(self.number + 1, len(self.lines))}: {message}\n{self.line}\n{' ' * self.column}^")

    @contextmanager
    def expecting(self, message: str) -> Iterator[None]:
        """Report a ValueError raised inside, whoever raises it, as `message` at this place."""
        try:
            yield
        except (ValueError, TypeError) as error:
            raise self.error(message) from error
