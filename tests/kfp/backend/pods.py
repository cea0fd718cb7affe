"""An executor of real pods: one for each attempt, followed by a watch."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from .cluster import MERGE_PATCH, ApiError, Cluster
from .executor import Progress
from .launcher import MAIN, RESULT
from .pod_spec import MANAGED_BY, Helpers, make_pod
from .state import Attempt, Phase, utc_now

Json = dict[str, Any]
_PHASES = {"Running": Phase.RUNNING, "Succeeded": Phase.SUCCEEDED, "Failed": Phase.FAILED}
_SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
_PASSING = (aiohttp.ClientError, TimeoutError)
RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


def progress_of(pod: Json) -> Progress:
    """Return how far a pod is."""
    status = pod.get("status", {})
    phase = _PHASES.get(status.get("phase", ""), Phase.PENDING)
    if not phase.is_final:
        return Progress(phase)
    states = {one["name"]: one.get("state", {}) for one in status.get("containerStatuses", [])}
    ended = states.get(MAIN, {}).get("terminated", {})
    result = json.loads(pod["metadata"].get("annotations", {}).get(RESULT, "{}"))
    return Progress(
        phase,
        datetime.fromisoformat(ended["finishedAt"]) if ended.get("finishedAt") else utc_now(),
        ended.get("exitCode"),
        result.get("parameters", {}),
        result.get("artifacts", []),
    )


class PodExecutor:
    """Makes a pod for each attempt."""

    def __init__(self, cluster: Cluster, helpers: Helpers, namespace: str) -> None:
        self._cluster = cluster
        self._helpers = helpers
        self._namespace = namespace
        self._progress: dict[str, Progress] = {}
        self._uids: dict[str, str] = {}
        """Of the pod that an attempt has now; others of its name are of earlier attempts, and are going."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """What is done about one pod is done in the order in which it was asked for."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop following pods; they go on."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def follow(self) -> None:
        """Begin to follow the pods of the namespace."""
        self._spawn(self._follow())

    def start(self, attempt: Attempt) -> None:
        """Make the pod of an attempt, or follow the one that is there."""
        self._progress[attempt.pod_name] = Progress()
        self._spawn(self._create(attempt))

    def progress(self, attempt: Attempt) -> Progress:
        """Return how far an attempt is."""
        return self._progress.get(attempt.pod_name) or Progress()

    def stop(self, attempt: Attempt) -> None:
        """End an attempt as Argo does: a pod that runs is given no more time and stays, another is deleted."""
        self._spawn(self._stop(attempt.pod_name))

    def remove(self, attempt: Attempt) -> None:
        """Delete the pod of an attempt."""
        self._progress.pop(attempt.pod_name, None)
        self._uids.pop(attempt.pod_name, None)
        self._spawn(self._delete(attempt.pod_name))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods{'/' if name else ''}{name}"

    async def _create(self, attempt: Attempt) -> None:
        pod = make_pod(attempt, self._helpers, self._namespace)
        async with self._locks[attempt.pod_name]:
            while attempt.pod_name in self._progress:
                try:
                    made = await self._cluster.request("POST", self._path(), pod)
                except ApiError as error:
                    if error.status == HTTPStatus.CONFLICT:
                        if await self._adopt(attempt.pod_name):
                            return
                    elif (
                        error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status != HTTPStatus.TOO_MANY_REQUESTS
                    ):
                        _log.error("pod %s cannot be made: %s", attempt.pod_name, error)
                        self._progress[attempt.pod_name] = Progress(Phase.FAILED, utc_now())
                        return
                except _PASSING as error:
                    _log.warning("pod %s cannot be made now: %s", attempt.pod_name, error)
                else:
                    self._take(made, is_new=True)
                    return
                await asyncio.sleep(RETRY_SECONDS)

    async def _adopt(self, name: str) -> bool:
        """Follow a pod that is there already; false if it is about to go."""
        with suppress(ApiError, *_PASSING):
            pod = await self._cluster.request("GET", self._path(name))
            if not pod["metadata"].get("deletionTimestamp"):
                self._take(pod, is_new=True)
                return True
        return False

    async def _stop(self, name: str) -> None:
        async with self._locks[name]:
            with suppress(ApiError, *_PASSING):
                pod = await self._cluster.request("GET", self._path(name))
                if progress_of(pod).phase is Phase.PENDING:
                    await self._cluster.request("DELETE", self._path(name))
                else:
                    patch = {"spec": {"activeDeadlineSeconds": 1}}
                    await self._cluster.request("PATCH", self._path(name), patch, content_type=MERGE_PATCH)

    async def _delete(self, name: str) -> None:
        async with self._locks[name]:
            with suppress(ApiError, *_PASSING):
                await self._cluster.request("DELETE", self._path(name))

    async def _follow(self) -> None:
        """Follow the pods for as long as this runs."""
        while True:
            try:
                listed = await self._cluster.request("GET", self._path(), labelSelector=_SELECTOR)
                self._compare(listed["items"])
                version = listed["metadata"]["resourceVersion"]
                events = self._cluster.watch(self._path(), labelSelector=_SELECTOR, resourceVersion=version)
                async for kind, pod in events:
                    self._take(pod, is_gone=kind == "DELETED")
            except (ApiError, *_PASSING) as error:
                _log.warning("the watch of pods has ended: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def _compare(self, pods: list[Json]) -> None:
        """Take over a list of all pods: one that is not on it any more has been deleted."""
        for pod in pods:
            self._take(pod)
        there = {pod["metadata"]["uid"] for pod in pods}
        for name, uid in self._uids.items():
            if uid not in there:
                self._lose(name)

    def _take(self, pod: Json, *, is_new: bool = False, is_gone: bool = False) -> None:
        """Take over what is known of a pod."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if is_new:
            self._uids[name] = uid
        if name not in self._progress or self._uids.get(name) != uid:
            return
        if not self._progress[name].phase.is_final:
            self._progress[name] = progress_of(pod)
        if is_gone:
            self._lose(name)

    def _lose(self, name: str) -> None:
        """Note that a pod is gone: unless it had ended, it has failed."""
        progress = self._progress.get(name)
        if progress is not None and not progress.phase.is_final:
            self._progress[name] = replace(progress, phase=Phase.FAILED, finished_at=utc_now())
