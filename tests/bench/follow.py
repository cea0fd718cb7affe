"""Watches the objects of a namespace and notes when each is first seen to be something, all on one clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import ApiError, GoneError, Kubernetes, Resource
from cairn.runs import naming
from tests.bench.objects import RUN_LABEL, STEP_LABEL
from tests.bench.work import Task, Work

See = Callable[[JsonObject, float], None]
"""Told of an object and of the moment it was seen."""


@asynccontextmanager
async def following(kubernetes: Kubernetes, namespace: str, watched: Mapping[Resource, See]) -> AsyncGenerator[None]:
    """Tell of each object that there is or will be, and of every change of it."""
    async with asyncio.TaskGroup() as tasks:
        ready = [asyncio.Event() for _ in watched]
        followers = [
            tasks.create_task(_follow(kubernetes, resource, namespace, see, event))
            for (resource, see), event in zip(watched.items(), ready, strict=True)
        ]
        for event in ready:
            await event.wait()
        try:
            yield
        finally:
            for follower in followers:
                follower.cancel()


async def _follow(kubernetes: Kubernetes, resource: Resource, namespace: str, see: See, ready: asyncio.Event) -> None:
    while True:
        try:
            items, since = await kubernetes.list(resource, namespace)
            for body in items:
                see(body, time.monotonic())
            while True:
                ready.set()
                events = kubernetes.watch(
                    resource, namespace, since=since, selector="", fields="", accept="application/json"
                )
                async for type_, body in events:
                    since = body["metadata"]["resourceVersion"]
                    if type_ not in {"BOOKMARK", "DELETED"}:
                        see(body, time.monotonic())
        except GoneError:
            continue
        except (ApiError, aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(1)


@dataclass
class Sightings:
    """When the Jobs and pods of tasks were first seen to be made, to have ended, and to be finished."""

    made: dict[Task, float] = field(default_factory=dict[Task, float])
    pod_ended: dict[Task, float] = field(default_factory=dict[Task, float])

    def job(self, body: JsonObject, moment: float) -> None:
        """Note a Job."""
        self.made.setdefault(task_of(body), moment)

    def pod(self, body: JsonObject, moment: float) -> None:
        """Note a pod of a Job."""
        if has_ended(body):
            self.pod_ended.setdefault(task_of(body), moment)

    def bare_pod(self, body: JsonObject, moment: float) -> None:
        """Note a pod that stands for itself."""
        self.job(body, moment)
        self.pod(body, moment)

    def gaps(self, work: Work) -> list[float]:
        """Return the seconds from the end of what a step waits for to the making of its Job, for each that waits."""
        gaps: list[float] = []
        for task in work.tasks:
            ends = [self.pod_ended.get(before) for before in work.predecessors(task)]
            known = [end for end in ends if end is not None]
            if ends and len(known) == len(ends) and task in self.made:
                gaps.append(round(self.made[task] - max(known), 4))
        return gaps


def task_of(body: JsonObject) -> Task:
    """Return what a Job or pod was made for, by Cairn or by hand."""
    labels = body["metadata"].get("labels") or {}
    if RUN_LABEL in labels:
        return labels[RUN_LABEL], labels[STEP_LABEL]
    return labels.get(naming.RUN_LABEL, ""), labels.get(naming.STEP_LABEL, "")


def has_ended(pod: JsonObject) -> bool:
    """Return whether all containers of the pod are seen to have terminated."""
    statuses: Sequence[JsonObject] = pod.get("status", {}).get("containerStatuses") or ()
    return bool(statuses) and all("terminated" in item.get("state", {}) for item in statuses)


def job_has_finished(job: JsonObject) -> bool:
    """Return whether a Job is complete; one that failed ends the bench."""
    conditions = {item["type"]: item["status"] for item in job.get("status", {}).get("conditions") or ()}
    if conditions.get("Failed") == "True":
        raise RuntimeError(f"Job {job['metadata']['name']} failed: {job['status']}")
    return conditions.get("Complete") == "True"


def pod_has_finished(pod: JsonObject) -> bool:
    """Return whether a pod has succeeded; one that failed ends the bench."""
    phase = pod.get("status", {}).get("phase")
    if phase == "Failed":
        raise RuntimeError(f"pod {pod['metadata']['name']} failed: {pod['status']}")
    return phase == "Succeeded"


def run_has_finished(run: JsonObject) -> bool:
    """Return whether a run has succeeded; one that ended in another way ends the bench."""
    status = run.get("status") or {}
    if not status.get("completionTime"):
        return False
    succeeded = next(item for item in status["conditions"] if item["type"] == "Succeeded")
    if succeeded["status"] != "True":
        raise RuntimeError(f"run {run['metadata']['name']} has not succeeded: {succeeded}")
    return True
