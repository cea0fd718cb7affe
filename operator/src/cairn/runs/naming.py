"""Names, labels and places that follow from a run, a step and an attempt alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cairn.api.base import GROUP
from cairn.api.labels import HASH_LENGTH, LABEL_LENGTH, MANAGED_BY, MANAGED_BY_CAIRN, RUN_LABEL, shortened

RESERVED_PREFIX = "cairn-"
"""How the names of Cairn's own containers and volumes begin."""
SELECTOR = f"{MANAGED_BY}={MANAGED_BY_CAIRN},{RUN_LABEL}"
PIPELINE_LABEL = f"{GROUP}/pipeline"
STEP_LABEL = f"{GROUP}/step"
ATTEMPT_LABEL = f"{GROUP}/attempt"
STACK_LABEL = f"{GROUP}/stack"
ATTEMPTS_ANNOTATION = f"{GROUP}/attempts"
"""Which steps, and which attempt of each, a Job runs, in their order: `load=1,train=2`."""
RUN_NAME_ANNOTATION = f"{GROUP}/run-name"
"""The run's whole name: a label's value holds 63 characters of it only."""
POD_SHAPE_ANNOTATION = f"{GROUP}/pod-shape"
"""A digest of what the API server judges a Job's pod by, so that it is asked once for all that are alike."""


LONGEST_NAME = 253
"""Most characters of an object's name."""


@dataclass(frozen=True)
class RunIdentity:
    """Which run something belongs to."""

    namespace: str
    name: str
    uid: str
    pipeline: str


def workload_name(run: str, step: str, attempt: int) -> str:
    """Return the name of an attempt's Job, or of its pod where that has none: 63 characters at most, as a label's value.

    It is `<run>-<step>-<attempt>`, with a hash where that could be the name of another run's Job too: run `a`, step
    `b-c` and run `a-b`, step `c`.
    """
    name = f"{run.replace('.', '-')}-{step}-{attempt}"
    if len(name) <= LABEL_LENGTH and "." not in run and "-" not in step:
        return name
    digest = hashlib.sha256(f"{run}/{step}/{attempt}".encode()).hexdigest()[:HASH_LENGTH]
    return f"{name[: LABEL_LENGTH - HASH_LENGTH - 1].rstrip('-')}-{digest}"


def revision_name(run: str, version: str) -> str:
    """Return the name of the ControllerRevision that keeps what the Pipeline of a run says, in the version that the run is of."""
    return f"{shortened(run, LONGEST_NAME - len(version) - 1)}-{version}"


def labels(run: RunIdentity, stack: str, attempts: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return the labels of a Job and its pod; step and attempt only where there is one."""
    common = {
        MANAGED_BY: MANAGED_BY_CAIRN,
        RUN_LABEL: shortened(run.name),
        PIPELINE_LABEL: run.pipeline,
        STACK_LABEL: shortened(stack),
    }
    if len(attempts) != 1:
        return common
    step, attempt = attempts[0]
    return {**common, STEP_LABEL: step, ATTEMPT_LABEL: str(attempt)}


def selector_of_run(name: str) -> str:
    """Return the label selector of a run's Jobs and pods."""
    return f"{SELECTOR}={shortened(name)}"


def attempts_text(attempts: Sequence[tuple[str, int]]) -> str:
    """Return the annotation that says what a Job runs."""
    return ",".join(f"{step}={number}" for step, number in attempts)


def attempts_of(annotations: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Return what a Job runs, from its annotations; empty where it is not Cairn's."""
    text = annotations.get(ATTEMPTS_ANNOTATION, "")
    pairs = (item.split("=", 1) for item in text.split(",") if "=" in item)
    return tuple((step, int(number)) for step, number in pairs if number.isdigit())


def artifact_key(run: RunIdentity, step: str, artifact: str) -> str:
    """Return the key below the store's prefix under which an artifact is kept."""
    return f"{run.namespace}/{run.pipeline}/{run.name}/{step}/{artifact}"


def log_key(run: RunIdentity, step: str, attempt: int) -> str:
    """Return the key below the store's prefix under which an attempt's log is kept; no artifact's name has a dot."""
    return f"{run.namespace}/{run.pipeline}/{run.name}/{step}/attempt-{attempt}.log"


def cache_record_key(namespace: str, digest: str) -> str:
    """Return the key below the store's prefix under which it is kept what a step wrote; no pipeline's name has a dot."""
    return f"{namespace}/.cache/{digest.removeprefix('sha256:')}.json"


def fetch_container(index: int, count: int) -> str:
    """Return the name of the container that fetches for the step at that place of the pod."""
    return _container("fetch", index, count)


def publish_container(index: int, count: int) -> str:
    """Return the name of the container that publishes for the step at that place of the pod."""
    return _container("publish", index, count)


def _container(does: str, index: int, count: int) -> str:
    return f"{RESERVED_PREFIX}{does}" if count == 1 else f"{RESERVED_PREFIX}{does}-{index}"
