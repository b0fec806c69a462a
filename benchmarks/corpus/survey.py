"""Tries many entries, each in a process of its own, and counts what came of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from benchmarks.corpus import entries
from benchmarks.corpus.judge import CRASHED, RIGHT, Verdict
from benchmarks.processes import ROOT, last_line, surroundings


def chosen(words: Sequence[str]) -> list[str]:
    """The names of the entries in whose name one of the words is found; of all for none."""
    return [entry.name for entry in entries() if not words or any(word in entry.name for word in words)]


def survey(names: Iterable[str], *, processes: int, timeout: float) -> Iterator[Verdict]:
    """A verdict for each entry, in their order."""
    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(lambda name: _tried(name, timeout), names)


def _tried(name: str, timeout: float) -> Verdict:
    command = [sys.executable, "-m", "benchmarks.corpus.judge", name]
    try:
        done = subprocess.run(command, cwd=ROOT, env=surroundings(1), capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(name, CRASHED, f"not done after {timeout:g} s")
    if done.returncode:
        return Verdict(name, CRASHED, f"process ended with code {done.returncode}: {last_line(done.stderr)}")
    return Verdict(**json.loads(last_line(done.stdout)))


def show(console: Console, verdicts: Sequence[Verdict]) -> None:
    """What is not right, and the rates by package."""
    for verdict in verdicts:
        if verdict.word != RIGHT:
            console.print(f"{verdict.word}  {verdict.name}: {verdict.detail}", markup=False, highlight=False)
    words = [*dict.fromkeys(verdict.word for verdict in verdicts)]
    table = Table("package", *words, "seconds")
    packages = dict.fromkeys(verdict.name.partition("/")[0] for verdict in verdicts)
    for package in packages:
        table.add_row(package, *_row([each for each in verdicts if each.name.startswith(f"{package}/")], words))
    table.add_section()
    table.add_row("all", *_row(verdicts, words))
    console.print(table)
    right = sum(verdict.word == RIGHT for verdict in verdicts)
    console.print(f"{right} of {len(verdicts)} are right: {right / max(len(verdicts), 1):.1%}")


def _row(verdicts: Sequence[Verdict], words: Sequence[str]) -> list[str]:
    counts = Counter(verdict.word for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts) / max(len(verdicts), 1)
    return [*(str(counts[word]) for word in words), f"{seconds:.2f}"]
