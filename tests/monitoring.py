"""The chart's alerts and dashboard, and Prometheus's own promtool to judge them by."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

JsonObject = dict[str, Any]

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "charts/cairn/files/alerts.yaml"
DASHBOARD = ROOT / "charts/cairn/files/dashboard.json"
ALERT_TESTS = Path(__file__).with_name("alerts.test.yaml")

MAKE_PROMTOOL = """
. tests/cluster/lib.sh; . tests/cluster/tools.sh
[ -e "$TOOLS"/promtool-*/promtool ] || exclusively
use_tool promtool; command -v promtool
"""
METRIC = re.compile(r"\b((?:cairn|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+) *(?:=~|!~|!=|=) *\"")
GROUPED = re.compile(r"\b(?:by|on) *\(([^)]*)\)")
OF_GRAFANA = {"$namespace": ".*", "$__rate_interval": "5m", "$__range": "1h"}
"""What Grafana puts into an expression before Prometheus sees it."""


class PromtoolError(Exception):
    """What promtool has to say against its input."""


def promtool(*arguments: str) -> str:
    """Run promtool and return what it prints."""
    done = subprocess.run([_promtool(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PromtoolError(done.stdout + done.stderr)
    return done.stdout + done.stderr


@cache
def _promtool() -> str:
    """Return the path of promtool: the machine's own, or one that the cluster's scripts make and keep."""
    if found := shutil.which("promtool"):
        return found
    made = subprocess.run(["bash", "-c", MAKE_PROMTOOL], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


def alerts() -> list[JsonObject]:
    """Return the alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def alert_tests() -> JsonObject:
    """Return what promtool is to test of the alerts."""
    return yaml.safe_load(ALERT_TESTS.read_text())


def dashboard() -> JsonObject:
    """Return the dashboard."""
    return json.loads(DASHBOARD.read_text())


def panels() -> list[JsonObject]:
    """Return the panels of the dashboard, without its rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return what the panels ask, as Prometheus sees it."""
    return [as_prometheus_sees(target["expr"]) for panel in panels() for target in panel["targets"]]


def as_prometheus_sees(text: str) -> str:
    """Return an expression of the dashboard with Grafana's variables filled in."""
    for variable, value in OF_GRAFANA.items():
        text = text.replace(variable, value)
    return text


def metrics_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that an expression names, with the labels that it is selected by."""
    for name, matchers in METRIC.findall(expression):
        yield name, set(MATCHER.findall(matchers))


def grouping_labels(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    return {label.strip() for labels in GROUPED.findall(expression) for label in labels.split(",")}


def parse(expressions: Sequence[str], scratch: Path) -> None:
    """Raise PromtoolError where Prometheus would not take an expression."""
    rules = [{"record": f"panel:{index}", "expr": text} for index, text in enumerate(expressions)]
    scratch.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", str(scratch))
