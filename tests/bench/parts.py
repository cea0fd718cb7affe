"""What is measured: each part on its cluster, Cairn beside plain Jobs or pods in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.bench.names import DEFAULTS, RAISED, REAL
from tests.bench.objects import JOBS_STACK, PODS_STACK
from tests.bench.work import Work, chain, fan_out, for_each, layers, one_step

RESTART = "restart"
FINISHED_RUNS, ACTIVE_RUNS = 5000, 200
TRACKED_RUNS, TRACKING_FAULTS = "tracked-500", "tracking-faults"
KUBEFLOW_RUNS, KUBEFLOW_STEPS = "kubeflow-500", "kubeflow-two-steps"
KUBEFLOW_STEP_SECONDS = 120
"""Of runs that are all to be active at once for two minutes, after the last one was submitted."""


@dataclass(frozen=True)
class Part:
    """Work, and how it is done."""

    title: str
    work: Callable[[float], Work]
    """Makes it, of a size between 0 and 1."""
    clusters: tuple[str, ...]
    stacks: tuple[str, ...] = (JOBS_STACK,)
    repetitions: Mapping[str, int] | int = 3
    """In each cluster."""
    timelines: bool = True
    """Whether each pod is looked at, for gaps, and each status, for its size."""
    floor: bool = True
    """Whether the same is done with plain Jobs or pods."""

    def repetitions_on(self, cluster: str) -> int:
        """Return how often it is measured there."""
        return self.repetitions if isinstance(self.repetitions, int) else self.repetitions[cluster]


def _some(count: int, size: float, least: int = 2) -> int:
    return max(least, round(count * size))


def _flood(runs: int, repetitions: Mapping[str, int] | int) -> Part:
    return Part(
        f"{runs:,} one-step runs at once",
        lambda size: one_step(_some(runs, size)),
        (RAISED, DEFAULTS),
        (JOBS_STACK, PODS_STACK),
        repetitions=repetitions,
        timelines=False,
    )


def _status(depth: int) -> Part:
    return Part(
        f"status updates, {depth * 5} steps",
        lambda size: layers(5, _some(depth, size, 1)),
        (RAISED,),
        repetitions=1,
        floor=False,
    )


PARTS: Mapping[str, Part] = {
    "one": Part("one step", lambda _: one_step(), (REAL,)),
    "chain": Part("chain of 5", lambda _: chain(5), (REAL,)),
    "fan-out": Part("fan-out 1→20→1", lambda _: fan_out(20), (REAL,)),
    "burst": Part("30 one-step runs at once", lambda size: one_step(_some(30, size)), (REAL,), timelines=False),
    "flood-1000": _flood(1000, {RAISED: 3, DEFAULTS: 1}),
    "flood-5000": _flood(5000, 1),
    "steps-500": Part(
        "a run of 500 steps, 10 layers of 50", lambda size: layers(_some(50, size), 10), (RAISED,), repetitions=1
    ),
    "for-each-1000": Part(
        "a run with forEach 1,000", lambda size: for_each(_some(1000, size)), (RAISED,), repetitions=1
    ),
    "status-5": _status(1),
    "status-50": _status(10),
    "status-500": _status(100),
    TRACKED_RUNS: Part(
        "500 runs of 3 steps",
        lambda size: chain(3, _some(500, size)),
        (RAISED,),
        repetitions=1,
        timelines=False,
        floor=False,
    ),
    TRACKING_FAULTS: Part(
        "20 runs of 3 steps of 20 s",
        lambda size: chain(3, _some(20, size), seconds=20),
        (REAL,),
        timelines=False,
        floor=False,
    ),
    KUBEFLOW_RUNS: Part(
        "500 runs of 2 steps of 2 minutes",
        lambda size: chain(2, _some(500, size), seconds=KUBEFLOW_STEP_SECONDS),
        (RAISED,),
        repetitions=1,
        timelines=False,
        floor=False,
    ),
    KUBEFLOW_STEPS: Part("a run of 2 steps", lambda _: chain(2), (REAL,), repetitions=5, timelines=False, floor=False),
    RESTART: Part(
        f"restart with {FINISHED_RUNS:,} finished and {ACTIVE_RUNS} active runs",
        lambda size: one_step(_some(FINISHED_RUNS, size), prefix="finished"),
        (RAISED,),
        (PODS_STACK,),
        repetitions=1,
        timelines=False,
        floor=False,
    ),
}
