"""How much of a run its status holds, so that the API server keeps it: some 1.5 MB are all that it takes. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cairn.api.step import Step
from cairn.runs.graph import outputs_of
from cairn.runs.instances import Items, RunSteps
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.results import MOST_BYTES

RESULTS_OF_STEPS = 256 * 1024
"""Bytes of the results of all steps as they are written; of all instances of steps as many again."""
MOST_ARTIFACTS = 2500
"""Of one run: the status has some 300 bytes of each."""
RESULTS_TOO_LARGE = "ResultsTooLarge"


def results_allowed(steps: RunSteps, name: str) -> int:
    """Return how many bytes the results of a step may have: its share, which no later step makes smaller."""
    written = steps.written(name)
    if written not in steps.instances:
        return min(MOST_BYTES, RESULTS_OF_STEPS // len(steps.graph.steps))
    repeated = sum(step.for_each is not None for step in steps.graph.steps.values())
    return min(MOST_BYTES, RESULTS_OF_STEPS // repeated // len(steps.instances[written]))


def artifacts_kept(steps: Iterable[Step], items: Mapping[str, Items]) -> int:
    """Return how many artifacts steps keep that have these items; of one whose items are not known, those of one instance."""
    return sum(len(outputs_of(step)) * (len(items[step.name]) if step.name in items else 1) for step in steps)


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
