"""What the statuses of a pod's containers say. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.time import parse
from cairn.runs.pod import PLAN_VARIABLE
from cairn.runs.references import unescaped
from cairn.runs.results import json_object

NEVER = "1970-01-01T00:00:00Z"


def statuses_of(pod: JsonObject, field_name: str) -> Mapping[str, JsonObject]:
    """Return the statuses of a pod's containers of one kind, such as `containerStatuses`, by container."""
    return {item["name"]: item for item in pod.get("status", {}).get(field_name, ())}


def was_touched(container: JsonObject | None) -> bool:
    """Return whether a container runs or has run."""
    return running(container) is not None or terminated(container) is not None


def terminated(container: JsonObject | None) -> JsonObject | None:
    """Return how a container has ended, or None."""
    return (container or {}).get("state", {}).get("terminated")


def started_at(state: JsonObject) -> str | None:
    """Return when a container began; the kubelet writes the epoch for one that never did.

    A container runtime notes the start once it is done: of a program that ends at once it may be later than the end.
    """
    started, finished = state.get("startedAt"), state.get("finishedAt")
    if started is None or started == NEVER:
        return None
    return started if finished is None else min(started, finished, key=parse)


def running(container: JsonObject | None) -> JsonObject | None:
    """Return since when a container runs, or None."""
    return (container or {}).get("state", {}).get("running")


def ran_for(container: JsonObject | None) -> timedelta:
    """Return how long a container that has ended ran; nothing where it never did, or has not ended."""
    ended = terminated(container)
    started, finished = (started_at(ended), ended.get("finishedAt")) if ended is not None else (None, None)
    return parse(finished) - parse(started) if started is not None and finished is not None else timedelta()


def name_of(container: JsonObject | None) -> str:
    """Return the name of a container; empty where there is none."""
    return (container or {}).get("name", "")


def image_digest_of(container: JsonObject | None) -> str | None:
    """Return the digest of a container's image, or None where its ID is not that of a manifest."""
    _, _, digest = (container or {}).get("imageID", "").partition("@")
    return digest or None


def stuck(container: JsonObject | None) -> tuple[str, str] | None:
    """Return why a container does not start, such as for its image, or None."""
    waiting = (container or {}).get("state", {}).get("waiting")
    if waiting and waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
        return waiting["reason"], str(waiting.get("message") or waiting["reason"])
    return None


def report_of(ended: JsonObject, log: str | None) -> Mapping[str, Any] | None:
    """Return what fetch or publish reports: its termination message or, where that is cut short, its log's last line."""
    lines = (log or "").strip().splitlines()
    for text in (str(ended.get("message") or ""), lines[-1] if lines else ""):
        report = json_object(text)
        if report is not None:
            return report
    return None


def published_uris(pod: JsonObject, container: str) -> Mapping[str, str]:
    """Return where publish was told to keep each artifact: the store may have been given other settings since."""
    spec = pod["spec"]
    for declared in (*spec.get("initContainers", ()), *spec["containers"]):
        if declared["name"] == container:
            plan = next(item["value"] for item in declared["env"] if item["name"] == PLAN_VARIABLE)
            return {item["name"]: item["uri"] for item in json.loads(unescaped(plan))["artifacts"]}
    return {}
