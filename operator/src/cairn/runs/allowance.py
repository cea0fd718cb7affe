"""How much of a run its status holds, so that the API server keeps it: some 1.5 MB are all that it takes. Pure."""

from __future__ import annotations

from dataclasses import replace

from cairn.runs.observation import AttemptObservation, Fault, Phase

RESULTS_OF_A_RUN = 512 * 1024
LONGEST_RESULTS = 4096
"""Of one step: as much as a termination message."""
MOST_ARTIFACTS = 2500
"""Of one run: the status has some 300 bytes of each."""
RESULTS_TOO_LARGE = "ResultsTooLarge"


def results_allowed(steps: int) -> int:
    """Return how many characters the results of a step may have, in a run of so many steps."""
    return min(LONGEST_RESULTS, RESULTS_OF_A_RUN // max(1, steps))


def within_allowance(attempt: AttemptObservation, steps: int) -> AttemptObservation:
    """Return the attempt as it counts: failed, if its results are more than the status of so many steps can hold."""
    length = sum(len(name) + len(value) for name, value in attempt.results.items())
    if attempt.phase is not Phase.SUCCEEDED or length <= results_allowed(steps):
        return attempt
    message = (
        f"Its results have {length} characters; each of the run's {steps} steps may have {results_allowed(steps)}. "
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
