from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace

import aiohttp
import pytest

from cairn.api.base import JsonObject
from cairn.clients import informer as module
from cairn.clients.informer import LONGEST_BACKOFF_SECONDS, SHORTEST_WATCH_SECONDS, Informer
from cairn.clients.kubernetes import JOBS, JSON, ApiError, GoneError, Resource
from cairn.clients.store import ObjectStore
from tests.unit.fake_kubernetes import FakeKubernetes
from tests.unit.virtual_time import now, settle

GONE = GoneError(410, "Expired", "too old resource version")


pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def nothing_by_chance(monkeypatch: pytest.MonkeyPatch, no_jitter: None) -> None:
    monkeypatch.setattr(module, "random", SimpleNamespace(uniform=lambda _low, _high: 1.0))


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


class Watched:
    """A store that an informer keeps, and what it was told."""

    def __init__(self, kubernetes: FakeKubernetes, namespace: str | None = None) -> None:
        self.store = ObjectStore()
        self.told: list[str] = []
        self.informer = Informer(kubernetes, JOBS, namespace, self.store, lambda body: self.told.append(name_of(body)))

    @property
    def names(self) -> list[str]:
        return sorted(name_of(body) for body in self.store)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.informer.run())
        await settle()
        yield
        assert not task.done(), "the informer has died"
        task.cancel()


async def watches_again() -> None:
    """Let the pause after a watch that was short go by."""
    await asyncio.sleep(SHORTEST_WATCH_SECONDS)
    await settle()


def name_of(body: JsonObject) -> str:
    return body["metadata"]["name"]


def job(name: str, namespace: str = "ml", **metadata: str) -> JsonObject:
    return {"metadata": {"namespace": namespace, "name": name, **metadata}, "spec": {}}


async def test_what_is_there_is_seen_first(kubernetes: FakeKubernetes):
    kubernetes.add(JOBS, job("a"))
    watched = Watched(kubernetes)

    before = watched.informer.synced.is_set()
    async with watched.running():
        assert (before, watched.informer.synced.is_set()) == (False, True)
        assert (watched.names, watched.told) == (["a"], ["a"])


async def test_what_comes_changes_and_goes_is_followed(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes)
    async with watched.running():
        kubernetes.add(JOBS, job("a"))
        await settle()
        came = watched.names
        kubernetes.add(JOBS, {**job("a"), "spec": {"suspend": True}})
        await settle()
        changed = watched.store.get(("ml", "a"))
        kubernetes.remove(JOBS, "ml", "a")
        await settle()

    assert (came, watched.names, watched.told) == (["a"], [], ["a", "a", "a"])
    assert changed is not None
    assert changed["spec"] == {"suspend": True}


async def test_a_watch_that_ends_goes_on_where_it_was_without_another_list(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes)
    async with watched.running():
        kubernetes.end_watches()
        await watches_again()
        kubernetes.add(JOBS, job("a"))
        await settle()

    assert watched.names == ["a"]
    assert kubernetes.requests["list jobs"] == 1


async def test_after_a_gap_what_vanished_meanwhile_is_found(kubernetes: FakeKubernetes):
    kubernetes.add(JOBS, job("a"))
    kubernetes.add(JOBS, job("b"))
    watched = Watched(kubernetes)
    async with watched.running():
        watched.told.clear()
        kubernetes.end_watches(GONE)
        kubernetes.remove(JOBS, "ml", "a")
        kubernetes.add(JOBS, job("c"))
        await watches_again()

    assert watched.names == ["b", "c"]
    assert sorted(set(watched.told)) == ["a", "b", "c"]


async def test_after_a_gap_only_the_own_namespace_is_compared(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes, "ml")
    watched.store.put(job("theirs", "other", resourceVersion="1", uid="1"))
    async with watched.running():
        pass

    assert watched.names == ["theirs"]


async def test_an_object_that_was_made_anew_during_a_gap_is_the_new_one(kubernetes: FakeKubernetes):
    kubernetes.add(JOBS, job("a", uid="old"))
    watched = Watched(kubernetes)
    async with watched.running():
        kubernetes.end_watches(GONE)
        kubernetes.remove(JOBS, "ml", "a")
        kubernetes.add(JOBS, job("a", uid="new"))
        await watches_again()

    kept = watched.store.get(("ml", "a"))
    assert kept is not None
    assert kept["metadata"]["uid"] == "new"


async def test_what_the_operator_makes_while_a_list_is_under_way_is_not_forgotten():
    class SlowList(FakeKubernetes):
        async def list(
            self, resource: Resource, namespace: str | None, *, selector: str = "", fields: str = "", accept: str = JSON
        ) -> tuple[list[JsonObject], str]:
            answer = await super().list(resource, namespace)
            watched.store.put(self.add(JOBS, job("mine")))
            return answer

    watched = Watched(SlowList())
    async with watched.running():
        assert watched.names == ["mine"]


async def test_an_older_version_is_ignored(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes)
    async with watched.running():
        watched.store.put(job("a", resourceVersion="900", uid="1"))
        kubernetes.tell(JOBS, "MODIFIED", job("a", resourceVersion="800", uid="1"))
        await settle()

    kept = watched.store.get(("ml", "a"))
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == "900"
    assert watched.told == []


async def test_the_end_of_another_object_of_that_name_takes_nothing_away(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes)
    async with watched.running():
        watched.store.put(job("a", resourceVersion="900", uid="new"))
        kubernetes.tell(JOBS, "DELETED", job("a", resourceVersion="899", uid="old"))
        await settle()

    assert watched.names == ["a"]


async def test_a_bookmark_is_no_object(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes)
    async with watched.running():
        kubernetes.tell(JOBS, "BOOKMARK", {"metadata": {"resourceVersion": "999"}})
        await settle()

    assert (watched.names, watched.told) == ([], [])


async def test_managed_fields_are_not_kept(kubernetes: FakeKubernetes):
    kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": "a", "managedFields": [{"manager": "x"}]}})
    watched = Watched(kubernetes)
    async with watched.running():
        pass

    assert all("managedFields" not in body["metadata"] for body in watched.store)


@pytest.mark.parametrize("error", [ApiError(503, "ServiceUnavailable", "later"), aiohttp.ClientError(), TimeoutError()])
async def test_an_api_server_that_is_away_is_asked_again_ever_less_often(kubernetes: FakeKubernetes, error: Exception):
    asked: list[float] = []

    def away(_: JsonObject) -> None:
        asked.append(now())
        raise error

    kubernetes.objections["list jobs"] = away
    watched = Watched(kubernetes)
    async with watched.running():
        await asyncio.sleep(100)

    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert waits[:3] == pytest.approx([0.25, 0.5, 1])
    assert max(waits) == LONGEST_BACKOFF_SECONDS
    assert not watched.informer.synced.is_set()


async def test_a_watch_that_breaks_goes_on_where_it_was(kubernetes: FakeKubernetes):
    watched = Watched(kubernetes)
    async with watched.running():
        kubernetes.end_watches(ApiError(500, "InternalError", "broken"))
        await asyncio.sleep(1)
        kubernetes.add(JOBS, job("a"))
        await settle()

    assert watched.names == ["a"]
    assert kubernetes.requests["list jobs"] == 1
