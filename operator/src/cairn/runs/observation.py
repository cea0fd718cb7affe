"""What a Job and its pod say about the attempts in them. Pure: the objects come from the caller."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import Any, cast

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.api.time import parse, timestamp
from cairn.runs import naming
from cairn.runs.graph import outputs_of, results_of
from cairn.runs.pod import PLAN_VARIABLE, reports_results_itself
from cairn.runs.references import unescaped
from cairn.runs.results import json_object, parse_results

Containers = Mapping[str, JsonObject]

NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of a container whose program was not started: its message is the runtime's, and there is no log."""
SIGKILL_CODE = 137
KILLED = " It was killed, most often for want of memory; raise resources.limits.memory."
"""What to do about that code: a container runtime may miss that it was the kernel that killed for memory."""

_NULL_IN_VALUE = re.compile(r"""(environment variable value can't contain null\(\\x00\): )"([^"=]*)=.*""", re.DOTALL)

NEVER = "1970-01-01T00:00:00Z"


def needed_of_job(job: JsonObject) -> JsonObject:
    """Return what of a Job is needed here, which is all that is kept of it: many Jobs are known at a time."""
    return {"metadata": job["metadata"], "status": job.get("status") or {}}


def needed_of_pod(pod: JsonObject) -> JsonObject:
    """Return what of a pod is needed here: who it is, its containers' names and plans, and its status."""

    def containers(field_name: str) -> list[JsonObject]:
        return [
            {
                "name": container["name"],
                "env": [item for item in container.get("env", ()) if item["name"] == PLAN_VARIABLE],
            }
            for container in pod["spec"].get(field_name, ())
        ]

    spec = {"initContainers": containers("initContainers"), "containers": containers("containers")}
    return {"metadata": pod["metadata"], "spec": spec, "status": pod.get("status") or {}}


def without_values(message: str) -> str:
    """Return a container runtime's message without the value of an environment variable, which may be a secret."""
    return _NULL_IN_VALUE.sub(r'\1"\2=…"', message)


class Phase(Enum):
    """How far an attempt has come."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class KeptArtifact:
    """An output that publish has kept."""

    uri: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class AttemptObservation:
    """One attempt as its Job and pod show it."""

    step: str
    number: int
    phase: Phase
    job_name: str
    pod_name: str | None = None
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    started: str | None = None
    ended: str | None = None
    log_tail: str | None = None
    wants_pod: bool = False
    """Whether its Job has no pod yet."""
    artifacts: Mapping[str, KeptArtifact] = field(default_factory=dict[str, KeptArtifact])
    results: Mapping[str, str] = field(default_factory=dict[str, str])
    wants_log_of: str | None = None
    """Container whose log has to be read before the attempt can be judged: the kubelet has cut its message short."""


@dataclass(frozen=True)
class _View:
    """One step's containers within a pod."""

    step: Step
    number: int
    job_name: str
    pod: JsonObject
    fetch: JsonObject | None
    own: JsonObject | None
    publish: JsonObject | None
    publishes: bool
    whole_messages: bool
    logs: Mapping[str, str]

    def seen(self, phase: Phase, **fields: Any) -> AttemptObservation:
        if fields.get("message"):
            fields["message"] = without_values(fields["message"])
        return AttemptObservation(
            step=self.step.name,
            number=self.number,
            phase=phase,
            job_name=self.job_name,
            pod_name=self.pod["metadata"]["name"],
            **fields,
        )


def observe_job(
    job: JsonObject,
    pod: JsonObject | None,
    steps: Mapping[str, Step],
    logs: Mapping[str, str],
    hindrance: str | None = None,
) -> Iterator[AttemptObservation]:
    """Yield each attempt of a Job. `logs` holds what was read of containers' logs, by container name.

    `hindrance` is the API server's sentence about why the Job has no pod.

    A step whose turn did not come before its pod ended is left out: it has not been attempted.
    """
    metadata = job["metadata"]
    attempts = naming.attempts_of(metadata.get("annotations") or {})
    known = [(steps[name], number) for name, number in attempts if name in steps]
    if pod is None:
        yield from _without_pod(job, known, hindrance)
        return
    containers = {**_statuses(pod, "initContainerStatuses"), **_statuses(pod, "containerStatuses")}
    spec = pod["spec"]
    declared = {item["name"] for item in (*spec.get("initContainers", ()), *spec["containers"])}
    over = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    for index, (step, number) in enumerate(known):
        publish = naming.publish_container(index, len(known))
        view = _View(
            step=step,
            number=number,
            job_name=metadata["name"],
            pod=pod,
            fetch=containers.get(naming.fetch_container(index, len(known))),
            own=containers.get(step.name),
            publish=containers.get(publish),
            publishes=publish in declared,
            whole_messages=reports_results_itself(len(declared)),
            logs=logs,
        )
        observed = _observe_step(view, first=index == 0, over=over)
        if observed is not None:
            yield observed


def _observe_step(view: _View, *, first: bool, over: bool) -> AttemptObservation | None:
    ended = _terminated(view.own)
    fetch_end = _terminated(view.fetch)
    if fetch_end is not None and fetch_end["exitCode"] != 0:
        return _transfer_failed(view, view.fetch, fetch_end)
    if ended is not None and not _disrupted(view, ended):
        return _own_ended(view, ended, over=over)
    touched = first or _running(view.own) is not None or ended is not None or _running(view.fetch) is not None
    if over or view.pod["metadata"].get("deletionTimestamp"):
        return _pod_ended(view) if touched or fetch_end is not None else None
    running = _running(view.own)
    if running is not None:
        return view.seen(Phase.RUNNING, started=running.get("startedAt"))
    reason, message = _waiting(view, first=first)
    return view.seen(Phase.WAITING, reason=reason, message=message)


def _own_ended(view: _View, ended: JsonObject, *, over: bool) -> AttemptObservation:
    """Judge a step whose own container has ended."""
    started = _started(ended)
    if ended["exitCode"] != 0:
        return _own_failed(view, ended)
    if not view.publishes:
        return _succeeded(view, ended, {}, str(ended.get("message") or "") if results_of(view.step) else None)
    published = _terminated(view.publish)
    if published is None:
        if over or view.pod["metadata"].get("deletionTimestamp"):
            return _pod_ended(view)
        reason, message = _stuck(view.publish) or (None, "Its outputs are being kept.")
        return view.seen(Phase.RUNNING, started=started, reason=reason, message=message)
    if published["exitCode"] != 0:
        return _transfer_failed(view, view.publish, published)
    report = _report(published, view.logs.get(_name(view.publish)))
    if report is None and _name(view.publish) not in view.logs:
        return view.seen(Phase.RUNNING, started=started, wants_log_of=_name(view.publish))
    if report is None:
        message = f"The report of {_name(view.publish)} is lost: its message is cut short and its log is gone."
        return view.seen(Phase.FAILED, reason="ReportLost", message=message, started=started)
    uris = _published_uris(view.pod, _name(view.publish))
    artifacts = {
        name: KeptArtifact(uris.get(name, ""), str(item["digest"]), int(item["sizeBytes"]))
        for name, item in cast(Mapping[str, Any], report.get("artifacts") or {}).items()
    }
    results = report["results"] if "results" in report else str(ended.get("message") or "")
    return _succeeded(view, {**published, "startedAt": started}, artifacts, results if results_of(view.step) else None)


def _succeeded(
    view: _View, end: JsonObject, artifacts: Mapping[str, KeptArtifact], results_text: str | None
) -> AttemptObservation:
    times = {"started": end.get("startedAt"), "ended": end.get("finishedAt")}
    results: Mapping[str, str] = {}
    if results_text is not None:
        parsed = parse_results(view.step, results_text)
        if isinstance(parsed, str):
            return view.seen(Phase.FAILED, reason="ResultsInvalid", message=parsed, **times)
        results = parsed
    return view.seen(Phase.SUCCEEDED, artifacts=artifacts, results=results, **times)


def _own_failed(view: _View, ended: JsonObject) -> AttemptObservation:
    code = int(ended["exitCode"])
    kubernetes_reason = str(ended.get("reason") or "")
    reason = "ExitCode" if kubernetes_reason in {"", "Error", "Completed"} else kubernetes_reason
    log = view.logs.get(view.step.name)
    text = str(ended.get("message") or "")
    if reason in NEVER_RAN:
        message = f"Step {view.step.name} could not be started: {text}"[:1024]
        return view.seen(Phase.FAILED, reason=reason, message=message, exit_code=code, ended=ended.get("finishedAt"))
    is_log = not results_of(view.step) or json_object(text) is None
    if log is None and not (is_log and view.whole_messages):
        return view.seen(Phase.RUNNING, started=_started(ended), wants_log_of=view.step.name)
    messages = {
        "OOMKilled": f"Step {view.step.name} used more memory than its limit and was killed; raise resources.limits.memory.",
        "ExitCode": f"Step {view.step.name} ended with exit code {code}.{KILLED if code == SIGKILL_CODE else ''}",
    }
    return view.seen(
        Phase.FAILED,
        reason=reason,
        message=messages.get(reason, f"Step {view.step.name} ended with {reason}: {text}"[:1024]),
        exit_code=code,
        started=_started(ended),
        ended=ended.get("finishedAt"),
        log_tail=(log if log is not None else text)[-1024:] or None,
    )


def _transfer_failed(view: _View, container: JsonObject | None, ended: JsonObject) -> AttemptObservation:
    if _disrupted(view, ended) and _report(ended, None) is None:
        return _pod_ended(view)
    report = _report(ended, view.logs.get(_name(container)))
    reason, message = (
        "TransferFailed",
        f"{_name(container)} ended with {ended.get('reason')}, code {ended['exitCode']}.",
    )
    if report is not None:
        reason, message = str(report.get("reason", reason)), str(report.get("message", message))
    elif ended.get("reason") != "OOMKilled" and _name(container) not in view.logs:
        return view.seen(Phase.RUNNING, wants_log_of=_name(container))
    own = _terminated(view.own) or {}
    return view.seen(
        Phase.FAILED,
        reason=reason,
        message=message[:1024],
        started=_started(own),
        ended=ended.get("finishedAt"),
    )


def _pod_ended(view: _View) -> AttemptObservation:
    """Judge an attempt whose pod ended, or is being deleted, before its own containers said how it went."""
    status = view.pod.get("status", {})
    disruption = next(
        (
            item
            for item in status.get("conditions", ())
            if item["type"] == "DisruptionTarget" and item["status"] == "True"
        ),
        None,
    )
    name = view.pod["metadata"]["name"]
    if status.get("reason"):
        reason, message = status["reason"], f"Pod {name} ended: {status.get('message') or status['reason']}"
    elif disruption:
        reason, message = disruption["reason"], f"Pod {name} was disrupted: {disruption.get('message', '')}"
    elif view.pod["metadata"].get("deletionTimestamp"):
        reason, message = "PodDeleted", f"Pod {name} was deleted before the step ended."
    else:
        reason, message = "PodFailed", f"Pod {name} ended before the step did."
    return view.seen(
        Phase.FAILED,
        reason=reason,
        message=message[:1024],
        started=_started(_running(view.own) or _terminated(view.own) or {}),
        ended=_deleted_at(view.pod),
    )


def _deleted_at(pod: JsonObject) -> str | None:
    """Return when the deletion of a pod was asked for: its `deletionTimestamp` is the end of the grace period."""
    metadata = pod["metadata"]
    if "deletionTimestamp" not in metadata:
        return None
    grace_period = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return timestamp(parse(metadata["deletionTimestamp"]) - grace_period)


def _disrupted(view: _View, ended: JsonObject) -> bool:
    """Return whether the container was stopped from outside: it failed in a pod that is being taken away."""
    status = view.pod.get("status", {})
    taken_away = bool(view.pod["metadata"].get("deletionTimestamp")) or status.get("reason") in {
        "Evicted", "Preempting", "NodeLost", "DeadlineExceeded", "NodeShutdown", "Terminated",
    }  # fmt: skip
    return taken_away and ended["exitCode"] != 0 and ended.get("reason") != "OOMKilled"


def _without_pod(
    job: JsonObject, attempts: Sequence[tuple[Step, int]], hindrance: str | None
) -> Iterator[AttemptObservation]:
    name = job["metadata"]["name"]
    conditions = {
        item["type"]: item for item in job.get("status", {}).get("conditions", ()) if item["status"] == "True"
    }
    for index, (step, number) in enumerate(attempts):
        waiting = AttemptObservation(step.name, number, Phase.WAITING, name, message="Its pod is not made yet.")
        if "Complete" in conditions and not outputs_of(step) and not results_of(step):
            yield replace(waiting, phase=Phase.SUCCEEDED, message=None, ended=job["status"].get("completionTime"))
        elif "Complete" in conditions or "Failed" in conditions:
            if index == 0:
                yield replace(
                    waiting,
                    phase=Phase.FAILED,
                    reason="PodDeleted",
                    message=f"The pod of Job {name} was deleted before its end was recorded.",
                )
        elif job["metadata"].get("deletionTimestamp"):
            if index == 0:
                yield replace(waiting, phase=Phase.FAILED, reason="JobDeleted", message=f"Job {name} was deleted.")
        else:
            reason, message = ("FailedCreate", hindrance[:1024]) if hindrance else (None, waiting.message)
            yield replace(waiting, reason=reason, message=message, wants_pod=True)


def _waiting(view: _View, *, first: bool) -> tuple[str | None, str | None]:
    if _running(view.fetch) is not None:
        return None, "Its inputs are being fetched."
    for container in (view.fetch, view.own):
        stuck = _stuck(container)
        if stuck is not None:
            return stuck
    if not first:
        return None, "Waits for its turn in the pod."
    scheduled = next(
        (item for item in view.pod.get("status", {}).get("conditions", ()) if item["type"] == "PodScheduled"),
        None,
    )
    if scheduled and scheduled["status"] == "False":
        return scheduled.get("reason", "Unschedulable"), str(scheduled.get("message", ""))[:1024]
    return None, None


def _stuck(container: JsonObject | None) -> tuple[str, str] | None:
    """Return why a container does not start, such as for its image, or None."""
    waiting = (container or {}).get("state", {}).get("waiting")
    if waiting and waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
        return waiting["reason"], str(waiting.get("message") or waiting["reason"])[:1024]
    return None


def _report(ended: JsonObject, log: str | None) -> Mapping[str, Any] | None:
    """Return what fetch or publish reports: its termination message or, where that is cut short, its log's last line."""
    lines = (log or "").strip().splitlines()
    for text in (str(ended.get("message") or ""), lines[-1] if lines else ""):
        report = json_object(text)
        if report is not None:
            return report
    return None


def _published_uris(pod: JsonObject, container: str) -> Mapping[str, str]:
    """Return where publish was told to keep each artifact: the store may have been given other settings since."""
    spec = pod["spec"]
    for declared in (*spec.get("initContainers", ()), *spec["containers"]):
        if declared["name"] == container:
            plan = next(item["value"] for item in declared["env"] if item["name"] == PLAN_VARIABLE)
            return {item["name"]: item["uri"] for item in json.loads(unescaped(plan))["artifacts"]}
    return {}


def _statuses(pod: JsonObject, field_name: str) -> Containers:
    return {item["name"]: item for item in pod.get("status", {}).get(field_name, ())}


def _terminated(container: JsonObject | None) -> JsonObject | None:
    return (container or {}).get("state", {}).get("terminated")


def _started(state: JsonObject) -> str | None:
    """Return when a container began; the kubelet writes the epoch for one that never did."""
    started = state.get("startedAt")
    return None if started == NEVER else started


def _running(container: JsonObject | None) -> JsonObject | None:
    return (container or {}).get("state", {}).get("running")


def _name(container: JsonObject | None) -> str:
    return (container or {}).get("name", "")
