"""The alerts: whether Prometheus takes them, when they fire, and what they tell the one who gets them."""

from __future__ import annotations

import re

import pytest
import yaml

from cairn.api.base import JsonObject
from tests.monitoring import ALERT_TESTS, ALERTS, alert_tests, alerts, promtool

from .conftest import ROOT, Chart, RenderError

ENABLED = "prometheusRule.enabled=true"
NAMES = [alert["alert"] for alert in alerts()]
each_alert = pytest.mark.parametrize("alert", alerts(), ids=NAMES)


def test_prometheus_finds_nothing_wrong_with_them():
    assert f"SUCCESS: {len(NAMES)} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))


def test_each_fires_when_it_should_and_tells_what_it_should():
    assert "SUCCESS" in promtool("test", "rules", str(ALERT_TESTS))


@each_alert
def test_it_is_tested_that_it_fires_and_that_it_does_not(alert: JsonObject):
    tests = [item for test in alert_tests()["tests"] for item in test["alert_rule_test"]]
    fires = {bool(item.get("exp_alerts")) for item in tests if item["alertname"] == alert["alert"]}

    assert fires == {True, False}


@each_alert
def test_it_says_what_is_wrong_how_bad_that_is_and_where_to_read_on(alert: JsonObject):
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/alerts.md#{alert['alert'].lower()}"


def test_each_has_its_chapter_in_the_documentation_in_the_same_order():
    chapters = re.findall(r"^## (Cairn\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE)

    assert chapters == NAMES


def test_the_chart_has_them_for_the_prometheus_operator(cairn: Chart):
    rule = cairn.render(ENABLED, "prometheusRule.labels.release=prometheus").one("PrometheusRule")

    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_chart_makes_no_rule_unless_told_so(cairn: Chart):
    assert not cairn.render().of("PrometheusRule")


def test_their_documentation_may_be_elsewhere(cairn: Chart):
    documentation = "https://git.example.com/cairn/docs/alerts.md"
    rule = cairn.render(ENABLED, f"prometheusRule.runbook={documentation}").one("PrometheusRule")

    found = [item["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for item in group["rules"]]
    assert found == [f"{documentation}#{name.lower()}" for name in NAMES]


@pytest.mark.parametrize("value", ["prometheusRule.runbook=a b", "prometheusRule.label.a=b"])
def test_wrong_values_are_refused(cairn: Chart, value: str):
    with pytest.raises(RenderError, match="values don't meet the specifications of the schema"):
        cairn.render(ENABLED, value)
