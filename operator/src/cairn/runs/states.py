"""What the states of a step mean for others."""

from __future__ import annotations

from cairn.api.pipelinerun_status import StepStatus

SUCCEEDED = frozenset({"Succeeded", "Cached"})
"""The step's outputs are there."""
ENDED = SUCCEEDED | {"Failed", "Skipped", "Cancelled"}
ACTIVE = frozenset({"Queued", "Running"})
NOT_SUCCEEDED = ENDED - SUCCEEDED

WHEN_FALSE = "WhenFalse"
DEPENDENCY_SKIPPED = "DependencySkipped"
SKIPPED_ON_PURPOSE = frozenset({WHEN_FALSE, DEPENDENCY_SKIPPED})
"""Reasons of a step that was skipped though nothing went wrong: those that only come after it go on."""
TAKEN_OVER = "TakenOver"
"""Reason of a step that has succeeded in an earlier run."""


def lets_pass(needed: StepStatus, *, used: bool) -> bool:
    """Return whether a step may start as far as one is concerned that it needs; `used` where it uses its outputs."""
    if needed.state == "Skipped":
        return needed.reason in SKIPPED_ON_PURPOSE and not used
    return needed.state in SUCCEEDED
