"""Makes sure that a run is on Kubeflow Pipelines once, or finds out that it is not."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cairn.api.base import JsonObject
from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.rest import NotSentError, UnreachableError
from cairn.runs.kubeflow.site import Site

CREATE_SECONDS = 60.0
"""How long the answer to a submission is waited for: plug-ins of the server may hold it up."""
LATE_SECONDS = 60.0
"""How long after a submission without an answer its run may still turn up."""


@dataclass(frozen=True)
class RunName:
    """What a run is found by."""

    display_name: str
    """What people see it under, which no other run has."""
    pipeline: str
    experiment: str
    """Name of its experiment, unless the orchestrator has one for all runs."""


class Submission:
    """That of one run."""

    def __init__(self, name: RunName, run_id: str | None) -> None:
        """Begin with the ID where it is known."""
        self._name = name
        self._request: JsonObject | None = None
        self._late_until = 0.0
        """Until when a run may still turn up that was asked for, on the monotonic clock."""
        self._is_sought = False
        self.run_id = run_id
        self.was_never_made = False
        """Whether it is known that there is no such run."""

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to find out, or to create."""
        return self.run_id is None and not self.was_never_made and (self._request is not None or self._is_sought)

    @property
    def is_unknown(self) -> bool:
        """Whether it is yet to be found out whether there is such a run, which is not to be created any more."""
        return self.is_wanted and self._request is None

    def submit(self, request: JsonObject) -> bool:
        """Have it created, unless it is there; return whether that is new."""
        if self.run_id is not None or self._request is not None:
            return False
        self._request, self._is_sought, self.was_never_made = request, False, False
        return True

    def seek(self) -> bool:
        """Have it found, and not created; return whether that is new."""
        self._request = None
        if self.run_id is not None or self._is_sought:
            return False
        self._is_sought = True
        return True

    async def go_on(self, server: KubeflowPipelines, site: Site) -> None:
        """Find the run, or create it; raises RestError, ComponentError, ApiError.

        Two operators, one of which is about to be stopped, may both create it: the oldest counts, and the others are ended.
        """
        config = site.orchestrator.config
        namespace = config.namespace if await server.has_several_users() else None
        experiment = await server.experiment_named(config.experiment or self._name.experiment, namespace)
        found = await self._found(server, experiment)
        is_late = time.monotonic() < self._late_until
        if not found and self._request is not None and not is_late:
            created = await self._create(server, experiment, self._request)
            found = await self._found(server, experiment) or [created]
        for needless in found[1:]:
            await server.terminate(needless)
        if found:
            self.run_id = found[0]
        elif self._request is None and not is_late:
            self.was_never_made = True

    async def _found(self, server: KubeflowPipelines, experiment: str) -> list[str]:
        return [str(run["run_id"]) for run in await server.runs_named(self._name.display_name, experiment)]

    async def _create(self, server: KubeflowPipelines, experiment: str, request: JsonObject) -> str:
        try:
            return await server.create_run({**request, "experiment_id": experiment}, CREATE_SECONDS)
        except NotSentError:
            raise
        except UnreachableError:
            self._late_until = time.monotonic() + LATE_SECONDS
            raise
