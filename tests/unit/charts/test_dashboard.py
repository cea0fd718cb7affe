"""The dashboard: whether Grafana and Prometheus take it, and whether it is in one piece."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cairn.api.base import JsonObject
from tests.monitoring import (
    DASHBOARD,
    PromtoolError,
    dashboard,
    expressions,
    grouping_labels,
    panels,
    parse,
)

from .conftest import Chart

ENABLED = "grafanaDashboard.enabled=true"
each_panel = pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])


def test_prometheus_takes_every_expression(tmp_path: Path):
    parse(expressions(), tmp_path / "rules.json")


def test_an_expression_that_prometheus_does_not_take_is_found(tmp_path: Path):
    with pytest.raises(PromtoolError, match="could not parse expression"):
        parse([*expressions(), "sum by (kind (cairn_queue_length)"], tmp_path / "rules.json")


def test_no_two_panels_have_the_same_id():
    ids = [panel["id"] for panel in dashboard()["panels"]]

    assert len(set(ids)) == len(ids)


def test_no_two_panels_are_at_the_same_place():
    taken = [
        (panel["gridPos"]["x"] + column, panel["gridPos"]["y"] + line)
        for panel in dashboard()["panels"]
        for column in range(panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["h"])
    ]

    assert len(set(taken)) == len(taken)
    assert max(column for column, _ in taken) < 24


def test_the_source_of_data_is_chosen_in_the_dashboard():
    (variable,) = (item for item in dashboard()["templating"]["list"] if item["name"] == "datasource")
    named = re.findall(r'"datasource": \{(.*?)\}[,\s]', DASHBOARD.read_text())

    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert set(named) == {'"type": "prometheus", "uid": "${datasource}"'}


@each_panel
def test_a_panel_says_what_it_shows(panel: JsonObject):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@each_panel
def test_a_legend_names_labels_that_are_left(panel: JsonObject):
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))

        assert named <= grouping_labels(target["expr"])


def test_the_chart_has_it_for_the_sidecar_of_grafana(cairn: Chart):
    made = cairn.render(ENABLED, "grafanaDashboard.annotations.grafana_folder=Cairn").one("ConfigMap")

    assert json.loads(made["data"]["cairn.json"]) == dashboard()
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["annotations"] == {"grafana_folder": "Cairn"}


def test_the_sidecar_may_look_for_another_label(cairn: Chart):
    values = ("grafanaDashboard.labels.grafana_dashboard=null", "grafanaDashboard.labels.dashboards=yes")

    labels = cairn.render(ENABLED, *values).one("ConfigMap")["metadata"]["labels"]

    assert labels["dashboards"] == "yes"
    assert "grafana_dashboard" not in labels


def test_the_chart_makes_no_dashboard_unless_told_so(cairn: Chart):
    assert not cairn.render().of("ConfigMap")
