"""Torch's database of operators, all of it: `python -m tests.conformance results.json [pattern]`.

Cases whose name the pattern matches run in workers, each a process of its own: one that dies takes its case with it
and no other. What was right, or has been looked at since the results were written, is not run again: delete the file,
or lines of it, to have them run. Prints the shares, what is not right, and rows of the table of gaps that are needless.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.gaps import GAPS
from tests.conformance.outcomes import outcomes
from tests.conformance.samples import Case, cases

SECONDS = 120  # for a case
CONFIGURATION = re.compile(r"\w+-(function|method|in-place)-\w+-\w+$")  # of a case, behind its operator


def main() -> None:
    """Run what the command line asks for, or, as a worker, the cases named on standard input."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--count", type=int, default=3, help="samples of a case")
    parser.add_argument("--seed", type=int, default=0, help="of the samples, and which are chosen")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="run again what was not right")
    options = parser.parse_args()
    if options.results is None:
        serve({str(case): case for case in cases(options.count)}, options.seed)
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = read(options.results)
    wanted = [str(case) for case in cases(options.count) if re.search(options.pattern, str(case))]
    left = [name for name in wanted if name not in known or (options.again and not is_right(known[name]))]
    command = [sys.executable, "-m", "tests.conformance", f"--count={options.count}", f"--seed={options.seed}"]
    run(iter(left), command, options.workers, options.results)
    print(summary({name: found for name, found in read(options.results).items() if name in set(wanted)}))


def serve(every: dict[str, Case], seed: int) -> None:
    """A worker: for each name read, a line of outcomes."""
    for line in sys.stdin:
        print(json.dumps(outcomes(every[line.strip()], seed)), flush=True)


def run(names: Iterator[str], command: list[str], workers: int, results: Path) -> None:
    """Hand the cases to workers, and append each's outcomes to the results, a line of JSON a case."""
    lock = threading.Lock()

    def work() -> None:
        worker: subprocess.Popen[str] | None = None
        while (name := take()) is not None:
            worker = worker if worker is not None and worker.poll() is None else start(command)
            found = ask(worker, name)
            with lock, results.open("a", encoding="utf-8") as file:
                file.write(json.dumps({name: found}) + "\n")
        if worker is not None:
            worker.kill()

    def take() -> str | None:
        with lock:
            return next(names, None)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def start(command: list[str]) -> subprocess.Popen[str]:
    """A worker; warnings of torch are not read."""
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def ask(worker: subprocess.Popen[str], name: str) -> list[list[str]]:
    """The outcomes of a case; one crash where the worker dies of it, or takes too long."""
    assert worker.stdin is not None and worker.stdout is not None
    alarm = threading.Timer(SECONDS, worker.kill)
    alarm.start()
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    alarm.cancel()
    if line:
        return json.loads(line)  # type: ignore[no-any-return]
    return [["crash", f"exit code {worker.wait()}"]]


def read(results: Path) -> dict[str, list[list[str]]]:
    """The outcomes by case; the last line of a case counts."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {name: found for line in lines for name, found in json.loads(line).items()}


def is_right(found: list[list[str]]) -> bool:
    """Whether all samples of a case are."""
    return all(kind == "right" for kind, _ in found)


def summary(known: dict[str, list[list[str]]]) -> str:
    """Shares by dtype, form, dims and opset, then each operator that is not right in all, with its first message."""
    shares: dict[str, Counter[str]] = {}
    for name, found in known.items():
        configuration = CONFIGURATION.search(name).group()  # type: ignore[union-attr]
        shares.setdefault(configuration, Counter()).update(kind for kind, _ in found)
    lines = [f"{place:40} {_shares(count)}" for place, count in sorted(shares.items())]
    for name, found in sorted(known.items()):
        lines += [f"{kind:8} {name}: {text}" for kind, text in sorted({(kind, text) for kind, text in found}) if text]
    return "\n".join([*lines, *(f"stale    {row}: compiles in all of its cases" for row in stale(known))])


def stale(known: dict[str, list[list[str]]]) -> list[str]:
    """Rows of the table of gaps, as operator and dtype, whose cases all came out right."""
    met, refused = set(), set()
    for name, found in known.items():
        configuration = CONFIGURATION.search(name).group()  # type: ignore[union-attr]
        operator, dtype = name.removesuffix(f"-{configuration}"), configuration.partition("-")[0]
        rows = {(operator, gap.dtype or "") for gap in GAPS if operator in gap.operators and gap.dtype in (None, dtype)}
        met |= rows
        if not is_right(found):
            refused |= rows
    return [" ".join(filter(None, row)) for row in sorted(met - refused)]


def _shares(count: Counter[str]) -> str:
    total = sum(count.values())
    return f"{total:6} samples " + " ".join(f"{kind} {100 * n / total:.2f}%" for kind, n in count.most_common())


if __name__ == "__main__":
    main()
