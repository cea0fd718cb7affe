"""What of a run is submitted to Kubeflow Pipelines: all of it, at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cairn.runs.scheduling import Candidates, Launch


class WholeRun:
    """All steps that have not ended, as soon as the first one may start."""

    starts_beside_others: ClassVar[bool] = False

    def launches(self, candidates: Candidates) -> Sequence[Launch]:
        """Return one launch of everything, beginning with a step that may start; none where none may."""
        first = next(candidates.decided_upon(), None) or next(
            (name for name in candidates.due() if candidates.is_ready(name)), None
        )
        if first is None:
            return []
        others = [
            name
            for name in candidates.steps.order
            if name != first
            and name in candidates.states
            and name in candidates.steps.by_name
            and candidates.states[name].state in {"Pending", "Queued"}
        ]
        return [Launch(tuple((name, candidates.number(name)) for name in (first, *others)))]
