from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.base import FINALIZER, JsonObject
from cairn.clients.condition_events import Told
from cairn.clients.event_allowance import AT_ONCE
from cairn.clients.kubernetes import STACKS, ApiError, ConflictError
from cairn.clients.store import key_of
from tests.unit.builders import NOW, stack_body
from tests.unit.fake_kubernetes import World

PATCH = "patch-status stacks"
TEXTS = st.sampled_from(["", "a", "b", "~", "/", "~1", "0", "-"])
VALUES = st.recursive(
    st.integers(0, 2) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
STATUSES = st.dictionaries(TEXTS.filter(bool), VALUES, max_size=3)


@pytest.fixture
def world() -> World:
    return World()


def stack(world: World, **status: object) -> JsonObject:
    body = stack_body("production")
    key = world.apply(STACKS, {**body, "status": status} if status else body)
    known = world.cluster.stacks.get(key)
    assert known is not None
    return known


async def write(world: World, body: JsonObject, status: JsonObject, *, confirm: bool = False) -> JsonObject | None:
    return await world.cluster.write_status(STACKS, world.cluster.stacks, body, status, tell=(), confirm=confirm)


class TestStatus:
    async def test_the_first_status_is_written_whole(self, world: World):
        written = await write(world, stack(world), {"activeRuns": 1})

        assert written is not None
        assert world.kubernetes.one(STACKS, "production")["status"] == {"activeRuns": 1}
        assert world.cluster.stacks.get(key_of(written)) == written

    async def test_only_the_difference_goes_over_the_wire(self, world: World):
        sent: list[JsonObject] = []
        world.kubernetes.objections[PATCH] = lambda body: sent.extend(body["operations"])

        await write(world, stack(world, orchestrator="local", activeRuns=1), {"orchestrator": "local", "activeRuns": 2})

        assert [operation["path"] for operation in sent] == ["/metadata/resourceVersion", "/status/activeRuns"]

    @given(STATUSES, STATUSES)
    async def test_what_is_written_is_the_new_status_whatever_the_old_one_was(self, old: JsonObject, new: JsonObject):
        world = World()
        body = stack(world, **old)

        await write(world, body, new)

        assert world.kubernetes.one(STACKS, "production").get("status", {}) == new

    async def test_of_a_long_list_only_what_differs_goes_over_the_wire(self, world: World):
        sent: list[JsonObject] = []
        world.kubernetes.objections[PATCH] = lambda body: sent.extend(body["operations"])
        steps = [{"name": f"s{index}", "state": "Pending"} for index in range(1000)]
        changed = [*steps[:700], {**steps[700], "state": "Queued"}, *steps[701:]]

        await write(world, stack(world, steps=steps), {"steps": changed})

        assert [operation["path"] for operation in sent] == ["/metadata/resourceVersion", "/status/steps/700/state"]

    async def test_an_item_in_which_much_differs_is_one_operation(self, world: World):
        sent: list[JsonObject] = []
        world.kubernetes.objections[PATCH] = lambda body: sent.extend(body["operations"])
        new = {"name": "s0", "a": 1, "b": 2, "c": 3, "d": 4}

        await write(world, stack(world, steps=[{"name": "s0"}]), {"steps": [new]})

        assert sent[1:] == [{"op": "replace", "path": "/status/steps/0", "value": new}]

    async def test_the_same_status_is_not_written(self, world: World):
        body = stack(world, activeRuns=1)

        assert await write(world, body, {"activeRuns": 1}) is body
        assert world.kubernetes.requests[PATCH] == 0

    async def test_an_object_that_has_changed_since_it_was_read_is_not_overwritten(self, world: World):
        body = stack(world, activeRuns=1)
        world.kubernetes.add(STACKS, stack_body("production"))

        with pytest.raises(ConflictError):
            await write(world, body, {"activeRuns": 2})

    async def test_an_object_that_is_gone_is_forgotten(self, world: World):
        body = stack(world)
        world.kubernetes.remove(STACKS, "ml", "production")

        assert await write(world, body, {"activeRuns": 2}) is None
        assert len(world.cluster.stacks) == 0


class TestConfirm:
    async def test_whether_the_version_is_the_newest_is_asked_though_nothing_has_changed(self, world: World):
        sent: list[JsonObject] = []
        world.kubernetes.objections[PATCH] = lambda body: sent.extend(body["operations"])
        body = stack(world, activeRuns=1)
        version = body["metadata"]["resourceVersion"]

        written = await write(world, body, {"activeRuns": 1}, confirm=True)

        assert written is not None
        assert written["status"] == {"activeRuns": 1}
        assert sent == [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}]

    async def test_a_version_that_is_not_the_newest_is_a_conflict(self, world: World):
        body = stack(world, activeRuns=1)
        world.kubernetes.add(STACKS, stack_body("production"))

        with pytest.raises(ConflictError):
            await write(world, body, {"activeRuns": 1}, confirm=True)

    async def test_an_object_that_is_gone_is_forgotten(self, world: World):
        body = stack(world, activeRuns=1)
        world.kubernetes.remove(STACKS, "ml", "production")

        assert await write(world, body, {"activeRuns": 1}, confirm=True) is None
        assert len(world.cluster.stacks) == 0

    async def test_what_has_changed_is_written_as_well(self, world: World):
        await write(world, stack(world, activeRuns=1), {"activeRuns": 2}, confirm=True)

        assert world.kubernetes.one(STACKS, "production")["status"] == {"activeRuns": 2}


class TestHolding:
    async def test_others_finalizers_stay(self, world: World):
        world.apply(STACKS, stack_body("production", finalizers=["example.com/other"]))
        body = world.kubernetes.one(STACKS, "production")

        held = await world.cluster.hold(STACKS, world.cluster.stacks, body)
        assert held is not None
        assert held["metadata"]["finalizers"] == ["example.com/other", FINALIZER]

        await world.cluster.let_go(STACKS, world.cluster.stacks, held)
        assert world.kubernetes.one(STACKS, "production")["metadata"]["finalizers"] == ["example.com/other"]

    async def test_what_is_held_or_free_is_not_written_again(self, world: World):
        body = stack(world)
        await world.cluster.let_go(STACKS, world.cluster.stacks, body)
        held = await world.cluster.hold(STACKS, world.cluster.stacks, body)
        assert held is not None

        await world.cluster.hold(STACKS, world.cluster.stacks, held)

        assert world.kubernetes.requests["merge stacks"] == 1

    async def test_an_object_that_has_changed_is_left_alone(self, world: World):
        body = stack(world)
        world.kubernetes.add(STACKS, stack_body("production"))

        with pytest.raises(ConflictError):
            await world.cluster.hold(STACKS, world.cluster.stacks, body)


async def test_runs_jobs_and_pods_are_found_by_what_they_belong_to(world: World):
    run = {"metadata": {"namespace": "ml", "name": "wine-1"}, "status": {"stack": {"name": "production"}}}
    job = {"metadata": {"namespace": "ml", "name": "x", "labels": {"cairn.dev/run": "wine-1"}}}
    world.cluster.runs.put(run)
    world.cluster.jobs.put(job)
    world.cluster.pods.put(job)

    assert world.cluster.runs.indexed("ml", "production") == [run]
    assert world.cluster.jobs.indexed("ml", "wine-1") == world.cluster.pods.indexed("ml", "wine-1") == [job]


class TestEventsOfConditions:
    READY = (Told("Ready", "Resolve"),)

    def status(self, reason: str) -> JsonObject:
        ready = {"type": "Ready", "status": "True", "reason": reason, "message": "So it stands."}
        return {"conditions": [ready], "observedGeneration": 1}

    async def write(self, world: World, body: JsonObject, reason: str) -> JsonObject | None:
        stacks = world.cluster.stacks
        return await world.cluster.write_status(STACKS, stacks, body, self.status(reason), tell=self.READY)

    async def test_a_change_that_is_written_is_told(self, world: World):
        await self.write(world, stack(world), "Checked")

        assert world.events() == [("Normal", "Checked")]

    async def test_a_change_is_told_once(self, world: World):
        written = await self.write(world, stack(world), "Checked")
        assert written is not None

        await self.write(world, written, "Checked")

        assert world.events() == [("Normal", "Checked")]

    async def test_a_change_that_could_not_be_written_is_told_when_it_is(self, world: World):
        body = stack(world)
        world.kubernetes.objections[PATCH] = lambda _: ConflictError(409, "Conflict", "It has changed.")
        with pytest.raises(ConflictError):
            await self.write(world, body, "Checked")
        assert world.events() == []

        world.kubernetes.objections.clear()
        await self.write(world, body, "Checked")

        assert world.events() == [("Normal", "Checked")]

    async def test_of_an_object_that_is_gone_nothing_is_told(self, world: World):
        body = stack(world)
        world.kubernetes.objects.clear()

        assert await self.write(world, body, "Checked") is None
        assert world.events() == []


class TestEvents:
    async def record(self, world: World, body: JsonObject) -> None:
        await world.cluster.events.record(body, "Warning", "BucketNotFound", "Check", "x" * 2000)

    async def test_an_event_is_about_its_object_and_within_kubernetes_limits(self, world: World):
        await self.record(world, stack(world))

        (event,) = [body for place, body in world.kubernetes.objects.items() if place[0] == "events"]
        assert (event["type"], event["reason"], event["action"]) == ("Warning", "BucketNotFound", "Check")
        assert (event["regarding"]["kind"], event["regarding"]["name"]) == ("Stack", "production")
        assert event["reportingController"] == "cairn.dev/operator"
        assert len(event["note"]) == 1024
        assert len(event["metadata"]["name"]) <= 253

    async def test_an_object_with_the_longest_name_has_events_too(self, world: World):
        body = stack(world)
        await self.record(world, {**body, "metadata": {**body["metadata"], "name": "n" * 253}})

        assert all(len(place[2]) <= 253 for place in world.kubernetes.objects)

    async def test_an_object_that_flaps_does_not_fill_the_cluster(self, world: World):
        body = stack(world)
        for _ in range(100):
            await self.record(world, body)

        assert len(world.events()) == AT_ONCE

    async def test_an_event_that_cannot_be_written_holds_up_nothing(self, world: World):
        world.kubernetes.objections["create events"] = lambda _: ApiError(403, "Forbidden", NOW)

        await self.record(world, stack(world))
