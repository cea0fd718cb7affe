"""Two ways to do the same work: Cairn's runs, and plain Jobs or pods made by hand when what they wait for has finished."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, Kubernetes, Resource
from tests.bench.follow import (
    See,
    Sightings,
    following,
    job_has_finished,
    pod_has_finished,
    run_has_finished,
    task_of,
)
from tests.bench.many import create_all
from tests.bench.names import BARE_PODS, CAIRN_JOBS, CAIRN_PODS, PLAIN_JOBS
from tests.bench.objects import JOBS_STACK, plain_job, plain_pod
from tests.bench.results import Active, OnKubeflow
from tests.bench.work import Task, Work

NO_PROGRESS_SECONDS = 600
PROGRESS_SECONDS = 10


@dataclass
class Done:
    """Work that is finished."""

    seconds: float
    """From the first create to the event that shows the last one finished."""
    gaps: list[float] = field(default_factory=list[float])
    largest_status: int | None = None
    """Bytes of the largest status of a run that was seen."""
    tracker_requests: dict[str, int] = field(default_factory=dict[str, int])
    """What the experiment tracker was asked for."""
    moments: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds from the first create until something happened."""
    kubeflow: OnKubeflow | None = None
    """What Kubeflow Pipelines was asked for, and when it was done."""
    active: Active | None = None
    """What went on while all runs were active at once."""


class Arm(Protocol):
    """A way to do work."""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        ...

    async def do(self, work: Work) -> Done:
        """Do the work and return when all of it is finished."""
        ...


class Progress:
    """Waits until everything is finished, and says on the terminal how far it is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._finished: dict[str, float] = {}
        self._changed = asyncio.Event()

    def finished(self, name: str, moment: float) -> bool:
        """Note that something is finished; False where that was known."""
        if name in self._finished:
            return False
        self._finished[name] = moment
        self._changed.set()
        return True

    async def all(self) -> float:
        """Wait for the last one and return when it finished."""
        told = advanced = time.monotonic()
        while len(self._finished) < self._total:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), PROGRESS_SECONDS)
                advanced = time.monotonic()
            now = time.monotonic()
            if now - advanced > NO_PROGRESS_SECONDS:
                raise TimeoutError(f"{len(self._finished)} of {self._total} finished, and none in the last minutes")
            if now - told > PROGRESS_SECONDS and self._total > 1:
                told = now
                sys.stdout.write(f"      {len(self._finished)} of {self._total}\n")
                sys.stdout.flush()
        return max(self._finished.values())


class Order:
    """Which tasks wait for which."""

    def __init__(self, work: Work) -> None:
        self._waits = {task: set(work.predecessors(task)) for task in work.tasks}
        self._followers: dict[Task, list[Task]] = {task: [] for task in self._waits}
        for task, predecessors in self._waits.items():
            for before in predecessors:
                self._followers[before].append(task)

    @property
    def first(self) -> list[Task]:
        """Tasks that wait for none."""
        return [task for task, predecessors in self._waits.items() if not predecessors]

    def freed_by(self, done: Task) -> Iterator[Task]:
        """Yield the tasks that waited for this one last."""
        for task in self._followers[done]:
            self._waits[task].discard(done)
            if not self._waits[task]:
                yield task


@dataclass
class CairnArm:
    """Runs on a Stack."""

    kubernetes: Kubernetes
    namespace: str
    stack: str
    timelines: bool = True
    """Whether to look at each pod; the bench has other things to do in a flood."""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return CAIRN_JOBS if self.stack == JOBS_STACK else CAIRN_PODS

    def note(self, body: JsonObject, moment: float) -> None:
        """Take note of a run, where more is asked for than when all have finished."""

    async def do(self, work: Work) -> Done:
        """Create the runs at once and wait for the last to finish."""
        progress, seen, sizes = Progress(work.runs), Sightings(), [0]

        def run_seen(body: JsonObject, moment: float) -> None:
            self.note(body, moment)
            if self.timelines:
                sizes.append(len(json.dumps(body.get("status") or {}, separators=(",", ":"))))
            if run_has_finished(body):
                progress.finished(body["metadata"]["name"], moment)

        watched: dict[Resource, See] = {PIPELINE_RUNS: run_seen}
        if self.timelines:
            watched |= {JOBS: seen.job, PODS: seen.pod} if self.stack == JOBS_STACK else {PODS: seen.bare_pod}
        async with following(self.kubernetes, self.namespace, watched):
            began = time.monotonic()
            await create_all(self.kubernetes, PIPELINE_RUNS, self.namespace, work.manifests(self.stack))
            ended = await progress.all()
        return Done(ended - began, seen.gaps(work), max(sizes) or None)


@dataclass
class PlainArm:
    """Jobs, or pods, with the same pod that Cairn makes."""

    kubernetes: Kubernetes
    namespace: str
    job_of_cairn: JsonObject
    pods: bool = False
    timelines: bool = True

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return BARE_PODS if self.pods else PLAIN_JOBS

    async def do(self, work: Work) -> Done:
        """Create the Jobs that wait for nothing at once, each other one when all that it waits for have finished."""
        progress, seen, order = Progress(work.runs * len(work.steps)), Sightings(), Order(work)
        ready = asyncio.Queue[Task]()

        def finished(body: JsonObject, moment: float) -> None:
            done = task_of(body)
            if progress.finished("/".join(done), moment):
                for task in order.freed_by(done):
                    ready.put_nowait(task)

        def job_seen(body: JsonObject, moment: float) -> None:
            seen.job(body, moment)
            if job_has_finished(body):
                finished(body, moment)

        def pod_seen(body: JsonObject, moment: float) -> None:
            seen.bare_pod(body, moment)
            if pod_has_finished(body):
                finished(body, moment)

        watched: dict[Resource, See] = {PODS: pod_seen} if self.pods else {JOBS: job_seen}
        if self.timelines and not self.pods:
            watched[PODS] = seen.pod
        async with following(self.kubernetes, self.namespace, watched), asyncio.TaskGroup() as creators:
            began = time.monotonic()
            await self._create(order.first)
            feeding = creators.create_task(self._feed(ready, creators))
            ended = await progress.all()
            feeding.cancel()
        return Done(ended - began, seen.gaps(work))

    async def _feed(self, ready: asyncio.Queue[Task], creators: asyncio.TaskGroup) -> None:
        while True:
            creators.create_task(self._create([await ready.get()]))

    async def _create(self, tasks: Iterable[Task]) -> None:
        make = plain_pod if self.pods else plain_job
        manifests = (make(self.job_of_cairn, run, step) for run, step in tasks)
        await create_all(self.kubernetes, PODS if self.pods else JOBS, self.namespace, manifests)
