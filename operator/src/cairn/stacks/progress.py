"""Whether a Stack is being found out about, or cannot be used as it is written (docs/decisions/0012). Pure."""

from __future__ import annotations

from cairn.api.conditions import INVALID_SPEC, RECONCILING, STALLED, Progress
from cairn.stacks.resolution import COMPONENTS_INCOMPATIBLE, COMPONENTS_NOT_CHECKED, WRONG_TYPE, Resolution


def progress_of(resolution: Resolution) -> Progress | None:
    """Return whether components are being checked, or only another spec can make the Stack Ready.

    A component that is not ready, or not there, is no fault of the Stack, which follows it.
    """
    if resolution.reason == COMPONENTS_NOT_CHECKED:
        return RECONCILING
    misnamed = any(component.reason == WRONG_TYPE for component in resolution.components)
    return STALLED if misnamed or resolution.reason in {INVALID_SPEC, COMPONENTS_INCOMPATIBLE} else None
