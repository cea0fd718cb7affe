"""What it costs to have runs recorded, and what becomes of them when the tracker does not answer as it should."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace

from cairn.clients.kubernetes import PIPELINE_RUNS
from tests.bench.arms import CairnArm, Done
from tests.bench.measure import CAIRN_NAMESPACE, Bench, tell
from tests.bench.mlflow_server import TRACKED_STACK, MLflowServer
from tests.bench.names import TRACKED, UNTRACKED
from tests.bench.objects import JOBS_STACK
from tests.bench.parts import PARTS, TRACKING_FAULTS
from tests.bench.results import Measurement
from tests.bench.work import Work

RECORDED_SECONDS = 900.0
PIPELINE = "bench"


@dataclass
class TrackedArm(CairnArm):
    """Runs that are recorded, while something may be wrong with the tracker."""

    server: MLflowServer | None = None
    label: str = UNTRACKED
    fault: AbstractAsyncContextManager[None] = field(default_factory=nullcontext)

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self.label

    async def do(self, work: Work) -> Done:
        """Do the work, mend what is wrong, and wait until all is recorded, which is not part of the time."""
        if self.server is None:
            return await super().do(work)
        before = await self.server.counts()
        async with self.fault:
            done = await super().do(work)
        await self._all_recorded()
        asked = await self.server.counts() - before
        await self._need_each_once(work, self.server)
        return replace(done, tracker_requests=dict(asked))

    async def _all_recorded(self) -> None:
        async with asyncio.timeout(RECORDED_SECONDS):
            while left := await self._not_recorded():
                tell(f"      {left} are not recorded yet")
                await asyncio.sleep(3)

    async def _not_recorded(self) -> int:
        runs, _ = await self.kubernetes.list(PIPELINE_RUNS, self.namespace)
        recorded = (
            any(item["type"] == "Tracked" and item["reason"] == "Recorded" for item in run["status"]["conditions"])
            for run in runs
        )
        return sum(not one for one in recorded)

    async def _need_each_once(self, work: Work, server: MLflowServer) -> None:
        """Fail unless the tracker has every run and attempt once, and each has ended."""
        found = await server.runs(PIPELINE, work.prefix)
        names = Counter(next(tag["value"] for tag in run["data"]["tags"] if tag["key"] == "cairn.run") for run in found)
        wanted = dict.fromkeys(work.names, 1 + len(work.steps))
        states = Counter(run["info"]["status"] for run in found)
        if names != wanted or set(states) != {"FINISHED"}:
            raise AssertionError(f"{self.label}: MLflow has {sum(names.values())} records, {dict(states)}")


async def measure_tracking(bench: Bench, name: str, size: float, repetitions: int | None) -> AsyncIterator[Measurement]:
    """Yield what the same runs take without a tracker, with one, and with each of its faults."""
    part = PARTS[name]
    server = MLflowServer(bench.cluster)
    await server.install(CAIRN_NAMESPACE)
    for repetition in range(repetitions or part.repetitions_on(bench.cluster.variant)):
        arms = [(UNTRACKED, None), (TRACKED, nullcontext)]
        if name == TRACKING_FAULTS:
            arms += list(server.faults.items())
        for number, (label, fault) in enumerate(arms):
            stack = JOBS_STACK if fault is None else TRACKED_STACK
            arm = TrackedArm(bench.cluster.kubernetes, CAIRN_NAMESPACE, stack, timelines=False, label=label)
            if fault is not None:
                arm = replace(arm, server=server, fault=fault())
            work = replace(part.work(size), prefix=f"r{repetition}a{number}")
            yield await bench.once(name, arm, work)
            await bench.cluster.clear(CAIRN_NAMESPACE)
