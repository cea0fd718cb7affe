"""What keeps the pods of a release from running. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from cairn.api.base import JsonObject
from cairn.api.conditions import condition_of
from cairn.api.deletion import is_being_deleted
from cairn.api.time import parse
from cairn.api.workloads import pod_has_ended

STUCK = timedelta(seconds=60)
"""How long a pod may be kept from running, by an image that is missing for example, before it is given up."""
HOMELESS = timedelta(minutes=5)
"""The same, of a pod without a node: a new one may be on its way."""
ON_ITS_WAY = {None, "PodInitializing", "ContainerCreating"}
LONGEST_MESSAGE = 300
_BEFORE_AT = re.compile(r"[^\s\"'@]*@")
"""A password in a URI may have an @ itself, and programs tell parts of such a URI."""


def of_attempt(pods: Iterable[JsonObject], began: datetime) -> Sequence[JsonObject]:
    """Return the pods made since a moment, the newest first; all of them where none was."""
    known = sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
    return [
        pod for pod in known if parse(pod["metadata"]["creationTimestamp"]) >= began.replace(microsecond=0)
    ] or known


def claims_of(pods: Iterable[JsonObject]) -> Sequence[str]:
    """Return the names of the claims that pods use."""
    volumes = (volume for pod in pods for volume in pod["spec"].get("volumes", ()))
    return sorted(
        {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}
    )


def problem_of(pods: Iterable[JsonObject]) -> str | None:
    """Return what keeps the first pod from running that is kept from it, or None."""
    for pod in pods:
        problem = next(_problems_of(pod), None)
        if problem is not None:
            return f"pod {pod['metadata']['name']}: {problem}"
    return None


def progress_of(pods: Iterable[JsonObject]) -> str | None:
    """Return what Helm waits for as far as pods tell: what keeps one from running, or a Job that is at work; else None."""
    found = list(pods)
    problem = problem_of(found)
    if problem is not None:
        return problem
    for pod in found:
        metadata = pod["metadata"]
        of_job = any(owner["kind"] == "Job" for owner in metadata.get("ownerReferences", ()))
        if of_job and pod["status"].get("phase") == "Running":
            name, namespace = metadata["name"], metadata["namespace"]
            return (
                f"the Job of pod {name} is at work; its log tells at what: kubectl logs {name} --namespace {namespace}"
            )
    return None


def unready_of(pods: Iterable[JsonObject]) -> str | None:
    """Return what keeps the first pod from serving that is neither done nor going and does not serve, or None."""
    live = [pod for pod in pods if not pod_has_ended(pod) and not is_being_deleted(pod)]
    problem = problem_of(live)
    if problem is not None:
        return problem
    for pod in live:
        for container in pod["status"].get("containerStatuses") or ():
            if "running" in container["state"] and not container["ready"]:
                name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
                return (
                    f"pod {name}: container {container['name']} runs, but is not ready; its readiness probe tells why: "
                    f"kubectl describe pod {name} --namespace {namespace}"
                )
    return None


def is_stuck(pods: Iterable[JsonObject], began: datetime, now: datetime) -> bool:
    """Return whether a pod has been kept from running for long, since a moment or since it was made."""
    for pod in pods:
        since = now - max(began, parse(pod["metadata"]["creationTimestamp"]))
        waits = any(_waits(container) is not None for container in _containers(pod))
        if (waits and since >= STUCK) or (since >= HOMELESS and _unscheduled(pod) is not None):
            return True
    return False


def _problems_of(pod: JsonObject) -> Iterator[str]:
    for container in _containers(pod):
        ended = _ended(container)
        waits = _waits(container)
        if waits is not None:
            words = waits if ended is None else f"{waits}; it {ended}"
            yield f"container {container['name']} waits: {words}"
        elif ended is not None:
            yield f"container {container['name']} {ended}"
    unscheduled = _unscheduled(pod)
    if unscheduled is not None:
        yield unscheduled


def _unscheduled(pod: JsonObject) -> str | None:
    """Return why a pod has no node, or None."""
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is None or scheduled["status"] != "False":
        return None
    return f"{scheduled.get('reason', 'Unschedulable')}: {_in_short(scheduled.get('message'))}"


def _containers(pod: JsonObject) -> Iterator[JsonObject]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _waits(container: JsonObject) -> str | None:
    waiting = container.get("state", {}).get("waiting")
    if not waiting or waiting.get("reason") in ON_ITS_WAY:
        return None
    message = _in_short(waiting.get("message"))
    return f"{waiting['reason']}: {message}" if message else str(waiting["reason"])


def _ended(container: JsonObject) -> str | None:
    """Return how a container has ended that ought to run or to succeed."""
    for state in ("state", "lastState"):
        ended = container.get(state, {}).get("terminated")
        if ended and ended.get("exitCode"):
            message = str(ended.get("message") or "").strip().splitlines()
            words = f": {_in_short(message[-1])}" if message else ""
            return f"ended with {ended.get('reason', 'Error')}, exit code {ended['exitCode']}{words}"
    return None


def _in_short(message: object) -> str:
    """Return a message without what looks like a log-in in a URI, which a program may tell in its error."""
    return _BEFORE_AT.sub("…@", " ".join(str(message or "").split()))[:LONGEST_MESSAGE]
