"""Keeps logs, and the records of the cache, in the artifact store, beside the reconciles that go on meanwhile.

The status says where a log is once it is there, so a restart begins anew with those of which it says nothing; what steps
wrote that may be cached is looked for after one, and kept unless it is. A run does not end before all this is kept, unless
that takes too long: a store that is down never holds up a run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import StepStatus
from cairn.clients import metrics
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import InvalidError, NotFoundError
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ArtifactStore, StoreUnavailableError
from cairn.components.open_stores import OpenStores
from cairn.runs import naming
from cairn.runs.attempts import CAN_BE_TRIED_AGAIN
from cairn.runs.logs import LogOf, Unkept, unkept
from cairn.runs.step_cache import content_of_record

logger = logging.getLogger(__name__)

LONGEST_LOG = 10 * 1024 * 1024
"""Bytes, the last ones: the kubelet begins a new file then, unless it is told otherwise."""
COPIES_AT_ONCE = 8
"""Each may be in memory as a whole."""
COPIES_TO_A_STORE = 2
"""So that one that does not answer keeps nobody else waiting."""
MOMENT_SECONDS = 1.0
"""Within which a log is kept, as a rule."""
END_WAITS_SECONDS = 10.0
"""How long the end of a run waits for logs."""
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
LOG_NOT_KEPT = "LogNotKept"


@dataclass(frozen=True)
class Written:
    """What a step wrote that may be cached."""

    step: str

    def __str__(self) -> str:
        return f"What step {self.step} wrote"


Kept = LogOf | Written
Copy = Callable[[], Awaitable[None]]
"""Keeps something."""


@dataclass
class _Keeping:
    """What is kept of a run."""

    logs: dict[LogOf, str] = field(default_factory=dict[LogOf, str])
    """Where those are that are kept."""
    under_way: dict[Kept, asyncio.Task[None]] = field(default_factory=dict[Kept, "asyncio.Task[None]"])
    done: set[Kept] = field(default_factory=set[Kept])
    """What is kept, or gone before it could be."""
    refused: set[Kept] = field(default_factory=set[Kept])
    """What is tried again."""
    problem: StoreUnavailableError | None = None
    """What the store said last."""
    failures: int = 0
    """In a row."""
    again_at: float = 0.0
    """Not before this is anything tried again, on the monotonic clock."""
    end_waits_since: float | None = None
    """Since when nothing but logs is waited for."""
    store: ArtifactStore[Any] | None = None
    """The run's, as it was when its stack could be used last."""


class Keeper:
    """Keeps what runs leave; `wake` has a run reconciled when something is kept that its end waits for, or has been refused."""

    def __init__(self, cluster: Cluster, stores: OpenStores, clock: Clock, wake: Wake) -> None:
        self._cluster = cluster
        self._stores = stores
        self._clock = clock
        self._wake = wake
        self._at_once = asyncio.Semaphore(COPIES_AT_ONCE)
        self._of_store: defaultdict[Key, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(COPIES_TO_A_STORE))
        self._keeping: dict[Key, tuple[str, _Keeping]] = {}
        """By run, with its UID."""

    def keep(
        self, body: JsonObject, run: naming.RunIdentity, steps: Iterable[StepStatus], store: ArtifactStore[Any] | None
    ) -> Mapping[LogOf, str]:
        """Begin to keep what is not; return the logs that are kept by now.

        Without a store, as long as the stack cannot be used, that one is taken that the run had before.
        """
        keeping = self._of(body)
        keeping.store = store = store or keeping.store
        if store is None:
            return keeping.logs
        wanted: dict[Kept, Copy] = {}
        if store.open_to_operator:
            wanted = dict(self._wanted(keeping, run, tuple(steps), store))
        keeping.refused &= wanted.keys()
        if self._clock.monotonic() >= keeping.again_at:
            after_a_refusal = keeping.failures > 0
            for one, copy in list(wanted.items())[: 1 if after_a_refusal else None]:
                keeping.refused.discard(one)
                place = store.namespace, store.name
                keeping.under_way[one] = asyncio.create_task(self._keep(key_of(body), keeping, one, copy, place))
            if after_a_refusal:
                keeping.refused |= wanted.keys() - keeping.under_way.keys()
        return keeping.logs

    def _wanted(
        self, keeping: _Keeping, run: naming.RunIdentity, steps: Iterable[StepStatus], store: ArtifactStore[Any]
    ) -> Iterator[tuple[Kept, Copy]]:
        """Yield what is neither kept nor on its way."""
        steps = tuple(steps)
        for attempt in unkept(steps):
            one = attempt.log_of
            there = self._cluster.pods.get((run.namespace, attempt.pod_name)) is not None
            if there and one not in keeping.done and one not in keeping.under_way:
                yield one, partial(self._keep_log, keeping, run, attempt, store)
        for step in steps:
            written = Written(step.name)
            may_be_used = step.state == "Succeeded" and step.cache_key is not None
            if may_be_used and written not in keeping.done and written not in keeping.under_way:
                yield written, partial(self._keep_written, run, step, store)

    def end_has_waited(self, body: JsonObject) -> float | None:
        """Return for how many seconds the end of a run has waited by now; None where there is nothing to wait for."""
        keeping = self._of(body)
        if not keeping.under_way and not keeping.refused:
            return None
        now = self._clock.monotonic()
        if keeping.end_waits_since is None:
            keeping.end_waits_since = now
        return now - keeping.end_waits_since

    def seconds_until_again(self, body: JsonObject) -> float | None:
        """Return when to look at a run again because the store has refused something."""
        keeping = self._of(body)
        if not keeping.refused:
            return None
        return max(SHORTEST_PAUSE_SECONDS, keeping.again_at - self._clock.monotonic())

    async def tell_of_lost(self, body: JsonObject) -> None:
        """Record an Event where logs of a run that ends are not kept though they could be read."""
        keeping = self._of(body)
        lost = sorted(one for one in {*keeping.under_way, *keeping.refused} if not isinstance(one, Written))
        if not lost:
            return
        why = keeping.problem.message if keeping.problem is not None else "They could not be read and kept in time."
        metrics.LOGS_NOT_KEPT.labels(reason=keeping.problem.reason if keeping.problem else "NotInTime").inc(len(lost))
        names = ", ".join(f"{step} ({number})" for step, number in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        note = f"The logs of these attempts are not kept, but in their pods: {names}{more}. {why}"
        await self._cluster.events.record(body, "Warning", LOG_NOT_KEPT, "KeepLogs", note)

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        _, keeping = self._keeping.pop(key, ("", _Keeping()))
        for task in keeping.under_way.values():
            task.cancel()

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._keeping):
            self.forget(key)

    def _of(self, body: JsonObject) -> _Keeping:
        key, uid = key_of(body), body["metadata"]["uid"]
        if key in self._keeping and self._keeping[key][0] != uid:
            self.forget(key)
        return self._keeping.setdefault(key, (uid, _Keeping()))[1]

    async def _keep(self, key: Key, keeping: _Keeping, one: Kept, copy: Copy, store: Key) -> None:
        try:
            async with self._of_store[store], self._at_once:
                if self._clock.monotonic() < keeping.again_at:
                    keeping.refused.add(one)  # another one has been refused meanwhile
                else:
                    await copy()
                    keeping.done.add(one)
                    keeping.failures = 0
        except (NotFoundError, InvalidError):
            keeping.done.add(one)  # the pod, or its container, is gone
        except (StoreUnavailableError, *CAN_BE_TRIED_AGAIN) as error:
            logger.warning("%s of run %s is not kept yet: %s", one, key[1], error)
            keeping.refused.add(one)
            keeping.problem = error if isinstance(error, StoreUnavailableError) else keeping.problem
            self._pause(keeping)
        except Exception:
            logger.exception("%s of run %s cannot be kept", one, key[1])
            keeping.done.add(one)
        finally:
            keeping.under_way.pop(one, None)
        if keeping.refused or (keeping.end_waits_since is not None and not keeping.under_way):
            self._wake(key)

    def _pause(self, keeping: _Keeping) -> None:
        """Try nothing for a while, ever longer; what is refused at the same time counts once."""
        now = self._clock.monotonic()
        if now >= keeping.again_at:
            pause = min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2 ** min(keeping.failures, 16))
            keeping.failures += 1
            keeping.again_at = now + pause

    async def _keep_log(
        self, keeping: _Keeping, run: naming.RunIdentity, attempt: Unkept, store: ArtifactStore[Any]
    ) -> None:
        client = await self._stores.client_of(store)
        kubernetes, place = self._cluster.kubernetes, naming.log_key(run, attempt.step, attempt.number)
        log = await kubernetes.whole_pod_log(run.namespace, attempt.pod_name, attempt.step, limit=LONGEST_LOG)
        await client.put(place, log, "text/plain; charset=utf-8")
        keeping.logs[attempt.log_of] = store.uri(place)
        metrics.LOGS_KEPT.inc()

    async def _keep_written(self, run: naming.RunIdentity, step: StepStatus, store: ArtifactStore[Any]) -> None:
        client = await self._stores.client_of(store)
        place = naming.cache_record_key(run.namespace, step.cache_key or "")
        content = await content_of_record(client, store, run.name, step, place)
        if content is not None:
            await client.put(place, content, "application/json")
