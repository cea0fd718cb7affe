"""Whether the operator is at work on a component, or comes no further with it (docs/decisions/0012). Pure."""

from __future__ import annotations

from cairn.api.conditions import INVALID_SPEC, RECONCILING, STALLED, Progress
from cairn.components.base import Verdict
from cairn.components.releases.verdicts import DOES

UNKNOWN_FLAVOR = "UnknownFlavor"
INVALID_NAME = "InvalidName"
STORE_NOT_SUITABLE = "ArtifactStoreNotSuitable"
HOPELESS = frozenset({INVALID_SPEC, UNKNOWN_FLAVOR, INVALID_NAME, STORE_NOT_SUITABLE})
"""Reasons that only another spec, or another operator, can mend. For all others a later check may find it mended."""


def progress_of(verdict: Verdict) -> Progress | None:
    """Return whether Helm is at work, or no later check can find the component usable."""
    if verdict.reason in DOES:
        return RECONCILING
    return STALLED if verdict.reason in HOPELESS else None
