"""An operator's process: the real reconciler, with watches that lag, repeat, come out of order and break."""

from __future__ import annotations

import asyncio
import random

from cairn.api.base import JsonObject
from cairn.clients.cluster import Cluster
from cairn.clients.events import EventRecorder
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, STACK_COMPONENTS, STACKS, ApiError, Resource
from cairn.clients.store import Key, ObjectStore
from cairn.runs.needed import needed_of_job, needed_of_pod
from cairn.runs.reconciler import RunReconciler
from tests.simulation.api_server import Change, Crash, SimulatedApiServer
from tests.simulation.clock import SimulatedClock
from tests.simulation.stores import UnreliableStore
from tests.unit.builders import TRANSFER
from tests.unit.direct_evaluator import DirectEvaluator
from tests.unit.fake_kubernetes import catch_up
from tests.unit.fake_registries import FakeRegistries
from tests.unit.fake_stores import OneStoreForAll

LONGEST_BACKOFF_SECONDS = 60.0
TURNS_OF_THE_LOOP = 10
"""More than it takes to keep a log beside a reconcile."""


class OperatorProcess:
    """What an operator knows, and when it works next."""

    def __init__(self, server: SimulatedApiServer, clock: SimulatedClock, dice: random.Random, key: Key) -> None:
        self._server = server
        self._clock = clock
        self._dice = dice
        self._key = key
        self._feed: list[Change] = []
        server.feeds.append(self._feed)
        self._reconciler = self._new()
        self._start()

    @property
    def due(self) -> float | None:
        """When it works next, in seconds of the simulation; None while nothing wakes it."""
        return self._due

    @property
    def behind(self) -> bool:
        """Whether there is something that its watches have not told it."""
        return bool(self._feed) or self._gap

    async def reconcile(self) -> None:
        """Work once, as the work queue has it done."""
        self._due = None
        self._server.asked_by_operator = True
        try:
            after = await self._reconciler.reconcile(self._key)
        except Crash:
            self._start()
        except (ApiError, TimeoutError):
            self._failures += 1
            self._wake(min(LONGEST_BACKOFF_SECONDS, 0.05 * 2**self._failures))
        else:
            self._failures = 0
            if after is not None:
                self._wake(after)
        finally:
            self._server.asked_by_operator = False
        for _ in range(TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)

    def hear(self) -> None:
        """Let the watches tell something."""
        if self._gap:
            return
        for _ in range(self._dice.randint(1, 4)):
            if not self._feed:
                return
            place = 0 if self._dice.random() < 0.8 else self._dice.randrange(len(self._feed))
            change = self._feed[place] if self._dice.random() < 0.1 else self._feed.pop(place)
            self._put(change)

    def lose_watches(self) -> None:
        """Lose what the watches would have told."""
        self._feed.clear()
        self._gap = True

    def list_again(self) -> None:
        """See everything as it is."""
        self._gap = False
        self._feed.clear()
        for resource, store in self._stores():
            catch_up(store, [_needed(resource, body) for body in self._server.all(resource)])
        self._wake(0)

    def _start(self) -> None:
        self._reconciler.stop()
        self._reconciler = self._new()
        self._failures = 0
        self._due: float | None = None
        self.list_again()

    def _new(self) -> RunReconciler:
        self._cluster = Cluster(self._server, EventRecorder(self._server, "simulation"))
        stores = OneStoreForAll(self._cluster, UnreliableStore(self._dice, self._server))
        return RunReconciler(
            self._cluster,
            TRANSFER,
            lambda _: self._wake(0),
            DirectEvaluator(),
            clock=self._clock,
            stores=stores,
            registries=FakeRegistries(),
        )

    def _put(self, change: Change) -> None:
        store = next(store for resource, store in self._stores() if resource is change.resource)
        if change.type == "DELETED":
            store.forget(change.body)
        else:
            store.put(_needed(change.resource, change.body))
        self._wake(0)

    def _wake(self, seconds: float) -> None:
        due = self._clock.seconds + seconds
        self._due = due if self._due is None else min(self._due, due)

    def _stores(self) -> list[tuple[Resource, ObjectStore]]:
        cluster = self._cluster
        return [
            (STACK_COMPONENTS, cluster.components),
            (STACKS, cluster.stacks),
            (PIPELINE_RUNS, cluster.runs),
            (JOBS, cluster.jobs),
            (PODS, cluster.pods),
        ]


def _needed(resource: Resource, body: JsonObject) -> JsonObject:
    """Return what the operator keeps of an object."""
    if resource is JOBS:
        return needed_of_job(body)
    if resource is PODS:
        return needed_of_pod(body)
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}
