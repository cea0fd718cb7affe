"""What Cairn costs where runs go to Kubeflow Pipelines, beside the same runs as Jobs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cairn.api.base import JsonObject
from tests.bench.active import Reading, Timeline, behind, mistake
from tests.bench.arms import CairnArm, Done
from tests.bench.cost import Meter
from tests.bench.kubeflow_server import KubeflowServer, S3Server
from tests.bench.measure import CAIRN_NAMESPACE, Bench, tell
from tests.bench.names import CAIRN_JOBS, KUBEFLOW, KUBEFLOW_QUICK
from tests.bench.objects import JOBS_STACK
from tests.bench.parts import KUBEFLOW_RUNS, KUBEFLOW_STEP_SECONDS, KUBEFLOW_STEPS, PARTS
from tests.bench.results import Measurement, OnKubeflow
from tests.bench.work import Work

READ_EVERY_SECONDS = 10
IN_MEMORY = f"--in-memory={KUBEFLOW_STEP_SECONDS}"
"""Its pods would need a kubelet that runs what is in them."""
SERVERS: Mapping[str, Mapping[str, tuple[str, Sequence[str]]]] = {
    KUBEFLOW_RUNS: {KUBEFLOW: ("bench-kfp", [IN_MEMORY])},
    KUBEFLOW_STEPS: {KUBEFLOW: ("bench-kfp", []), KUBEFLOW_QUICK: ("bench-kfp-quick", ["--requeue-seconds=1"])},
}
"""Of each part, by arm: its name, and options of the backend's command line."""


@dataclass
class FollowedArm(CairnArm):
    """Runs, as Jobs or on Kubeflow Pipelines, of which is noted when each was under way and over; for one work."""

    label: str = CAIRN_JOBS
    server: KubeflowServer | None = None
    meter: Meter | None = None
    """Read while all runs are active, where that is asked for."""
    timeline: Timeline = field(default_factory=Timeline)

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self.label

    def note(self, body: JsonObject, moment: float) -> None:
        """Note how far a run is."""
        self.timeline.note(body, moment)

    async def do(self, work: Work) -> Done:
        """Do the work, read the counters meanwhile, and see that Kubeflow Pipelines has each run once."""
        before = await self._asked()
        readings: list[Reading] = []
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(self.meter, work.runs, readings)) if self.meter else None
            done = await super().do(work)
            if reading is not None:
                reading.cancel()
        began = max(self.timeline.over.values()) - done.seconds
        return replace(
            done,
            moments=self.timeline.moments(began),
            active=self.timeline.active(readings),
            kubeflow=await self._on_kubeflow(before),
        )

    async def _read(self, meter: Meter, runs: int, readings: list[Reading]) -> None:
        """Read the counters again and again from when all runs are under way until the first is over."""
        while len(self.timeline.under_way) < runs:
            await asyncio.sleep(0.2)
        tell(f"      all {runs} are active")
        while not self.timeline.over:
            cpu, peak = await meter.usage()
            asked = await self._asked()
            readings.append(Reading(time.monotonic(), cpu, peak, asked))
            await asyncio.sleep(READ_EVERY_SECONDS)

    async def _asked(self) -> Counter[str]:
        return await self.server.counts() if self.server is not None else Counter()

    async def _on_kubeflow(self, before: Counter[str]) -> OnKubeflow | None:
        if self.server is None:
            return None
        asked = await self._asked() - before
        wrong = mistake(self.timeline, await self.server.runs())
        if wrong is not None:
            raise AssertionError(f"{self.label}: {wrong}")
        told, noticed = behind(self.timeline, await self.server.ends(), time.time() - time.monotonic())
        return OnKubeflow(requests=dict(sorted(asked.items())), told_after=told, noticed_after=noticed)


async def measure_kubeflow(bench: Bench, name: str, size: float, repetitions: int | None) -> AsyncIterator[Measurement]:
    """Yield what the same runs take as Jobs and on each Kubeflow Pipelines, in the other order every other time."""
    part, cluster = PARTS[name], bench.cluster
    s3 = S3Server(cluster)
    await s3.install(CAIRN_NAMESPACE)
    servers: dict[str, KubeflowServer | None] = {CAIRN_JOBS: None}
    for label, (stack, options) in SERVERS[name].items():
        servers[label] = server = KubeflowServer(cluster, stack)
        await server.install(CAIRN_NAMESPACE, s3, options)
    meter = bench.meter if name == KUBEFLOW_RUNS else None
    for repetition in range(repetitions or part.repetitions_on(cluster.variant)):
        labels = list(servers)
        for label in reversed(labels) if repetition % 2 else labels:
            server = servers[label]
            stack = server.stack if server is not None else JOBS_STACK
            arm = FollowedArm(
                cluster.kubernetes, CAIRN_NAMESPACE, stack, timelines=False, label=label, server=server, meter=meter
            )
            one = await bench.once(name, arm, part.work(size))
            for line in printed(one):
                tell(f"      {line}")
            yield one
            await cluster.clear(CAIRN_NAMESPACE)


def printed(one: Measurement) -> Iterator[str]:
    """Yield what is said of a measurement on the terminal."""
    if one.active is not None:
        used = f"{one.active.cores:.3f} cores, {one.active.peak_mib:.0f} MiB at most"
        yield f"all {one.runs} were active for {one.active.lasted:.0f} s; the operator meanwhile: {used}"
    if one.active is not None and one.active.requests:
        yield f"requests to Kubeflow Pipelines meanwhile: {one.active.rate:.1f} /s, at most {one.active.busiest:.1f} /s"
        for kind, count in one.active.requests.items():
            yield f"  {kind}: {count / one.active.seconds:.2f} /s"
    if one.kubeflow is not None:
        yield f"requests to Kubeflow Pipelines per run: {sum(one.kubeflow.requests.values()) / one.runs:.1f}"
        slowest = max(one.kubeflow.behind)
        yield f"from its end to the PipelineRun's: {slowest:.2f} s, {max(one.kubeflow.noticed_after):.2f} s after it was told"
