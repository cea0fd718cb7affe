"""What is to be done about a release, from what Helm keeps of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cairn.clients.helm import Revision
from cairn.components.releases.naming import state_in

FIRST_BACKOFF_SECONDS = 30
FIRST_UPGRADE_BACKOFF_SECONDS = 600
"""While an upgrade is tried, one server on a volume cannot serve; what was there before does meanwhile."""
LONGEST_BACKOFF_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Nothing:
    """The release is as it is to be, as far as Helm knows."""


@dataclass(frozen=True)
class Upgrade:
    """Install the release, or make it what it is to be."""

    install: bool


@dataclass(frozen=True)
class Rollback:
    """Go back to a revision that worked: the newest one failed, or Helm was killed at it."""

    revision: int


@dataclass(frozen=True)
class Uninstall:
    """Remove what is half installed or half removed: Helm was killed at it."""


@dataclass(frozen=True)
class Wait:
    """The same has failed just before: try again later."""

    failed: int
    """The revision that failed."""
    install: bool
    """Whether there is no release that works."""


@dataclass(frozen=True)
class NotOurs:
    """Somebody else's release has the name."""


Action = Nothing | Upgrade | Rollback | Uninstall | Wait | NotOurs


def plan(revisions: Sequence[Revision], desired: str, labels: Mapping[str, str], now: datetime) -> Action:
    """Return what to do for a release of these labels to have the desired state."""
    if not revisions:
        return Upgrade(install=True)
    newest = revisions[-1]
    if not is_of(newest, labels):
        return NotOurs()
    if newest.status in {"pending-install", "uninstalling", "unknown"}:
        return Uninstall()
    works = next((revision for revision in reversed(revisions) if revision.status == "deployed"), None)
    if newest.status in {"pending-upgrade", "pending-rollback"}:
        return Rollback(works.number) if works is not None else Uninstall()
    if newest.status == "failed" and works is not None and state_in(newest.labels, newest.number) == desired:
        return Rollback(works.number)
    if newest.status == "deployed" and state_in(newest.labels, newest.number) == desired:
        return Nothing()
    return _try(revisions, desired, now, install=works is None)


def is_of(revision: Revision, labels: Mapping[str, str]) -> bool:
    """Return whether a revision is of a release of these labels."""
    return labels.items() <= revision.labels.items()


def _try(revisions: Sequence[Revision], desired: str, now: datetime, *, install: bool) -> Action:
    failed = [item for item in revisions if item.status == "failed" and state_in(item.labels, item.number) == desired]
    if failed:
        since = (now - _ended(failed[-1])).total_seconds()
        if since < backoff_seconds(len(failed), FIRST_BACKOFF_SECONDS if install else FIRST_UPGRADE_BACKOFF_SECONDS):
            return Wait(failed[-1].number, install)
    return Upgrade(install)


def backoff_seconds(failures: int, first: float = FIRST_BACKOFF_SECONDS) -> float:
    """Return how long to wait after so many failures of the same."""
    return min(LONGEST_BACKOFF_SECONDS, first * 2 ** (failures - 1))


def _ended(revision: Revision) -> datetime:
    """Return when Helm wrote down that a revision failed."""
    modified = revision.labels.get("modifiedAt", "")
    if modified.isdecimal():
        return datetime.fromtimestamp(int(modified), UTC)
    return revision.created
