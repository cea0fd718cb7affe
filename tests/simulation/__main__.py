"""See `tests.simulation.simulate`."""

from __future__ import annotations

import logging
import sys
import time

from tests.simulation.invariants import Violation
from tests.simulation.simulate import simulate

PROGRESS_EVERY = 1000


def main(first: int, stop: int | None = None) -> int:
    """Simulate one seed with its story, or many; return how many violate an invariant."""
    if stop is None:
        simulate(first, print)
        return 0
    logging.getLogger("cairn").setLevel(logging.ERROR)
    violations, begun = 0, time.monotonic()
    for seed in range(first, stop):
        try:
            simulate(seed)
        except Violation as violation:
            violations += 1
            print(f"seed {seed}: {violation}", flush=True)
        if (seed + 1) % PROGRESS_EVERY == 0:
            rate = (seed + 1 - first) / (time.monotonic() - begun)
            print(f"{seed + 1 - first} seeds, {violations} violations, {rate:.0f} seeds/s", flush=True)
    return violations


if __name__ == "__main__":
    sys.exit(min(1, main(*map(int, sys.argv[1:]))))
