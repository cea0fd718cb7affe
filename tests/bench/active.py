"""When runs were under way and over, and what went on between. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cairn.api.base import JsonObject
from tests.bench.results import Active


@dataclass(frozen=True)
class Reading:
    """How far the counters are."""

    moment: float
    cpu_seconds: float
    peak_mib: float
    requests: Mapping[str, int] = field(default_factory=dict[str, int])
    """To Kubeflow Pipelines, by method and route."""


@dataclass
class Timeline:
    """When each run was first seen to be something."""

    under_way: dict[str, float] = field(default_factory=dict[str, float])
    """By UID: submitted to Kubeflow Pipelines or, elsewhere, with a step that runs."""
    over: dict[str, float] = field(default_factory=dict[str, float])
    names: dict[str, str] = field(default_factory=dict[str, str])
    submitted: dict[str, str] = field(default_factory=dict[str, str])
    """The IDs of the runs in Kubeflow Pipelines."""

    def note(self, run: JsonObject, moment: float) -> None:
        """Note a run."""
        uid, status = run["metadata"]["uid"], run.get("status") or {}
        self.names[uid] = run["metadata"]["name"]
        on_kubeflow = (status.get("orchestratorRun") or {}).get("id")
        if on_kubeflow:
            self.submitted[uid] = on_kubeflow
        if on_kubeflow or any(step["state"] == "Running" for step in status.get("steps") or ()):
            self.under_way.setdefault(uid, moment)
        if status.get("completionTime"):
            self.under_way.setdefault(uid, moment)
            self.over.setdefault(uid, moment)

    def moments(self, began: float) -> dict[str, float]:
        """Return in how many seconds all were under way, and the first one over."""
        return {
            "all under way": round(max(self.under_way.values()) - began, 3),
            "first over": round(min(self.over.values()) - began, 3),
        }

    def active(self, readings: Sequence[Reading]) -> Active | None:
        """Return what went on while all were active; None where they were not for as long as between two readings."""
        begin, end = max(self.under_way.values()), min(self.over.values())
        within = [one for one in readings if begin <= one.moment <= end]
        if len(within) < 2:
            return None
        first, last = within[0], within[-1]
        return Active(
            lasted=round(end - begin, 3),
            seconds=round(last.moment - first.moment, 3),
            cpu_seconds=round(last.cpu_seconds - first.cpu_seconds, 2),
            peak_mib=last.peak_mib,
            requests=dict(Counter(last.requests) - Counter(first.requests)),
            busiest=round(max(_rate(before, after) for before, after in pairwise(within)), 2),
        )


def _rate(before: Reading, after: Reading) -> float:
    asked = sum(after.requests.values()) - sum(before.requests.values())
    return asked / (after.moment - before.moment)


def behind(
    timeline: Timeline, ends: Mapping[str, Mapping[str, float]], epoch: float
) -> tuple[list[float], list[float]]:
    """Return the seconds from each run's end until it was told, and from then until it was seen to be finished.

    `epoch` is the time since 1970 at which the timeline's clock was at 0.
    """
    of = {uid: ends[run] for uid, run in timeline.submitted.items()}
    told = [round(one["told"] - one["ended"], 3) for one in of.values()]
    return told, [round(timeline.over[uid] + epoch - one["told"], 3) for uid, one in of.items()]


def mistake(timeline: Timeline, runs: Iterable[JsonObject]) -> str | None:
    """Return what is wrong with what Kubeflow Pipelines has; None where it has each run once, and all have succeeded."""
    wanted = {f"{name}-{uid}" for uid, name in timeline.names.items()}
    found = [run for run in runs if run["display_name"] in wanted]
    times = Counter(run["display_name"] for run in found)
    missing, several = wanted - times.keys(), [name for name, count in times.items() if count > 1]
    others = {run["run_id"] for run in found} ^ set(timeline.submitted.values())
    states = Counter(run.get("state", "unknown") for run in found)
    if not missing and not several and not others and set(states) <= {"SUCCEEDED"}:
        return None
    return (
        f"of {len(wanted)} runs Kubeflow Pipelines lacks {len(missing)} and has {len(several)} more than once; {len(others)} IDs "
        f"are not those of the statuses; states are {dict(states)}"
    )
