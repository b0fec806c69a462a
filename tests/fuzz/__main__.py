"""`python -m tests.fuzz SECONDS SEED`: random programs for as long as wanted, from a seed on; `make fuzz` calls it."""

import sys
import time
from collections.abc import Iterator
from itertools import count

from tests.fuzz.hunt import Tally, hunt
from tests.fuzz.worker import Worker


def seeds(first: int, end: float) -> Iterator[int]:
    """Seeds until a time of `time.monotonic`."""
    for seed in count(first):
        if time.monotonic() > end:
            return
        yield seed


def main(seconds: float = 60, seed: int = 0) -> int:
    """Print failures as they are found, in their smallest form, then the tally; 1 where there are any."""
    worker, tally, failures = Worker(), Tally(), 0
    end = time.monotonic() + seconds
    for failure in hunt(seeds(seed, end), worker, tally, end):
        failures += 1
        print(failure, flush=True)
    worker.close()
    print(tally)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
