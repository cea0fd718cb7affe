"""`/apis/v2beta1/runs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from aiohttp import web

from . import checks, describe
from .clock import Clock
from .engine import Engine, workflow_name
from .errors import KfpError, ProtoError, not_found
from .experiments import Experiments
from .ir import PipelineSpec
from .listing import page
from .state import ARCHIVED, AVAILABLE, Experiment, Moment, Phase, Run, Workflow
from .store import Store

SERVICE_ACCOUNT = "pipeline-runner"


class Runs:
    """What may be done with runs."""

    def __init__(self, store: Store, engine: Engine, experiments: Experiments, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._experiments = experiments
        self._clock = clock

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Return the routes below the API's prefix."""
        one = f"{prefix}/runs/{{run_id:[^/:]+}}"
        return [
            web.post(f"{prefix}/runs", self.create),
            web.get(f"{prefix}/runs", self.list),
            web.get(one, self.get),
            web.delete(one, self.delete),
            web.post(f"{one}:terminate", self.terminate),
            web.post(f"{one}:retry", self.retry),
            web.post(f"{one}:archive", self.archive),
            web.post(f"{one}:unarchive", self.unarchive),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Submit a run."""
        body = checks.body(await request.text(), checks.RUN_FIELDS)
        try:
            run = self._new(body)
        except ProtoError:
            raise
        except KfpError as error:
            raise error.within("Failed to create a new run") from error
        answer = describe.run(run)
        self._engine.start(run)
        return web.json_response(answer)

    def _new(self, body: dict[str, Any]) -> Run:
        experiment = self._experiment(body.get("experiment_id", ""))
        spec = body.get("pipeline_spec", {})
        pipeline, _ = checks.pipeline(spec)
        config = body.get("runtime_config") or {}
        checks.parameters(pipeline, config.get("parameters") or {})
        now = self._clock.now()
        experiment.last_run_created_at = now
        self._store.save_experiment(experiment)
        return Run(
            run_id=str(uuid4()),
            display_name=body.get("display_name", ""),
            description=body.get("description", ""),
            experiment_id=experiment.experiment_id,
            pipeline_spec=spec,
            runtime_config=config,
            service_account=body.get("service_account") or SERVICE_ACCOUNT,
            created_at=now,
            state_history=[Moment(state=Phase.PENDING.value, update_time=now)],
            workflow=_workflow(pipeline, self._clock),
        )

    def _experiment(self, identifier: str) -> Experiment:
        if not identifier:
            return self._experiments.default()
        if identifier not in self._store.experiments:
            missing = not_found("Experiment", identifier)
            missing = missing.within(f"Failed to fetch namespace from experiment {identifier}")
            missing = missing.within(f"Failed to fetch namespace for experiment {identifier}")
            raise missing.within("Failed to create a run due to invalid experimentId and namespace combination")
        return self._store.experiments[identifier]

    async def list(self, request: web.Request) -> web.Response:
        """List runs with their tasks."""
        items = list(self._store.runs.values())
        if experiment_id := request.query.get("experiment_id"):
            items = [run for run in items if run.experiment_id == experiment_id]
        elif namespace := request.query.get("namespace"):
            items = [run for run in items if self._namespace(run) == namespace]
        found = page(items, request.query, getattr, "run_id")
        answer = {"runs": [describe.run(run) for run in found.items], "total_size": found.total_size}
        return web.json_response(describe.without_empty({**answer, "next_page_token": found.next_page_token}))

    def _namespace(self, run: Run) -> str:
        experiment = self._store.experiments.get(run.experiment_id)
        return experiment.namespace if experiment else ""

    async def get(self, request: web.Request) -> web.Response:
        """Return a run with its tasks."""
        run_id = request.match_info["run_id"]
        if run_id not in self._store.runs:
            missing = not_found("Run", run_id).within(f"Failed to fetch run {run_id}")
            raise missing.within("Failed to get a run")
        return web.json_response(describe.run(self._store.runs[run_id]))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a run."""
        return self._do(request, self._engine.delete, "Failed to delete a run")

    async def terminate(self, request: web.Request) -> web.Response:
        """Stop a run."""
        return self._do(request, self._engine.terminate, "Failed to terminate a run")

    async def retry(self, request: web.Request) -> web.Response:
        """Do again what has failed."""
        return self._do(request, self._engine.retry, "Failed to retry a run")

    async def archive(self, request: web.Request) -> web.Response:
        """Put a run away."""
        return self._do(request, lambda run_id: self._engine.archive(run_id, ARCHIVED), "Failed to archive a run")

    async def unarchive(self, request: web.Request) -> web.Response:
        """Take a run back."""
        return self._do(request, lambda run_id: self._engine.archive(run_id, AVAILABLE), "Failed to unarchive a run")

    @staticmethod
    def _do(request: web.Request, action: Callable[[str], None], context: str) -> web.Response:
        try:
            action(request.match_info["run_id"])
        except KfpError as error:
            raise error.within(context) from error
        return web.json_response({})


def _workflow(pipeline: PipelineSpec, clock: Clock) -> Workflow:
    return Workflow(name=workflow_name(pipeline.pipeline_info.name), created_at=clock.now())
