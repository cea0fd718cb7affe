"""Finds out what the Jobs and pods of a run show of its attempts, with the few requests that this needs."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.labels import shortened
from cairn.api.pipelinerun import pipeline_of
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.step import Step
from cairn.api.workloads import pod_has_ended
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, JOBS, PODS, InvalidError, NotFoundError, Resource
from cairn.clients.store import Key, key_of
from cairn.runs import naming
from cairn.runs.needed import remember, store_of
from cairn.runs.observation import (
    POD_DELETED,
    AttemptObservation,
    attempts_in,
    has_ended,
    observe_without_pod,
)
from cairn.runs.planner import Observed
from cairn.runs.pod_end import (
    NOTHING_SEEN,
    EarlierSight,
    earliest,
    end_is_to_be_told,
    is_lost,
    removal_requested_at,
)
from cairn.runs.pod_objections import PodObjections
from cairn.runs.pod_observation import observe_pod
from cairn.runs.states import ACTIVE
from cairn.runs.step_plan import is_over

logger = logging.getLogger(__name__)

LOG_TAIL_BYTES = 16 * 1024
LOG_TAIL_LINES = 40
REPORT_AWAITED_SECONDS = 300.0
"""How long the log of one of Cairn's containers is asked for, without which a step's outputs are lost."""
LOG_TAIL_AWAITED_SECONDS = 30.0
"""How long that of a step is asked for: it only tells more about a failure."""
POD_EXPECTED_SECONDS = 5.0
"""How soon a Job has a pod, where nothing hinders it."""


@dataclass
class _Findings:
    """What was found out of a run by asking, for as long as it is active."""

    logs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """The ends of containers' logs, by pod UID and container, until what they were read for is recorded."""
    unreadable_since: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """When such a log could not be read first, on the monotonic clock."""
    sights: dict[str, EarlierSight] = field(default_factory=dict[str, EarlierSight])
    """What was seen of pods that are going, by UID."""
    podless_since: dict[str, float] = field(default_factory=dict[str, float])
    """When a Job was first seen without a pod, by its UID, on the monotonic clock."""

    def keep_only(self, pods: Container[str | None], jobs: Container[str | None]) -> None:
        """Forget what was found out of others than these, by their UIDs."""
        self.logs = {uid: logs for uid, logs in self.logs.items() if uid in pods}
        self.unreadable_since = {of: since for of, since in self.unreadable_since.items() if of[0] in pods}
        self.sights = {uid: sight for uid, sight in self.sights.items() if uid in pods}
        self.podless_since = {uid: since for uid, since in self.podless_since.items() if uid in jobs}


class AttemptReader:
    """Reads the attempts of runs; holds only what can be found out again."""

    def __init__(self, cluster: Cluster, objections: PodObjections, clock: Clock) -> None:
        self._cluster = cluster
        self._objections = objections
        self._clock = clock
        self._findings: dict[Key, _Findings] = {}

    def forget(self, key: Key) -> None:
        """Forget what was found out of a run: it is over."""
        self._findings.pop(key, None)

    async def observe(self, body: JsonObject, steps: Mapping[str, Step], status: PipelineRunStatus) -> Observed:
        """Return the attempts that are there, but those that are over and recorded as such."""
        recorded = {step.name: step for step in status.steps}
        await self._look_for_vanished(body, status)
        uid = body["metadata"]["uid"]
        pods = self._cluster.pods.indexed(*run_index(body))
        of_jobs = newest_by_job(pods)
        findings = self._findings.setdefault(key_of(body), _Findings())
        seen: list[AttemptObservation] = []
        for job in self._cluster.jobs.indexed(*run_index(body)):
            attempts = attempts_in(job, steps)
            over = is_settled(attempts, recorded) and (has_ended(job) or is_being_deleted(job))
            if owned_by(job, uid) and not over:
                seen += await self._of_job(body, job, of_jobs.get(job["metadata"]["uid"]), attempts, recorded)
        for pod in pods:
            attempts = attempts_in(pod, steps)
            over = is_settled(attempts, recorded) and (pod_has_ended(pod) or is_being_deleted(pod))
            if owned_by(pod, uid) and not over:  # one of a Job belongs to that
                seen += await self._of_pod(body, None, pod, attempts, recorded)
        findings.keep_only({attempt.pod_uid for attempt in seen}, {attempt.job_uid for attempt in seen})
        return Observed(recorded, seen, start_time=status.start_time)

    async def look_for_unanswered(self, body: JsonObject) -> None:
        """Ask for all that was created for a run: the API server may have created what it gave no answer to."""
        namespace, name = key_of(body)
        for resource in (JOBS, PODS):
            found, _ = await self._cluster.kubernetes.list(resource, namespace, selector=naming.selector_of_run(name))
            for workload in found:
                remember(self._cluster, resource, workload)

    async def _look_for_vanished(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Ask for what is recorded and the watch has not told of: an attempt must not be judged by a watch that lags."""
        for step in status.steps:
            name = step.job_name or step.pod_name
            if step.state in ACTIVE and name is not None:
                await self._ask_for_unseen(JOBS if step.job_name else PODS, body, name)

    async def _watched_again(self, resource: Resource, body: JsonObject, workload: JsonObject) -> JsonObject:
        """Return a Job or pod with the labels that it is watched by, which somebody may have taken off.

        One that does not tell any more which attempts it is of is deleted: others are about to be made.
        """
        metadata = workload["metadata"]
        run = naming.RunIdentity(*key_of(body), body["metadata"]["uid"], pipeline_of(body))
        pairs = naming.attempts_of(metadata.get("annotations") or {})
        if not pairs:
            await self._cluster.kubernetes.delete(resource, *key_of(workload), uid=metadata["uid"])
            return workload
        labels = naming.labels(run, body["status"]["stack"]["name"], pairs)
        if is_being_deleted(workload) or labels.items() <= (metadata.get("labels") or {}).items():
            return workload
        logger.warning("%s %s has lost its labels, which it gets again", resource.kind, metadata["name"])
        return await self._cluster.kubernetes.merge(resource, *key_of(workload), {"metadata": {"labels": labels}})

    async def _ask_for_unseen(self, resource: Resource, body: JsonObject, name: str) -> None:
        namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
        seen = store_of(self._cluster, resource).get((namespace, name))
        if seen is not None and owned_by(seen, uid):
            return
        with suppress(NotFoundError):
            found = await self._cluster.kubernetes.get(resource, namespace, name)
            if owned_by(found, uid):
                remember(self._cluster, resource, await self._watched_again(resource, body, found))

    async def _of_job(
        self,
        body: JsonObject,
        job: JsonObject,
        pod: JsonObject | None,
        attempts: Sequence[tuple[Step, int]],
        recorded: Mapping[str, StepStatus],
    ) -> list[AttemptObservation]:
        if pod is None and has_ended(job):
            pod = await self._unseen_pod(job)
        if pod is None:
            findings = self._findings.setdefault(key_of(body), _Findings())
            begun = _from_the_one_under_way(job, attempts, recorded)
            return list(observe_without_pod(job, begun, await self._hindrance(job, findings)))
        return await self._of_pod(body, job, pod, attempts, recorded)

    async def _of_pod(
        self,
        body: JsonObject,
        job: JsonObject | None,
        pod: JsonObject,
        attempts: Sequence[tuple[Step, int]],
        recorded: Mapping[str, StepStatus],
    ) -> list[AttemptObservation]:
        findings = self._findings.setdefault(key_of(body), _Findings())
        now = self._clock.now()
        uid = pod["metadata"]["uid"]
        logs = findings.logs.setdefault(uid, {})
        earlier = findings.sights[uid] = _sight_of(pod, findings.sights.get(uid, NOTHING_SEEN), now)
        if any(status.reason == POD_DELETED for _, status in _under_way(attempts, recorded)):
            earlier = replace(earlier, was_being_deleted=True)
        observe = partial(observe_pod, job, pod, attempts, logs, now, earlier=earlier)
        seen = list(observe())
        while wanted := [attempt.wants_log_of for attempt in seen if attempt.wants_log_of]:
            if not all([await self._read_log(pod, container, findings) for container in wanted]):
                break  # these attempts stay undecided until the logs can be read
            seen = list(observe())
        return seen

    async def _unseen_pod(self, job: JsonObject) -> JsonObject | None:
        """Return the pod of a Job that has ended before its pod was seen: Jobs and pods are watched apart, in no order."""
        metadata = job["metadata"]
        selector = f"batch.kubernetes.io/controller-uid={metadata['uid']}"
        pods, _ = await self._cluster.kubernetes.list(PODS, metadata["namespace"], selector=selector)
        newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)
        if newest is not None:
            remember(self._cluster, PODS, newest)
        return newest

    async def _hindrance(self, job: JsonObject, findings: _Findings) -> str | None:
        """Return what the API server has against the pod of a Job that has none for long."""
        if has_ended(job):
            return None
        now = self._clock.monotonic()
        if now - findings.podless_since.setdefault(job["metadata"]["uid"], now) < POD_EXPECTED_SECONDS:
            return None
        with suppress(NotFoundError):  # it has been deleted, which is about to be seen
            return await self._objections.objection_to(job)
        return None

    async def _read_log(self, pod: JsonObject, container: str, findings: _Findings) -> bool:
        """Read the end of a container's log; return whether that is settled, also because the log is gone or not to be had."""
        metadata = pod["metadata"]
        is_report = container.startswith(naming.RESERVED_PREFIX)
        lines = 1 if is_report else LOG_TAIL_LINES
        try:
            text = await self._cluster.kubernetes.pod_log(
                metadata["namespace"], metadata["name"], container, lines=lines, limit=LOG_TAIL_BYTES
            )
        except (NotFoundError, InvalidError):
            text = ""
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("The log of %s in pod %s could not be read: %s", container, metadata["name"], error)
            now = self._clock.monotonic()
            since = findings.unreadable_since.setdefault((metadata["uid"], container), now)
            may_be_read_yet = now - since < (REPORT_AWAITED_SECONDS if is_report else LOG_TAIL_AWAITED_SECONDS)
            if may_be_read_yet and not is_lost(pod, self._clock.now()):
                return False
            text = ""
        findings.logs[metadata["uid"]][container] = text
        return True


def owned_by(workload: JsonObject, uid: str) -> bool:
    """Return whether a Job, or a pod without one, is that run's."""
    return any(owner["uid"] == uid for owner in workload["metadata"].get("ownerReferences", ()))


def is_settled(attempts: Sequence[tuple[Step, int]], recorded: Mapping[str, StepStatus]) -> bool:
    """Return whether the status says of all these attempts that they are over."""
    return all(step.name in recorded and is_over(recorded[step.name], number) for step, number in attempts)


def _sight_of(pod: JsonObject, earlier: EarlierSight, now: datetime) -> EarlierSight:
    """Return what is to be remembered of a pod, with what was before."""
    return EarlierSight(
        ended_at=(earlier.ended_at or now) if end_is_to_be_told(pod) else None,
        removal_requested_at=earliest(earlier.removal_requested_at, removal_requested_at(pod)),
    )


def _under_way(
    attempts: Sequence[tuple[Step, int]], recorded: Mapping[str, StepStatus]
) -> Iterator[tuple[int, StepStatus]]:
    """Yield the index of each attempt that is under way, with its step's status."""
    for index, (step, number) in enumerate(attempts):
        status = recorded.get(step.name)
        if status is not None and status.state in ACTIVE and status.attempts == number:
            yield index, status


def _from_the_one_under_way(
    job: JsonObject, attempts: Sequence[tuple[Step, int]], recorded: Mapping[str, StepStatus]
) -> Sequence[tuple[Step, int]]:
    """Return a Job's attempts without those that are over, where one is recorded as under way in that Job."""
    name = job["metadata"]["name"]
    first = next((index for index, status in _under_way(attempts, recorded) if status.job_name == name), 0)
    return attempts[first:]


def run_index(body: JsonObject) -> tuple[str, str]:
    """Return under what the Jobs and pods of a run are found; other runs' may be among them."""
    return body["metadata"]["namespace"], shortened(body["metadata"]["name"])


def newest_by_job(pods: Iterable[JsonObject]) -> Mapping[str, JsonObject]:
    """Return the newest pod of each Job, by the Job's UID: a deleted run of the same name may have left some."""
    newest: dict[str, JsonObject] = {}
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
        owner = next((item for item in pod["metadata"].get("ownerReferences", ()) if item["kind"] == "Job"), None)
        if owner is not None:
            newest[owner["uid"]] = pod
    return newest
