"""Runs from their creation to their end: looks at each every so often, and reports what it saw."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from . import checks
from .clock import Clock
from .errors import internal, invalid_input, not_found
from .ir import PipelineSpec, PlatformSpec
from .operation import Host, Operation
from .reports import remember, report_run, report_tasks
from .retry import reset
from .state import ARCHIVED, AVAILABLE, CANCELING, Phase, Run
from .store import Store

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Of the endings that Kubernetes gives to generated names."""
_STOPPABLE = {None, Phase.PENDING.value, Phase.RUNNING.value}


def workflow_name(pipeline: str) -> str:
    """Return a name that Kubernetes might generate for a pipeline's workflow."""
    return f"{pipeline}-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"


@dataclass
class _Compiled:
    pipeline: PipelineSpec
    platform: PlatformSpec
    generation: int = 0
    """Looks that were planned for an earlier one are not taken."""


class Engine:
    """Executes the runs of a store."""

    def __init__(self, store: Store, host: Host, clock: Clock) -> None:
        self._store = store
        self._host = host
        self._clock = clock
        self._compiled: dict[str, _Compiled] = {}

    def resume(self) -> None:
        """Go on with what was running before a restart."""
        for run in self._store.runs.values():
            if run.workflow.finished_at is None:
                for node in run.workflow.nodes.values():
                    if node.attempt is not None and not node.has_ended:
                        self._host.executor.start(node.attempt)
                # Until then the executor has seen how far they are.
                self._plan(run, self._host.timing.requeue)
            else:
                report_run(run, run.workflow.phase, run.workflow.finished_at, self._clock.now())
                report_tasks(run, list(run.workflow.nodes.values()), self._clock.now())

    def start(self, run: Run) -> None:
        """Begin a run."""
        self._store.save_run(run)
        timing = self._host.timing
        if timing.pickup:
            self._clock.call_later(timing.report, lambda: self._report_unseen(run))
        self._plan(run, timing.pickup)

    def terminate(self, run_id: str) -> None:
        """Stop a run that has not ended."""
        run = self._find(run_id, f"Failed to terminate run {run_id} due to error fetching the run")
        if run.state not in _STOPPABLE:
            error = invalid_input(f"Failed to terminate a run {run_id}. Row not found")
            raise error.within(f"Failed to terminate run {run_id}")
        run.state = CANCELING
        run.workflow.is_terminating = True
        self._store.save_run(run)
        self._clock.call_later(self._host.timing.report, lambda: self._apply_terminating(run))

    def retry(self, run_id: str) -> None:
        """Do again what has failed of a run."""
        run = self._find(run_id, f"Failed to retry run {run_id} due to error fetching the run")
        if run.workflow.phase is not Phase.FAILED:
            raise internal(
                f"Failed to retry run {run_id} as it does not allow retries: BadRequestError: "
                "Workflow must be Failed/Error to retry: workflow cannot be retried"
            )
        for attempt in reset(run.workflow):
            self._host.executor.remove(attempt)
        now = self._clock.now()
        run.finished_at = None
        run.state = Phase.RUNNING.value
        remember(run.state_history, run.state, now)
        self._store.save_run(run)
        self._plan(run, 0)

    def delete(self, run_id: str) -> None:
        """Remove a run with its pods, whether it has ended or not."""
        run = self._find(run_id, f"Failed to delete run {run_id} as run does not exist")
        self._store.delete_run(run_id)
        self._compiled.pop(run_id, None)
        for node in run.workflow.nodes.values():
            if node.attempt is not None:
                self._host.executor.remove(node.attempt)

    def archive(self, run_id: str, storage_state: str) -> None:
        """Put a run away, or take it back."""
        verb = {ARCHIVED: "archive", AVAILABLE: "unarchive"}[storage_state]
        run = self._find(run_id, f"Failed to {verb} run {run_id}")
        run.storage_state = storage_state
        self._store.save_run(run)

    def _find(self, run_id: str, context: str) -> Run:
        if run_id not in self._store.runs:
            missing = not_found("Run", run_id).within(f"Failed to fetch run {run_id}")
            raise missing.within(context)
        return self._store.runs[run_id]

    def _plan(self, run: Run, seconds: float) -> None:
        """Look at a run after a while, and at no earlier plan's time."""
        if run.run_id not in self._compiled:
            self._compiled[run.run_id] = _Compiled(*checks.pipeline(run.pipeline_spec))
        compiled = self._compiled[run.run_id]
        compiled.generation += 1
        generation = compiled.generation
        if seconds == 0:
            self._operate(run, generation)
        else:
            self._clock.call_later(seconds, lambda: self._operate(run, generation))

    def _operate(self, run: Run, generation: int) -> None:
        compiled = self._compiled.get(run.run_id)
        if compiled is None or compiled.generation != generation:
            return
        Operation(run, compiled.pipeline, compiled.platform, self._host, self._clock.now()).operate()
        self._store.save_run(run)
        self._report(run)
        if run.workflow.finished_at is None:
            self._plan(run, self._host.timing.requeue)
        else:
            self._compiled.pop(run.run_id)

    def _report(self, run: Run) -> None:
        """Report a run as it is now: its state after a while, its tasks after another."""
        timing = self._host.timing
        phase, finished_at = run.workflow.phase, run.workflow.finished_at
        nodes = [node.model_copy(update={"children": list(node.children)}) for node in run.workflow.nodes.values()]

        def apply_run() -> None:
            if self._is_known(run):
                report_run(run, phase, finished_at, self._clock.now())
                self._store.save_run(run)

        def apply_tasks() -> None:
            if self._is_known(run):
                report_tasks(run, nodes, self._clock.now())
                self._store.save_run(run)

        self._clock.call_later(timing.report, apply_run)
        self._clock.call_later(timing.report + timing.tasks, apply_tasks)

    def _report_unseen(self, run: Run) -> None:
        """Report a workflow that no controller has seen yet: it has no state."""
        if self._is_known(run) and run.workflow.phase is None:
            report_run(run, None, None, self._clock.now())
            self._store.save_run(run)

    def _apply_terminating(self, run: Run) -> None:
        if self._is_known(run) and run.state == CANCELING:
            remember(run.state_history, CANCELING, self._clock.now())
            self._store.save_run(run)

    def _is_known(self, run: Run) -> bool:
        return self._store.runs.get(run.run_id) is run
