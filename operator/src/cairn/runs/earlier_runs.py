"""What a run takes over from an earlier one, as the cluster has that one."""

from __future__ import annotations

from collections.abc import Mapping

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import PIPELINE_RUNS
from cairn.clients.store import key_of
from cairn.runs.graph import StepGraph
from cairn.runs.items import InstanceMaker
from cairn.runs.problem import Problem
from cairn.runs.rerun import problem_of, taken_over
from cairn.runs.revisions import InvalidSpecError, PipelineNotReadyError, RunSpecs


class EarlierRuns:
    """The runs that `rerunOf` names."""

    def __init__(self, cluster: Cluster, specs: RunSpecs) -> None:
        self._cluster = cluster
        self._specs = specs

    def missing(self, body: JsonObject, spec: RunSpec) -> str | None:
        """Return why the run that this one takes steps over from cannot tell them yet, or None."""
        if spec.rerun_of is None:
            return None
        name = spec.rerun_of.name
        earlier = self._cluster.runs.get((body["metadata"]["namespace"], name))
        if earlier is None:
            return f"It takes over from run {name}, which is not there; create that one, or delete this one."
        if (earlier.get("status") or {}).get("completionTime") is not None:
            return None
        if self._waits_for(earlier, body["metadata"]["name"]):
            return f"It takes over from run {name}, which waits to take over from this one; delete one of them."
        return f"It takes over from run {name}, which has not ended; wait for it, or cancel it."

    def _waits_for(self, run: JsonObject | None, name: str) -> bool:
        """Return whether a run cannot start before the one of that name has ended."""
        seen: set[str] = set()
        while run is not None and (run.get("status") or {}).get("startTime") is None:
            earlier = (run["spec"].get("rerunOf") or {}).get("name")
            if earlier is None or earlier in seen:
                return False
            if earlier == name:
                return True
            seen.add(earlier)
            run = self._cluster.runs.get((run["metadata"]["namespace"], earlier))
        return False

    async def taken_over(
        self, body: JsonObject, spec: RunSpec, maker: InstanceMaker
    ) -> Mapping[str, StepStatus] | Problem:
        """Return the steps that an earlier run has done for this one, or why it has not."""
        if spec.rerun_of is None:
            return {}
        name = spec.rerun_of.name
        found = await self._cluster.kubernetes.get(PIPELINE_RUNS, body["metadata"]["namespace"], name)
        status = PipelineRunStatus.model_validate(found.get("status") or {}, extra="ignore")
        if "pipelineRef" in found["spec"] and status.pipeline_revision is None:
            return {}  # it never started
        try:
            earlier = await self._specs.of(found, status)
        except PipelineNotReadyError as error:
            return Problem("spec.rerunOf.name", f"of run {name}: {error}")
        except InvalidSpecError as error:
            return Problem("spec.rerunOf.name", f"run {name} is not valid: {error}")
        finally:
            self._specs.forget(key_of(found))
        problem = problem_of(spec, earlier)
        if problem is not None:
            return problem
        if not status.steps:
            return {}  # it was refused: nothing of it has run
        return taken_over(maker, InstanceMaker(StepGraph(earlier)), status)
