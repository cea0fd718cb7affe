"""What the alerts and the dashboard ask for, held against the /metrics of the operator in the cluster."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.monitoring import ALERTS, alert_tests, alerts, expressions, metrics_in, promtool

from cluster import Cluster
from manifests import python, run
from polling import poll
from port_forward import PortForward

OF_THE_TARGET = {"job": "cairn", "instance": "operator:8080"}
"""What Prometheus adds to what it scrapes, besides `namespace` where there is none."""
SERIES = re.compile(r"(\w+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def scraped(shared_stacks: Cluster) -> list[Metric]:
    """What Prometheus scrapes after a run has ended, of that namespace and of the operator itself."""
    own = shared_stacks.namespace
    shared_stacks.create(run("measured", [python("only", "pass")], on="kubernetes"))
    shared_stacks.finished("measured")
    shared_stacks.create(run("waits", [python("only", "pass")], on="nowhere"))
    shared_stacks.wait_condition("PipelineRun", "waits", "Succeeded", status="Unknown", timeout=30)
    forward = PortForward("cairn-system", "service/cairn", 8080)

    def scrape() -> list[Metric]:
        with urllib.request.urlopen(f"http://localhost:{forward.port}/metrics", timeout=30) as answer:
            return list(text_string_to_metric_families(answer.read().decode()))

    def idle(metrics: list[Metric]) -> bool:
        return not any(sample.value for sample in samples(metrics) if sample.name == "cairn_queue_length")

    try:
        found = poll(scrape, idle, 60, "the operator's queues were never empty")
    finally:
        forward.close()
    for metric in found:
        metric.samples = [sample for sample in metric.samples if sample.labels.get("namespace", own) == own]
    return found


def samples(metrics: list[Metric]) -> Iterator[Sample]:
    for metric in metrics:
        yield from metric.samples


def labels_of(metrics: list[Metric]) -> Mapping[str, set[str]]:
    """Return the labels that each series has once Prometheus has scraped it."""
    found: dict[str, set[str]] = defaultdict(set)
    for sample in samples(metrics):
        found[sample.name] |= sample.labels.keys() | OF_THE_TARGET.keys() | {"namespace"}
    return found


def test_every_metric_and_label_that_alerts_and_dashboard_ask_for_is_there(scraped: list[Metric]) -> None:
    known = labels_of(scraped)

    for expression in (*expressions(), *(alert["expr"] for alert in alerts())):
        for name, labels in metrics_in(expression):
            assert name in known, f"{name} is not told, and asked for by {expression}"
            assert labels <= known[name], f"{name} has no such label, asked for by {expression}"


def test_what_the_tests_of_the_alerts_put_in_is_what_the_operator_tells(scraped: list[Metric]) -> None:
    known = labels_of(scraped)

    for test in alert_tests()["tests"]:
        for given in test["input_series"]:
            (series,) = SERIES.findall(given["series"])
            labels = set(re.findall(r"(\w+)=", series[1]))

            assert labels <= known[series[0]], given["series"]


def test_no_alert_fires_and_every_panel_shows_something_while_all_is_well(
    scraped: list[Metric], tmp_path: Path
) -> None:
    own = {**OF_THE_TARGET, "namespace": "cairn-system"}
    series = [
        {"series": series_of(sample.name, {**own, **sample.labels}), "values": f"{sample.value!r}x120"}
        for sample in samples(scraped)
        if sample.name.startswith(("cairn_", "process_")) and not sample.name.endswith("_created")
    ]
    test = {
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": "2h", "alertname": alert["alert"]} for alert in alerts()],
        "promql_expr_test": [
            {"expr": f"count({expression}) > bool 0", "eval_time": "2h", "exp_samples": [{"labels": "{}", "value": 1}]}
            for expression in expressions()
        ],
    }
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))

    assert "SUCCESS" in promtool("test", "rules", str(file))


def series_of(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{', '.join(f'{label}={json.dumps(value)}' for label, value in labels.items())}}}"
