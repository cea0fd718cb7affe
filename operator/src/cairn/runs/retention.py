"""How long a run that has ended, and its Jobs, are kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cairn.api.base import JsonObject
from cairn.api.conditions import condition_of
from cairn.api.deletion import is_being_deleted
from cairn.api.pipelinerun import pipeline_of
from cairn.api.stack import KEEP_JOBS_SECONDS
from cairn.api.time import parse
from cairn.runs.deployed import is_deployed
from cairn.runs.follow_up import is_followed_up
from cairn.runs.registration import awaits_approval

KEPT_TO_BE_RECORDED = timedelta(days=1)
"""How long a run is kept, after its end, whose tracker does not answer."""
KEPT_OF_SPEC = ("pipeline", "pipelineRef", "ttlSecondsAfterFinished")
"""What of a finished run's spec is looked at again."""


@dataclass(frozen=True)
class Retention:
    """What a Stack says about runs that have ended on it."""

    keep_jobs_seconds: int = KEEP_JOBS_SECONDS
    successful_runs: int | None = None
    failed_runs: int | None = None

    @classmethod
    def of(cls, stack: JsonObject | None) -> Retention:
        """Return what a Stack says; the defaults where it is gone, and for the built-in one."""
        spec = (stack or {}).get("spec") or {}
        return cls(
            keep_jobs_seconds=spec.get("keepJobsSeconds", KEEP_JOBS_SECONDS),
            successful_runs=spec.get("successfulRunsHistoryLimit"),
            failed_runs=spec.get("failedRunsHistoryLimit"),
        )


def jobs_expire(run: JsonObject, retention: Retention) -> datetime:
    """Return when the Jobs of a finished run are deleted."""
    return _ended(run) + timedelta(seconds=retention.keep_jobs_seconds)


def run_expires(run: JsonObject) -> datetime | None:
    """Return when a finished run is deleted; None where it says nothing about that, or a tool would make it anew."""
    seconds = run["spec"].get("ttlSecondsAfterFinished")
    return None if seconds is None or is_deployed(run) else _ended(run) + timedelta(seconds=seconds)


def recording_expires(run: JsonObject) -> datetime | None:
    """Return for how long a finished run is kept so that it can be recorded; None where it is recorded, or not to be.

    The same goes for its models. One whose models wait for approval is kept until somebody decides, or the time for that is up.
    """
    if awaits_approval(run):
        return datetime.max.replace(tzinfo=UTC)
    return _ended(run) + KEPT_TO_BE_RECORDED if is_followed_up(run) else None


def beyond_history(runs: Iterable[JsonObject], pipeline: str, retention: Retention) -> list[JsonObject]:
    """Return which of a stack's runs of a pipeline are more than it keeps, of those that succeeded and of the others."""
    of_pipeline = (run for run in runs if pipeline_of(run) == pipeline)
    return beyond_limits(of_pipeline, retention.successful_runs, retention.failed_runs)


def beyond_limits(runs: Iterable[JsonObject], successful_runs: int | None, failed_runs: int | None) -> list[JsonObject]:
    """Return which of some runs are more than are kept, of those that succeeded and of the others; None keeps all.

    Those that a tool would make anew are not among them, and are not counted.
    """
    finished = [run for run in runs if _is_finished(run) and not is_deployed(run)]
    finished.sort(key=lambda run: (_ended(run), run["metadata"]["name"]), reverse=True)
    succeeded = [run for run in finished if _has_succeeded(run)]
    others = [run for run in finished if not _has_succeeded(run)]
    beyond: list[JsonObject] = []
    for kept, limit in ((succeeded, successful_runs), (others, failed_runs)):
        if limit is not None:
            beyond += kept[limit:]
    return beyond


def _is_finished(run: JsonObject) -> bool:
    return bool((run.get("status") or {}).get("completionTime")) and not is_being_deleted(run)


def _has_succeeded(run: JsonObject) -> bool:
    succeeded = condition_of(run, "Succeeded")
    return succeeded is not None and succeeded["status"] == "True"


def _ended(run: JsonObject) -> datetime:
    return parse(run["status"]["completionTime"])
