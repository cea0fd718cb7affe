"""Keeps the logs of attempts that have ended in the artifact store, beside the reconciles that go on meanwhile.

The status says where a log is once it is there, so a restart begins anew with those of which it says nothing. A run does not
end before its logs are kept, unless that takes too long: a store that is down never holds up a run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import StepStatus
from cairn.clients import metrics
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import InvalidError, NotFoundError
from cairn.clients.store import Key, key_of
from cairn.components.base import ArtifactStore, StoreUnavailableError
from cairn.components.open_stores import OpenStores
from cairn.runs import naming
from cairn.runs.attempts import CAN_BE_TRIED_AGAIN
from cairn.runs.logs import LogOf, Unkept, unkept

logger = logging.getLogger(__name__)

LONGEST_LOG = 10 * 1024 * 1024
"""Bytes, the last ones: the kubelet begins a new file then, unless it is told otherwise."""
LOGS_AT_ONCE = 4
"""Each may be in memory as a whole."""
MOMENT_SECONDS = 1.0
"""Within which a log is kept, as a rule."""
END_WAITS_SECONDS = 10.0
"""How long the end of a run waits for logs."""
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
LOG_NOT_KEPT = "LogNotKept"

Wake = Callable[[Key], None]
"""Has a run reconciled soon."""


@dataclass
class _Logs:
    """What is known of a run's logs."""

    kept: dict[LogOf, str] = field(default_factory=dict[LogOf, str])
    under_way: dict[LogOf, asyncio.Task[None]] = field(default_factory=dict[LogOf, "asyncio.Task[None]"])
    gone: set[LogOf] = field(default_factory=set[LogOf])
    """Those that cannot be read any more."""
    refused: set[LogOf] = field(default_factory=set[LogOf])
    """Those that are tried again."""
    problem: StoreUnavailableError | None = None
    """What the store said last."""
    failures: int = 0
    """In a row."""
    again_at: float = 0.0
    """Not before this is anything tried again, on the monotonic clock."""
    end_waits_since: float | None = None
    """Since when nothing but logs is waited for."""


class LogKeeper:
    """Keeps logs of runs; `wake` has a run reconciled when one is kept that its end waits for, or has been refused."""

    def __init__(self, cluster: Cluster, stores: OpenStores, clock: Clock, wake: Wake) -> None:
        self._cluster = cluster
        self._stores = stores
        self._clock = clock
        self._wake = wake
        self._at_once = asyncio.Semaphore(LOGS_AT_ONCE)
        self._logs: dict[Key, tuple[str, _Logs]] = {}
        """By run, with its UID."""

    def keep(
        self, body: JsonObject, run: naming.RunIdentity, steps: Iterable[StepStatus], store: ArtifactStore[Any]
    ) -> Mapping[LogOf, str]:
        """Begin to keep what is not; return what is kept by now."""
        logs = self._of(body)
        if not store.open_to_operator or self._clock.monotonic() < logs.again_at:
            return logs.kept
        for attempt in unkept(steps):
            one = attempt.log_of
            known = one in logs.kept or one in logs.under_way or one in logs.gone
            if not known and self._cluster.pods.get((run.namespace, attempt.pod_name)) is not None:
                logs.refused.discard(one)
                logs.under_way[one] = asyncio.create_task(self._keep(key_of(body), logs, run, attempt, store))
        return logs.kept

    def end_has_waited(self, body: JsonObject) -> float | None:
        """Return for how many seconds the end of a run has waited for logs by now; None where there is none to wait for."""
        logs = self._of(body)
        if not logs.under_way and not logs.refused:
            return None
        now = self._clock.monotonic()
        if logs.end_waits_since is None:
            logs.end_waits_since = now
        return now - logs.end_waits_since

    def seconds_until_again(self, body: JsonObject) -> float | None:
        """Return when to look at a run again because logs of it were refused."""
        logs = self._of(body)
        return max(0.0, logs.again_at - self._clock.monotonic()) if logs.refused else None

    async def tell_of_lost(self, body: JsonObject) -> None:
        """Record an Event where the store keeps the logs of a run that ends from being kept."""
        logs = self._of(body)
        lost = sorted({*logs.under_way, *logs.refused})
        if logs.problem is None or not lost:
            return
        metrics.LOGS_NOT_KEPT.labels(reason=logs.problem.reason).inc(len(lost))
        names = ", ".join(f"{step} ({number})" for step, number in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        note = f"The logs of these attempts are not kept, but in their pods: {names}{more}. {logs.problem.message}"
        await self._cluster.events.record(body, "Warning", LOG_NOT_KEPT, "KeepLogs", note)

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        _, logs = self._logs.pop(key, ("", _Logs()))
        for task in logs.under_way.values():
            task.cancel()

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._logs):
            self.forget(key)

    def _of(self, body: JsonObject) -> _Logs:
        key, uid = key_of(body), body["metadata"]["uid"]
        if key in self._logs and self._logs[key][0] != uid:
            self.forget(key)
        return self._logs.setdefault(key, (uid, _Logs()))[1]

    async def _keep(
        self, key: Key, logs: _Logs, run: naming.RunIdentity, attempt: Unkept, store: ArtifactStore[Any]
    ) -> None:
        one, place = attempt.log_of, naming.log_key(run, attempt.step, attempt.number)
        try:
            async with self._at_once:
                await self._copy(run.namespace, attempt, store, place)
        except (NotFoundError, InvalidError):
            logs.gone.add(one)
        except (StoreUnavailableError, *CAN_BE_TRIED_AGAIN) as error:
            logger.warning("The log of pod %s is not kept yet: %s", attempt.pod_name, error)
            logs.refused.add(one)
            if isinstance(error, StoreUnavailableError):
                logs.problem = error
            pause = min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2 ** min(logs.failures, 16))
            logs.failures += 1
            logs.again_at = self._clock.monotonic() + pause
        else:
            metrics.LOGS_KEPT.inc()
            logs.kept[one] = store.uri(place)
            logs.failures = 0
        finally:
            logs.under_way.pop(one, None)
        if logs.refused or (logs.end_waits_since is not None and not logs.under_way):
            self._wake(key)

    async def _copy(self, namespace: str, attempt: Unkept, store: ArtifactStore[Any], place: str) -> None:
        client = await self._stores.client_of(store)
        log = await self._cluster.kubernetes.whole_pod_log(namespace, attempt.pod_name, attempt.step, limit=LONGEST_LOG)
        await client.put(place, log, "text/plain; charset=utf-8")
