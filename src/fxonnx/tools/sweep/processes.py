"""Processes of our own, any of which may end: a model can end the process that runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch

from fxonnx.tools.sweep.entry import Entry, check_sent
from fxonnx.tools.sweep.result import ENDED, FAILED, Result
from fxonnx.tools.sweep.worker import Work, versions

_AHEAD = 1  # entries that wait in the queue of a pool's processes


def in_processes(entries: Sequence[Entry], work: Work, count: int) -> Iterator[Result]:
    """The results as they come. When a process ends, all of its pool do: the entries that it may have had are tried
    again each in a process of its own, the others in a new pool. Raises InvalidOption."""
    for entry in entries:
        check_sent(entry)
    waiting = list(entries)
    while waiting:
        broken = list[Entry]()
        yield from _pool(waiting, work, min(count, len(waiting)), broken)
        suspects, waiting = broken[: count + _AHEAD], broken[count + _AHEAD :]
        for entry in suspects:
            alone = list[Entry]()
            yield from _pool([entry], work, 1, alone)
            if alone:
                yield _ended(entry)


def _pool(entries: Sequence[Entry], work: Work, count: int, broken: list[Entry]) -> Iterator[Result]:
    """The results that a pool of processes comes to; `broken` receives the entries that it did not."""
    threads = max(1, (os.cpu_count() or 1) // count)
    with ProcessPoolExecutor(count, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        futures = {pool.submit(work, entry): entry for entry in entries}
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenExecutor):
                continue
            yield result_of(future, futures[future])
    broken += [entry for future, entry in futures.items() if isinstance(future.exception(), BrokenExecutor)]


def result_of(future: Future[Result], entry: Entry) -> Result:
    """What a worker came to, or what the executor says went wrong with it."""
    error = future.exception()
    if error is None:
        return future.result()
    what = f"{type(error).__name__}: {error}"
    return Result(entry.name, entry.signature, FAILED, versions(), message=what)


def _ended(entry: Entry) -> Result:
    said = (
        "the process ended that compiled and ran it, as a kernel of the runtime or a lack of memory can do. A script "
        'that sweeps needs `if __name__ == "__main__":`, and factories of a notebook belong in a module'
    )
    return Result(entry.name, entry.signature, ENDED, versions(), message=said)
