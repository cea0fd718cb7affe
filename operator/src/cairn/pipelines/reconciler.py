"""Keeps Pipelines up to date: says whether runs can be made from one, and starts a run of each version of it."""

from __future__ import annotations

from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.conditions import INVALID_SPEC, find_condition
from cairn.api.deletion import is_being_deleted
from cairn.api.pipeline import LastRun, PipelineSpec, PipelineStatus
from cairn.api.time import timestamp
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.condition_events import Told
from cairn.clients.kubernetes import PIPELINES
from cairn.clients.store import Key, key_of
from cairn.pipelines.runs import last_run_of, run_of_change, runs_of_revision
from cairn.pipelines.started_runs import (
    IN_THE_WAY_SECONDS,
    LAST_RUN_SUCCEEDED,
    LAST_RUN_TOLD,
    READY,
    REFUSED_SECONDS,
    RUN_REFUSED,
    RunRefusedError,
    Start,
    standing,
    start,
    with_last_run,
    with_ready,
)
from cairn.runs.outcome import Outcome
from cairn.runs.pipeline_runs import revision_of
from cairn.runs.pipeline_validation import problem_of_pipeline

VALID = Outcome("True", "Valid", "Runs can be made from it.")
TOLD = (Told(READY, "Validate"), LAST_RUN_TOLD)
"""Of which conditions' changes there are Events."""


class PipelineReconciler:
    """Reconciles one Pipeline at a time."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def reconcile(self, key: Key) -> float | None:
        """Bring one Pipeline up to date; return in how many seconds to look at it again."""
        body = self._cluster.pipelines.get(key)
        if body is None or is_being_deleted(body):
            return None
        old = PipelineStatus.model_validate(body.get("status") or {}, extra="ignore")
        try:
            spec = PipelineSpec.model_validate(body["spec"])
        except ValidationError as error:
            await self._write(
                body, old, old.revision, old.last_run, Outcome("False", INVALID_SPEC, first_problem(error))
            )
            return None
        problem = problem_of_pipeline(key[1], spec)
        ready = VALID if problem is None else Outcome("False", INVALID_SPEC, problem)
        last, again = old.last_run, None
        if problem is None and spec.run_policy == "OnChange":
            try:
                last, again = await self._started(body, spec, last)
            except RunRefusedError as error:
                ready, again = Outcome("False", RUN_REFUSED, str(error)), REFUSED_SECONDS
        await self._write(body, old, revision_of(spec), last, ready)
        return again

    async def _started(
        self, body: JsonObject, spec: PipelineSpec, last: LastRun | None
    ) -> tuple[LastRun | None, float | None]:
        """Have a run started of a version that has none; return the last one, and when to try again."""
        revision = revision_of(spec)
        if last is not None and last.revision == revision:
            return last, None
        there = runs_of_revision(self._cluster.runs.in_namespace(key_of(body)[0]), body, revision, last)
        if there:
            return last_run_of(there[-1]), None
        run = run_of_change(body, spec, revision)
        name = run["metadata"]["name"]
        outcome = await start(self._cluster, run)
        if outcome is Start.IN_THE_WAY:
            return last, IN_THE_WAY_SECONDS
        if outcome is Start.STARTED:
            note = f"Started PipelineRun {name} of revision {revision}."
            await self._cluster.events.record(body, "Normal", "RunStarted", "Start", note)
        return last_run_of(run), None

    async def _write(
        self, body: JsonObject, old: PipelineStatus, revision: str | None, last: LastRun | None, ready: Outcome
    ) -> None:
        generation, now = body["metadata"]["generation"], timestamp(self._clock.now())
        conditions = with_ready(old.conditions, ready, generation, now)
        if last is not None:
            known = find_condition(old.conditions, LAST_RUN_SUCCEEDED)
            outcome = standing(self._cluster, key_of(body)[0], last.name, known)
            conditions = with_last_run(conditions, last.name, outcome, generation, now)
            last = last.model_copy(update={"reason": outcome.reason})
        new = PipelineStatus(
            conditions=tuple(conditions), observed_generation=generation, revision=revision, last_run=last
        )
        await self._cluster.write_status(PIPELINES, self._cluster.pipelines, body, new.to_json(), tell=TOLD)
