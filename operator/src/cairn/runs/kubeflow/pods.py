"""The pods of runs on Kubeflow Pipelines, where it runs in this cluster: watched by namespace, once one is asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress

from cairn.api.base import JsonObject
from cairn.clients.cluster import Cluster
from cairn.clients.informer import Informer
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, PODS, ForbiddenError, InvalidError, NotFoundError
from cairn.clients.store import ObjectStore
from cairn.runs.attempts import LOG_TAIL_BYTES, LOG_TAIL_LINES
from cairn.runs.kubeflow.attempts import MAIN_CONTAINER
from cairn.runs.needed import needed_of_pod
from cairn.runs.planner import Stop, StopMode
from cairn.runs.workloads import stop_pod

logger = logging.getLogger(__name__)

RUN_LABEL = "pipeline/runid"
LOG_PAUSES_SECONDS = (0.0, 1.0, 2.0)
"""Before each try to read a log."""
SYNC_SECONDS = 15.0
"""How long the pods of a namespace are waited for: they may not be the operator's to see, or be in another cluster."""
LONGEST_WAIT_SECONDS = 1.0
"""At a time: others wait meanwhile."""

Told = Callable[[str], None]
"""Is called with the ID of a run of which a pod has changed, or a log was read."""


class KubeflowPods:
    """Holds only what can be found out again."""

    def __init__(self, cluster: Cluster, told: Told) -> None:
        self._cluster = cluster
        self._told = told
        self._stores: dict[str, ObjectStore] = {}
        self._informers: dict[str, Informer] = {}
        self._began: dict[str, float] = {}
        """When the watch of a namespace began, on the monotonic clock."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: set[str] = set()
        """UIDs of the pods whose logs are being read."""
        self._logs: dict[str, dict[str, str]] = {}
        """The ends of the logs of failed steps, by run and UID of the pod."""

    def of(self, namespace: str, run_id: str) -> Iterable[JsonObject]:
        """Return the pods of a run, as far as they were seen."""
        if namespace not in self._stores:
            self._watch(namespace)
        return self._stores[namespace].indexed(namespace, run_id)

    async def are_seen(self, namespace: str) -> bool:
        """Return whether the pods of a namespace are all seen, or not to be had."""
        left = SYNC_SECONDS - (time.monotonic() - self._began[namespace])
        synced = self._informers[namespace].synced
        if left > 0 and not synced.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LONGEST_WAIT_SECONDS)):
                    await synced.wait()
        return synced.is_set() or time.monotonic() - self._began[namespace] >= SYNC_SECONDS

    def logs_of(self, run_id: str) -> Mapping[str, str]:
        """Return the ends of logs that were read of a run, by the UIDs of pods."""
        return self._logs.get(run_id, {})

    def read_log(self, run_id: str, pod: JsonObject) -> None:
        """Have the end of the log of a step read."""
        uid = pod["metadata"]["uid"]
        logs = self._logs.setdefault(run_id, {})
        if uid not in logs and uid not in self._reading:
            self._reading.add(uid)
            self._begin(self._read(run_id, pod))

    async def stop(self, namespace: str, stop: Stop) -> None:
        """End an attempt by its pod, where it is to be seen; raises ApiError."""
        name, uid = stop.attempt.pod_name, stop.attempt.pod_uid
        if name is None or uid is None:
            return
        try:
            if stop.mode is StopMode.GRACEFUL:
                stopped = await stop_pod(self._cluster.kubernetes, namespace, name)
                self._stores[namespace].put(needed_of_pod(stopped))
            else:
                await self._cluster.kubernetes.delete(PODS, namespace, name, uid=uid)
        except NotFoundError:
            return  # it has gone by itself, which is about to be seen

    def forget(self, run_id: str) -> None:
        """Forget the logs of a run."""
        self._logs.pop(run_id, None)

    def shut_down(self) -> None:
        """Watch no longer."""
        for task in self._tasks:
            task.cancel()

    def _watch(self, namespace: str) -> None:
        store = self._stores[namespace] = ObjectStore(_run_of)
        informer = Informer(
            self._cluster.kubernetes, PODS, namespace, store, self._changed, selector=RUN_LABEL, needed=needed_of_pod
        )
        self._informers[namespace], self._began[namespace] = informer, time.monotonic()
        self._begin(informer.run())

    def _changed(self, pod: JsonObject) -> None:
        self._told(_run_of(pod) or "")

    async def _read(self, run_id: str, pod: JsonObject) -> None:
        uid = pod["metadata"]["uid"]
        try:
            text = await self._log_of(pod)
        finally:
            self._reading.discard(uid)
        logs = self._logs.get(run_id)
        if logs is not None:
            logs[uid] = text
            self._told(run_id)

    async def _log_of(self, pod: JsonObject) -> str:
        """Return the end of a log; an empty text where it is not to be had, which is not waited for much longer."""
        metadata = pod["metadata"]
        for seconds in LOG_PAUSES_SECONDS:
            await asyncio.sleep(seconds)
            try:
                return await self._cluster.kubernetes.pod_log(
                    metadata["namespace"], metadata["name"], MAIN_CONTAINER, lines=LOG_TAIL_LINES, limit=LOG_TAIL_BYTES
                )
            except (NotFoundError, InvalidError, ForbiddenError):
                return ""
            except CAN_BE_TRIED_AGAIN as error:
                logger.warning("The log of pod %s cannot be read: %s", metadata["name"], error)
        return ""

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _run_of(pod: JsonObject) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(RUN_LABEL)
