"""Runs that are cancelled, and what they leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, ApiError, ConflictError
from tests.unit.builders import run_body, run_spec, step
from tests.unit.runs.run_world import PRODUCTION, RunWorld

FIRST, POD = "wine-1-only-1", "wine-1-only-1-x7k2p"
STOP_POD = "merge pods"


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


def spec(only: JsonObject | None = None, **fields: Any) -> RunSpec:
    return run_spec(step("only", **only or {}), **PRODUCTION, **fields)


class TestGracefulCancel:
    async def test_the_kubelet_is_told_to_stop_the_pod_and_the_run_waits(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Graceful"))

        await world.reconcile()

        assert (world.stopped_pods(), world.jobs()) == ([POD], [FIRST])
        assert world.step() == ("Running", "Cancelled")
        assert world.succeeded() == ("Unknown", "Stopping")

    async def test_the_run_ends_with_the_pod(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Graceful"))
        await world.reconcile()
        world.kubelet_stops(FIRST)

        await world.reconcile()

        assert world.succeeded() == ("False", "Cancelled")
        assert (world.step(), world.pods()) == (("Cancelled", "Cancelled"), [POD])

    async def test_the_kubelet_is_told_once(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Graceful"))
        await world.reconcile()

        await world.reconcile_unseeing()
        await world.reconcile()

        assert world.kubernetes.requests[STOP_POD] == 1

    async def test_that_it_is_stopped_is_recorded_before_it_is(self, world: RunWorld):
        await world.under_way(spec())
        recorded: list[tuple[str, str | None]] = []
        world.kubernetes.objections[STOP_POD] = lambda _: recorded.append(world.step())
        world.run(spec(cancel="Graceful"))

        await world.reconcile()

        assert recorded == [("Running", "Cancelled")]

    async def test_nothing_is_stopped_by_who_does_not_know_the_newest_spec(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Graceful"))
        world.change_unseen(spec(cancel="Immediate"))

        with pytest.raises(ConflictError):
            await world.reconcile_unseeing()

        assert world.stopped_pods() == []

    async def test_a_pod_that_no_kubelet_has_goes_with_its_job(self, world: RunWorld):
        world.run(spec())
        await world.reconcile()
        world.put(world.pod(FIRST).unschedulable("no room"), on_node=False)
        world.run(spec(cancel="Graceful"))

        await world.reconcile()
        stopping = world.succeeded()
        await world.reconcile()

        assert (world.kubernetes.requests[STOP_POD], world.jobs()) == (0, [])
        assert (stopping, world.succeeded()) == (("Unknown", "Stopping"), ("False", "Cancelled"))

    async def test_a_pod_that_has_gone_by_itself_is_no_error(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Graceful"))
        world.kubernetes.remove(PODS, "ml", POD)

        await world.reconcile_unseeing()

        assert world.succeeded() == ("Unknown", "Stopping")

    async def test_a_step_that_is_about_to_be_retried_is_not(self, world: RunWorld):
        retry = {"limit": 1}
        await world.under_way(spec({"retry": retry}))
        world.put(world.pod(FIRST).ends("only", 1))
        await world.reconcile()
        world.run(spec({"retry": retry}, cancel="Graceful"))

        again = await world.reconcile()

        assert (world.succeeded(), again) == (("False", "Cancelled"), None)

    async def test_an_attempt_that_was_not_made_yet_is_not_made(self, world: RunWorld):
        await world.die_before_jobs(spec())
        world.run(spec(cancel="Graceful"))

        await world.reconcile()

        assert (world.jobs(), world.succeeded()) == ([], ("False", "Cancelled"))
        assert world.status["steps"][0]["attempts"] == 0

    async def test_a_step_of_a_local_run_whose_turn_has_not_come_does_not_get_it(self, world: RunWorld):
        steps = step("a"), step("b", dependsOn=["a"])
        await world.under_way(run_spec(*steps, stackRef={"name": "one-pod"}))
        world.run(run_spec(*steps, stackRef={"name": "one-pod"}, cancel="Graceful"))

        await world.reconcile()

        assert world.stopped_pods() == ["wine-1-a-1-x7k2p"]
        assert world.states() == {"a": "Running", "b": "Cancelled"}


class TestImmediateCancel:
    async def test_the_run_ends_at_once(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Immediate"))

        again = await world.reconcile()

        assert (world.succeeded(), again) == (("False", "Cancelled"), None)
        assert world.step() == ("Cancelled", "Cancelled")

    async def test_job_and_pod_are_deleted_and_the_pod_is_given_a_second(self, world: RunWorld):
        deleted: list[tuple[str, int | None]] = []
        for asked in ("delete jobs", "delete pods"):
            world.kubernetes.objections[asked] = lambda body: deleted.append((body["name"], body["gracePeriodSeconds"]))
        await world.under_way(spec())
        world.run(spec(cancel="Immediate"))

        await world.reconcile()

        assert deleted == [(FIRST, None), (POD, 1)]
        assert (world.jobs(), world.pods()) == ([], [])

    async def test_it_cuts_a_graceful_one_short(self, world: RunWorld):
        await world.under_way(spec())
        world.run(spec(cancel="Graceful"))
        await world.reconcile()
        world.run(spec(cancel="Immediate"))

        await world.reconcile()

        assert (world.jobs(), world.pods()) == ([], [])
        assert world.succeeded() == ("False", "Cancelled")


@pytest.mark.parametrize("cancel", ["Graceful", "Immediate"])
async def test_a_run_that_is_cancelled_before_its_start_ends_without_one(world: RunWorld, cancel: str):
    world.run(spec(cancel=cancel))

    assert await world.reconcile() is None

    assert (world.jobs(), world.succeeded()) == ([], ("False", "Cancelled"))
    assert world.step() == ("Cancelled", "Cancelled")


async def test_a_run_that_waits_for_its_stack_can_be_cancelled(world: RunWorld):
    waiting = {"stackRef": {"name": "later"}}
    world.run(run_spec(step("only"), **waiting))
    await world.reconcile()
    world.run(run_spec(step("only"), cancel="Graceful", **waiting))

    await world.reconcile()

    assert world.succeeded() == ("False", "Cancelled")


async def test_a_run_that_has_ended_is_not_cancelled_any_more(world: RunWorld):
    await world.under_way(spec())
    world.put(world.pod(FIRST).ends("only"))
    await world.reconcile()
    world.apply(PIPELINE_RUNS, run_body(spec(cancel="Immediate"), generation=2))

    await world.reconcile()

    assert world.succeeded() == ("True", "Completed")
    assert world.status["observedGeneration"] == 2
    assert {condition["observedGeneration"] for condition in world.status["conditions"]} == {2}
    assert (world.jobs(), world.pods()) == ([FIRST], [POD])


class TestLeftOver:
    async def test_a_live_job_of_a_finished_run_is_deleted(self, world: RunWorld):
        await world.under_way(spec())
        world.kubernetes.objections["delete jobs"] = lambda _: ApiError(500, "InternalError", "etcd is away")
        world.run(spec(cancel="Immediate"))
        with pytest.raises(ApiError):
            await world.reconcile()
        world.kubernetes.objections.clear()
        world.restart()

        await world.reconcile()

        assert (world.succeeded(), world.jobs()) == (("False", "Cancelled"), [])

    async def test_a_job_that_was_seen_only_after_the_run_s_end_is_deleted(self, world: RunWorld):
        world.run(spec())
        await world.reconcile()
        world.restart()
        world.cluster.jobs.remove(("ml", FIRST))
        world.run(spec(cancel="Graceful"))
        world.cluster.jobs.remove(("ml", FIRST))
        await world.reconcile_unseeing()

        await world.reconcile()

        assert (world.succeeded(), world.jobs()) == (("False", "Cancelled"), [])

    async def test_a_job_that_has_ended_is_kept(self, world: RunWorld):
        await world.under_way(spec())
        world.put(world.pod(FIRST).ends("only"))
        await world.reconcile()
        world.job_ends(FIRST, "Complete")

        await world.reconcile()

        assert world.jobs() == [FIRST]

    async def test_a_job_whose_pod_has_ended_is_kept_though_the_job_controller_has_not_seen_it(self, world: RunWorld):
        await world.under_way(spec())
        world.put(world.pod(FIRST).ends("only"))
        await world.reconcile()

        await world.reconcile()

        assert (world.succeeded(), world.jobs()) == (("True", "Completed"), [FIRST])

    async def test_another_run_s_job_is_kept(self, world: RunWorld):
        await world.under_way(spec())
        world.put(world.pod(FIRST).ends("only"))
        await world.reconcile()
        world.job_ends(FIRST, "Complete")
        other = world.kubernetes.one(JOBS, FIRST)
        owner = {**other["metadata"]["ownerReferences"][0], "uid": "uid-of-a-run-before"}
        metadata = {**other["metadata"], "name": "wine-1-old-1", "uid": "uid-of-old", "ownerReferences": [owner]}
        world.kubernetes.add(JOBS, {**other, "metadata": metadata, "status": {}})

        await world.reconcile()

        assert "wine-1-old-1" in world.jobs()
