"""Keeps logs, and the records of the cache, in the artifact store, beside the reconciles that go on meanwhile.

The status says where a log is once it is there, so a restart begins anew with those of which it says nothing; what steps
wrote that may be cached is looked for after one, and kept unless it is. A run does not end before all this is kept, unless
that takes too long: a store, or a node, that does not answer never holds up a run, nor what others leave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import pipeline_of
from cairn.api.pipelinerun_status import StepStatus
from cairn.clients import metrics
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, InvalidError, NotFoundError
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ArtifactStore, StoreClient, StoreUnavailableError
from cairn.components.connections import Connections
from cairn.runs import naming
from cairn.runs.cached_outputs import content_of_record
from cairn.runs.logs import LogOf, has_whole_log, unkept
from cairn.runs.outcome import STACK_NOT_READY
from cairn.runs.pauses import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS, Pauses
from cairn.runs.store_slots import StoreSlots

logger = logging.getLogger(__name__)

LONGEST_LOG = 10 * 1024 * 1024
"""Bytes, the last ones: the kubelet begins a new file then, unless it is told otherwise."""
COPIES_AT_ONCE = 8
"""Each may be in memory as a whole."""
COPIES_TO_A_STORE = 2
READ_SECONDS = 10.0
"""How long a node may take to hand a log over."""
MOMENT_SECONDS = 1.0
"""Within which a log is kept, as a rule."""
END_WAITS_SECONDS = 10.0
"""How long the end of a run waits for logs."""
LOG_NOT_KEPT = "LogNotKept"
NOT_IN_TIME = "NotInTime"
NO_USABLE_STACK = StoreUnavailableError(STACK_NOT_READY, "The stack cannot be used; see its condition Ready.")


@dataclass(frozen=True)
class Log:
    """The log of an attempt, in its pod."""

    of: LogOf
    pod_name: str
    node: str

    def __str__(self) -> str:
        return f"The log of attempt {self.of[1]} of step {self.of[0]}"


@dataclass(frozen=True)
class Outputs:
    """What a step wrote that may be cached."""

    step: str

    def __str__(self) -> str:
        return f"What step {self.step} wrote"


Kept = Log | Outputs


@dataclass
class _Keeping:
    """What is kept of a run."""

    run: naming.RunIdentity
    store: ArtifactStore[Any] | None = None
    """The run's, as it was when its stack could be used last."""
    steps: Mapping[str, StepStatus] = field(default_factory=dict[str, StepStatus])
    recorded: Container[str] = frozenset()
    """Steps of which the status says that they have succeeded."""
    logs: dict[LogOf, str] = field(default_factory=dict[LogOf, str])
    """Where those are that are kept."""
    under_way: dict[Kept, asyncio.Task[None]] = field(default_factory=dict[Kept, "asyncio.Task[None]"])
    done: set[Kept] = field(default_factory=set[Kept])
    """What is kept, or gone before it could be."""
    waiting: set[Kept] = field(default_factory=set[Kept])
    """What was refused, or is not asked for since what it needs is failing; it is tried again."""
    lost: set[Kept] = field(default_factory=set[Kept])
    """What cannot be kept, for a reason that was not foreseen."""
    problem: StoreUnavailableError | None = None
    """What the store said last."""
    end_waits_since: float | None = None
    """Since when nothing but logs is waited for."""

    @property
    def store_is_closed(self) -> bool:
        """Whether only pods can use the store."""
        return self.store is not None and not self.store.open_to_operator


class Keeper:
    """Keeps what runs leave; `wake` has a run reconciled when something is kept that its end waits for, or has been refused."""

    def __init__(
        self, cluster: Cluster, stores: Connections[StoreClient], clock: Clock, pauses: Pauses, wake: Wake
    ) -> None:
        metrics.LOGS_NOT_KEPT.labels(reason=NOT_IN_TIME)  # Prometheus misses the first of a series that begins with it
        self._cluster = cluster
        self._stores = stores
        self._clock = clock
        self._pauses = pauses
        self._wake = wake
        self._at_once = asyncio.Semaphore(COPIES_AT_ONCE)
        self._slots = StoreSlots(COPIES_TO_A_STORE)
        self._keeping: dict[Key, tuple[str, _Keeping]] = {}
        """By run, with its UID."""

    def keep(
        self,
        body: JsonObject,
        run: naming.RunIdentity,
        steps: Iterable[StepStatus],
        recorded: Mapping[str, StepStatus],
        store: ArtifactStore[Any] | None,
    ) -> Mapping[LogOf, str]:
        """Begin to keep what is not; return the logs that are kept by now.

        Of outputs nothing is kept before the status has `recorded` that the step has succeeded: others may use them then.
        Without a store, as long as the stack cannot be used, that one is taken that the run had before.
        """
        keeping = self._of(body)
        keeping.run = run
        keeping.store = store = store or keeping.store
        keeping.steps = {step.name: step for step in steps}
        keeping.recorded = {name for name, step in recorded.items() if step.state == "Succeeded"}
        wanted = [one for one in self._wanted(keeping) if one not in keeping.under_way]
        keeping.waiting.intersection_update(wanted)
        for one in wanted:
            if store is None or self._seconds_until(keeping, one) > 0:
                keeping.waiting.add(one)
            else:
                keeping.waiting.discard(one)
                keeping.under_way[one] = asyncio.create_task(self._keep(key_of(body), keeping, one, store))
        if store is None and wanted:
            keeping.problem = NO_USABLE_STACK
        return keeping.logs

    def _wanted(self, keeping: _Keeping) -> Iterator[Kept]:
        """Yield what is not kept yet."""
        if keeping.store_is_closed:
            return
        for attempt in unkept(keeping.steps.values()):
            pod = self._cluster.pods.get((keeping.run.namespace, attempt.pod_name))
            if pod is not None and has_whole_log(pod, attempt.step):
                one = Log(attempt.log_of, attempt.pod_name, pod["spec"].get("nodeName", ""))
                if one not in keeping.done:
                    yield one
        for step in keeping.steps.values():
            outputs = Outputs(step.name)
            if step.name in keeping.recorded and _may_be_used(step) and outputs not in keeping.done:
                yield outputs

    def _seconds_until(self, keeping: _Keeping, one: Kept) -> float:
        """Return when something may be tried; 0 for now."""
        if keeping.store is None:
            return LONGEST_PAUSE_SECONDS
        needed = (keeping.store.key, _name_of(keeping, one), *([one.node] if isinstance(one, Log) else []))
        return max(map(self._pauses.seconds_left, needed))

    def awaits_record(self, body: JsonObject) -> bool:
        """Return whether there is something to keep as soon as the status says that its step has succeeded."""
        keeping = self._of(body)
        return not keeping.store_is_closed and any(
            _may_be_used(step) for step in keeping.steps.values() if step.name not in keeping.recorded
        )

    def end_has_waited(self, body: JsonObject) -> float | None:
        """Return for how many seconds the end of a run has waited by now; None where there is nothing to wait for."""
        keeping = self._of(body)
        if not keeping.under_way and not keeping.waiting:
            return None
        now = self._clock.monotonic()
        if keeping.end_waits_since is None:
            keeping.end_waits_since = now
        return now - keeping.end_waits_since

    def seconds_until_again(self, body: JsonObject) -> float | None:
        """Return when to look at a run again because something of it waits to be kept."""
        keeping = self._of(body)
        if not keeping.waiting:
            return None
        return max(SHORTEST_PAUSE_SECONDS, min(self._seconds_until(keeping, one) for one in keeping.waiting))

    async def tell_of_lost(self, body: JsonObject) -> None:
        """Record an Event where logs of a run that ends are not kept though they could be read."""
        keeping = self._of(body)
        lost = sorted(one.of for one in {*keeping.under_way, *keeping.waiting, *keeping.lost} if isinstance(one, Log))
        if not lost:
            return
        why = keeping.problem.message if keeping.problem is not None else "They could not be read and kept in time."
        metrics.LOGS_NOT_KEPT.labels(reason=keeping.problem.reason if keeping.problem else NOT_IN_TIME).inc(len(lost))
        names = ", ".join(f"{step} ({number})" for step, number in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        note = f"The logs of these attempts are not kept, but in their pods: {names}{more}. {why}"
        await self._cluster.events.record(body, "Warning", LOG_NOT_KEPT, "KeepLogs", note)

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        known = self._keeping.pop(key, None)
        for task in known[1].under_way.values() if known is not None else ():
            task.cancel()

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._keeping):
            self.forget(key)

    def _of(self, body: JsonObject) -> _Keeping:
        key, uid = key_of(body), body["metadata"]["uid"]
        if key in self._keeping and self._keeping[key][0] != uid:
            self.forget(key)
        if key not in self._keeping:
            self._keeping[key] = uid, _Keeping(naming.RunIdentity(*key, uid, pipeline_of(body)))
        return self._keeping[key][1]

    async def _keep(self, key: Key, keeping: _Keeping, one: Kept, store: ArtifactStore[Any]) -> None:
        try:
            async with self._slots.of(store.key):
                if self._seconds_until(keeping, one) > 0:
                    keeping.waiting.add(one)  # another one has been refused meanwhile
                else:
                    await self._copy(keeping, one, store)
                    keeping.done.add(one)
                    self._pauses.answered(store.key)
        except (NotFoundError, InvalidError):
            keeping.done.add(one)  # the pod, or its container, is gone
        except StoreUnavailableError as error:
            keeping.problem = error
            self._pauses.failed(store.key)
            self._try_again(key, keeping, one, error)
        except CAN_BE_TRIED_AGAIN as error:
            self._pauses.failed(_name_of(keeping, one))
            if isinstance(one, Log) and isinstance(error, TimeoutError):
                self._pauses.failed(one.node)
            self._try_again(key, keeping, one, error)
        except Exception:
            logger.exception("%s of run %s cannot be kept", one, key[1])
            keeping.done.add(one)
            keeping.lost.add(one)
        finally:
            keeping.under_way.pop(one, None)
        if keeping.waiting or (keeping.end_waits_since is not None and not keeping.under_way):
            self._wake(key)

    @staticmethod
    def _try_again(key: Key, keeping: _Keeping, one: Kept, error: Exception) -> None:
        logger.warning("%s of run %s is not kept yet: %s", one, key[1], error)
        keeping.waiting.add(one)

    async def _copy(self, keeping: _Keeping, one: Kept, store: ArtifactStore[Any]) -> None:
        client = await self._stores.client_of(store)
        if isinstance(one, Outputs):
            await self._keep_record(keeping.run, keeping.steps[one.step], store, client)
            return
        place = naming.log_key(keeping.run, *one.of)
        if self._pauses.is_failing(store.key):
            await client.entity_tag(place)  # before a log is in memory, and others have to wait for that
        async with self._at_once:
            async with asyncio.timeout(READ_SECONDS):
                log = await self._cluster.kubernetes.whole_pod_log(
                    keeping.run.namespace, one.pod_name, one.of[0], limit=LONGEST_LOG
                )
            await client.put(place, log, "text/plain; charset=utf-8")
        self._pauses.answered(one.node)
        keeping.logs[one.of] = store.uri(place)
        metrics.LOGS_KEPT.inc()

    @staticmethod
    async def _keep_record(
        run: naming.RunIdentity, step: StepStatus, store: ArtifactStore[Any], client: StoreClient
    ) -> None:
        place = naming.cache_record_key(run.namespace, step.cache_key or "")
        content = await content_of_record(client, store, run.name, step, place)
        if content is not None:
            await client.put(place, content, "application/json")


def _may_be_used(step: StepStatus) -> bool:
    """Return whether other runs may use what a step wrote."""
    return step.state == "Succeeded" and step.cache_key is not None


def _name_of(keeping: _Keeping, one: Kept) -> Hashable:
    """Return what tells something to be kept from that of other runs."""
    return keeping.run.uid, one
