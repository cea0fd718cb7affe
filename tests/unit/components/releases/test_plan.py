"""What is done about a release follows from what Helm keeps of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.clients.helm import ReleaseStatus, Revision
from cairn.components.releases.naming import STATE_LABEL, labels_of, release_name, state_label
from cairn.components.releases.plan import (
    FIRST_UPGRADE_BACKOFF_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    Nothing,
    NotOurs,
    Rollback,
    Uninstall,
    Upgrade,
    Wait,
    backoff_seconds,
    plan,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OURS = labels_of("tracking")


def revisions(*statuses: tuple[ReleaseStatus, str], seconds_ago: float = 3600) -> list[Revision]:
    """Return revisions of a status and a state each, the newest of which was made so long ago."""
    return [
        Revision(
            number, status, NOW - timedelta(seconds=seconds_ago), {**OURS, STATE_LABEL: state_label(state, number)}
        )
        for number, (status, state) in enumerate(statuses, start=1)
    ]


def test_what_is_not_there_is_installed():
    assert plan([], "new", OURS, NOW) == Upgrade(install=True)


def test_what_is_as_it_is_to_be_is_left_alone():
    assert plan(revisions(("superseded", "old"), ("deployed", "new")), "new", OURS, NOW) == Nothing()


def test_what_is_to_be_something_else_is_upgraded():
    assert plan(revisions(("deployed", "old")), "new", OURS, NOW) == Upgrade(install=False)


def test_a_release_of_somebody_else_is_not_touched():
    others = [Revision(1, "deployed", NOW, {STATE_LABEL: "new"})]

    assert plan(others, "new", OURS, NOW) == NotOurs()


def test_what_somebody_has_upgraded_by_hand_is_made_what_it_is_to_be():
    ours, theirs = revisions(("superseded", "new"), ("deployed", "new"))
    by_hand = replace(theirs, labels=ours.labels)  # Helm hands the labels on

    assert plan([ours, by_hand], "new", OURS, NOW) == Upgrade(install=False)


class TestFailure:
    def test_an_upgrade_that_has_failed_is_rolled_back(self):
        assert plan(revisions(("deployed", "old"), ("failed", "new")), "new", OURS, NOW) == Rollback(1)

    def test_it_is_not_rolled_back_first_where_something_else_is_wanted_by_now(self):
        assert plan(revisions(("deployed", "old"), ("failed", "bad")), "new", OURS, NOW) == Upgrade(install=False)

    def test_it_is_tried_again_after_a_while(self):
        *before, back = revisions(("superseded", "old"), ("failed", "new"), ("deployed", "old"), seconds_ago=10)
        rolled_back = [*before, replace(back, labels=before[0].labels)]  # as Helm makes it

        assert plan(rolled_back, "new", OURS, NOW) == Wait(failed=2, install=False)
        later = NOW + timedelta(seconds=FIRST_UPGRADE_BACKOFF_SECONDS)
        assert plan(rolled_back, "new", OURS, later) == Upgrade(install=False)

    def test_helm_tells_when_it_failed_where_that_is_not_when_it_began(self):
        failed = revisions(("failed", "new"), seconds_ago=600)
        ended = {**failed[0].labels, "modifiedAt": str(int(NOW.timestamp()) - 5)}

        action = plan([Revision(1, "failed", failed[0].created, ended)], "new", OURS, NOW)

        assert action == Wait(failed=1, install=True)

    def test_an_install_that_has_failed_is_tried_again_sooner_as_nothing_serves(self):
        assert plan(revisions(("failed", "new"), seconds_ago=0), "new", OURS, NOW) == Wait(failed=1, install=True)
        assert plan(revisions(("failed", "new")), "new", OURS, NOW) == Upgrade(install=True)


class TestHelmWasKilled:
    @pytest.mark.parametrize("status", ["pending-install", "uninstalling"])
    def test_what_is_half_installed_or_removed_is_removed(self, status: ReleaseStatus):
        assert plan(revisions((status, "new")), "new", OURS, NOW) == Uninstall()

    @pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback"])
    def test_what_is_half_upgraded_goes_back_first(self, status: ReleaseStatus):
        assert plan(revisions(("deployed", "old"), (status, "new")), "new", OURS, NOW) == Rollback(1)

    def test_an_upgrade_of_what_never_worked_is_removed(self):
        assert plan(revisions(("failed", "old"), ("pending-upgrade", "new")), "new", OURS, NOW) == Uninstall()


@given(st.integers(min_value=1, max_value=1000))
def test_the_more_has_failed_the_longer_is_waited(failures: int):
    assert backoff_seconds(failures) <= backoff_seconds(failures + 1) <= LONGEST_BACKOFF_SECONDS


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?(\.[a-z0-9]{1,20})?", fullmatch=True))
def test_a_release_s_name_leaves_room_for_what_a_chart_adds(component: str):
    name = release_name(component)

    assert len(name) <= 40
    assert "." not in name
    assert not name.startswith("-")
    assert not name.endswith("-")


def test_components_of_names_alike_have_releases_of_their_own():
    names = ["a", "a-server", "a.b", "a-b", "a" * 60, "a" * 61]

    assert len({release_name(name) for name in names}) == len(names)
