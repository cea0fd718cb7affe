"""Measures a part on a cluster: Cairn and plain Jobs in turn, each in a namespace that is cleared in between."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import JOBS
from tests.bench.arms import Arm, CairnArm, PlainArm
from tests.bench.cluster import BenchCluster
from tests.bench.cost import Meter
from tests.bench.objects import JOBS_STACK, PODS_STACK
from tests.bench.parts import Part
from tests.bench.results import Measurement
from tests.bench.work import Work, one_step

CAIRN_NAMESPACE, PLAIN_NAMESPACE = "bench-cairn", "bench-plain"


class Bench:
    """A cluster that is ready to be measured on."""

    def __init__(self, cluster: BenchCluster) -> None:
        self._cluster = cluster
        self.meter = Meter(cluster)
        self._job: JsonObject = {}

    @property
    def cluster(self) -> BenchCluster:
        """The cluster."""
        return self._cluster

    async def prepare(self) -> None:
        """Make the namespaces, have Cairn make a Job, whose pod the plain Jobs then have too, and find the idle rate."""
        await self._cluster.add_namespace(CAIRN_NAMESPACE, stacks=True)
        await self._cluster.add_namespace(PLAIN_NAMESPACE, stacks=False)
        kubernetes = self._cluster.kubernetes
        await CairnArm(kubernetes, CAIRN_NAMESPACE, JOBS_STACK).do(one_step(prefix="warm-up"))
        self._job = (await kubernetes.list(JOBS, CAIRN_NAMESPACE))[0][0]
        await PlainArm(kubernetes, PLAIN_NAMESPACE, self._job).do(one_step(prefix="warm-up"))
        await self._clear()
        await self.meter.settle()

    async def measure(self, name: str, part: Part, size: float, repetitions: int | None) -> AsyncIterator[Measurement]:
        """Yield what every repetition of every arm took."""
        work = part.work(size)
        for repetition in range(repetitions or part.repetitions_on(self._cluster.variant)):
            for arm in self._arms(part, turned=bool(repetition % 2)):
                yield await self.once(name, arm, work)
                await self._clear()

    async def once(self, name: str, arm: Arm, work: Work) -> Measurement:
        """Do the work once, with an operator that has just been started."""
        is_cairn = isinstance(arm, CairnArm)
        if is_cairn:
            await self._cluster.restart_operator()
        before = await self.meter.snapshot()
        done = await arm.do(work)
        cost = await self.meter.since(before)
        tell(f"    {arm.name}: {done.seconds:.1f} s")
        return Measurement(
            part=name,
            cluster=self._cluster.variant,
            arm=arm.name,
            runs=work.runs,
            steps=len(work.steps),
            seconds=round(done.seconds, 3),
            gaps=done.gaps,
            requests=cost.requests,
            operator=cost.operator if is_cairn else None,
            status_bytes=done.largest_status,
            updates=cost.updates if is_cairn and done.largest_status else [],
            tracker_requests=done.tracker_requests,
            moments=done.moments,
            kubeflow=done.kubeflow,
            active=done.active,
        )

    def cairn(self, stack: str, *, timelines: bool = True) -> CairnArm:
        """Return the arm that has runs on that Stack."""
        return CairnArm(self._cluster.kubernetes, CAIRN_NAMESPACE, stack, timelines)

    def _arms(self, part: Part, *, turned: bool) -> list[Arm]:
        """Return the floor and Cairn for each Stack, in the other order every other time."""
        arms: list[Arm] = []
        for stack in part.stacks:
            pods = stack == PODS_STACK
            floor = PlainArm(self._cluster.kubernetes, PLAIN_NAMESPACE, self._job, pods, part.timelines)
            pair: list[Arm] = [floor] if part.floor else []
            pair.append(self.cairn(stack, timelines=part.timelines))
            arms += reversed(pair) if turned else pair
        return arms

    async def _clear(self) -> None:
        for namespace in (CAIRN_NAMESPACE, PLAIN_NAMESPACE):
            await self._cluster.clear(namespace)


def tell(text: str) -> None:
    """Say something on the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def moments(began: float, seen: Mapping[str, float]) -> dict[str, float]:
    """Return in how many seconds each thing happened."""
    return {what: round(moment - began, 3) for what, moment in seen.items()}
