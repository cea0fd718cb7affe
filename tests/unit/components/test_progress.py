from __future__ import annotations

import pytest

from cairn.components.base import Verdict
from cairn.components.progress import progress_of
from cairn.components.releases.verdicts import DOES


@pytest.mark.parametrize("doing", DOES)
def test_while_helm_is_at_work_so_is_the_operator(doing: str):
    assert progress_of(Verdict.unknown(doing, "Helm does it.")) == "Reconciling"


@pytest.mark.parametrize("reason", ["InvalidSpec", "UnknownFlavor", "InvalidName", "ArtifactStoreNotSuitable"])
def test_what_no_later_check_finds_mended_is_stalled(reason: str):
    assert progress_of(Verdict.failed(reason, "Write it otherwise.")) == "Stalled"


@pytest.mark.parametrize("reason", ["EndpointUnreachable", "SecretNotFound", "BucketNotFound", "HelmInstallFailed"])
def test_what_a_later_check_may_find_mended_is_neither(reason: str):
    assert progress_of(Verdict.failed(reason, "Mend it.")) is None


@pytest.mark.parametrize("verdict", [Verdict.usable("It works."), Verdict.unknown("CheckFailed", "It is tried again.")])
def test_a_component_that_is_ready_or_of_which_nothing_is_known_is_neither(verdict: Verdict):
    assert progress_of(verdict) is None
