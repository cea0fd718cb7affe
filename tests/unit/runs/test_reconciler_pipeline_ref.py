"""A run whose steps are written in a Pipeline."""

from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipeline import PipelineSpec
from cairn.clients.kubernetes import CONTROLLER_REVISIONS, PIPELINE_RUNS, PIPELINES, ForbiddenError
from cairn.runs.hold import RETRY_REFUSED_SECONDS
from cairn.runs.pipeline_runs import revision_of
from tests.unit.builders import LATER, NOW, RUN, pipeline_body, run_body, step
from tests.unit.runs.run_world import PRODUCTION, RUN_KEY, RunWorld


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


def has_pipeline(world: RunWorld, *steps: Any, **spec: Any) -> None:
    world.apply(PIPELINES, pipeline_body(*steps, spec=spec))


def has_run(world: RunWorld, name: str = RUN.name, **spec: Any) -> None:
    body = run_body(name=name)
    world.apply(PIPELINE_RUNS, {**body, "spec": {"pipelineRef": {"name": "wine"}, **PRODUCTION, **spec}})


def revisions(world: RunWorld) -> list[JsonObject]:
    return world.kubernetes.all(CONTROLLER_REVISIONS)


def message(world: RunWorld) -> str:
    return world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]


async def test_it_runs_the_steps_of_the_pipeline(world: RunWorld):
    has_pipeline(world, step("load"), step("train", dependsOn=["load"]))
    has_run(world)

    await world.reconcile()

    assert world.states() == {"load": "Queued", "train": "Pending"}
    assert world.jobs() == ["wine-1-load-1"]


async def test_its_pods_belong_to_the_pipeline(world: RunWorld):
    has_pipeline(world)
    has_run(world)

    await world.reconcile()

    (job,) = world.jobs()
    assert world.pod(job).body["metadata"]["labels"]["cairn.dev/pipeline"] == "wine"


async def test_it_waits_for_a_pipeline_that_is_not_there_yet(world: RunWorld):
    has_run(world)
    await world.reconcile()

    assert world.succeeded() == ("Unknown", "PipelineNotReady")
    assert message(world) == "There is no Pipeline ml/wine; create it, or start a run of another one."
    has_pipeline(world)
    await world.reconcile()

    assert world.jobs() == ["wine-1-only-1"]


async def test_it_can_be_cancelled_while_it_waits_for_the_pipeline(world: RunWorld):
    has_run(world, cancel="Graceful")

    await world.reconcile()

    assert world.succeeded() == ("False", "Cancelled")


async def test_a_pipeline_that_changes_does_not_change_it(world: RunWorld):
    has_pipeline(world, step("load"))
    has_run(world)
    await world.reconcile()

    has_pipeline(world, step("another"))
    world.restart()
    await world.reconcile()

    assert world.states() == {"load": "Queued"}


async def test_a_pipeline_that_goes_does_not_end_it(world: RunWorld):
    has_pipeline(world)
    has_run(world)
    await world.reconcile()

    world.kubernetes.remove(PIPELINES, "ml", "wine")
    world.restart()
    await world.reconcile()
    world.job_ends("wine-1-only-1", "Complete")
    await world.reconcile()

    assert world.succeeded() == ("True", "Completed")


async def test_what_it_does_is_kept_in_a_revision_that_goes_with_it(world: RunWorld):
    has_pipeline(world)
    has_run(world)

    await world.reconcile()

    (revision,) = revisions(world)
    owner = revision["metadata"]["ownerReferences"][0]
    run = world.kubernetes.one(PIPELINE_RUNS, RUN.name)
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("PipelineRun", run["metadata"]["uid"], True)
    assert revision["data"]["spec"] == pipeline_body()["spec"]
    assert revision["metadata"]["name"] == f"wine-1-{world.status['pipelineRevision']}"


async def test_a_pipeline_that_changes_after_an_operator_died_and_before_the_run_has_started_goes_as_it_is_then(
    world: RunWorld,
):
    has_pipeline(world, step("old"))
    has_run(world)

    def die(_: JsonObject) -> None:
        raise InterruptedError

    world.kubernetes.objections["patch-status pipelineruns"] = die
    with pytest.raises(InterruptedError):
        await world.reconcile()
    world.kubernetes.objections.clear()
    has_pipeline(world, step("new"))
    world.restart()

    await world.reconcile()

    assert world.states() == {"new": "Queued"}
    world.restart()
    await world.reconcile()
    assert world.states() == {"new": "Queued"}


async def test_an_operator_that_died_after_it_kept_the_revision_goes_on(world: RunWorld):
    has_pipeline(world)
    has_run(world)

    def die(_: JsonObject) -> None:
        raise InterruptedError

    world.kubernetes.objections["patch-status pipelineruns"] = die
    with pytest.raises(InterruptedError):
        await world.reconcile()
    world.kubernetes.objections.clear()
    world.restart()

    await world.reconcile()

    assert (world.states(), len(revisions(world))) == ({"only": "Queued"}, 1)


async def test_it_waits_while_another_object_has_the_name_of_its_revision(world: RunWorld):
    has_pipeline(world)
    name = f"wine-1-{revision_of(PipelineSpec.model_validate(pipeline_body()['spec']))}"
    world.kubernetes.add(CONTROLLER_REVISIONS, {"metadata": {"namespace": "ml", "name": name}})
    has_run(world)

    await world.reconcile()

    assert world.succeeded() == ("Unknown", "PipelineNotReady")
    assert message(world).startswith(f"ControllerRevision {name} is there already")


async def test_it_says_that_its_revision_is_gone(world: RunWorld):
    has_pipeline(world)
    has_run(world)
    await world.reconcile()

    world.kubernetes.remove(CONTROLLER_REVISIONS, "ml", revisions(world)[0]["metadata"]["name"])
    world.restart()
    await world.reconcile()

    assert world.succeeded() == ("Unknown", "PipelineNotReady")
    assert "is gone, which kept what this run does; delete the run" in message(world)
    assert world.states() == {"only": "Queued"}


async def test_a_restarted_operator_reads_the_revision_once(world: RunWorld):
    has_pipeline(world)
    has_run(world)
    await world.reconcile()
    world.restart()
    world.kubernetes.requests.clear()

    await world.reconcile()
    await world.reconcile()

    assert world.kubernetes.requests["get controllerrevisions"] == 1


async def test_a_parameter_of_another_type_is_refused(world: RunWorld):
    has_pipeline(world, parameters=[{"name": "rounds", "type": "Integer"}])
    has_run(world, parameters=[{"name": "rounds", "value": "many"}])

    await world.reconcile()

    assert world.succeeded() == ("False", "InvalidSpec")
    assert message(world) == 'spec.parameters[rounds]: must be a value of type Integer, such as "3"'


async def test_it_waits_while_its_pipeline_is_not_valid(world: RunWorld):
    has_pipeline(world, step("train", dependsOn=["load"]))
    has_run(world)
    await world.reconcile()

    assert world.succeeded() == ("Unknown", "PipelineNotReady")
    assert "mend it: spec.template.spec.steps[train].dependsOn: there is no step load" in message(world)
    has_pipeline(world, step("train"))
    await world.reconcile()

    assert world.states() == {"train": "Queued"}


async def test_while_it_waits_the_pipeline_may_change(world: RunWorld):
    has_pipeline(world, step("old"))
    has_run(world)
    world.kubernetes.objections["dry-run pods"] = lambda _: ForbiddenError(403, "Forbidden", "no ServiceAccount")
    await world.reconcile()
    assert world.succeeded() == ("Unknown", "PodsNotAdmitted")

    world.kubernetes.objections.clear()
    has_pipeline(world, step("new"))
    world.clock.advance(RETRY_REFUSED_SECONDS)
    await world.reconcile()

    assert world.states() == {"new": "Queued"}
    assert world.jobs() == ["wine-1-new-1"]


async def test_it_runs_the_pipeline_that_was_applied_before_it_though_no_watch_has_told_of_that(world: RunWorld):
    has_pipeline(world, step("old"))
    has_run(world)
    world.kubernetes.add(PIPELINES, pipeline_body(step("new")))

    await world.reconcile_unseeing()

    assert world.states() == {"new": "Queued"}


async def test_nothing_is_taken_over_from_one_that_was_cancelled_before_it_started(world: RunWorld):
    has_pipeline(world)
    has_run(world, "wine-0", cancel="Graceful")
    await world.reconcile(("ml", "wine-0"))
    has_run(world, rerunOf={"name": "wine-0"})

    await world.reconcile()

    assert world.states() == {"only": "Queued"}


async def test_it_takes_over_what_an_earlier_run_of_the_pipeline_has_done(world: RunWorld):
    has_pipeline(world, step("load"), step("train", dependsOn=["load"]))
    has_run(world, "wine-0")
    await world.reconcile(("ml", "wine-0"))
    earlier = world.kubernetes.one(PIPELINE_RUNS, "wine-0")
    steps = [{"name": "load", "state": "Succeeded", "attempts": 1}, {"name": "train", "state": "Failed", "attempts": 1}]
    ended = {**earlier["status"], "completionTime": LATER, "steps": steps}
    world.kubernetes.add(PIPELINE_RUNS, {**earlier, "status": ended})
    has_run(world, rerunOf={"name": "wine-0"})

    await world.reconcile()

    assert world.states() == {"load": "Succeeded", "train": "Queued"}


async def test_it_takes_nothing_over_from_a_run_that_never_started(world: RunWorld):
    has_pipeline(world)
    refused = run_body(name="wine-0")
    world.apply(
        PIPELINE_RUNS,
        {
            **refused,
            "spec": {"pipelineRef": {"name": "wine"}},
            "status": {"startTime": NOW, "completionTime": NOW, "conditions": []},
        },
    )
    has_run(world, rerunOf={"name": "wine-0"})

    await world.reconcile()

    assert world.states() == {"only": "Queued"}


async def test_it_is_recorded_in_the_experiment_of_its_pipeline(world: RunWorld):
    template = {"spec": {"experiment": "baseline", "steps": [step("only").to_json()]}}
    has_pipeline(world, template=template)
    has_run(world, stackRef={"name": "tracked"})

    await world.reconcile(RUN_KEY)

    assert world.status["experiment"] == "baseline"
