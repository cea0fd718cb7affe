"""What work costs: everybody's requests from the API server's metrics, the operator's from the audit log, its CPU and memory."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cluster import BenchCluster
from tests.bench.results import DRY_RUN, OperatorCost

IDLE_SECONDS = 20
TRAILING_SECONDS = 5
"""How long after the work requests belong to it still: events, finalizers, a Stack's count of runs."""
TICKS_PER_SECOND = 100
OPERATOR = "system:serviceaccount:cairn-system:cairn"
POD_NAME = "authentication.kubernetes.io/pod-name"
NOT_COUNTED = frozenset({"leases", ""})
"""Resources that requests are not counted of: leases, and paths that are none."""

_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Snapshot:
    """How far the counters are."""

    moment: float
    requests: Mapping[str, float]
    audited: int
    cpu_seconds: float


@dataclass(frozen=True)
class Cost:
    """What was spent between two snapshots."""

    requests: dict[str, float]
    operator: OperatorCost
    updates: list[tuple[int, int]]


class Meter:
    """Reads the counters of one cluster."""

    def __init__(self, cluster: BenchCluster) -> None:
        self._cluster = cluster
        self._idle: Mapping[str, float] = {}

    async def settle(self) -> None:
        """Find out how many requests a second are made when nothing happens."""
        before, began = await self._requests(), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        after, seconds = await self._requests(), time.monotonic() - began
        self._idle = {verb: (count - before.get(verb, 0)) / seconds for verb, count in after.items()}

    async def snapshot(self) -> Snapshot:
        """Read all counters."""
        cpu, _ = await self.usage()
        return Snapshot(time.monotonic(), await self._requests(), self._cluster.audit_log.stat().st_size, cpu)

    async def since(self, before: Snapshot) -> Cost:
        """Return what was spent since then, when what trails behind the work has come in."""
        await asyncio.sleep(TRAILING_SECONDS)
        requests, moment = await self._requests(), time.monotonic()
        cpu, peak = await self.usage()
        seconds = moment - before.moment
        spent = {
            verb: round(count - before.requests.get(verb, 0) - self._idle.get(verb, 0) * seconds, 1)
            for verb, count in requests.items()
        }
        events = list(audited(self._cluster.audit_log, before.audited))
        return Cost(
            {verb: count for verb, count in sorted(spent.items()) if count > 0},
            OperatorCost(requests=by_verb(events), cpu_seconds=round(cpu - before.cpu_seconds, 2), peak_mib=peak),
            list(updates(events)),
        )

    async def _requests(self) -> Mapping[str, float]:
        return requests_of(await self._cluster.kubectl("get", "--raw", "/metrics"))

    async def usage(self) -> tuple[float, float]:
        """Return the operator's CPU seconds and the most memory that it had, in MiB."""
        command = ["exec", "-n", "cairn-system", "deployment/cairn", "--", "cat", "/proc/1/stat", "/proc/1/status"]
        stat, _, status = (await self._cluster.kubectl(*command)).partition("\n")
        fields = stat.rpartition(")")[2].split()
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND, round(int(peak[1]) / 1024, 1) if peak else 0


def requests_of(metrics: str) -> Mapping[str, float]:
    """Return the requests by verb that the API server's metrics count, dry runs apart."""
    counts: Counter[str] = Counter()
    for sample in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels.get("resource", "") in NOT_COUNTED or labels["verb"] in {"CONNECT", "WATCH"}:
            continue
        verb = f"{labels['verb']} {DRY_RUN}" if labels.get("dry_run") else labels["verb"]
        counts[verb] += round(float(sample["value"]))
    return dict(counts)


def audited(log: Path, offset: int) -> Iterator[Mapping[str, Any]]:
    """Yield the operator's requests that the audit log has from there on."""
    with log.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            event = json.loads(line)
            if event["user"].get("username") == OPERATOR and "objectRef" in event:
                yield event


def by_verb(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many requests there are of each verb and resource."""
    counts: Counter[str] = Counter()
    for event in events:
        where = event["objectRef"]
        parts = [event["verb"], "/".join(filter(None, (where["resource"], where.get("subresource"))))]
        if "dryRun=All" in event["requestURI"]:
            parts.append(DRY_RUN)
        counts[" ".join(parts)] += 1
    return dict(sorted(counts.items()))


def updates(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield the bytes of each update of a run's status, and of how many steps it tells."""
    for event in events:
        if event["objectRef"]["resource"] == "pipelineruns" and "requestObject" in event:
            operations = event["requestObject"]
            steps: set[str] = set()
            for operation in operations:
                value = operation.get("value")
                if operation["path"] == "/status":
                    steps |= {step["name"] for step in value.get("steps", ())}
                elif operation["path"] == "/status/steps":
                    steps |= {step["name"] for step in value}
                elif operation["path"].startswith("/status/steps/"):
                    steps.add(operation["path"].split("/")[3])
            yield len(json.dumps(operations, separators=(",", ":"))), len(steps)


def pod_of(event: Mapping[str, Any]) -> str:
    """Return the name of the operator's pod that made a request."""
    return next(iter(event["user"].get("extra", {}).get(POD_NAME, ())), "")
