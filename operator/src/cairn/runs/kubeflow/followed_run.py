"""Makes one run on Kubeflow Pipelines what it is to be, and looks at it until all of it is known, beside the reconciles."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.clients.kfp import KubeflowPipelines, RefusedError
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN
from cairn.clients.pause import pause
from cairn.clients.rest import RestError
from cairn.components.errors import ComponentError
from cairn.runs.kubeflow.outputs import NOTHING, OutputsInvalidError, StepOutputs, writes_nothing
from cairn.runs.kubeflow.run_details import RunDetails, details_of
from cairn.runs.kubeflow.site import Site

logger = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
"""Between looks at a run of which nothing changes; Kubeflow Pipelines itself looks every ten seconds."""
LONGEST_PAUSE_OF_TROUBLE_SECONDS = 30.0
TOLD_AFTER_SECONDS = 10.0
"""How long nothing is to be heard of a run before people are told: a server that is restarted is nobody's concern."""
LATE_SECONDS = 10.0
"""How long after a request without an answer the run that it asked for may still turn up."""
UNFORESEEN = ComponentError(
    "FollowingFailed", "Cairn fails in a way that it does not foresee; its log says how. Report it."
)


@dataclass(frozen=True)
class RunName:
    """What a run is found by."""

    display_name: str
    """What people see it under, which no other run has."""
    pipeline: str
    experiment: str
    """Name of its experiment, unless the orchestrator has one for all runs."""


class FollowedRun:
    """One run; `told` is called when there is something else to tell of it."""

    def __init__(
        self, name: RunName, run_id: str | None, steps: Mapping[str, Step], site: Site, told: Callable[[], None]
    ) -> None:
        """Make a run of which nothing is known but, where it was submitted for certain, its ID."""
        self._name = name
        self._steps = steps
        self._told = told
        self._submission: JsonObject | None = None
        """What is to be submitted."""
        self._is_sought = False
        """Whether it is to be found out whether it was submitted."""
        self._is_to_end = False
        self._late_until = 0.0
        """Until when a run may still turn up that was asked for, on the monotonic clock."""
        self._heard = time.monotonic()
        """When something was heard of it last."""
        self._settled: float | None = None
        """Since when nothing of it is to come, on the monotonic clock."""
        self._problem: ComponentError | None = None
        self._news = asyncio.Event()
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.site = site
        """Where it is carried out; may be replaced."""
        self.recorded: Container[str] = frozenset()
        """Steps whose end is recorded, so that nothing more is to be found out of them."""
        self.run_id = run_id
        self.details: RunDetails | None = None
        self.outputs: dict[str, StepOutputs | ComponentError] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self.is_gone = False
        """Whether somebody has deleted it."""
        self.was_never_submitted = False
        """Whether it is known that it was not."""
        self.is_refused = False
        """Whether another try to submit it can only be refused alike."""

    @property
    def problem(self) -> ComponentError | None:
        """Why not more is known, or it is not submitted; None where all is well, or people need not know yet."""
        is_new = self.run_id is None
        return self._problem if is_new or time.monotonic() - self._heard >= TOLD_AFTER_SECONDS else None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more, or will."""
        return self.is_gone or self.was_never_submitted or (self.details is not None and self.details.has_ended)

    @property
    def is_final(self) -> bool:
        """Whether nothing more is to be heard of it: its tasks may be told of some seconds after its end."""
        return self._settled is not None and time.monotonic() - self._settled >= LATE_SECONDS

    @property
    def is_ending(self) -> bool:
        """Whether it has ended, or is about to: Kubeflow Pipelines says so."""
        return self.has_ended or (self.details is not None and self.details.was_terminated)

    def follow(self) -> None:
        """Go on looking at it."""
        if self._task is None and not self._is_over:
            self._task = asyncio.create_task(self._follow())

    def look_again(self) -> None:
        """Look at it at once."""
        self._news.set()
        self.follow()

    def stop(self) -> None:
        """Stop looking at it."""
        for task in (self._task, *self._reading.values()):
            if task is not None:
                task.cancel()

    def submit(self, body: JsonObject) -> None:
        """Have it run, unless it does: what was asked for before, without an answer, is found by its name."""
        if self.run_id is None and self._submission is None:
            self._submission = body
            self._is_sought = self.was_never_submitted = self.is_refused = False
            self._begin_anew()

    def seek(self) -> None:
        """Have it found out whether it was submitted; it is not submitted any more."""
        self._submission = None
        if self.run_id is None and not self._is_sought:
            self._is_sought = True
            self.is_refused = False
            self._begin_anew()

    def terminate(self) -> None:
        """Have it end, once it is found."""
        if not self._is_to_end:
            self._is_to_end = True
            self.seek()
            self.look_again()

    async def looked(self, seconds: float) -> None:
        """Wait until it was asked for, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._looked.wait()
        except TimeoutError:
            return

    @property
    def is_unknown(self) -> bool:
        """Whether it is yet to be found out whether it was submitted."""
        return self.run_id is None and self._is_sought and not self.was_never_submitted

    @property
    def _is_over(self) -> bool:
        if self.is_gone or self.was_never_submitted:
            return True
        if self.run_id is None:
            return self.is_refused or (self._submission is None and not self._is_sought)
        return self.is_final and not self._unread()

    def _unread(self) -> list[str]:
        """Return the steps that have succeeded and whose outputs are not known."""
        tasks = self.details.tasks if self.details is not None else {}
        return [
            name
            for name, task in tasks.items()
            if name in self._steps and name not in self.recorded
            if task.state == "SUCCEEDED" and not _is_known(self.outputs.get(name))
        ]

    def _begin_anew(self) -> None:
        self._looked.clear()
        self.look_again()

    async def _follow(self) -> None:
        seconds, known = SHORTEST_PAUSE_SECONDS, self._known()
        try:
            while not self._is_over:
                self._news.clear()
                was_well = self._problem is None
                await self._look()
                before, known = known, self._known()
                if known != before:
                    self._told()
                changed = known != before if self._problem is None else was_well
                longest = LONGEST_PAUSE_SECONDS if self._problem is None else LONGEST_PAUSE_OF_TROUBLE_SECONDS
                seconds = SHORTEST_PAUSE_SECONDS if changed else min(longest, 2 * seconds)
                if not self._is_over:
                    await pause(seconds, self._news)
        finally:
            self._task = None

    async def _look(self) -> None:
        """Bring it a step further, as far as that goes."""
        try:
            await self._go_on(await self.site.server())
        except RestError as error:
            self._problem = self.site.explained(error)
            self.is_refused = self.run_id is None and _is_final(error)
        except ComponentError as error:
            self._problem = error
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("Run %s on Kubeflow Pipelines cannot be looked at: %s", self._name.display_name, error)
        except Exception:
            logger.exception("Run %s on Kubeflow Pipelines cannot be followed", self._name.display_name)
            self._problem = UNFORESEEN
        else:
            self._problem = None
            self._heard = time.monotonic()
        self._looked.set()

    async def _go_on(self, server: KubeflowPipelines) -> None:
        if self.run_id is None:
            await self._find_or_create(server)
        if self.run_id is None:
            return
        await self._ask(server, self.run_id)
        self._read_outputs(self.run_id)

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

    def _read_outputs(self, run_id: str) -> None:
        """Begin to read what is not read yet."""
        for name in self._unread():
            if writes_nothing(self._steps[name]):
                self.outputs[name] = NOTHING
            elif name not in self._reading:
                self._reading[name] = asyncio.create_task(self._read(run_id, name))

    async def _find_or_create(self, server: KubeflowPipelines) -> None:
        """Find the run, or create it where it is to be submitted.

        Two operators, one of which is about to be stopped, may both create it: the oldest counts, and the others are ended.
        """
        config = self.site.orchestrator.config
        experiment = await server.experiment_named(
            config.experiment or self._name.experiment, config.namespace if await server.has_several_users() else None
        )
        found = await server.runs_named(self._name.display_name, experiment)
        if not found and self._submission is not None and time.monotonic() >= self._late_until:
            await self._create(server, experiment, self._submission)
            found = await server.runs_named(self._name.display_name, experiment)
        for needless in found[1:]:
            await server.terminate(str(needless["run_id"]))
        if found:
            self.run_id = str(found[0]["run_id"])
        elif self._submission is None and time.monotonic() >= self._late_until:
            self.was_never_submitted = True

    async def _create(self, server: KubeflowPipelines, experiment: str, body: JsonObject) -> None:
        self._late_until = time.monotonic() + LATE_SECONDS
        try:
            await server.create_run({**body, "experiment_id": experiment})
        except RefusedError as error:
            if not error.may_pass:
                self._late_until = 0.0
            raise
        self._late_until = 0.0

    async def _read(self, run_id: str, name: str) -> None:
        """Read what a step has written, which may take longer than anything else."""
        before = self.outputs.get(name)
        try:
            self.outputs[name] = await self.site.outputs(self._name.pipeline, run_id, self._steps[name])
        except ComponentError as error:
            self.outputs[name] = error
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("What step %s of run %s wrote cannot be read: %s", name, self._name.display_name, error)
        except Exception:
            logger.exception("What step %s of run %s wrote cannot be read", name, self._name.display_name)
            self.outputs[name] = UNFORESEEN
        finally:
            del self._reading[name]
        if str(before) != str(self.outputs.get(name)):
            self._told()

    def _known(self) -> object:
        """Return what there is to tell."""
        problem = self.problem
        return (
            (self.run_id, self.details),
            (self.is_gone, self.was_never_submitted, self.is_refused, self.is_final),
            (problem.reason, problem.message) if problem is not None else None,
        )


def _is_known(outputs: StepOutputs | ComponentError | None) -> bool:
    return isinstance(outputs, StepOutputs | OutputsInvalidError)


def _is_final(error: RestError) -> bool:
    """Return whether another try of the same can only be refused alike."""
    mended_elsewhere = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    return isinstance(error, RefusedError) and not error.may_pass and error.status not in mended_elsewhere
