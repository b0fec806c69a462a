"""`python -m tests.fuzz SECONDS SEED`: random programs for as long as wanted, from a seed on; `make fuzz` calls it."""

import sys
import time
from collections.abc import Iterator
from itertools import count

from tests.fuzz.hunt import hunt
from tests.fuzz.worker import Worker


def seeds(first: int, seconds: float) -> Iterator[int]:
    """Seeds until the time is over."""
    end = time.monotonic() + seconds
    for seed in count(first):
        if time.monotonic() > end:
            return
        yield seed


def main(seconds: float = 60, seed: int = 0) -> int:
    """Print the failures, smallest form, and the tally; 1 where there are failures."""
    worker = Worker()
    tally = hunt(seeds(seed, seconds), worker)
    worker.close()
    print(*tally.failures, tally, sep="\n")
    return bool(tally.failures)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
