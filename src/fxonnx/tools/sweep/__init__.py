"""Many models, or many settings of one: compiled, compared and timed by as many workers as there are.

entries ──▶ those without a result yet ──▶ executor: Work(entry) in workers ──▶ results, a line each as they come
                                                └── cache: files by content, shared by all workers
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import Any

from fxonnx.errors.arguments import names_options
from fxonnx.tools.sweep.cache import Cache
from fxonnx.tools.sweep.entry import Entry, entries_of
from fxonnx.tools.sweep.processes import in_processes, result_of
from fxonnx.tools.sweep.result import FAILED, Result, Results, append, read
from fxonnx.tools.sweep.worker import Work, versions

__all__ = ["Result", "Results", "sweep"]

Progress = Callable[[Result], None]


@names_options
def sweep(
    entries: Mapping[str, Any],
    *,
    executor: Executor | None = None,
    processes: int = 1,
    results: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    verify: bool = True,
    seconds: float = 0.5,
    progress: Progress | None = None,
) -> Results:
    """Compile, compare with PyTorch and time many models, or one with many settings.

        fxonnx.sweep({"small": "models:small", "small at 17": ("models:small", {"opset": 17})}, results="sweep.jsonl")

    Args:
        entries: `{name: factory}` or `{name: (factory, options)}`: `package.module:factory`, or the function itself,
            which returns `model`, `(model, args)` or `(model, args, kwargs)`; the options are those of `compile`.
        executor: a concurrent.futures.Executor, Dask's `client.get_executor()` for instance; by default processes of
            this machine. One of theirs that ends, with a model that ends it, ends nothing else.
        processes: how many there are, where no executor is given. They share the processor while they time.
        results: a file of JSON, a line for each result, as it comes. Entries that have a line there that was asked for
            in the same words, with the same versions, are not compiled again; those that failed are.
        cache: a directory of compiled files, known by graph, weights, target, options and versions: what is there is
            neither optimized, compared nor timed again. Several sweeps may write to it at once.
        verify: whether each is compared with its model, on fresh inputs.
        seconds: for how long calls of each are timed, beside the model's own; 0 for not at all.
        progress: is called with every result.

    Raises InvalidOption, CannotWrite. What goes wrong with an entry is told in its result.
    """
    asked = entries_of(entries)
    known = _known(asked, results)
    work = Work(None if cache is None else Cache(cache), verify, seconds)
    todo = [entry for entry in asked if entry.name not in known]
    for result in in_processes(todo, work, processes) if executor is None else _through(executor, todo, work):
        known[result.name] = result
        if results is not None:
            append(Path(results), result)
        if progress is not None:
            progress(result)
    return Results(known[entry.name] for entry in asked)


def _known(asked: Sequence[Entry], results: Any) -> dict[str, Result]:
    """The earlier results that still count."""
    earlier = {} if results is None else read(Path(results))
    pairs = ((entry, earlier.get(entry.name)) for entry in asked)
    return {
        entry.name: result
        for entry, result in pairs
        if result and (result.asked, result.versions) == (entry.signature, versions()) and result.outcome != FAILED
    }


def _through(executor: Executor, entries: Sequence[Entry], work: Work) -> Iterator[Result]:
    """The results as they come."""
    futures: dict[Future[Result], Entry] = {executor.submit(work, entry): entry for entry in entries}
    for future in as_completed(futures):
        yield result_of(future, futures[future])
