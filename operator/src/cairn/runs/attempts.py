"""Finds out what the Jobs and pods of a run show of its attempts, with the few requests that this needs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from cairn.api.base import JsonObject
from cairn.api.labels import shortened
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.step import Step
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import JOBS, PODS, ApiError, InvalidError, NotFoundError
from cairn.clients.store import Key, key_of
from cairn.runs.admission import PodAdmission
from cairn.runs.needed import needed_of_job
from cairn.runs.observation import AttemptObservation, attempts_in, has_ended, observe_without_pod
from cairn.runs.planner import Observed
from cairn.runs.pod_observation import observe_pod
from cairn.runs.step_plan import ACTIVE, is_over

logger = logging.getLogger(__name__)

CAN_BE_TRIED_AGAIN = (ApiError, aiohttp.ClientError, TimeoutError)
LOG_TAIL_BYTES = 16 * 1024
LOG_TAIL_LINES = 40
POD_EXPECTED_SECONDS = 5.0
"""How soon a Job has a pod, where nothing hinders it; and how often to ask what does."""


@dataclass
class _Podless:
    """A Job that has no pod yet."""

    asked: float
    """When it was first seen, or last asked for the hindrance, on the monotonic clock."""
    hindrance: str | None = None


@dataclass
class _Findings:
    """What was found out of a run by asking, for as long as it is active."""

    logs: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """The ends of containers' logs, by pod UID and container."""
    podless: dict[str, _Podless] = field(default_factory=dict[str, _Podless])
    """By the Job's UID."""


class AttemptReader:
    """Reads the attempts of runs; holds only what can be found out again."""

    def __init__(self, cluster: Cluster, admission: PodAdmission, clock: Clock) -> None:
        self._cluster = cluster
        self._admission = admission
        self._clock = clock
        self._findings: dict[Key, _Findings] = {}

    def forget(self, key: Key) -> None:
        """Forget what was found out of a run: it is over."""
        self._findings.pop(key, None)

    async def observe(self, body: JsonObject, spec: PipelineRunSpec, status: PipelineRunStatus) -> Observed:
        """Return the attempts that are there, but those that are over and recorded as such."""
        steps = {step.name: step for step in spec.steps}
        recorded = {step.name: step for step in status.steps}
        await self._look_for_vanished_jobs(body, status)
        jobs = self._jobs_of(body)
        pods = newest_by_job(self._cluster.pods.indexed(*run_index(body)))
        seen: list[AttemptObservation] = []
        for job in jobs:
            attempts = attempts_in(job, steps)
            settled = all(step.name in recorded and is_over(recorded[step.name], number) for step, number in attempts)
            if settled and (has_ended(job) or job["metadata"].get("deletionTimestamp")):
                continue
            seen += await self._attempts(body, job, pods.get(job["metadata"]["uid"]), attempts)
        return Observed(recorded, seen, start_time=status.start_time)

    def _jobs_of(self, body: JsonObject) -> list[JsonObject]:
        uid = body["metadata"]["uid"]
        return [job for job in self._cluster.jobs.indexed(*run_index(body)) if owned_by(job, uid)]

    async def _look_for_vanished_jobs(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Ask for recorded Jobs that the watch has not told of: an attempt must not be judged by a watch that lags."""
        namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
        known = {job["metadata"]["name"] for job in self._jobs_of(body)}
        for name in {step.job_name for step in status.steps if step.state in ACTIVE and step.job_name} - known:
            try:
                job = await self._cluster.kubernetes.get(JOBS, namespace, name)
            except NotFoundError:
                continue
            if owned_by(job, uid):
                self._cluster.jobs.put(needed_of_job(job))

    async def _attempts(
        self, body: JsonObject, job: JsonObject, pod: JsonObject | None, attempts: Sequence[tuple[Step, int]]
    ) -> list[AttemptObservation]:
        if pod is None and has_ended(job):
            pod = await self._unseen_pod(job)
        findings = self._findings.setdefault(key_of(body), _Findings())
        if pod is None:
            return list(observe_without_pod(job, attempts, await self._hindrance(job, findings)))
        now = self._clock.now()
        seen = list(observe_pod(job, pod, attempts, _logs_of(pod, findings), now))
        while wanted := [attempt.wants_log_of for attempt in seen if attempt.wants_log_of]:
            if not all([await self._read_log(pod, container, findings) for container in wanted]):
                break  # these attempts stay undecided until the logs can be read
            seen = list(observe_pod(job, pod, attempts, _logs_of(pod, findings), now))
        return seen

    async def _unseen_pod(self, job: JsonObject) -> JsonObject | None:
        """Return the pod of a Job that has ended before its pod was seen: Jobs and pods are watched apart, in no order."""
        metadata = job["metadata"]
        selector = f"batch.kubernetes.io/controller-uid={metadata['uid']}"
        pods, _ = await self._cluster.kubernetes.list(PODS, metadata["namespace"], selector=selector)
        return max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)

    async def _hindrance(self, job: JsonObject, findings: _Findings) -> str | None:
        """Return what the API server has against the pod of a Job that has none for long.

        The Job controller tells that in an Event only. What it met with, such as a quota, a dry run meets with as well.
        """
        if has_ended(job):
            return None
        metadata, now = job["metadata"], self._clock.monotonic()
        podless = findings.podless.setdefault(metadata["uid"], _Podless(asked=now))
        if now - podless.asked < POD_EXPECTED_SECONDS:
            return podless.hindrance
        podless.asked = now
        try:
            whole = await self._cluster.kubernetes.get(JOBS, metadata["namespace"], metadata["name"])
            podless.hindrance = await self._admission.objection_to(whole)
        except NotFoundError:
            return None  # it has been deleted, which is about to be seen
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("What hinders the pod of Job %s could not be found out: %s", metadata["name"], error)
        return podless.hindrance

    async def _read_log(self, pod: JsonObject, container: str, findings: _Findings) -> bool:
        """Read the end of a container's log; return whether that is settled, also because the log is gone."""
        metadata = pod["metadata"]
        lines = 1 if container.startswith("cairn-") else LOG_TAIL_LINES
        try:
            text = await self._cluster.kubernetes.pod_log(
                metadata["namespace"], metadata["name"], container, lines=lines, limit=LOG_TAIL_BYTES
            )
        except (NotFoundError, InvalidError):
            text = ""
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("The log of %s in pod %s could not be read: %s", container, metadata["name"], error)
            return False
        findings.logs[metadata["uid"], container] = text
        return True


def owned_by(job: JsonObject, uid: str) -> bool:
    """Return whether a Job is that run's."""
    return any(owner["uid"] == uid for owner in job["metadata"].get("ownerReferences", ()))


def run_index(body: JsonObject) -> tuple[str, str]:
    """Return under what the Jobs and pods of a run are found; other runs' may be among them."""
    return body["metadata"]["namespace"], shortened(body["metadata"]["name"])


def _logs_of(pod: JsonObject, findings: _Findings) -> Mapping[str, str]:
    uid = pod["metadata"]["uid"]
    return {container: text for (pod_uid, container), text in findings.logs.items() if pod_uid == uid}


def newest_by_job(pods: Iterable[JsonObject]) -> Mapping[str, JsonObject]:
    """Return the newest pod of each Job, by the Job's UID: a deleted run of the same name may have left some."""
    newest: dict[str, JsonObject] = {}
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
        owner = next((item for item in pod["metadata"].get("ownerReferences", ()) if item["kind"] == "Job"), None)
        if owner is not None:
            newest[owner["uid"]] = pod
    return newest
