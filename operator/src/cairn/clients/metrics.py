"""What Prometheus sees of the operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cairn.api.base import JsonObject

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


def _names(body: JsonObject) -> list[str]:
    return [body["metadata"]["namespace"], body["metadata"]["name"]]


def _is_ready(status: JsonObject) -> int:
    return int(any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", ())))
