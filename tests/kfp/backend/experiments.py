"""`/apis/v2beta1/experiments`."""

from __future__ import annotations

from uuid import uuid4

from aiohttp import web

from . import checks, describe
from .clock import Clock
from .errors import already_exists, not_found
from .listing import page
from .state import ARCHIVED, AVAILABLE, Experiment
from .store import Store

DEFAULT = "Default"


class Experiments:
    """What may be done with experiments."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Return the routes below the API's prefix."""
        one = f"{prefix}/experiments/{{experiment_id:[^/:]+}}"
        return [
            web.post(f"{prefix}/experiments", self.create),
            web.get(f"{prefix}/experiments", self.list),
            web.get(one, self.get),
            web.delete(one, self.delete),
            web.post(f"{one}:archive", self.archive),
            web.post(f"{one}:unarchive", self.unarchive),
        ]

    def default(self) -> Experiment:
        """Return the experiment of runs that name none."""
        found = next(self._store.experiments_named(DEFAULT, ""), None)
        return found or self._add(DEFAULT, "", "")

    def _add(self, name: str, description: str, namespace: str) -> Experiment:
        experiment = Experiment(
            experiment_id=str(uuid4()),
            display_name=name,
            description=description,
            namespace=namespace,
            created_at=self._clock.now(),
        )
        self._store.save_experiment(experiment)
        return experiment

    async def create(self, request: web.Request) -> web.Response:
        """Make an experiment."""
        body = checks.body(await request.text(), checks.EXPERIMENT_FIELDS)
        name, namespace = body.get("display_name", ""), body.get("namespace", "")
        if any(self._store.experiments_named(name, namespace)):
            taken = f"The name {name} already exists. Please specify a new name"
            error = already_exists(f"Failed to create a new experiment. {taken}")
            raise error.within("Failed to create a experiment")
        return web.json_response(describe.experiment(self._add(name, body.get("description", ""), namespace)))

    async def list(self, request: web.Request) -> web.Response:
        """List experiments."""
        namespace = request.query.get("namespace", "")
        items = [one for one in self._store.experiments.values() if one.namespace == namespace]
        found = page(items, request.query, getattr, "experiment_id")
        answer = {"experiments": [describe.experiment(one) for one in found.items], "total_size": found.total_size}
        return web.json_response(describe.without_empty({**answer, "next_page_token": found.next_page_token}))

    def _find(self, request: web.Request, context: str) -> Experiment:
        identifier = request.match_info["experiment_id"]
        if identifier not in self._store.experiments:
            raise not_found("Experiment", identifier).within(context)
        return self._store.experiments[identifier]

    async def get(self, request: web.Request) -> web.Response:
        """Return an experiment."""
        return web.json_response(describe.experiment(self._find(request, "Failed to get an experiment")))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove an experiment; its runs stay, as in KFP."""
        self._store.delete_experiment(self._find(request, "Failed to delete an experiment").experiment_id)
        return web.json_response({})

    async def archive(self, request: web.Request) -> web.Response:
        """Put an experiment away with its runs."""
        experiment = self._find(request, "Failed to archive an experiment")
        for run in list(self._store.runs.values()):
            if run.experiment_id == experiment.experiment_id:
                run.storage_state = ARCHIVED
                self._store.save_run(run)
        return self._put(experiment, ARCHIVED)

    async def unarchive(self, request: web.Request) -> web.Response:
        """Take an experiment back; its runs stay away, as in KFP."""
        return self._put(self._find(request, "Failed to unarchive an experiment"), AVAILABLE)

    def _put(self, experiment: Experiment, storage_state: str) -> web.Response:
        experiment.storage_state = storage_state
        self._store.save_experiment(experiment)
        return web.json_response({})
