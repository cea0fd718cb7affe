from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from cairn.api.base import JsonObject
from cairn.clients import leadership as module
from cairn.clients.kubernetes import LEASES, ApiError, Resource
from cairn.clients.leadership import GIVE_UP_SECONDS, LEASE_SECONDS, RENEW_SECONDS, Leadership, LeadershipLostError
from cairn.handlers.leading import STOP_SECONDS
from tests.unit.fake_kubernetes import FakeKubernetes
from tests.unit.virtual_time import now, settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch, no_jitter: None) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=now))


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


def operator(kubernetes: FakeKubernetes, name: str) -> Leadership:
    return Leadership(kubernetes, "cairn-system", "cairn", name)


def holder(kubernetes: FakeKubernetes) -> str:
    return kubernetes.one(LEASES, "cairn", "cairn-system")["spec"]["holderIdentity"]


def unreachable(_: JsonObject) -> ApiError:
    return ApiError(503, "ServiceUnavailable", "etcd is away")


class Slow(FakeKubernetes):
    """The same cluster, some of whose answers take long."""

    def __init__(self, cluster: FakeKubernetes, seconds: float) -> None:
        self.__dict__ |= cluster.__dict__
        self.seconds = seconds


class SlowToFail(Slow):
    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        await asyncio.sleep(self.seconds)
        raise ApiError(503, "ServiceUnavailable", "etcd is away")


class SlowToCreate(Slow):
    async def create(
        self, resource: Resource, namespace: str, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        created = await super().create(resource, namespace, body, dry_run=dry_run)
        await asyncio.sleep(self.seconds)
        return created


async def test_the_first_works_at_once(kubernetes: FakeKubernetes):
    first = operator(kubernetes, "first")

    await first.acquire()

    assert (holder(kubernetes), first.is_leader, now()) == ("first", True, 0)


async def test_a_second_waits_as_long_as_the_first_tells_of_itself(kubernetes: FakeKubernetes):
    first, second = operator(kubernetes, "first"), operator(kubernetes, "second")
    await first.acquire()
    keeping, waiting = asyncio.ensure_future(first.keep()), asyncio.ensure_future(second.acquire())

    await asyncio.sleep(10 * LEASE_SECONDS)

    assert (holder(kubernetes), waiting.done(), keeping.done()) == ("first", False, False)
    waiting.cancel()
    keeping.cancel()


async def test_a_second_takes_over_once_the_first_is_silent(kubernetes: FakeKubernetes):
    first, second = operator(kubernetes, "first"), operator(kubernetes, "second")
    await first.acquire()

    await second.acquire()

    assert holder(kubernetes) == "second"
    assert LEASE_SECONDS <= now() <= LEASE_SECONDS + RENEW_SECONDS


async def test_a_second_takes_over_at_once_what_is_released(kubernetes: FakeKubernetes):
    first, second = operator(kubernetes, "first"), operator(kubernetes, "second")
    await first.acquire()
    await first.release()

    await second.acquire()

    assert (holder(kubernetes), first.is_leader, now()) == ("second", False, 0)


async def test_what_another_holds_is_not_released(kubernetes: FakeKubernetes):
    first, second = operator(kubernetes, "first"), operator(kubernetes, "second")
    await first.acquire()
    await second.acquire()

    await first.release()

    assert holder(kubernetes) == "second"


async def test_one_that_is_restarted_takes_its_own_lease_at_once(kubernetes: FakeKubernetes):
    await operator(kubernetes, "first").acquire()

    await operator(kubernetes, "first").acquire()

    assert now() == 0


async def test_of_two_that_take_over_one_works(kubernetes: FakeKubernetes):
    await operator(kubernetes, "gone").acquire()
    others = [operator(kubernetes, name) for name in ("second", "third")]
    waiting = [asyncio.ensure_future(other.acquire()) for other in others]

    await asyncio.sleep(LEASE_SECONDS + RENEW_SECONDS / 2)
    await settle()

    assert [task.done() for task in waiting].count(True) == 1
    for task in waiting:
        task.cancel()


@pytest.mark.parametrize("answer_seconds", [0.0, 0.9, 60.0])
async def test_one_stops_before_another_may_take_over(kubernetes: FakeKubernetes, answer_seconds: float):
    first = operator(SlowToFail(kubernetes, answer_seconds), "first")
    kubernetes.objections.clear()
    await operator(kubernetes, "first").acquire()

    with pytest.raises(LeadershipLostError):
        await first.keep()

    assert now() + STOP_SECONDS < LEASE_SECONDS


async def test_an_acquisition_that_is_answered_late_does_not_count(kubernetes: FakeKubernetes):
    first = operator(SlowToCreate(kubernetes, GIVE_UP_SECONDS + 1), "first")

    await first.acquire()

    assert now() > GIVE_UP_SECONDS + 1 + RENEW_SECONDS / 2


async def test_a_short_absence_of_the_api_server_is_outlived(kubernetes: FakeKubernetes):
    first = operator(kubernetes, "first")
    await first.acquire()
    keeping = asyncio.ensure_future(first.keep())
    kubernetes.objections["get leases"] = unreachable
    await asyncio.sleep(GIVE_UP_SECONDS - RENEW_SECONDS)
    kubernetes.objections.clear()

    await asyncio.sleep(10 * LEASE_SECONDS)

    assert not keeping.done()
    keeping.cancel()


async def test_one_stops_when_another_has_taken_over(kubernetes: FakeKubernetes):
    first = operator(kubernetes, "first")
    await first.acquire()
    lease = kubernetes.one(LEASES, "cairn", "cairn-system")
    kubernetes.add(LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "second"}})

    with pytest.raises(LeadershipLostError):
        await first.keep()


async def test_a_lease_that_somebody_deletes_is_made_again(kubernetes: FakeKubernetes):
    first = operator(kubernetes, "first")
    await first.acquire()
    keeping = asyncio.ensure_future(first.keep())
    kubernetes.remove(LEASES, "cairn-system", "cairn")

    await asyncio.sleep(2 * RENEW_SECONDS)

    assert (holder(kubernetes), keeping.done()) == ("first", False)
    keeping.cancel()


async def test_a_release_that_fails_is_no_error(kubernetes: FakeKubernetes):
    first = operator(kubernetes, "first")
    await first.acquire()
    kubernetes.objections["get leases"] = unreachable

    await first.release()

    assert not first.is_leader
