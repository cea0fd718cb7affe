"""Keeps the releases of components: installs, upgrades, repairs, rolls back and uninstalls them by Helm, beside the reconciles.

What is to be done follows from what Helm keeps of a release, so that another operator goes on where this one was killed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.labels import INSTANCE_LABEL
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.helm import Helm, HelmError, revisions_of
from cairn.clients.kubernetes import CLAIMS, JOBS, NotFoundError
from cairn.clients.store import Key
from cairn.clients.wake import Wake
from cairn.components.base import Release, Verdict
from cairn.components.releases import verdicts
from cairn.components.releases.drift import drift
from cairn.components.releases.naming import STATE_LABEL, labels_of, release_name, state_label
from cairn.components.releases.plan import (
    Nothing,
    NotOurs,
    Rollback,
    Uninstall,
    Upgrade,
    Wait,
    backoff_seconds,
    is_of,
    plan,
)
from cairn.components.releases.pods import STUCK, claims_of, is_stuck, of_attempt, problem_of, progress_of, unready_of
from cairn.components.releases.values import state_of, values_of
from cairn.components.releases.verdicts import Doing

logger = logging.getLogger(__name__)

READY_SECONDS = 600
"""How long the objects of a release may take to become ready."""
GONE_SECONDS = 180
"""How long they may take to go: a server finishes its requests."""
PROCESSES = 4
"""How many Helms may run at a time; each takes some 60 MiB."""
PROCESSES_OF_NAMESPACE = 2
"""How many of them for one namespace, so that servers that do not come up keep no other namespace waiting."""
QUESTIONS = 2
"""How many may run besides that are only asked something."""
COMPARE_SECONDS = 300
STOPPED = f"Helm was stopped, as its pods did not start within {STUCK.total_seconds():.0f} s"
REMOVED = "removed"
"""The desired state of a release that is to go."""


@dataclass
class _Work:
    """What Helm does for a component."""

    doing: Doing
    state: str
    """The desired state it is done for."""
    of_namespace: asyncio.Semaphore
    """Held by those that run for the same namespace."""
    task: asyncio.Task[None]
    began: datetime | None = None
    """None while others are served first."""
    given_up: str | None = None
    """Why it was stopped."""


@dataclass(frozen=True)
class _Failure:
    """What Helm last failed at."""

    state: str
    doing: Doing
    words: str
    count: int
    retry: float
    """When to try again, on the monotonic clock."""


@dataclass(frozen=True)
class _Repair:
    """What was changed by somebody else and set right: somebody who changes it again and again is not fought for ever."""

    found: tuple[str, ...]
    count: int
    again: float
    """When to repair the same again, on the monotonic clock."""


class ReleaseKeeper:
    """Knows of each component what Helm does for it; `wake` has it reconciled when Helm is done."""

    def __init__(
        self, cluster: Cluster, helm: Helm, charts: Path, *, images: Mapping[str, str], wake: Wake, clock: Clock
    ) -> None:
        """Keep releases of charts in a directory; `images` are those of their main containers, by chart."""
        self._cluster = cluster
        self._helm = helm
        self._charts = charts
        self._images = images
        self._wake = wake
        self._clock = clock
        self._work: dict[Key, _Work] = {}
        self._failures: dict[Key, _Failure] = {}
        self._repairs: dict[Key, _Repair] = {}
        self._compared: dict[Key, float] = {}
        """When the objects were last compared with what they are to be, on the monotonic clock."""
        self._manifests: dict[Key, tuple[int, Sequence[JsonObject]]] = {}
        self._processes = asyncio.Semaphore(PROCESSES)
        self._processes_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """By namespace."""
        self._questions = asyncio.Semaphore(QUESTIONS)

    def state_of(self, component: Key, release: Release) -> str:
        """Return a digest of what a release is to be."""
        return state_of(self._values_of(component, release), self._charts / release.chart)

    def _values_of(self, component: Key, release: Release) -> JsonObject:
        return values_of(component[1], release.values, self._images.get(release.chart))

    def is_busy(self, component: Key) -> bool:
        """Return whether Helm does something for a component, or has done it since it was last looked at."""
        return component in self._work

    def unready_of(self, component: Key) -> str | None:
        """Return what keeps a pod of a component's release from serving, or None."""
        return unready_of(self._pods(component))

    async def keep(self, component: Key, release: Release, *, touched: bool = True) -> Verdict | None:
        """Have a release be what it is to be; None where it is, else what is being done or what is wrong.

        Where none of its objects was touched they are compared with what they are to be from time to time only.

        Raises:
            ApiError: the API server does not tell what there is.
        """
        try:
            return await self._keep(component, release, self.state_of(component, release), touched=touched)
        except HelmError as error:
            return verdicts.not_told(_full_name(component), str(error))

    async def _keep(self, component: Key, release: Release, state: str, *, touched: bool) -> Verdict | None:
        if await self._is_at_work(component, state):
            return self._progress(component)
        claim = await self._claim_that_goes(component)
        if claim is not None:
            return verdicts.claim_terminating(claim)
        return await self._act_on_plan(component, release, state, touched=touched)

    async def _act_on_plan(self, component: Key, release: Release, state: str, *, touched: bool) -> Verdict | None:
        revisions = await revisions_of(self._cluster.kubernetes, component[0], release_name(component[1]))
        match plan(revisions, state, labels_of(component[1]), self._clock.now()):
            case Nothing():
                self._failures.pop(component, None)
                compared = self._compared.get(component, -COMPARE_SECONDS)
                if not touched and self._clock.monotonic() - compared < COMPARE_SECONDS:
                    return None
                return await self._repair(component, release, state, revisions[-1].number)
            case Upgrade(install):
                number = revisions[-1].number + 1 if revisions else 1
                return self._upgrade(component, release, state, number=number, install=install)
            case Rollback(number):
                return self._roll_back(component, state, number)
            case Uninstall():
                return self._uninstall(component, state)
            case Wait(failed, install):
                return await self._failed(component, state, failed, install=install)
            case NotOurs():
                return verdicts.name_taken(_full_name(component))

    async def remove(self, component: Key, *, keep_data: bool) -> Verdict | None:
        """Have a component's release removed, and its volumes; None where nothing is left, else what is being done or is wrong.

        Raises:
            ApiError: the API server does not tell what there is, or lets nothing be deleted.
        """
        if await self._is_at_work(component, REMOVED):
            return self._progress(component)
        namespace, name = component[0], release_name(component[1])
        revisions = await revisions_of(self._cluster.kubernetes, namespace, name)
        labels = labels_of(component[1])
        if revisions and is_of(revisions[-1], labels):
            return self._uninstall(component, REMOVED)
        selector = ",".join(f"{label}={value}" for label, value in {**labels, INSTANCE_LABEL: name}.items())
        # Helm leaves the Jobs of hooks that failed, and the claim, which it is told to keep
        for resource in (JOBS, *(() if keep_data else (CLAIMS,))):
            await self._cluster.kubernetes.delete_all(resource, namespace, selector=selector)
        self._forget(component)
        return None

    async def stop(self) -> None:
        """Stop Helm where it is; the next operator goes on from there."""
        self._helm.kill()
        tasks = [work.task for work in self._work.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim_that_goes(self, component: Key) -> str | None:
        """Return the claim of a release's pods that is deleted as soon as they end, if there is one."""
        for name in claims_of(self._pods(component)):
            try:
                claim = await self._cluster.kubernetes.get(CLAIMS, component[0], name)
            except NotFoundError:
                continue
            if is_being_deleted(claim):
                return name
        return None

    # ---- what Helm does

    async def _is_at_work(self, component: Key, state: str) -> bool:
        """Return whether Helm is at work for a state; what it does for another one is stopped."""
        work = self._work.get(component)
        if work is None:
            return False
        if not work.task.done():
            if work.state == state:
                self._give_up_if_stuck(component, work)
                return True
            work.task.cancel()
            await asyncio.wait([work.task])
        del self._work[component]
        return False

    def _upgrade(self, component: Key, release: Release, state: str, *, number: int, install: bool) -> Verdict:
        failure = self._waits(component, state)
        if failure is not None:
            return verdicts.failed(_full_name(component), failure.words, install=install)
        doing: Doing = "HelmInstalling" if install else "HelmUpgrading"
        upgrade = self._helm.upgrade(
            component[0],
            release_name(component[1]),
            self._charts / release.chart,
            self._values_of(component, release),
            labels={**labels_of(component[1]), STATE_LABEL: state_label(state, number)},
            seconds=READY_SECONDS,
        )
        return self._begin(component, doing, state, upgrade)

    def _roll_back(self, component: Key, state: str, revision: int) -> Verdict:
        failure = self._waits(component, state)
        if failure is not None and failure.doing == "HelmRollingBack":
            return verdicts.not_rolled_back(_full_name(component), revision, failure.words)
        rollback = self._helm.rollback(component[0], release_name(component[1]), revision)
        return self._begin(component, "HelmRollingBack", state, rollback)

    def _uninstall(self, component: Key, state: str) -> Verdict:
        failure = self._waits(component, state)
        if failure is not None and failure.doing == "HelmUninstalling":
            return verdicts.not_uninstalled(_full_name(component), failure.words)
        uninstall = self._helm.uninstall(component[0], release_name(component[1]), seconds=GONE_SECONDS)
        return self._begin(component, "HelmUninstalling", state, uninstall)

    async def _repair(self, component: Key, release: Release, state: str, revision: int) -> Verdict | None:
        """Upgrade a release to what it is already where somebody has changed its objects."""
        known = self._manifests.get(component)
        if known is None or known[0] != revision:
            async with self._questions:
                known = revision, await self._helm.manifest(component[0], release_name(component[1]))
            self._manifests[component] = known
        found = tuple(await drift(self._cluster.kubernetes, component[0], known[1]))
        self._compared[component] = self._clock.monotonic()
        before = self._repairs.get(component)
        is_same = before is not None and before.found == found
        if not found or (before is not None and is_same and self._clock.monotonic() < before.again):
            return None
        count = before.count + 1 if before is not None and is_same else 1
        self._repairs[component] = _Repair(found, count, self._clock.monotonic() + backoff_seconds(count))
        logger.info("Release %s is repaired: %s", _full_name(component), "; ".join(found))
        verdict = self._upgrade(component, release, state, number=revision + 1, install=False)
        return Verdict(verdict.ready, verdict.reason, f"{verdict.message} What was changed: {'; '.join(found)}.")

    def _begin(self, component: Key, doing: Doing, state: str, action: Coroutine[Any, Any, None]) -> Verdict:
        of_namespace = self._processes_of.setdefault(component[0], asyncio.Semaphore(PROCESSES_OF_NAMESPACE))

        async def carry_out() -> None:
            try:
                async with of_namespace, self._processes:
                    work.began = self._clock.now()
                    await action
            except HelmError as error:
                self._fail(component, work, str(error))
            except Exception as error:
                logger.exception("%s of %s/%s failed in an unforeseen way", doing, *component)
                self._fail(component, work, f"{type(error).__name__}, which Cairn does not foresee; report it")
            finally:
                action.close()
                self._wake(component)

        work = self._work[component] = _Work(doing, state, of_namespace, asyncio.create_task(carry_out()))
        return self._progress(component)

    def _waits(self, component: Key, state: str) -> _Failure | None:
        """Return what Helm failed at for a state, unless it is time to try again."""
        failure = self._failures.get(component)
        waits = failure is not None and failure.state == state and self._clock.monotonic() < failure.retry
        return failure if waits else None

    def _fail(self, component: Key, work: _Work, words: str) -> None:
        state, before = work.state, self._failures.get(component)
        problem = problem_of(self._pods_of_attempt(component, work))
        told = work.given_up or words
        if problem is not None and problem not in told:
            told = f"{told}; {problem}"
        count = before.count + 1 if before is not None and before.state == state else 1
        retry = self._clock.monotonic() + backoff_seconds(count)
        self._failures[component] = _Failure(state, work.doing, told, count, retry)
        logger.warning("%s of release %s failed: %s", work.doing, _full_name(component), told)

    def _give_up_if_stuck(self, component: Key, work: _Work) -> None:
        """Stop an upgrade whose pods cannot start: the release before it is to serve again."""
        pods = self._pods_of_attempt(component, work)
        if work.began is None or work.given_up is not None or work.doing not in {"HelmInstalling", "HelmUpgrading"}:
            return
        if is_stuck(pods, work.began, self._clock.now()):
            work.given_up = f"{STOPPED}; {problem_of(pods)}"
            self._fail(component, work, work.given_up)
            work.task.cancel()

    def _pods_of_attempt(self, component: Key, work: _Work) -> Sequence[JsonObject]:
        return of_attempt(self._pods(component), work.began) if work.began is not None else ()

    def _pods(self, component: Key) -> Iterable[JsonObject]:
        return self._cluster.release_pods.indexed(component[0], release_name(component[1]))

    def _progress(self, component: Key) -> Verdict:
        work, failure = self._work[component], self._failures.get(component)
        looks = work.doing in {"HelmInstalling", "HelmUpgrading"}
        return verdicts.at_work(
            work.doing,
            _full_name(component),
            waits=work.began is None and (work.of_namespace.locked() or self._processes.locked()),
            so_far=progress_of(self._pods_of_attempt(component, work)) if looks else None,
            failure=failure.words if failure is not None and failure.state == work.state else None,
        )

    async def _failed(self, component: Key, state: str, revision: int, *, install: bool) -> Verdict:
        failure = self._failures.get(component)
        if failure is not None and failure.state == state:
            return verdicts.failed(_full_name(component), failure.words, install=install)
        async with self._questions:
            words = await self._helm.description(component[0], release_name(component[1]), revision)
        return verdicts.failed(_full_name(component), words, install=install)

    def _forget(self, component: Key) -> None:
        for known in (self._failures, self._repairs, self._compared, self._manifests):
            known.pop(component, None)


def _full_name(component: Key) -> str:
    """Return the name of a component's release with its namespace."""
    return f"{component[0]}/{release_name(component[1])}"
