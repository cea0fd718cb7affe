"""Runs are recorded by their stack's experiment tracker, and never wait for it for long."""

from __future__ import annotations

import asyncio

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.time import parse
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, STACKS
from cairn.runs import tracking
from cairn.runs.reconciler import RETRY_FOLLOW_UP_SECONDS
from cairn.runs.tracking_status import is_to_be_recorded
from tests.unit.builders import RUN, outputs, run_spec, stack_body, step
from tests.unit.fake_tracker import AWAY, REFUSED
from tests.unit.runs.run_world import PRODUCTION, RUN_KEY, WRITE_STATUS, RunWorld

TRACKED = {"stackRef": {"name": "tracked"}}
LOAD = run_spec(
    step("load", outputs=outputs(results=["rows"])), parameters=[{"name": "alpha", "value": "0.5"}], **TRACKED
)


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PATIENCE_SECONDS", 0.01)


def env_of(world: RunWorld, job: str) -> dict[str, str]:
    """Return the variables of a Job's step."""
    (container,) = world.kubernetes.one(JOBS, job)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def tracked(world: RunWorld) -> tuple[str, str]:
    condition = world.condition(PIPELINE_RUNS, RUN.name, "Tracked")
    return condition["status"], condition["reason"]


async def load_ends(world: RunWorld, code: int = 0) -> float | None:
    """Have the only step end, with a result where it succeeds."""
    message = '{"rows": 12}' if code == 0 else None
    world.put(world.pod("wine-1-load-1").ends("load", code, message=message))
    return await world.reconcile()


async def test_a_step_is_told_where_to_record(world: RunWorld):
    world.run(LOAD)
    await world.reconcile()

    attempt = next(record_id for record_id, held in world.tracker.held.items() if held.name == "load")
    assert env_of(world, "wine-1-load-1")["MLFLOW_RUN_ID"] == attempt


async def test_the_status_says_where_the_run_is_recorded(world: RunWorld):
    await world.under_way(LOAD)

    run = next(record_id for record_id, held in world.tracker.held.items() if held.name == "wine-1")
    assert world.status["tracking"] == {
        "experimentID": "experiment-0",
        "runID": run,
        "url": f"http://mlflow.ml:5000/#/experiments/experiment-0/runs/{run}",
    }
    assert tracked(world) == ("True", "Recording")


async def test_a_run_that_ends_is_recorded_with_what_it_has_found_out(world: RunWorld):
    await world.under_way(LOAD)

    await load_ends(world)

    run, attempt = world.tracker.named("wine-1"), world.tracker.named("load")
    assert (run.state, run.params, run.metrics["load.rows"]) == ("FINISHED", {"alpha": "0.5"}, 12)
    assert (attempt.state, attempt.metrics["rows"]) == ("FINISHED", 12)
    assert run.ended == round(parse(world.status["completionTime"]).timestamp() * 1000)
    assert tracked(world) == ("True", "Recorded")


async def test_it_costs_one_write_more(world: RunWorld):
    untracked = RunWorld()
    for one, spec in (
        (world, LOAD),
        (untracked, LOAD.model_copy(update={"stack_ref": run_spec(**PRODUCTION).stack_ref})),
    ):
        await one.under_way(spec)
        await load_ends(one)

    assert world.kubernetes.requests[WRITE_STATUS] == untracked.kubernetes.requests[WRITE_STATUS] + 1


async def test_each_attempt_has_a_record(world: RunWorld):
    await world.under_way(run_spec(step("load", retry={"limit": 1, "backoffSeconds": 0}), **TRACKED))
    await load_ends(world, code=3)
    await world.reconcile()

    first, second = world.tracker.named("load"), world.tracker.named("load (2)")
    assert (first.state, first.tags["cairn.exit_code"], second.state) == ("FAILED", "3", "RUNNING")
    assert env_of(world, "wine-1-load-2")["MLFLOW_RUN_ID"] != env_of(world, "wine-1-load-1")["MLFLOW_RUN_ID"]


async def test_experiments_are_named_as_the_pipeline_unless_another_one_is_asked_for(world: RunWorld):
    world.run(LOAD.model_copy(update={"experiment": "baseline"}))
    await world.reconcile()

    assert list(world.tracker.experiments) == ["baseline"]


@pytest.mark.parametrize("fields", [{**PRODUCTION}, {**TRACKED, "tracking": {"disabled": True}}])
async def test_what_is_not_to_be_recorded_is_not(world: RunWorld, fields: dict[str, object]):
    spec: RunSpec = run_spec(step("load"), **fields)
    await world.under_way(spec)
    await load_ends(world)

    assert (world.tracker.asked, "tracking" in world.status) == ([], False)
    assert not any(name.startswith("MLFLOW") for name in env_of(world, "wine-1-load-1"))
    assert not is_to_be_recorded(world.kubernetes.one(PIPELINE_RUNS, RUN.name))


class TestTrackerThatIsAway:
    async def test_does_not_hold_up_a_run(self, world: RunWorld):
        world.tracker.problem = AWAY
        await world.under_way(LOAD)
        await load_ends(world)

        assert world.succeeded() == ("True", "Completed")
        assert tracked(world) == ("Unknown", "Recording")
        world.reconciler.stop()

    async def test_leaves_steps_to_record_anew_in_the_experiment(self, world: RunWorld):
        world.tracker.problem = AWAY
        await world.under_way(LOAD)

        env = env_of(world, "wine-1-load-1")
        assert (env["MLFLOW_EXPERIMENT_NAME"], "MLFLOW_RUN_ID" in env) == ("wine", False)
        world.reconciler.stop()

    async def test_keeps_steps_waiting_no_longer_than_a_moment(self, world: RunWorld):
        world.tracker.answers.clear()
        await world.under_way(LOAD)

        assert world.states() == {"load": "Running"}
        world.reconciler.stop()

    async def test_is_told_of_what_it_has_missed_when_it_is_back(self, world: RunWorld):
        world.tracker.answers.clear()
        await world.under_way(LOAD)
        await load_ends(world)
        world.tracker.answers.set()
        await world.reconcile()
        await world.reconcile()

        assert world.tracker.named("wine-1").state == "FINISHED"
        assert tracked(world) == ("True", "Recorded")

    async def test_is_told_of_it_by_another_operator_too(self, world: RunWorld):
        world.tracker.answers.clear()
        await world.under_way(LOAD)
        await load_ends(world)
        world.reconciler.stop()
        world.tracker.answers.set()
        world.restart()
        await world.reconcile()
        await world.reconcile()

        assert world.tracker.named("load").state == "FINISHED"
        assert tracked(world) == ("True", "Recorded")


async def test_what_a_tracker_does_not_take_is_told(world: RunWorld):
    world.tracker.refused = {"load"}
    await world.under_way(LOAD)
    await world.reconcile()

    condition = world.condition(PIPELINE_RUNS, RUN.name, "Tracked")
    assert (condition["status"], condition["reason"]) == ("False", "RequestRefused")
    assert REFUSED.message in condition["message"]
    assert world.events() == [("Warning", "RequestRefused")]
    world.reconciler.stop()


async def test_a_run_whose_stack_has_no_tracker_any_more_is_recorded_when_it_has_one_again(world: RunWorld):
    await world.under_way(LOAD)
    world.restart()
    world.apply(STACKS, stack_body("tracked"))
    await load_ends(world)
    seconds, without = await world.reconcile(), tracked(world)
    world.apply(STACKS, stack_body("tracked", tracker="mlflow"))
    await world.reconcile()
    await world.reconcile()

    assert (seconds, without) == (RETRY_FOLLOW_UP_SECONDS, ("True", "Recording"))
    assert tracked(world) == ("True", "Recorded")


async def test_what_was_open_of_a_run_that_is_deleted_is_recorded_as_killed(world: RunWorld):
    await world.under_way(LOAD)

    world.cluster.runs.forget(world.kubernetes.one(PIPELINE_RUNS, RUN.name))
    await world.reconciler.reconcile(RUN_KEY)
    for _ in range(10):
        await asyncio.sleep(0)

    assert {held.state for held in world.tracker.held.values()} == {"KILLED"}
