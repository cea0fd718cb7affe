"""Makes a tracker hold what it is to hold of one run: what is missing there is written, as late and as often as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from cairn.clients.pause import pause
from cairn.components.records import (
    FoundRecord,
    Record,
    RecordGoneError,
    TrackerClient,
    TrackerError,
    TrackerUnavailableError,
)
from cairn.runs.tracked_experiments import TrackedExperiments
from cairn.runs.tracker_gate import TrackerGate
from cairn.runs.tracking_records import ATTEMPT_TAG, RECORD_TAG, RUN, STEP_TAG, UID_TAG, RecordOf

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SHORTEST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 1800.0
"""After a refusal, which concerns this run alone."""
LATE_SECONDS = 60.0
"""How long after a request without an answer what it asked for may still be done."""
UNFORESEEN = TrackerError(
    "TrackingFailed", "Cairn fails in a way that it does not foresee; its log says how. Report it."
)


class TrackedRun:
    """One run at one tracker."""

    def __init__(
        self,
        uid: str,
        experiment_name: str,
        gate: TrackerGate,
        experiments: TrackedExperiments,
        told: Callable[[], None],
        *,
        is_new: bool,
    ) -> None:
        """Make a run of which nothing is known yet.

        `told` is called when there is something else to tell of the run. Of a run that is new the tracker is not asked first what
        it has; what an operator that has died at once may have left is found at the end.
        """
        self._uid = uid
        self.experiment_name = experiment_name
        self._gate = gate
        self._experiments = experiments
        self._told = told
        self._wanted: dict[RecordOf, Record] = {}
        self._described: dict[RecordOf, Record] = {}
        """The records whose params and datasets are held."""
        self._finished: dict[RecordOf, Record] = {}
        """The records whose ends are held."""
        self._searched = is_new
        self._swept = False
        self._stopped = False
        self._late_until = 0.0
        """Until when the tracker may still do what it was asked for, and has not answered."""
        self._is_awaited = False
        """Whether people do not know yet where the run is recorded, though they could."""
        self._news = asyncio.Event()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._experiment: str | None = None
        self.ids: dict[RecordOf, str] = {}
        self.refusal: TrackerError | None = None
        """What the tracker said last, where it does not take something of this run."""

    @property
    def place(self) -> tuple[str, str] | None:
        """The IDs of the experiment and of the run's record; None while there are none."""
        return (self._experiment_id, self.ids[RUN]) if RUN in self.ids else None

    @property
    def problem(self) -> TrackerError | None:
        """Why not everything is recorded, where people are to be told."""
        return self._gate.problem or self.refusal

    @property
    def is_recorded(self) -> bool:
        """Whether the run has ended, and all of it is held."""
        return self._has_ended and not self._is_behind()

    def prepare(self) -> None:
        """Find out where the run is to be recorded, before there is anything to record."""
        self._work()

    def want(self, records: Mapping[RecordOf, Record]) -> None:
        """Have records held, in place of what was wanted of the same."""
        self._wanted.update(records)
        self._work()

    def end(self, ended: int, reason: str) -> None:
        """Have what has not ended end as what was killed: the run is gone."""
        for key, record in self._wanted.items():
            if record.ended is None:
                self._wanted[key] = replace(record, state="KILLED", ended=ended, closing_tags={"cairn.reason": reason})
        self._work()

    async def ids_of(self, attempts: Iterable[RecordOf], seconds: float) -> Mapping[RecordOf, str]:
        """Return the IDs of attempts' records, as far as there are some by then; a tracker that is silent is not waited for."""
        wanted = set(attempts)
        try:
            async with asyncio.timeout(seconds):
                while self._gate.is_prompt and self.refusal is None and not wanted <= self.ids.keys():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._gate.is_prompt = False
        self._is_awaited |= RUN not in self.ids
        return {attempt: self.ids[attempt] for attempt in wanted if attempt in self.ids}

    async def id_of(self, attempt: RecordOf) -> str | None:
        """Return the ID of an attempt's record, once there is one; None where there is none to come."""
        while attempt in self._wanted and attempt not in self.ids and self.refusal is None and not self._stopped:
            self._news.clear()
            await self._news.wait()
        return self.ids.get(attempt)

    def stop(self) -> None:
        """Stop what is under way."""
        self._stopped = True
        self._news.set()
        if self._task is not None:
            self._task.cancel()

    # ---- what is missing

    @property
    def _has_ended(self) -> bool:
        return RUN in self._wanted and self._wanted[RUN].ended is not None

    def _is_behind(self) -> bool:
        return self._experiment is None or any(map(self._is_missing, self._wanted)) or self._is_to_be_swept()

    def _is_missing(self, key: RecordOf) -> bool:
        return key not in self.ids or self._wants_description(key) or self._wants_end(key)

    def _wants_description(self, key: RecordOf) -> bool:
        record, known = self._wanted[key], self._described.get(key)
        held = (known.params, known.datasets) if known is not None else ({}, ())
        return (record.params, record.datasets) != held

    def _wants_end(self, key: RecordOf) -> bool:
        record = self._wanted[key]
        return record.ended is not None and self._finished.get(key) != record

    def _is_to_be_swept(self) -> bool:
        """Return whether there may be records that nobody will end but Cairn: a step's code, or another operator, has made them."""
        return self._has_ended and not self._swept

    # ---- writing it

    def _work(self) -> None:
        self._more.set()
        if self._task is None and self._is_behind():
            self._task = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        seconds, gone = SHORTEST_PAUSE_SECONDS, False
        try:
            while self._is_behind():
                self._more.clear()
                refusal = await self._try_to_write()
                if isinstance(refusal, RecordGoneError) and not gone:
                    gone = True  # somebody has deleted it, and it is made anew
                    continue
                self._refuse(refusal)
                if refusal is None:
                    seconds, gone = SHORTEST_PAUSE_SECONDS, False
                    continue
                await pause(seconds, self._more)
                seconds = min(LONGEST_PAUSE_SECONDS, 2 * seconds)
        finally:
            self._task = None
        if self._has_ended:
            self._told()

    async def _try_to_write(self) -> TrackerError | None:
        try:
            await self._write()
        except RecordGoneError as error:
            self._forget()
            return error
        except TrackerError as error:
            return error
        except Exception:
            logger.exception("Run %s cannot be recorded", self._uid)
            return UNFORESEEN
        return None

    async def _write(self) -> None:
        if self._experiment is None:
            self._experiment = await self._experiments.id_of(self.experiment_name)
        if not self._searched:
            await self._search()
        if RUN not in self.ids and RUN in self._wanted:
            await self._create(RUN)
        await _all_of(self._hold(key) for key in list(self._wanted) if self._is_missing(key))
        if self._is_to_be_swept():
            await self._sweep()

    async def _search(self) -> None:
        """Find out what is held already: an operator before this one may have written it."""
        for found in await self._find({UID_TAG: self._uid}):
            if RECORD_TAG in found.tags:
                self._know(found)
        self._searched = True

    def _know(self, found: FoundRecord) -> None:
        key = _key_of(found)
        self._learn(key, found.id)
        record = self._wanted.get(key)
        if record is None:
            return
        if record.params.items() <= found.params.items() and not record.datasets:
            self._described[key] = record
        if record.state == found.state and record.closing_tags.items() <= found.tags.items():
            self._described[key] = self._finished[key] = record

    async def _create(self, key: RecordOf) -> None:
        record, parent = self._wanted[key], self.ids.get(RUN)
        is_unsure = False

        async def create(client: TrackerClient) -> str:
            nonlocal is_unsure
            if is_unsure:
                tags = {
                    name: record.tags[name]
                    for name in (UID_TAG, RECORD_TAG, STEP_TAG, ATTEMPT_TAG)
                    if name in record.tags
                }
                for found in await client.find(self._experiment_id, tags):
                    return found.id
            try:
                return await client.create(self._experiment_id, record, parent)
            except TrackerUnavailableError:
                is_unsure = True
                self._late_until = _now() + LATE_SECONDS
                raise

        self._learn(key, await self._gate.ask(create))

    async def _hold(self, key: RecordOf) -> None:
        if key not in self.ids:
            await self._create(key)
        record, record_id = self._wanted[key], self.ids[key]
        if self._wants_description(key):
            await self._gate.ask(
                lambda client: client.describe(record_id, params=record.params, datasets=record.datasets)
            )
            self._described[key] = record
        if self._wants_end(key):
            await self._gate.ask(lambda client: client.finish(record_id, record))
            self._finished[key] = record

    async def _sweep(self) -> None:
        """See to what others have recorded of the run: another operator, or the steps' own code."""
        await asyncio.sleep(max(0.0, self._late_until - _now()))
        taken_over = set[RecordOf]()
        for found in await self._find({UID_TAG: self._uid}):
            key = _key_of(found)
            if key not in self._wanted or found.id == self.ids[key]:
                continue
            if RECORD_TAG in found.tags:
                if found.is_empty:  # another operator at work by mistake may need what is not
                    await self._gate.ask(lambda client, found=found: client.delete(found.id))
            elif self._is_at_the_top(found) and key not in taken_over and found.tags.get(STEP_TAG):
                taken_over.add(key)
                await self._take_over(found, key)
            else:
                await self._adopt(found, key)
        self._swept = not taken_over

    async def _take_over(self, found: FoundRecord, key: RecordOf) -> None:
        """Have a step's own record be that of its attempt: the step was not told in time where to record.

        The record without the step's own data goes first: should this be interrupted, the next operator makes another one and comes
        here again.
        """
        record, parent, own = self._wanted[key], self.ids[RUN], self.ids[key]
        await self._gate.ask(lambda client: client.delete(own))
        self.ids[key] = found.id
        self._described.pop(key, None)
        self._finished.pop(key, None)
        await self._gate.ask(lambda client: client.take_over(found.id, record, parent))

    async def _adopt(self, found: FoundRecord, key: RecordOf) -> None:
        """Have what a step's code recorded besides be below the record of its attempt, and end where that has left it open."""
        record, parent = self._wanted[key], self.ids[key] if self._is_at_the_top(found) else found.parent
        if parent is not None and (found.parent != parent or found.state == "RUNNING"):
            await self._gate.ask(lambda client: client.adopt(found, parent, record))

    def _is_at_the_top(self, found: FoundRecord) -> bool:
        return found.parent in {None, self.ids[RUN]}

    async def _find(self, tags: Mapping[str, str]) -> Iterable[FoundRecord]:
        return await self._gate.ask(lambda client: client.find(self._experiment_id, tags))

    @property
    def _experiment_id(self) -> str:
        if self._experiment is None:
            raise LookupError("the experiment is not known yet")
        return self._experiment

    def _learn(self, key: RecordOf, record_id: str) -> None:
        self.ids.setdefault(key, record_id)
        self._news.set()
        if key == RUN and self._is_awaited:
            self._is_awaited = False
            self._told()

    def _forget(self) -> None:
        """Forget what the tracker has: it has it no more."""
        self._experiments.forget(self.experiment_name)
        self._experiment = None
        self._searched = self._swept = False
        for known in (self.ids, self._described, self._finished):
            known.clear()

    def _refuse(self, refusal: TrackerError | None) -> None:
        was, self.refusal = self.refusal, refusal
        self._news.set()
        if (was and was.message) != (refusal and refusal.message):
            self._told()


async def _all_of(work: Iterable[Awaitable[None]]) -> None:
    """Do everything, then raise the first error of it."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _key_of(found: FoundRecord) -> RecordOf:
    number = found.tags.get(ATTEMPT_TAG, "")
    return (found.tags.get(STEP_TAG, ""), int(number) if number.isdecimal() else 0)


def _now() -> float:
    return asyncio.get_running_loop().time()
