"""What a Job and its pod say about the attempts in them. Pure: the objects come from the caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.step import Step
from cairn.runs import naming
from cairn.runs.graph import outputs_of, results_of

STOPPING_DEADLINE_SECONDS = 1
"""The `activeDeadlineSeconds` by which Cairn has a kubelet stop a pod; somebody's policy may have set another."""
JOB_DELETED = "JobDeleted"
POD_DELETED = "PodDeleted"
FAILED_CREATE = "FailedCreate"
"""The pod cannot be made, such as for a quota."""


class Phase(Enum):
    """How far an attempt has come."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Fault(Enum):
    """Whose fault it is that an attempt failed."""

    STEP = "Step"
    """The step's own: its exit code, its use of memory, what it did not write."""
    SURROUNDINGS = "Surroundings"
    """What it needs could not be had: an image, a node, an input, the artifact store."""
    DISRUPTION = "Disruption"
    """The cluster, or somebody, took its pod away."""
    STOPPED = "Stopped"
    """Cairn stopped it."""


@dataclass(frozen=True)
class KeptArtifact:
    """An output that publish has kept."""

    uri: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class AttemptObservation:
    """One attempt as its Job and pod show it."""

    step: str
    number: int
    phase: Phase
    job_name: str | None = None
    """None where its pod was made without a Job."""
    job_uid: str | None = None
    pod_name: str | None = None
    pod_uid: str | None = None
    pod_created: str | None = None
    """When its pod was made."""
    reason: str | None = None
    message: str | None = None
    fault: Fault | None = None
    """Set where it has failed."""
    is_last: bool = False
    """Whether no other attempt follows, whatever the step's `retry` says."""
    exit_code: int | None = None
    started: str | None = None
    ended: str | None = None
    log_tail: str | None = None
    wants_pod: bool = False
    """Whether its Job has no pod yet."""
    has_own_pod: bool = False
    """Whether its pod is there, and certainly runs no other step."""
    awaits_turn: bool = False
    """Whether its orchestrator has not begun with it, or nothing is to be seen of it: it cannot be late."""
    fetching: bool = False
    """Whether its inputs are being fetched."""
    fetched_for: timedelta = timedelta()
    """How long that took."""
    on_node: bool = False
    """Whether a kubelet has its pod."""
    kept_up_since: str | None = None
    """Since when what keeps its outputs cannot start."""
    being_stopped: bool = False
    """Whether the kubelet was told to stop its pod, or the pod is being deleted."""
    awaited_until: datetime | None = None
    """Until when the end of its pod, which is being deleted or has ended, is waited for."""
    artifacts: Mapping[str, KeptArtifact] = field(default_factory=dict[str, KeptArtifact])
    results: Mapping[str, str] = field(default_factory=dict[str, str])
    image_digest: str | None = None
    """Digest of the image that its container was made from, where the container runtime tells one."""
    wants_log_of: str | None = None
    """Container whose log has to be read before the attempt can be judged: the kubelet has cut its message short."""

    @property
    def workload(self) -> str | None:
        """Name of its Job, or of its pod where that was made without one."""
        return self.job_name or self.pod_name


def attempts_in(workload: JsonObject, steps: Mapping[str, Step]) -> tuple[tuple[Step, int], ...]:
    """Return the steps that a Job or pod runs, in their order, and which attempt of each."""
    attempts = naming.attempts_of(workload["metadata"].get("annotations") or {})
    return tuple((steps[name], number) for name, number in attempts if name in steps)


def has_ended(job: JsonObject) -> bool:
    """Return whether a Job is over."""
    return bool(_true_conditions(job) & {"Complete", "Failed"})


def observe_without_pod(
    job: JsonObject, attempts: Sequence[tuple[Step, int]], hindrance: str | None = None
) -> Iterator[AttemptObservation]:
    """Yield the attempts of a Job that has no pod; `hindrance` is the API server's sentence about why.

    A step whose turn had not come is left out: it has not been attempted.
    """
    name = job["metadata"]["name"]
    conditions = _true_conditions(job)
    for index, (step, number) in enumerate(attempts):
        seen = AttemptObservation(step.name, number, Phase.WAITING, job_name=name, job_uid=job["metadata"]["uid"])
        failed = replace(seen, phase=Phase.FAILED, fault=Fault.DISRUPTION)
        if "Complete" in conditions and not outputs_of(step) and not results_of(step):
            yield replace(seen, phase=Phase.SUCCEEDED, ended=job["status"].get("completionTime"))
        elif index > 0:
            return
        elif conditions & {"Complete", "Failed"}:
            message = f"The pod of Job {name} was deleted before its end was recorded."
            yield replace(failed, reason=POD_DELETED, message=message)
        elif is_being_deleted(job):
            yield replace(failed, reason=JOB_DELETED, message=f"Job {name} was deleted.")
        elif hindrance:
            yield replace(seen, reason=FAILED_CREATE, message=hindrance[:1024], wants_pod=True)
        else:
            yield replace(seen, wants_pod=True)


def _true_conditions(job: JsonObject) -> frozenset[str]:
    conditions = job.get("status", {}).get("conditions", ())
    return frozenset(item["type"] for item in conditions if item["status"] == "True")
