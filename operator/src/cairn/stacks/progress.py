"""Whether a Stack is being found out about, or cannot be used as it is written (docs/decisions/0012). Pure."""

from __future__ import annotations

from cairn.api.conditions import INVALID_SPEC, RECONCILING, STALLED, Progress
from cairn.stacks.resolution import COMPONENTS_NOT_CHECKED, WRONG_TYPE, Resolution


def progress_of(resolution: Resolution) -> Progress | None:
    """Return whether components are being checked, or only another spec can make the Stack Ready.

    A component that is not ready, not there, or does not fit the others may be another in a moment: the Stack follows it.
    """
    if resolution.reason == COMPONENTS_NOT_CHECKED:
        return RECONCILING
    misnamed = any(component.reason == WRONG_TYPE for component in resolution.components)
    return STALLED if misnamed or resolution.reason == INVALID_SPEC else None
