"""Has the models of one run registered, beside its reconciles, as late and as often as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cairn.api.registration import PENDING_ALIAS, RegistrationState, RegistrationStatus
from cairn.api.time import timestamp
from cairn.clients.clock import Clock
from cairn.clients.pause import pause
from cairn.components.errors import ComponentError
from cairn.components.model_versions import APPROVAL_TAG, APPROVED_AT_TAG, APPROVED_BY_TAG, ModelVersion
from cairn.components.records import TrackerError
from cairn.runs.cel import Answer, Question
from cairn.runs.registration import AWAITING_APPROVAL, LONGEST_MESSAGE, Decision, Place, Wanted, approval_ends
from cairn.runs.tracker_gate import TrackerGate

logger = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
"""After something that may pass: a bucket that does not answer."""
NOT_IN_TIME = "Nobody has approved it in time; give the version its alias in the registry if it is to have it."
UNFORESEEN = ComponentError(
    "RegistrationFailed", "Cairn fails in a way that it does not foresee; its log says how. Report it."
)


@dataclass(frozen=True)
class Means:
    """What a registration needs besides the registry."""

    gate: TrackerGate
    evaluate: Callable[[Question], Awaitable[Answer]]
    record_of: Callable[[str, int], Awaitable[str | None]]
    """The tracker's ID of an attempt's record; None where there is none."""
    is_kept: Callable[[str], Awaitable[bool]]
    """Whether an artifact is there, by its URI."""


class RegisteredRun:
    """The registrations of one run; `told` is called when there is something else to tell of them."""

    def __init__(
        self, tags: Mapping[str, str], known: Mapping[Place, RegistrationStatus], clock: Clock, told: Callable[[], None]
    ) -> None:
        """Make it with what is known; versions have these tags."""
        self._tags = tags
        self.states = dict(known)
        self._clock = clock
        self._told = told
        self._wanted: dict[Place, Wanted] = {}
        self._decision: Decision | None = None
        self._means: Means | None = None
        self._missing: ComponentError | None = None
        """Why there are no means now."""
        self._news = asyncio.Event()
        """Set when there is more to do than when something was tried last."""
        self._task: asyncio.Task[None] | None = None
        self._problem: ComponentError | None = None

    @property
    def problem(self) -> ComponentError | None:
        """What keeps models from being registered now, or from what was decided, where people are to be told."""
        if not any(map(self._is_due, self._wanted)):
            return None
        gate = self._means.gate.problem if self._means is not None else None
        return self._missing or gate or self._problem

    def want(self, wanted: Mapping[Place, Wanted], decision: Decision | None, means: Means | ComponentError) -> None:
        """Have artifacts registered; where it is told why there are no means, later."""
        if decision != self._decision or not wanted.keys() <= self._wanted.keys():
            self._news.set()
        self._wanted |= wanted
        self._decision = decision
        self._missing = means if isinstance(means, ComponentError) else None
        if isinstance(means, Means):
            self._means = means
        for place, one in wanted.items():
            pending = RegistrationStatus(
                step=one.step, artifact=one.artifact.name, model=one.register.name, state="Pending"
            )
            self.states.setdefault(place, pending)
        if self._missing is not None:
            self._give_up_what_is_over(self._missing)
        elif self._task is None and any(map(self._is_due, self._wanted)):
            self._task = asyncio.create_task(self._work())

    def seconds_until_due(self) -> float | None:
        """Return when the first approval is waited for no longer; None where none is, or all that are due are seen to."""
        now = self._clock.now()
        ends = [approval_ends(self.states[place], one.register) for place, one in self._wanted.items()]
        return min((self._clock.seconds_until(end) for end in ends if end is not None and end > now), default=None)

    def stop(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            self._task.cancel()

    def _is_due(self, place: Place) -> bool:
        state = self.states[place]
        if state.state == "Pending":
            return True
        end = approval_ends(state, self._wanted[place].register)
        return end is not None and (self._decision is not None or self._clock.now() >= end)

    def _give_up_what_is_over(self, missing: ComponentError) -> None:
        """Wait no longer for approval whose time is up though the registry cannot be told."""
        if self._decision is not None:
            return
        for place in self._wanted:
            if self.states[place].state == AWAITING_APPROVAL and self._is_due(place):
                message = f"{NOT_IN_TIME} The version keeps the alias {PENDING_ALIAS}: {missing.message}"
                self.states[place] = self._in_state(place, "ApprovalTimedOut", message=message, alias=None)

    async def _work(self) -> None:
        seconds = SHORTEST_PAUSE_SECONDS
        try:
            while due := [place for place in self._wanted if self._is_due(place)]:
                self._news.clear()
                if await self._try(due):
                    seconds = SHORTEST_PAUSE_SECONDS
                else:
                    await pause(seconds, self._news)
                    seconds = min(LONGEST_PAUSE_SECONDS, 2 * seconds)
        finally:
            self._task = None

    async def _try(self, places: list[Place]) -> bool:
        """Do what is due; return whether nothing kept it from being done."""
        problem: ComponentError | None = None
        for place in places:
            try:
                self.states[place] = await self._next(place)
                self._told()
            except TrackerError as error:
                self.states[place] = self._in_state(place, "Failed", message=error.message)
                self._told()
            except ComponentError as error:
                problem = error
            except Exception:
                logger.exception("The registration of %s.%s failed", *place)
                problem = UNFORESEEN
        before, self._problem = self._problem, problem
        if (before is None) != (problem is None):
            self._told()
        return problem is None

    async def _next(self, place: Place) -> RegistrationStatus:
        """Return what a registration is next, once it is that in the registry; raises ComponentError."""
        if self.states[place].state == "Pending":
            return await self._register(place)
        return await self._decide(place)

    async def _register(self, place: Place) -> RegistrationStatus:
        one, means = self._wanted[place], self._need_means()
        if one.question is not None:
            answer = await means.evaluate(one.question)
            if answer.problem is not None:
                return self._in_state(place, "Failed", message=f"when cannot be evaluated: {answer.problem}")
            if not answer.holds:
                return self._in_state(place, "NotRegistered", message=f"when is false: {one.question.expression}")
        if not await means.is_kept(one.artifact.uri):
            message = (
                f"There is nothing at {one.artifact.uri}: the step wrote no file there, or somebody has deleted it."
            )
            return self._in_state(place, "Failed", message=message)
        version = self._version_of(one, await means.record_of(one.step, one.attempt))
        number = await means.gate.ask(lambda client: client.registry.register(version))
        if one.register.approval == "Required":
            return await self._have_decided(place, number)
        model, alias = version.model, one.register.alias
        if alias is not None:
            await means.gate.ask(lambda client: client.registry.set_alias(model, alias, number))
        return self._in_state(place, "Registered", version=number, alias=alias)

    def _version_of(self, one: Wanted, record: str | None) -> ModelVersion:
        register = one.register
        tags = {
            **self._tags,
            "cairn.step": one.step,
            "cairn.artifact": one.artifact.name,
            **({APPROVAL_TAG: "Required"} if register.approval == "Required" else {}),
            **{tag.name: tag.value for tag in register.tags or ()},
        }
        return ModelVersion(register.name, one.artifact.uri, one.artifact.digest, record, register.description, tags)

    async def _have_decided(self, place: Place, number: str) -> RegistrationStatus:
        """Have a version wait for approval, unless it bears the alias with an approval from before."""
        register, means = self._wanted[place].register, self._need_means()
        model, alias = register.name, register.alias or ""
        who = await means.gate.ask(lambda client: client.registry.approver(model, alias, number))
        if who is not None:
            message = f"Approved by {who} before."
            return self._in_state(place, "Registered", version=number, alias=alias, message=message)
        await means.gate.ask(lambda client: client.registry.set_alias(model, PENDING_ALIAS, number))
        since = timestamp(self._clock.now())
        return self._in_state(place, AWAITING_APPROVAL, version=number, alias=alias, since=since)

    async def _decide(self, place: Place) -> RegistrationStatus:
        """Give a version its alias, or leave it without one."""
        known, means, decision = self.states[place], self._need_means(), self._decision
        model, version, alias = known.model, known.version or "", known.alias or ""
        now = timestamp(self._clock.now())
        if decision is None:
            tags, state, message = {APPROVAL_TAG: "TimedOut", APPROVED_AT_TAG: now}, "ApprovalTimedOut", None
        else:
            kind, who = decision.kind, decision.who
            tags = {APPROVAL_TAG: kind, APPROVED_BY_TAG: who, APPROVED_AT_TAG: now}
            state, message = ("Registered" if kind == "Approved" else "ApprovalRefused"), f"{kind} by {who}."
        if state == "Registered":
            await means.gate.ask(lambda client: client.registry.set_alias(model, alias, version))
        await self._wait_no_longer(model, version, tags)
        given = known.alias if state == "Registered" else None
        return known.model_copy(update={"state": state, "message": message or NOT_IN_TIME, "alias": given})

    async def _wait_no_longer(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        gate = self._need_means().gate
        await gate.ask(lambda client: client.registry.tag_version(model, version, tags))
        await gate.ask(lambda client: client.registry.drop_alias(model, PENDING_ALIAS, version))

    async def withdraw(self) -> None:
        """Have versions wait no longer: the run that they come from is deleted."""
        tags = {APPROVAL_TAG: "RunDeleted", APPROVED_AT_TAG: timestamp(self._clock.now())}
        for one in self.states.values():
            if self._means is None or one.state != AWAITING_APPROVAL:
                continue
            try:
                await self._wait_no_longer(one.model, one.version or "", tags)
            except TrackerError as error:
                logger.warning("Version %s of %s waits for ever: %s", one.version, one.model, error.message)

    def _in_state(self, place: Place, state: RegistrationState, **fields: str | None) -> RegistrationStatus:
        message = fields.pop("message", None)
        told = message[:LONGEST_MESSAGE] if message is not None else None
        return self.states[place].model_copy(update={"state": state, "message": told, **fields})

    def _need_means(self) -> Means:
        if self._means is None:
            raise LookupError("nothing is known of the registry yet")
        return self._means
