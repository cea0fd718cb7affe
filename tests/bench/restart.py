"""What becomes of active runs when the operator is restarted among many that have finished."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import PIPELINE_RUNS, PODS
from tests.bench.cost import audited, by_verb, pod_of
from tests.bench.follow import following, has_ended, run_has_finished
from tests.bench.many import create_all, for_all
from tests.bench.measure import CAIRN_NAMESPACE, Bench, moments, tell
from tests.bench.objects import HOLD_ANNOTATION, PODS_STACK
from tests.bench.parts import ACTIVE_RUNS, PARTS, RESTART
from tests.bench.results import OPERATOR_WRITES, Measurement, OperatorCost
from tests.bench.work import Work, one_step

ENDED_MEANWHILE = 20
"""Active runs whose pod ends while no operator is there."""
ALL_RUN_SECONDS = ALL_DONE_SECONDS = 600.0
OPERATOR_PODS = "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator"


async def measure_restart(bench: Bench, size: float) -> Measurement:
    """Finish many runs, start some that go on, delete the operator's pod, and see what the next one does."""
    finished = PARTS[RESTART].work(size)
    active = one_step(max(ENDED_MEANWHILE, round(ACTIVE_RUNS * size)), prefix="active", held=True)
    await bench.once(RESTART, bench.cairn(PODS_STACK, timelines=False), finished)
    await _start(bench, active)
    tell(f"    {finished.runs} have finished, {active.runs} are active")
    restarted = await _restart(bench, active)
    await bench.cluster.clear(CAIRN_NAMESPACE)
    return restarted.model_copy(update={"runs": finished.runs + active.runs})


async def _start(bench: Bench, active: Work) -> None:
    """Start the runs and wait until all their pods run."""
    running: set[str] = set()
    all_run = asyncio.Event()

    def run_seen(body: JsonObject, _: float) -> None:
        if any(step["state"] == "Running" for step in (body.get("status") or {}).get("steps") or ()):
            running.add(body["metadata"]["name"])
        if len(running) == active.runs:
            all_run.set()

    kubernetes = bench.cluster.kubernetes
    async with following(kubernetes, CAIRN_NAMESPACE, {PIPELINE_RUNS: run_seen}):
        await create_all(kubernetes, PIPELINE_RUNS, CAIRN_NAMESPACE, active.manifests(PODS_STACK))
        async with asyncio.timeout(ALL_RUN_SECONDS):
            await all_run.wait()


async def _restart(bench: Bench, active: Work) -> Measurement:
    cluster, kubernetes = bench.cluster, bench.cluster.kubernetes
    ending = set(active.names[:ENDED_MEANWHILE])
    late = one_step(prefix="late")
    waited_for = ending | set(late.names)
    seen: dict[str, float] = {}
    done: set[str] = set()
    all_done = asyncio.Event()

    def run_seen(body: JsonObject, moment: float) -> None:
        name = body["metadata"]["name"]
        if name not in waited_for or name in done or not run_has_finished(body):
            return
        done.add(name)
        seen.setdefault("first run finished", moment)
        if done >= ending:
            seen.setdefault(f"all {len(ending)} runs finished whose pods ended meanwhile", moment)
        if name in late.names:
            seen["a run created meanwhile finished"] = moment
        if done == waited_for:
            all_done.set()

    offset = cluster.audit_log.stat().st_size
    old = (await kubernetes.list(PODS, "cairn-system", selector=OPERATOR_PODS))[0][0]["metadata"]
    async with following(kubernetes, CAIRN_NAMESPACE, {PIPELINE_RUNS: run_seen}):
        began, wall = time.monotonic(), datetime.now(UTC)
        await kubernetes.delete(PODS, "cairn-system", old["name"], uid=old["uid"])
        await _old_is_gone(bench, old["uid"])
        seen["the old operator is gone"] = time.monotonic()
        await _release(bench, ending)
        await create_all(kubernetes, PIPELINE_RUNS, CAIRN_NAMESPACE, late.manifests(PODS_STACK))
        await cluster.kubectl("rollout", "status", "deployment/cairn", "-n", "cairn-system", "--timeout=300s")
        seen["the new operator is ready"] = time.monotonic()
        async with asyncio.timeout(ALL_DONE_SECONDS):
            await all_done.wait()
    seconds = time.monotonic() - began
    own = [event for event in audited(cluster.audit_log, offset) if pod_of(event) != old["name"]]
    writes = (event["requestReceivedTimestamp"] for event in own if event["verb"] in OPERATOR_WRITES)
    told = moments(began, seen)
    told["the new operator writes for the first time"] = round(
        (datetime.fromisoformat(next(writes)) - wall).total_seconds(), 3
    )
    cpu_seconds, peak_mib = await bench.meter.usage()
    cost = OperatorCost(requests=by_verb(own), cpu_seconds=round(cpu_seconds, 2), peak_mib=peak_mib)
    return Measurement(
        part=RESTART,
        cluster=cluster.variant,
        arm=bench.cairn(PODS_STACK).name,
        runs=active.runs,
        steps=1,
        seconds=round(seconds, 3),
        operator=cost,
        moments=dict(sorted(told.items(), key=lambda item: item[1])),
    )


async def _old_is_gone(bench: Bench, uid: str) -> None:
    while True:
        pods, _ = await bench.cluster.kubernetes.list(PODS, "cairn-system", selector=OPERATOR_PODS)
        if uid not in {pod["metadata"]["uid"] for pod in pods}:
            return
        await asyncio.sleep(0.05)


async def _release(bench: Bench, runs: set[str]) -> None:
    """Let the pods of some runs end, and see them end."""
    kubernetes = bench.cluster.kubernetes
    pods, _ = await kubernetes.list(PODS, CAIRN_NAMESPACE, selector="cairn.dev/run")
    names = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"]["cairn.dev/run"] in runs]

    async def release(name: str) -> None:
        await kubernetes.merge(PODS, CAIRN_NAMESPACE, name, {"metadata": {"annotations": {HOLD_ANNOTATION: None}}})
        while not has_ended(await kubernetes.get(PODS, CAIRN_NAMESPACE, name)):
            await asyncio.sleep(0.2)

    await for_all(names, release)
