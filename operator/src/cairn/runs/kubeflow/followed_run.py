"""Makes one run on Kubeflow Pipelines what it is to be, and looks at it until all of it is known, beside the reconciles."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from http import HTTPStatus

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import OrchestratorRun
from cairn.api.step import Step
from cairn.clients.kfp import KubeflowPipelines, RefusedError
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN
from cairn.clients.pause import pause
from cairn.clients.rest import RestError
from cairn.components.errors import ComponentError
from cairn.runs.kubeflow.output_reading import UNFORESEEN, OutputReading
from cairn.runs.kubeflow.outputs import StepOutputs
from cairn.runs.kubeflow.run_details import RunDetails, details_of
from cairn.runs.kubeflow.site import Site
from cairn.runs.kubeflow.submission import RunName, Submission
from cairn.runs.workloads import refusal_of

logger = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
"""Between looks at a run of which nothing changes; Kubeflow Pipelines itself looks every ten seconds."""
LONGEST_PAUSE_OF_TROUBLE_SECONDS = 30.0
TOLD_AFTER_SECONDS = 10.0
"""How long nothing is to be heard of a run before people are told: a server that is restarted is nobody's concern."""
SECRET_REASONS = frozenset({"SecretNotFound", "SecretKeyMissing"})
ENDPOINT_CHANGED = "EndpointChanged"
SETTLES_SECONDS = 10.0
"""How long after a run's end more of its tasks may be told of."""


class FollowedRun:
    """One run; `told` is called when there is something else to tell of it."""

    def __init__(
        self,
        name: RunName,
        known: OrchestratorRun | None,
        steps: Mapping[str, Step],
        site: Site,
        *,
        find_site: Callable[[], Site | None],
        told: Callable[[], None],
    ) -> None:
        """Make a run of which nothing is known but, where it was submitted for certain, its ID and who has it.

        `find_site` returns where it is carried out, by its components as they are now; None once they are gone.
        """
        self._name = name
        self._steps = steps
        self._told = told
        self._submission = Submission(name, known.id if known is not None else None)
        self.endpoint = known.endpoint if known is not None else None
        """Address of the server that has it, once it is found or created."""
        self._reading = OutputReading(told)
        self._is_to_end = False
        self._heard = time.monotonic()
        """When something was heard of it last."""
        self._settled: float | None = None
        """Since when it has ended, and its tasks tell so."""
        self._problem: ComponentError | None = None
        self._urgent = asyncio.Event()
        """Set when it is to be looked at whatever the pause."""
        self._news = asyncio.Event()
        """Set when there may be something to see."""
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._find_site = find_site
        self.site = site
        """Where it is carried out, by its components as they were when last looked at."""
        self._way: tuple[Site, KubeflowPipelines] | None = None
        """The last way into it that there was."""
        self.recorded: Container[str] = frozenset()
        """Steps whose end is recorded, so that nothing more is to be found out of them; replaced when there are more."""
        self.details: RunDetails | None = None
        self.is_gone = False
        """Whether somebody has deleted it."""
        self.is_refused = False
        """Whether another try to submit it can only be refused alike."""

    @property
    def run_id(self) -> str | None:
        """Its ID, once it is found or created."""
        return self._submission.run_id

    @property
    def outputs(self) -> Mapping[str, StepOutputs | ComponentError]:
        """What steps have written that have succeeded, or why that is not known."""
        return self._reading.outputs

    @property
    def is_unknown(self) -> bool:
        """Whether it is yet to be found out whether it was submitted, which it is not any more."""
        return self._submission.is_unknown

    @property
    def problem(self) -> ComponentError | None:
        """Why not more is known, or it is not submitted; None where all is well, or people need not know yet."""
        is_new = self.run_id is None
        return self._problem if is_new or time.monotonic() - self._heard >= TOLD_AFTER_SECONDS else None

    @property
    def is_terminated(self) -> bool:
        """Whether it begins with nothing any more: somebody has ended it, or it was never made."""
        return self._submission.was_never_made or (self.details is not None and self.details.was_terminated)

    @property
    def is_final(self) -> bool:
        """Whether nothing more is to be heard of it."""
        if self.is_gone:
            return True
        return self._settled is not None and time.monotonic() - self._settled >= SETTLES_SECONDS

    @property
    def is_ending(self) -> bool:
        """Whether Kubeflow Pipelines says that it has ended, or is about to; or that it is not there."""
        return self.is_gone or self.is_terminated or (self.details is not None and self.details.has_ended)

    def look_at_components(self) -> None:
        """Take its components as they are now; those that are gone stay as they were."""
        found = self._find_site()
        if found is not None:
            self.site = replace(found, store=found.store or self.site.store)

    def follow(self) -> None:
        """Go on looking at it."""
        if self._task is None and not self._is_over:
            self._task = asyncio.create_task(self._follow())

    def nudge(self) -> None:
        """Look at it soon: one of its pods has changed."""
        self._news.set()
        self.follow()

    def stop(self) -> None:
        """Stop looking at it."""
        self._reading.stop()
        if self._task is not None:
            self._task.cancel()

    def submit(self, request: JsonObject) -> None:
        """Have it run, unless it does: what was asked for before, without an answer, is found by its name."""
        if self._submission.submit(request):
            self._look_at_once()

    def seek(self) -> None:
        """Have it found out whether it was submitted; it is not submitted any more."""
        if self._submission.seek():
            self._look_at_once()

    def terminate(self) -> None:
        """Have it end, once it is found."""
        if not self._is_to_end:
            self._is_to_end = True
            self._submission.seek()
            self._look_at_once()

    async def looked(self, seconds: float) -> None:
        """Wait until it was asked for, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._looked.wait()
        except TimeoutError:
            return

    def _look_at_once(self) -> None:
        self.is_refused = False
        self._looked.clear()
        self._urgent.set()
        self._news.set()
        self.follow()

    @property
    def _is_over(self) -> bool:
        if self.run_id is None:
            return self.is_refused or not self._submission.is_wanted
        return self.is_gone or (self.is_final and not self._unread())

    def _unread(self) -> list[str]:
        """Return the steps that have succeeded and whose outputs are not known."""
        tasks = self.details.tasks if self.details is not None else {}
        return [
            name
            for name, task in tasks.items()
            if name in self._steps and name not in self.recorded
            if task.state == "SUCCEEDED" and not self._reading.is_done(name)
        ]

    async def _follow(self) -> None:
        seconds, known = SHORTEST_PAUSE_SECONDS, self._known()
        try:
            while not self._is_over:
                self._urgent.clear()
                self._news.clear()
                was_well = self._problem is None
                await self._look()
                before, known = known, self._known()
                if known != before:
                    self._told()
                changed = known != before if self._problem is None else was_well
                longest = LONGEST_PAUSE_SECONDS if self._problem is None else LONGEST_PAUSE_OF_TROUBLE_SECONDS
                seconds = SHORTEST_PAUSE_SECONDS if changed else min(longest, 2 * seconds)
                await self._pause(seconds)
        finally:
            self._task = None
        if self._known() != known:
            self._told()

    async def _pause(self, seconds: float) -> None:
        """Wait until it is to be looked at again: what its pods do is no reason where the server is in trouble."""
        if self._is_over:
            return
        if self._problem is None:
            await pause(SHORTEST_PAUSE_SECONDS, self._urgent)
            await pause(max(0.0, seconds - SHORTEST_PAUSE_SECONDS), self._news)
        else:
            await pause(seconds, self._urgent)

    async def _look(self) -> None:
        """Bring it a step further, as far as that goes."""
        self.look_at_components()
        try:
            await self._go_on(*await self._current_way())
        except RestError as error:
            self._problem = self.site.explained(error)
            self.is_refused = self.run_id is None and _is_final(error)
        except ComponentError as error:
            self._problem = error
        except CAN_BE_TRIED_AGAIN as error:
            refusal = refusal_of(error, "The API server does not tell how Kubeflow Pipelines is reached")
            self._problem = ComponentError(refusal.reason, refusal.message)
        except Exception:
            logger.exception("Run %s on Kubeflow Pipelines cannot be followed", self._name.display_name)
            self._problem = UNFORESEEN
        else:
            self._problem = None
            self._heard = time.monotonic()
        self._looked.set()

    async def _current_way(self) -> tuple[Site, KubeflowPipelines]:
        """Return the way into it; for a run that is to end, that which was there before: a namespace loses its Secrets first."""
        site = self.site
        try:
            self._way = site, await site.server()
        except ComponentError as error:
            if self._way is None or not self._is_to_end or error.reason not in SECRET_REASONS:
                raise
        return self._way

    async def _go_on(self, site: Site, server: KubeflowPipelines) -> None:
        here = site.orchestrator.config.endpoint
        if self.run_id is None:
            await self._submission.go_on(server, site)
        run_id = self.run_id
        if run_id is None:
            return
        if self.endpoint is None:
            self.endpoint = here
        if self.endpoint != here:
            message = (
                f"The run is at {self.endpoint}, and orchestrator {site.orchestrator.name} has the endpoint {here} now"
            )
            raise ComponentError(
                ENDPOINT_CHANGED, f"{message}; set it back until the run has ended, or delete the run."
            )
        await self._ask(server, run_id)
        for name in self._unread():
            self._reading.begin(self._steps[name], lambda step: site.outputs(self._name.pipeline, run_id, step))

    async def _ask(self, server: KubeflowPipelines, run_id: str) -> None:
        try:
            if self._is_to_end and not self.is_ending:
                await server.terminate(run_id)
            self.details = details_of(await server.run(run_id))
        except RefusedError as error:
            if not error.is_not_found:
                raise
            self.is_gone = True
            return
        if not self.details.is_settled:
            self._settled = None
        elif self._settled is None:
            self._settled = time.monotonic()

    def _known(self) -> object:
        """Return what there is to tell."""
        problem = self.problem
        return (
            (self.run_id, self.details, self._submission.was_never_made),
            (self.is_gone, self.is_refused, self.is_final),
            (problem.reason, problem.message) if problem is not None else None,
        )


def _is_final(error: RestError) -> bool:
    """Return whether another try of the same can only be refused alike."""
    mended_elsewhere = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    return isinstance(error, RefusedError) and not error.may_pass and error.status not in mended_elsewhere
