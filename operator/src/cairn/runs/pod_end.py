"""Whether, why and when a pod has ended, and for how long its end is waited for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.time import parse, timestamp
from cairn.api.workloads import pod_has_ended
from cairn.runs.container_status import running, statuses_of

STOPPED = "DeadlineExceeded"
"""Reason of a pod that the kubelet stopped for its `activeDeadlineSeconds`, which is how Cairn stops one."""
NODE_LOST = "NodeLost"
TAKEN_AWAY = frozenset({"Evicted", "Preempting", NODE_LOST, "NodeShutdown", "Terminated", STOPPED})
"""Reasons of a pod that did not end by itself."""
LOST_AFTER = timedelta(seconds=30)
"""How long after its grace period the end of a pod is waited for; then it counts as lost with its node."""
KILLED_CODES = frozenset({128 + 9, 128 + 15})
"""Exit codes of a program that SIGKILL, or SIGTERM, has ended."""
_USUAL_GRACE_PERIOD = timedelta(seconds=30)


@dataclass(frozen=True)
class EarlierSight:
    """What was seen of a pod before, and it does not tell any more."""

    ended_at: datetime | None = None
    """When it was first seen to have ended without telling how its containers did."""
    removal_requested_at: str | None = None
    """When it was first asked to go."""
    was_being_deleted: bool = False
    """Whether it was being deleted while a container ran, whenever that was asked for."""


NOTHING_SEEN = EarlierSight()


def was_taken_away(pod: JsonObject) -> bool:
    """Return whether a pod did not end by itself."""
    return pod.get("status", {}).get("reason") in TAKEN_AWAY


def removal_requested_at(pod: JsonObject) -> str | None:
    """Return when somebody asked first for a pod to go; None where the pod does not tell, or nobody has.

    A kubelet deletes a pod whose containers have ended once again, without a grace period, and the API server writes that
    second time over the first (`BeforeDelete` in kubernetes/kubernetes, staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go).
    """
    disrupted_at = (disruption_of(pod) or {}).get("lastTransitionTime")
    deleted_at = deletion_requested_at(pod) if pod["metadata"].get("deletionGracePeriodSeconds") else None
    return earliest(disrupted_at, deleted_at)


def earliest(*moments: str | None) -> str | None:
    """Return the earliest of these moments; None where there is none."""
    return min((moment for moment in moments if moment is not None), key=parse, default=None)


def ended_with_pod(pod: JsonObject, ended_at: str | None, exit_code: int, earlier: EarlierSight) -> bool:
    """Return whether a container ended because its pod was taken away, not by itself.

    Times are to the second: an end in that of the request counts as its doing, since it is worse to take what was cut short
    for a success than to run a step again. Where nobody has seen the request, only its repetition, or that of a pod that had
    ended, the exit code decides of a container that ended before that.
    """
    if was_taken_away(pod):
        return True
    first = earliest(earlier.removal_requested_at, removal_requested_at(pod))
    requested_at = first or deletion_requested_at(pod)
    if requested_at is None:
        return False
    if ended_at is None or parse(ended_at) == parse(requested_at):
        return first is not None or exit_code != 0
    if parse(ended_at) > parse(requested_at):
        return True
    return first is None and (earlier.was_being_deleted or exit_code in KILLED_CODES)


def containers_have_ended(pod: JsonObject, now: datetime, earlier: EarlierSight) -> bool:
    """Return whether no container of the pod runs any more, and how they ended is told.

    One that has no node when it is deleted never will run. That a pod has ended may be told before how its containers did:
    the kubelet sends what it knew when it began to stop the pod, if the API server keeps it waiting until it is done
    (`syncBatch` in kubernetes/kubernetes, pkg/kubelet/status/status_manager.go).
    """
    if is_being_deleted(pod) and "nodeName" not in pod["spec"]:
        return True
    if not pod_has_ended(pod):
        return False
    until = _end_told_by(pod, earlier.ended_at)
    return until is None or now >= until


def end_is_to_be_told(pod: JsonObject) -> bool:
    """Return whether a pod has ended of which a container is said to run."""
    containers = (*statuses_of(pod, "initContainerStatuses").values(), *statuses_of(pod, "containerStatuses").values())
    return pod_has_ended(pod) and any(running(container) for container in containers)


def is_lost(pod: JsonObject, now: datetime) -> bool:
    """Return whether a pod that is being deleted counts as lost with its node."""
    gone_at = _gone_at(pod)
    return gone_at is not None and now >= gone_at


def awaited_until(pod: JsonObject, earlier: EarlierSight) -> datetime | None:
    """Return until when the end of a pod is waited for; None where it is for as long as it takes."""
    return min(filter(None, (_gone_at(pod), _end_told_by(pod, earlier.ended_at))), default=None)


def deletion_requested_at(pod: JsonObject) -> str | None:
    """Return when the deletion of a pod was asked for; where more than once, for the last time."""
    if not is_being_deleted(pod):
        return None
    metadata = pod["metadata"]
    grace_period = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return timestamp(parse(metadata["deletionTimestamp"]) - grace_period)


def disruption_of(pod: JsonObject) -> JsonObject | None:
    """Return the condition that says that a pod is evicted, preempted, or taken from its node; None where it is not."""
    conditions = pod.get("status", {}).get("conditions", ())
    return next((item for item in conditions if item["type"] == "DisruptionTarget" and item["status"] == "True"), None)


def _gone_at(pod: JsonObject) -> datetime | None:
    """Return when a pod that is being deleted counts as lost: its `deletionTimestamp` is the end of the grace period."""
    return parse(pod["metadata"]["deletionTimestamp"]) + LOST_AFTER if is_being_deleted(pod) else None


def _end_told_by(pod: JsonObject, seen_ended: datetime | None) -> datetime | None:
    """Return by when the kubelet should have told how the containers of a pod that has ended did; None where it has."""
    if seen_ended is None or not end_is_to_be_told(pod):
        return None
    seconds = pod["spec"].get("terminationGracePeriodSeconds")
    grace_period = _USUAL_GRACE_PERIOD if seconds is None else timedelta(seconds=seconds)
    return seen_ended + grace_period + LOST_AFTER
