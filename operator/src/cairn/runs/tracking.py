"""Has runs recorded by the experiment trackers of their stacks, beside the reconciles, which never wait for a tracker for long.

All that it knows can be found out again: what is to be held follows from a run's status, what is held the tracker tells.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cairn import __version__
from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus, TrackingStatus
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ArtifactStore, ExperimentTracker
from cairn.components.connections import Connections
from cairn.components.neighbours import Neighbours
from cairn.components.records import TrackerClient, TrackerUnavailableError
from cairn.components.step_access import StepAccess
from cairn.runs.instances import RunSteps
from cairn.runs.tracked_experiments import TrackedExperiments
from cairn.runs.tracked_run import TrackedRun
from cairn.runs.tracker_gate import TrackerGate
from cairn.runs.tracking_records import RUN, RecordOf, context_of, record_of_run, records_of_attempts
from cairn.runs.tracking_status import TrackingState, with_tracking

PATIENCE_SECONDS = 0.15
"""How long the start of steps waits to know where they are recorded."""
DELETED = "Deleted"


@dataclass(eq=False)
class _Tracker:
    """A tracker that runs are recorded by."""

    flavor: ExperimentTracker[Any]
    """As it is configured now."""
    gate: TrackerGate
    experiments: TrackedExperiments


@dataclass
class _Following:
    """A run that is recorded."""

    uid: str
    tracker: _Tracker
    tracked: TrackedRun
    seen: dict[str, StepStatus] = field(default_factory=dict[str, StepStatus])
    """The steps as they were when their records were made last."""


class RunTracking:
    """Records runs; `wake` has a run reconciled when there is something else to say in its status."""

    def __init__(
        self, cluster: Cluster, clock: Clock, wake: Wake, connections: Connections[TrackerClient] | None = None
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._wake = wake
        self._connections = connections or Connections[TrackerClient](cluster)
        self._trackers: dict[tuple[Key, str], _Tracker] = {}
        self._runs: dict[Key, _Following] = {}

    def prepare(self, body: JsonObject, spec: RunSpec, tracker: ExperimentTracker[Any] | None) -> None:
        """Find out where a run is to be recorded that is about to start."""
        following = self._following(body, spec, tracker)
        if following is not None:
            following.tracked.prepare()

    def follow(
        self, body: JsonObject, steps: RunSteps, status: PipelineRunStatus, tracker: ExperimentTracker[Any] | None
    ) -> None:
        """Have recorded what a status says of a run; without a tracker, by the one that it was recorded by before."""
        spec = steps.spec
        following = self._following(body, spec, tracker)
        if following is None:
            return
        run = record_of_run(body, spec, status, __version__)
        changed = {step.name for step in status.steps if following.seen.get(step.name) != step}
        following.seen.update((step.name, step) for step in status.steps)
        attempts = records_of_attempts(run, steps, status, changed) if changed else {}
        following.tracked.want({RUN: run, **attempts})

    async def access_of(
        self, body: JsonObject, attempts: Iterable[RecordOf], *, for_all_attempts_of: Container[str] = ()
    ) -> Mapping[RecordOf, StepAccess]:
        """Return what the containers of attempts need to record into their records.

        Of some steps all attempts have the same access: what their code records is beside the records of the attempts.
        """
        following = self._runs.get(key_of(body))
        if following is None:
            return {}
        tracker, tracked = following.tracker.flavor, following.tracked
        wanted = list(attempts)
        known = await tracked.ids_of(wanted, PATIENCE_SECONDS)
        ids = {attempt: id_ for attempt, id_ in known.items() if attempt[0] not in for_all_attempts_of}
        artifacts = self._access_to_artifacts(tracker)
        return {
            attempt: artifacts
            + tracker.step_access(
                tracked.experiment_name,
                ids.get(attempt),
                ids.get(attempt, tracked.ids.get(RUN)),
                context_of(body, *attempt),
            )
            for attempt in wanted
        }

    def _access_to_artifacts(self, tracker: ExperimentTracker[Any]) -> StepAccess:
        """Return what steps need to write artifacts that their code records, where they do so themselves."""
        name = tracker.artifact_store_of_steps
        store = Neighbours(self._cluster, tracker.namespace).component(name) if name is not None else None
        return store.code_access if isinstance(store, ArtifactStore) else StepAccess()

    def with_tracking(self, status: PipelineRunStatus, body: JsonObject, now: str) -> PipelineRunStatus:
        """Return a run's status with what is to be told of how it is recorded."""
        following = self._runs.get(key_of(body))
        if following is None:
            return status
        tracked, place = following.tracked, None
        if tracked.place is not None:
            experiment, run = tracked.place
            place = TrackingStatus(
                experiment_id=experiment, run_id=run, url=following.tracker.flavor.url_of(experiment, run)
            )
        state = TrackingState(place, tracked.problem, is_recorded=tracked.is_recorded)
        return with_tracking(status, state, int(body["metadata"]["generation"]), now)

    async def record_id(self, key: Key, step: str, attempt: int) -> str | None:
        """Return the tracker's ID of an attempt's record, once it is known; None where the run is not recorded."""
        following = self._runs.get(key)
        return await following.tracked.id_of((step, attempt)) if following is not None else None

    def gate_of(self, tracker: ExperimentTracker[Any]) -> TrackerGate:
        """Return the way into a tracker."""
        return self._tracker(tracker).gate

    def let_go(self, key: Key) -> None:
        """Forget a run, all of which is recorded."""
        following = self._runs.pop(key, None)
        if following is not None:
            following.tracked.stop()

    def run_is_gone(self, key: Key) -> None:
        """Have what was open of a run recorded as killed: it was deleted."""
        following = self._runs.get(key)
        if following is None:
            return
        following.tracked.end(round(self._clock.now().timestamp() * 1000), DELETED)
        if following.tracked.is_recorded:
            self.let_go(key)

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._runs):
            self.let_go(key)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    def _following(self, body: JsonObject, spec: RunSpec, tracker: ExperimentTracker[Any] | None) -> _Following | None:
        if spec.tracking is not None and spec.tracking.disabled:
            return None
        key, uid = key_of(body), body["metadata"]["uid"]
        known, at = self._runs.get(key), self._tracker(tracker) if tracker is not None else None
        if known is not None and known.uid == uid and at in {None, known.tracker}:
            return known
        self.let_go(key)
        if at is None:
            return None
        name = at.flavor.experiment_name(spec.experiment or spec.pipeline)
        is_new = (body.get("status") or {}).get("startTime") is None
        tracked = TrackedRun(uid, name, at.gate, at.experiments, lambda: self._wake(key), is_new=is_new)
        self._runs[key] = _Following(uid, at, tracked)
        return self._runs[key]

    def _tracker(self, flavor: ExperimentTracker[Any]) -> _Tracker:
        """Return the way to a tracker; it is another one when its address has changed."""
        known = self._trackers.get((flavor.key, flavor.uri))
        if known is not None:
            known.flavor = flavor
            return known

        async def connect() -> TrackerClient:
            try:
                return await self._connections.client_of(new.flavor)
            except CAN_BE_TRIED_AGAIN as error:
                raise TrackerUnavailableError("SecretNotReadable", f"The log-in cannot be read: {error}.") from error

        def told() -> None:
            for run, following in self._runs.items():
                if following.tracker is new:
                    self._wake(run)

        gate = TrackerGate(connect, told)
        new = self._trackers[flavor.key, flavor.uri] = _Tracker(flavor, gate, TrackedExperiments(gate))
        return new
