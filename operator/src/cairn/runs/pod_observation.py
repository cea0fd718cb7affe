"""What a pod says about the attempts in it, container by container. Pure: the objects come from the caller."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from cairn.api.base import JsonObject
from cairn.api.conditions import condition_of
from cairn.api.deletion import is_being_deleted
from cairn.api.step import Step
from cairn.api.workloads import pod_has_ended
from cairn.runs import naming
from cairn.runs.container_status import (
    image_digest_of,
    name_of,
    published_uris,
    ran_for,
    report_of,
    running,
    started_at,
    statuses_of,
    stuck,
    terminated,
    was_touched,
)
from cairn.runs.graph import results_of
from cairn.runs.observation import (
    POD_DELETED,
    STOPPING_DEADLINE_SECONDS,
    AttemptObservation,
    Fault,
    KeptArtifact,
    Phase,
)
from cairn.runs.pod import reports_results_itself
from cairn.runs.pod_end import (
    NODE_LOST,
    NOTHING_SEEN,
    STOPPED,
    EarlierSight,
    awaited_until,
    containers_have_ended,
    deletion_requested_at,
    disruption_of,
    ended_with_pod,
    is_lost,
)
from cairn.runs.results import RESULTS_INVALID, json_object, parse_results
from cairn.step.errors import OUTPUT_INVALID, OUTPUT_MISSING

NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of a container whose program was not started: its message is the runtime's, and there is no log."""
SIGKILL_CODE = 137
KILLED = " It was killed, most often for want of memory; raise resources.limits.memory."
"""What to do about that code: a container runtime may miss that it was the kernel that killed for memory."""
USED_TOO_MUCH_DISK = re.compile(
    "ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit|Usage of EmptyDir volume"
)
"""What the kubelet says when it evicts a pod for its own use of disk, not for what the node lacks
(kubernetes/kubernetes, pkg/kubelet/eviction/eviction_manager.go)."""

_NULL_IN_VALUE = re.compile(r"""(environment variable value can't contain null\(\\x00\): )"([^"=]*)=.*""", re.DOTALL)


def without_values(message: str) -> str:
    """Return a container runtime's message without the value of an environment variable, which may be a secret."""
    return _NULL_IN_VALUE.sub(r'\1"\2=…"', message)


@dataclass(frozen=True)
class _View:
    """One step's containers within a pod."""

    step: Step
    number: int
    job: JsonObject | None
    pod: JsonObject
    fetch: JsonObject | None
    own: JsonObject | None
    publish: JsonObject | None
    publishes: bool
    last: bool
    """Whether no later step of the pod has had its turn."""
    whole_messages: bool
    logs: Mapping[str, str]
    now: datetime
    earlier: EarlierSight

    @property
    def over(self) -> bool:
        """Whether no container of the pod runs any more, and how they ended is told."""
        return containers_have_ended(self.pod, self.now, self.earlier)

    @property
    def being_deleted(self) -> bool:
        """Whether somebody has asked for the pod's deletion."""
        return is_being_deleted(self.pod)

    @property
    def lost(self) -> bool:
        """Whether the pod counts as lost with its node."""
        return is_lost(self.pod, self.now)

    @property
    def is_told_to_stop(self) -> bool:
        """Whether Cairn has told the kubelet to stop the pod."""
        return self.pod["spec"].get("activeDeadlineSeconds") == STOPPING_DEADLINE_SECONDS

    def seen(self, phase: Phase, **fields: Any) -> AttemptObservation:
        if fields.get("message"):
            fields["message"] = without_values(fields["message"])[:1024]
        return AttemptObservation(
            step=self.step.name,
            number=self.number,
            phase=phase,
            job_name=self.job["metadata"]["name"] if self.job else None,
            job_uid=self.job["metadata"]["uid"] if self.job else None,
            pod_name=self.pod["metadata"]["name"],
            pod_uid=self.pod["metadata"]["uid"],
            pod_created=self.pod["metadata"]["creationTimestamp"],
            on_node=bool(self.pod["spec"].get("nodeName")),
            being_stopped=self.being_deleted or self.is_told_to_stop,
            awaited_until=awaited_until(self.pod, self.earlier),
            image_digest=image_digest_of(self.own),
            fetched_for=ran_for(self.fetch),
            **fields,
        )

    def failed(self, fault: Fault, reason: str, message: str, **fields: Any) -> AttemptObservation:
        return self.seen(Phase.FAILED, fault=fault, reason=reason, message=message, **fields)


def observe_pod(
    job: JsonObject | None,
    pod: JsonObject,
    attempts: Sequence[tuple[Step, int]],
    logs: Mapping[str, str],
    now: datetime,
    *,
    earlier: EarlierSight = NOTHING_SEEN,
) -> Iterator[AttemptObservation]:
    """Yield each attempt of a pod, with the Job that made it, if one did.

    `logs` holds what was read of containers' logs, by container name, `earlier` what was seen of the pod before.
    A step whose turn has not come is left out: it has not been attempted.
    """
    containers = {**statuses_of(pod, "initContainerStatuses"), **statuses_of(pod, "containerStatuses")}
    spec = pod["spec"]
    declared = [item["name"] for item in (*spec.get("initContainers", ()), *spec["containers"])]
    touched = [
        index
        for index, (step, _) in enumerate(attempts)
        if was_touched(containers.get(step.name))
        or was_touched(containers.get(naming.fetch_container(index, len(attempts))))
    ]
    latest = max(touched, default=0)
    turn_is_over = True
    for index, (step, number) in enumerate(attempts):
        if index > latest and not (turn_is_over and _goes_on(pod)):
            return
        publish = naming.publish_container(index, len(attempts))
        view = _View(
            step=step,
            number=number,
            job=job,
            pod=pod,
            fetch=containers.get(naming.fetch_container(index, len(attempts))),
            own=containers.get(step.name),
            publish=containers.get(publish),
            publishes=publish in declared,
            last=index >= latest,
            whole_messages=reports_results_itself(len(declared)),
            logs=logs,
            now=now,
            earlier=earlier,
        )
        observed = _observe_step(view)
        turn_is_over = index <= latest and observed.phase in {Phase.SUCCEEDED, Phase.FAILED}
        yield observed


def _observe_step(view: _View) -> AttemptObservation:
    ended = terminated(view.own)
    fetch_end = terminated(view.fetch)
    if fetch_end is not None and fetch_end["exitCode"] != 0:
        return _transfer_failed(view, view.fetch, fetch_end)
    if ended is not None and _why_is_to_come(view, ended) and not view.lost:
        ending = _being_deleted(view) if _taken_away(view, ended) else {}
        return view.seen(Phase.RUNNING, started=started_at(ended), **ending)
    if ended is not None and not _disrupted(view, ended):
        return _own_ended(view, ended)
    if view.over or view.lost:
        return _pod_ended(view)
    own = running(view.own) or ended
    if own is not None:
        started = own.get("startedAt")
        return view.seen(Phase.RUNNING, started=started, **_being_deleted(view))
    if view.being_deleted:
        return view.seen(Phase.WAITING, **_being_deleted(view))
    reason, message = _waiting(view)
    return view.seen(Phase.WAITING, reason=reason, message=message, fetching=running(view.fetch) is not None)


def _being_deleted(view: _View) -> JsonObject:
    if not view.being_deleted:
        return {}
    name = view.pod["metadata"]["name"]
    return {"reason": POD_DELETED, "message": f"Pod {name} is being deleted; its containers have their grace period."}


def _own_ended(view: _View, ended: JsonObject) -> AttemptObservation:
    """Judge a step whose own container has ended."""
    if ended["exitCode"] != 0:
        return _own_failed(view, ended)
    if view.publishes:
        return _publishing(view, ended)
    if view.last and _taken_away(view, ended):
        return _pod_ended(view)  # what ends with 0 because it was told to stop has not succeeded
    return _succeeded(view, ended, {}, str(ended.get("message") or "") if results_of(view.step) else None)


def _publishing(view: _View, own: JsonObject) -> AttemptObservation:
    """Judge a step whose own container has ended well, by what publish says."""
    started = started_at(own)
    published = terminated(view.publish)
    if published is None:
        if view.over or view.lost:
            return _pod_ended(view)
        reason, message = stuck(view.publish) or (None, None)
        kept_up_since = own.get("finishedAt") if reason is not None else None
        return view.seen(Phase.RUNNING, started=started, reason=reason, message=message, kept_up_since=kept_up_since)
    if published["exitCode"] != 0:
        return _transfer_failed(view, view.publish, published)
    report = report_of(published, view.logs.get(name_of(view.publish)))
    if report is None and name_of(view.publish) not in view.logs:
        return view.seen(Phase.RUNNING, started=started, wants_log_of=name_of(view.publish))
    if report is None:
        message = f"The report of {name_of(view.publish)} is lost: its message is cut short and its log is gone."
        return view.failed(Fault.SURROUNDINGS, "ReportLost", message, started=started)
    uris = published_uris(view.pod, name_of(view.publish))
    artifacts = {
        name: KeptArtifact(uris.get(name, ""), str(item["digest"]), int(item["sizeBytes"]))
        for name, item in cast(Mapping[str, Any], report.get("artifacts") or {}).items()
    }
    results = report["results"] if "results" in report else str(own.get("message") or "")
    end = {**published, "startedAt": started}
    return _succeeded(view, end, artifacts, results if results_of(view.step) else None)


def _succeeded(
    view: _View, end: JsonObject, artifacts: Mapping[str, KeptArtifact], results_text: str | None
) -> AttemptObservation:
    times = {"started": started_at(end), "ended": end.get("finishedAt")}
    results: Mapping[str, str] = {}
    if results_text is not None:
        parsed = parse_results(view.step, results_text)
        if isinstance(parsed, str):
            return view.failed(Fault.STEP, RESULTS_INVALID, parsed, **times)
        results = parsed
    return view.seen(Phase.SUCCEEDED, artifacts=artifacts, results=results, **times)


def _own_failed(view: _View, ended: JsonObject) -> AttemptObservation:
    code = int(ended["exitCode"])
    kubernetes_reason = str(ended.get("reason") or "")
    reason = "ExitCode" if kubernetes_reason in {"", "Error", "Completed"} else kubernetes_reason
    log = view.logs.get(view.step.name)
    text = str(ended.get("message") or "")
    if reason in NEVER_RAN:
        message = f"Step {view.step.name} could not be started: {text}"
        return view.failed(Fault.STEP, reason, message, exit_code=code, ended=ended.get("finishedAt"))
    is_log = not results_of(view.step) or json_object(text) is None
    if log is None and not (is_log and view.whole_messages):
        return view.seen(Phase.RUNNING, started=started_at(ended), wants_log_of=view.step.name)
    messages = {
        "OOMKilled": f"Step {view.step.name} used more memory than its limit and was killed; raise resources.limits.memory.",
        "ExitCode": f"Step {view.step.name} ended with exit code {code}.{KILLED if code == SIGKILL_CODE else ''}",
    }
    return view.failed(
        Fault.STEP,
        reason,
        messages.get(reason, f"Step {view.step.name} ended with {reason}: {text}"),
        exit_code=code,
        started=started_at(ended),
        ended=ended.get("finishedAt"),
        log_tail=_log_tail(log or text),
    )


def _transfer_failed(view: _View, container: JsonObject | None, ended: JsonObject) -> AttemptObservation:
    if _disrupted(view, ended) and report_of(ended, None) is None:
        return _pod_ended(view)
    report = report_of(ended, view.logs.get(name_of(container)))
    reason, message = (
        "TransferFailed",
        f"{name_of(container)} ended with {ended.get('reason')}, code {ended['exitCode']}.",
    )
    if report is not None:
        reason, message = str(report.get("reason", reason)), str(report.get("message", message))
    elif ended.get("reason") != "OOMKilled" and name_of(container) not in view.logs:
        return view.seen(Phase.RUNNING, wants_log_of=name_of(container))
    own = terminated(view.own) or {}
    fault = Fault.STEP if reason in {OUTPUT_MISSING, OUTPUT_INVALID} else Fault.SURROUNDINGS
    return view.failed(fault, reason, message, started=started_at(own), ended=ended.get("finishedAt"))


def _pod_ended(view: _View) -> AttemptObservation:
    """Judge an attempt whose pod ended, or is lost, before its own containers said how it went."""
    status = view.pod.get("status", {})
    disruption = disruption_of(view.pod)
    name = view.pod["metadata"]["name"]
    fault = Fault.DISRUPTION
    if view.lost and not view.over:
        reason = NODE_LOST
        message = f"Pod {name} is lost with its node {view.pod['spec'].get('nodeName')}, which does not answer."
    elif status.get("reason"):
        reason, message = status["reason"], f"Pod {name} ended: {status.get('message') or status['reason']}"
        if reason == STOPPED:
            fault = Fault.STOPPED if view.is_told_to_stop else Fault.STEP
        elif USED_TOO_MUCH_DISK.search(message):
            fault = Fault.STEP
    elif disruption:
        reason, message = disruption["reason"], f"Pod {name} was disrupted: {disruption.get('message', '')}"
    elif view.being_deleted:
        reason, message = POD_DELETED, f"Pod {name} was deleted before the step ended."
    else:
        reason, message = "PodFailed", f"Pod {name} ended before the step did."
    ended = terminated(view.own) or {}
    return view.failed(
        fault,
        reason,
        message,
        exit_code=ended.get("exitCode"),
        started=started_at(running(view.own) or ended),
        ended=ended.get("finishedAt") or deletion_requested_at(view.pod),
        log_tail=_log_tail(view.logs.get(view.step.name) or str(ended.get("message") or "")),
    )


def _log_tail(text: str) -> str | None:
    return text[-1024:] or None


def _goes_on(pod: JsonObject) -> bool:
    """Return whether further containers of the pod may start."""
    return not pod_has_ended(pod) and not is_being_deleted(pod)


def _disrupted(view: _View, ended: JsonObject) -> bool:
    """Return whether the container was stopped from outside: it failed in a pod that is being taken away."""
    return ended["exitCode"] != 0 and ended.get("reason") != "OOMKilled" and _taken_away(view, ended)


def _taken_away(view: _View, ended: JsonObject) -> bool:
    """Return whether the container ended with its pod, not by itself."""
    return ended_with_pod(view.pod, ended.get("finishedAt"), ended["exitCode"], view.earlier)


def _why_is_to_come(view: _View, ended: JsonObject) -> bool:
    """Return whether the kubelet may yet say that it ended the container.

    It says so of the pod, and only when no container of it runs any more (`mergePodStatus` in kubernetes/kubernetes,
    pkg/kubelet/status/status_manager.go). A container that somebody has added to the pod may go on for as long as it likes.
    """
    if view.over or not view.last:
        return False
    if ended["exitCode"] == 0:
        return view.is_told_to_stop and not view.publishes
    status = view.pod.get("status", {})
    others = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return not any(running(container) is not None for container in others)


def _waiting(view: _View) -> tuple[str | None, str | None]:
    for container in (view.fetch, view.own):
        hindrance = stuck(container)
        if hindrance is not None:
            return hindrance
    scheduled = condition_of(view.pod, "PodScheduled")
    if scheduled and scheduled["status"] == "False":
        return scheduled.get("reason", "Unschedulable"), str(scheduled.get("message", ""))
    return None, None
