from __future__ import annotations

import pytest

from cairn.api.stack import ComponentStatus
from cairn.stacks.progress import progress_of
from cairn.stacks.resolution import Resolution


def component(reason: str) -> ComponentStatus:
    return ComponentStatus(type="artifactStore", name="bucket", ready=False, reason=reason, message="No.")


@pytest.mark.parametrize(
    ("reason", "progress"),
    [
        ("ComponentsNotChecked", "Reconciling"),
        ("ComponentsIncompatible", None),
        ("InvalidSpec", "Stalled"),
        ("ComponentsReady", None),
        ("ComponentsNotReady", None),
        ("LauncherNotConfigured", None),
    ],
)
def test_what_is_told_of_a_stack_s_progress(reason: str, progress: str | None):
    assert progress_of(Resolution((), None, reason, "So it stands.")) == progress


@pytest.mark.parametrize(("reason", "progress"), [("WrongType", "Stalled"), ("NotFound", None), ("InvalidSpec", None)])
def test_only_a_component_that_can_never_be_what_is_named_stalls_the_stack(reason: str, progress: str | None):
    assert progress_of(Resolution((component(reason),), None, "ComponentsNotReady", "No.")) == progress
