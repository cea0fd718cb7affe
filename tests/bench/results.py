"""What was measured, as it is kept in docs/benchmarks/results.json, so that the report can be written again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE", "DELETECOLLECTION"})
"""Verbs, as the API server's metrics name them, that change something."""
OPERATOR_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
"""The same, as the audit log names them."""
DRY_RUN = "(dry run)"


class OperatorCost(BaseModel):
    """What the operator used."""

    requests: dict[str, int] = {}
    """Its requests from the audit log, by verb and resource."""
    cpu_seconds: float = 0
    peak_mib: float = 0
    """Largest resident memory of its process since it was started, before the work."""

    @property
    def writes(self) -> int:
        """How many of its requests changed something; a dry run changes nothing."""
        return sum(
            count
            for request, count in self.requests.items()
            if request.split()[0] in OPERATOR_WRITES and not request.endswith(DRY_RUN)
        )


class OnKubeflow(BaseModel):
    """What became of runs on Kubeflow Pipelines."""

    requests: dict[str, int] = {}
    """What it was asked for, by method and route."""
    told_after: list[float] = []
    """Of each run, the seconds from its end there until the API there told all of it."""
    noticed_after: list[float] = []
    """Of each run, the seconds from then until the watch event that shows the PipelineRun finished: what Cairn adds."""

    @property
    def behind(self) -> list[float]:
        """Of each run, the seconds from its end there until it was seen to be finished."""
        return [told + noticed for told, noticed in zip(self.told_after, self.noticed_after, strict=True)]


class Active(BaseModel):
    """What went on while all runs were active at once."""

    lasted: float
    """Seconds."""
    seconds: float
    """Between the first and the last reading of the counters within them."""
    cpu_seconds: float
    """The operator's, between these."""
    peak_mib: float
    """The operator's, until the last of these."""
    requests: dict[str, int] = {}
    """What Kubeflow Pipelines was asked for between these, by method and route."""
    busiest: float = 0
    """Its requests a second between two readings that follow each other, where there were most."""

    @property
    def cores(self) -> float:
        """The operator's share of processors."""
        return self.cpu_seconds / self.seconds

    @property
    def rate(self) -> float:
        """Requests to Kubeflow Pipelines a second."""
        return sum(self.requests.values()) / self.seconds


class Measurement(BaseModel):
    """One repetition of one work by one arm."""

    part: str
    cluster: str
    arm: str
    runs: int
    steps: int
    """Of each run."""
    seconds: float
    gaps: list[float] = []
    """From a pod's end to the next Job's creation."""
    requests: dict[str, float] = {}
    """Everybody's requests by verb, leases left out and the idle rate deducted."""
    operator: OperatorCost | None = None
    status_bytes: int | None = None
    updates: list[tuple[int, int]] = []
    """Of each of the operator's status updates, its bytes, and of how many steps it tells."""
    tracker_requests: dict[str, int] = {}
    """What the experiment tracker was asked for, by method and path."""
    moments: dict[str, float] = {}
    """Seconds until something happened, where a part asks for more."""
    kubeflow: OnKubeflow | None = None
    active: Active | None = None

    @property
    def writes(self) -> float:
        """How many requests of everybody changed something, for each run."""
        return sum(count for verb, count in self.requests.items() if verb in WRITES) / self.runs

    @property
    def rate(self) -> float:
        """Runs, or steps of a single run, a second."""
        return max(self.runs, self.steps) / self.seconds


class Part(BaseModel):
    """What belongs together, and is measured at once."""

    date: str
    commit: str
    measurements: list[Measurement]

    def of(self, arm: str, cluster: str = "") -> list[Measurement]:
        """Return the repetitions of one arm."""
        return [one for one in self.measurements if one.arm == arm and cluster in {"", one.cluster}]


class Results(BaseModel):
    """All parts, each as it was last measured."""

    machine: dict[str, str] = {}
    parts: dict[str, Part] = {}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read them; nothing where there is nothing yet."""
        return cls.model_validate_json(path.read_text()) if path.exists() else cls()

    def save(self, path: Path) -> None:
        """Write them, a line for each measurement."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data = self.model_dump(mode="json", exclude_defaults=True)
        parts = [
            f'{json.dumps(name)}: {{"date": {json.dumps(part["date"])}, "commit": {json.dumps(part["commit"])}, '
            f'"measurements": [\n{_lines(part["measurements"])}\n]}}'
            for name, part in data["parts"].items()
        ]
        listed = ",\n".join(parts)
        path.write_text(f'{{"machine": {json.dumps(self.machine)},\n"parts": {{\n{listed}\n}}}}\n')


def _lines(measurements: Sequence[object]) -> str:
    return ",\n".join(json.dumps(one) for one in measurements)
