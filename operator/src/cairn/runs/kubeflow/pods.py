"""The pods of runs on Kubeflow Pipelines, where it runs in this cluster: watched by namespace, once one is asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from cairn.api.base import JsonObject
from cairn.clients.cluster import Cluster
from cairn.clients.informer import Informer
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, PODS, InvalidError, NotFoundError
from cairn.clients.store import ObjectStore
from cairn.runs.kubeflow.attempts import MAIN_CONTAINER
from cairn.runs.needed import needed_of_pod

logger = logging.getLogger(__name__)

RUN_LABEL = "pipeline/runid"
LOG_TAIL_LINES = 40
LOG_TAIL_BYTES = 16 * 1024
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

    def logs_of(self, run_id: str) -> dict[str, str]:
        """Return the ends of logs that were read of a run, by the UIDs of pods."""
        return self._logs.setdefault(run_id, {})

    def read_log(self, run_id: str, pod: JsonObject) -> None:
        """Have the end of the log of a step read."""
        uid = pod["metadata"]["uid"]
        if uid not in self.logs_of(run_id):
            self._begin(self._read(run_id, pod))

    def forget(self, run_id: str) -> None:
        """Forget the logs of a run."""
        self._logs.pop(run_id, None)

    def stop(self) -> None:
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
        metadata = pod["metadata"]
        try:
            text = await self._cluster.kubernetes.pod_log(
                metadata["namespace"], metadata["name"], MAIN_CONTAINER, lines=LOG_TAIL_LINES, limit=LOG_TAIL_BYTES
            )
        except (NotFoundError, InvalidError):
            text = ""
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("The log of pod %s cannot be read: %s", metadata["name"], error)
            text = ""
        self.logs_of(run_id)[metadata["uid"]] = text
        self._told(run_id)

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _run_of(pod: JsonObject) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(RUN_LABEL)
