"""Markdown files whose code runs: every ```python block in order, in one namespace; a ```text block is what one prints.

`python -m tests.documents` runs them all and writes what they print into their ```text blocks.
"""

import contextlib
import io
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "tour.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where in the file the text is."""

    language: str
    text: str
    start: int
    end: int


def blocks(text):
    """The fenced blocks of a document that name a language."""
    return [Block(found[1], found[2], found.start(2), found.end(2)) for found in BLOCK.finditer(text)]


def run(path, directory):
    """Run a document in a directory; pairs of (```text block, what was printed in its place)."""
    text = path.read_text(encoding="utf-8")
    copy = Path(directory) / path.name  # so that places read `tour.md:20` and torch finds the lines
    copy.write_text(text, encoding="utf-8")
    namespace, printed, pairs = {"__name__": path.stem}, "", []
    torch.manual_seed(0)
    with contextlib.chdir(directory):
        for block in blocks(text):
            if block.language == "text":
                pairs.append((block, printed))
            if block.language == "python":
                printed = execute(block, text, copy, namespace)
    return pairs


def execute(block, text, path, namespace):
    """Run one block at its own line numbers; what it prints, without spaces at the ends of lines."""
    lines_before = text.count("\n", 0, block.start)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile("\n" * lines_before + block.text, str(path), "exec"), namespace)
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().strip("\n").splitlines())


def update(path):
    """Write what a document prints into it."""
    with tempfile.TemporaryDirectory() as directory:
        pairs = run(path, directory)
    text = path.read_text(encoding="utf-8")
    for block, printed in reversed(pairs):
        text = text[: block.start] + printed + text[block.end :]
    path.write_text(text, encoding="utf-8")


def main(arguments):
    """Update all documents, in a new process each time: the first moves lines, the second prints where they are now."""
    if arguments != ["--once"]:
        for _ in range(2):
            subprocess.run([sys.executable, "-m", "tests.documents", "--once"], cwd=ROOT, check=True)
        return
    torch.set_num_threads(1)
    for document in DOCUMENTS:
        update(document)


if __name__ == "__main__":
    main(sys.argv[1:])
