"""What Prometheus sees of the operator."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cairn.api.base import JsonObject
from cairn.api.conditions import condition_of
from cairn.api.deletion import is_being_deleted
from cairn.api.time import parse
from cairn.clients.clock import Clock

API_REQUESTS = Counter(
    "cairn_kubernetes_requests",
    "Requests to the Kubernetes API by verb, resource and status code.",
    ["verb", "resource", "code"],
)
RECONCILE_SECONDS = Histogram(
    "cairn_reconcile_seconds",
    "Duration of one reconcile by kind.",
    ["kind"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RECONCILE_ERRORS = Counter("cairn_reconcile_errors", "Reconciles that ended in an error, by kind.", ["kind"])
QUEUE_LENGTH = Gauge("cairn_queue_length", "Objects that wait for a reconcile, by kind.", ["kind"])
LEADER = Gauge("cairn_leader", "Whether this operator is the one that works (1), or waits for its turn (0).")
WORKING = Gauge("cairn_working", "Whether this operator has seen every object and works (1), or not (0).")
RUNS_FINISHED = Counter("cairn_runs_finished", "Runs that ended, by reason.", ["reason"])
STEPS_FINISHED = Counter("cairn_steps_finished", "Steps that ended, by state.", ["state"])
LOGS_KEPT = Counter("cairn_logs_kept", "Logs of attempts that were kept in an artifact store.")
LOGS_NOT_KEPT = Counter("cairn_logs_not_kept", "Logs of attempts that could not be kept, by reason.", ["reason"])
RUN_SECONDS = Histogram(
    "cairn_run_seconds",
    "Duration of finished runs.",
    buckets=(1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
)
STEP_SECONDS = Histogram(
    "cairn_step_seconds",
    "Duration of finished steps.",
    buckets=(1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
)


NOT_SEEN_YET = "NotSeenYet"
"""What stands for the reason of a run that no operator has looked at."""


class ReadinessCollector(Collector):
    """Readiness of components and Stacks, read from what is watched when Prometheus asks."""

    def __init__(self, components: Iterable[JsonObject], stacks: Iterable[JsonObject]) -> None:
        self._components = components
        self._stacks = stacks

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge for components and one for Stacks: 1 is Ready, 0 is not."""
        component = GaugeMetricFamily(
            "cairn_component_ready",
            "Whether a StackComponent is Ready (1) or not (0).",
            labels=["namespace", "name", "type", "flavor"],
        )
        for body in self._components:
            status = body.get("status") or {}
            labels = [status.get("type", ""), status.get("flavor", "")]
            component.add_metric([*_names(body), *labels], _is_ready(status))
        stack = GaugeMetricFamily(
            "cairn_stack_ready", "Whether a Stack is Ready (1) or not (0).", labels=["namespace", "name"]
        )
        for body in self._stacks:
            stack.add_metric(_names(body), _is_ready(body.get("status") or {}))
        yield component
        yield stack


class RunCollector(Collector):
    """Runs that have not ended, read from what is watched when Prometheus asks."""

    def __init__(self, runs: Iterable[JsonObject], clock: Clock) -> None:
        self._runs = runs
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield how many there are, and for how long the one has waited that has waited longest."""
        now, active, longest = self._clock.now(), Tally[tuple[str, str]](), dict[tuple[str, str], float]()
        for run in self._runs:
            status = run.get("status") or {}
            if status.get("completionTime") or is_being_deleted(run):
                continue
            condition = condition_of(run, "Succeeded")
            labels = (run["metadata"]["namespace"], condition["reason"] if condition else NOT_SEEN_YET)
            active[labels] += 1
            since = _waits_since(run, labels[1])
            if since is not None:
                longest[labels] = max(longest.get(labels, 0.0), (now - since).total_seconds())
        count = GaugeMetricFamily(
            "cairn_active_runs",
            "Runs that have not ended, by the reason of their condition Succeeded.",
            labels=["namespace", "reason"],
        )
        wait = GaugeMetricFamily(
            "cairn_longest_wait_seconds",
            "For how long the run has waited that has waited longest, of those that have not started or of which nothing runs.",
            labels=["namespace", "reason"],
        )
        for labels, number in active.items():
            count.add_metric(labels, number)
        for labels, seconds in longest.items():
            wait.add_metric(labels, seconds)
        yield count
        yield wait


def _waits_since(run: JsonObject, reason: str) -> datetime | None:
    """Return since when a run waits to start, or for what its steps lack; None where it does not wait."""
    status = run.get("status") or {}
    if not status.get("startTime"):
        return parse(run["metadata"]["creationTimestamp"])
    if reason != "Pending":
        return None
    waiting = (step for step in status.get("steps") or () if step["state"] == "Queued")
    queued = [step["queuedTime"] for step in waiting if step.get("queuedTime")]
    return min(map(parse, queued), default=None)


def _names(body: JsonObject) -> list[str]:
    return [body["metadata"]["namespace"], body["metadata"]["name"]]


def _is_ready(status: JsonObject) -> int:
    return int(any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", ())))
