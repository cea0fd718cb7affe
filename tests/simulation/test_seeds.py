"""Simulates a few thousand seeds; `python -m tests.simulation FIRST STOP` simulates as many as one likes."""

from __future__ import annotations

import pytest

from tests.simulation.invariants import Violation
from tests.simulation.simulate import simulate

SEEDS = 2000
SEEDS_PER_TEST = 50
KEPT = (2, 3, 95, 115, 274, 318, 912, 2870, 3559, 13700, 20108, 24281, 51905, 52487, 56377)
"""Seeds that once violated an invariant."""


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_the_invariants_hold_whatever_goes_wrong(first: int):
    for seed in range(first, first + SEEDS_PER_TEST):
        _simulate(seed)


@pytest.mark.parametrize("seed", KEPT)
def test_what_once_went_wrong_does_so_no_more(seed: int):
    _simulate(seed)


def _simulate(seed: int) -> None:
    try:
        simulate(seed)
    except Violation as violation:
        pytest.fail(
            f"seed {seed}: {violation}\n"
            f"See what happens: python -m tests.simulation {seed}\n"
            f"Once it is mended, keep it: add {seed} to KEPT in tests/simulation/test_seeds.py",
            pytrace=False,
        )
