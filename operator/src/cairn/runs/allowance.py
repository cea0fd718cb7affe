"""How much of a run its status holds, so that the API server keeps it: some 1.5 MB are all that it takes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from cairn.runs.instances import RunSteps, written_name
from cairn.runs.observation import AttemptObservation, Fault, Phase

RESULTS_OF_STEPS = 256 * 1024
"""Bytes of the results of all steps as they are written; of all instances of steps as many again."""
LONGEST_RESULTS = 4096
"""Bytes of the results of one step: as much as a termination message."""
MOST_ARTIFACTS = 2500
"""Of one run: the status has some 300 bytes of each."""
RESULTS_TOO_LARGE = "ResultsTooLarge"


def results_allowed(steps: RunSteps, name: str) -> int:
    """Return how many bytes the results of a step may have: its share, which no later step makes smaller."""
    step = steps.by_name.get(name)
    written = written_name(step) if step is not None else name
    if written not in steps.instances:
        return min(LONGEST_RESULTS, RESULTS_OF_STEPS // len(steps.graph.steps))
    repeated = sum(step.for_each is not None for step in steps.graph.steps.values())
    return min(LONGEST_RESULTS, RESULTS_OF_STEPS // repeated // len(steps.instances[written]))


def size_of(results: Mapping[str, str]) -> int:
    """Return how many bytes the status has of results."""
    return sum(len(json.dumps(text, ensure_ascii=False).encode()) for pair in results.items() for text in pair)


def within_allowance(attempt: AttemptObservation, allowed: int) -> AttemptObservation:
    """Return the attempt as it counts: failed, if its results are more than that."""
    if attempt.phase is not Phase.SUCCEEDED or not attempt.results:
        return attempt
    size = size_of(attempt.results)
    if size <= allowed:
        return attempt
    message = (
        f"Its results have {size} bytes; in a run of so many steps they may have {allowed}. "
        "Keep what is larger as an artifact."
    )
    return replace(
        attempt,
        phase=Phase.FAILED,
        fault=Fault.STEP,
        reason=RESULTS_TOO_LARGE,
        message=message,
        results={},
        artifacts={},
    )
