from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import PIPELINE_RUNS, PIPELINES, ForbiddenError
from cairn.pipelines.reconciler import PipelineReconciler
from tests.unit.builders import NOW, pipeline_body, step
from tests.unit.clock import ManualClock
from tests.unit.fake_kubernetes import World

ON_CHANGE = {"runPolicy": "OnChange"}
KEY = ("ml", "wine")


class PipelineWorld(World):
    """What happens to a Pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.restart()

    def restart(self) -> None:
        """Start another operator, which knows nothing but the cluster."""
        self.reconciler = PipelineReconciler(self.new_view(), ManualClock())

    def pipeline(self, *steps: Any, **spec: Any) -> None:
        self.apply(PIPELINES, pipeline_body(*steps, spec={**ON_CHANGE, **spec}))

    async def reconcile(self) -> float | None:
        self.see()
        return await self.reconciler.reconcile(KEY)

    def runs(self) -> list[str]:
        return [run["metadata"]["name"] for run in self.kubernetes.all(PIPELINE_RUNS)]

    @property
    def the_run(self) -> JsonObject:
        (run,) = self.kubernetes.all(PIPELINE_RUNS)
        return run

    def run_is(self, name: str, status: str, reason: str, message: str = "So it stands.") -> None:
        """Have a run stand so."""
        condition = {
            "type": "Succeeded",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": NOW,
            "observedGeneration": 1,
        }
        run = self.kubernetes.one(PIPELINE_RUNS, name)
        self.kubernetes.add(PIPELINE_RUNS, {**run, "status": {"conditions": [condition]}})

    @property
    def status(self) -> JsonObject:
        return self.kubernetes.one(PIPELINES, "wine").get("status") or {}

    def ready(self) -> tuple[str, str, str]:
        condition = self.condition(PIPELINES, "wine", "Ready")
        return condition["status"], condition["reason"], condition["message"]

    def last_run(self) -> tuple[str, str]:
        condition = self.condition(PIPELINES, "wine", "LastRunSucceeded")
        return condition["status"], condition["reason"]


@pytest.fixture
def world() -> PipelineWorld:
    return PipelineWorld()


async def test_a_valid_pipeline_is_ready(world: PipelineWorld):
    world.pipeline(runPolicy="Manual")

    await world.reconcile()

    assert world.ready() == ("True", "Valid", "Runs can be made from it.")
    assert world.status["observedGeneration"] == 1
    assert world.events() == [("Normal", "Valid")]


async def test_what_is_wrong_with_its_steps_is_said_where_it_is_written(world: PipelineWorld):
    world.pipeline(step("train", dependsOn=["load"]))

    await world.reconcile()

    status, reason, message = world.ready()
    assert (status, reason) == ("False", "InvalidSpec")
    assert message.startswith("spec.template.spec.steps[train].dependsOn: there is no step load")
    assert world.condition(PIPELINES, "wine", "Stalled")["message"] == message
    assert world.runs() == []
    assert world.events() == [("Warning", "InvalidSpec")]


async def test_what_only_a_stack_can_tell_is_left_to_the_runs(world: PipelineWorld):
    world.pipeline(step("train", stepOperatorRef={"name": "gpu"}), runPolicy="Manual")

    await world.reconcile()

    assert world.ready()[0] == "True"


async def test_with_manual_nothing_is_run(world: PipelineWorld):
    world.pipeline(runPolicy="Manual")

    await world.reconcile()

    assert world.runs() == []


async def test_a_new_pipeline_is_run(world: PipelineWorld):
    world.pipeline(parameters=[{"name": "alpha", "default": "0.5"}], ttlSecondsAfterFinished=60)

    await world.reconcile()

    run = world.the_run
    assert run["metadata"]["name"] == f"wine-1-{world.status['revision']}"
    assert run["spec"]["pipeline"] == "wine"
    assert run["spec"]["parameters"] == [{"name": "alpha", "value": "0.5"}]
    assert run["spec"]["ttlSecondsAfterFinished"] == 60
    assert world.status["lastRun"]["name"] == run["metadata"]["name"]


async def test_its_run_is_its_own_and_has_the_labels_of_the_template_but_none_of_its_own(world: PipelineWorld):
    template = {"metadata": {"labels": {"team": "ml"}}, "spec": {"steps": [step("only").to_json()]}}
    body = pipeline_body(spec={**ON_CHANGE, "template": template}, labels={"app.kubernetes.io/instance": "argo"})
    world.apply(PIPELINES, body)

    await world.reconcile()

    metadata = world.the_run["metadata"]
    assert metadata["ownerReferences"][0]["uid"] == world.kubernetes.one(PIPELINES, "wine")["metadata"]["uid"]
    assert metadata["labels"] == {
        "team": "ml",
        "app.kubernetes.io/managed-by": "cairn",
        "cairn.dev/pipeline": "wine",
        "cairn.dev/pipeline-revision": world.status["revision"],
    }


async def test_it_is_run_once(world: PipelineWorld):
    world.pipeline()

    await world.reconcile()
    await world.reconcile()
    world.restart()
    await world.reconcile()

    assert len(world.runs()) == 1


async def test_an_operator_that_died_before_it_recorded_the_run_does_not_run_it_again(world: PipelineWorld):
    world.pipeline()

    def die(_: JsonObject) -> None:
        raise InterruptedError

    world.kubernetes.objections["patch-status pipelines"] = die
    with pytest.raises(InterruptedError):
        await world.reconcile()
    world.kubernetes.objections.clear()
    world.restart()

    await world.reconcile()

    assert world.runs() == [world.status["lastRun"]["name"]]


async def test_a_version_is_run_once_though_something_else_changed_before_its_run_was_recorded(world: PipelineWorld):
    world.pipeline(step("train"))
    await world.reconcile()
    world.pipeline(step("train", image="ghcr.io/acme/wine:2"))

    def die(_: JsonObject) -> None:
        raise InterruptedError

    world.kubernetes.objections["patch-status pipelines"] = die
    with pytest.raises(InterruptedError):
        await world.reconcile()
    world.kubernetes.objections.clear()
    world.pipeline(step("train", image="ghcr.io/acme/wine:2"), description="Learns.")
    world.restart()

    await world.reconcile()

    assert [name[:7] for name in world.runs()] == ["wine-1-", "wine-2-"]
    assert world.status["lastRun"]["name"] == world.runs()[1]


async def test_a_run_that_the_api_server_refuses_is_told_and_tried_again(world: PipelineWorld):
    world.pipeline()
    world.kubernetes.objections["create pipelineruns"] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota")

    again = await world.reconcile()

    assert again is not None
    assert world.ready()[:2] == ("False", "RunRefused")
    assert world.condition(PIPELINES, "wine", "Stalled") is None
    world.kubernetes.objections.clear()
    await world.reconcile()
    assert world.ready()[0] == "True"
    assert world.events() == [("Warning", "RunRefused"), ("Normal", "RunStarted"), ("Normal", "Valid")]


async def test_a_run_that_is_gone_is_not_made_again(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()
    world.run_is(world.runs()[0], "True", "Completed")
    await world.reconcile()

    world.kubernetes.remove(PIPELINE_RUNS, "ml", world.runs()[0])
    world.restart()
    await world.reconcile()

    assert world.runs() == []
    assert world.last_run() == ("True", "Completed")


async def test_a_run_that_is_gone_before_it_has_ended_is_not_said_to_run(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()
    world.run_is(world.runs()[0], "Unknown", "Running")
    await world.reconcile()

    world.kubernetes.remove(PIPELINE_RUNS, "ml", world.runs()[0])
    await world.reconcile()

    assert world.last_run() == ("Unknown", "RunDeleted")
    assert world.events()[-1] == ("Normal", "RunDeleted")


async def test_a_change_of_a_step_starts_another_run(world: PipelineWorld):
    world.pipeline(step("train"))
    await world.reconcile()

    world.pipeline(step("train", image="ghcr.io/acme/wine:2"))
    await world.reconcile()

    assert len(world.runs()) == 2
    assert world.status["lastRun"]["name"].startswith("wine-2-")


async def test_a_change_that_is_taken_back_is_run_too(world: PipelineWorld):
    for image in ("wine:1", "wine:2", "wine:1"):
        world.pipeline(step("train", image=image))
        await world.reconcile()

    assert [name[:7] for name in world.runs()] == ["wine-1-", "wine-2-", "wine-3-"]


async def test_a_change_of_its_description_starts_nothing(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()

    world.pipeline(description="Learns.")
    await world.reconcile()

    assert len(world.runs()) == 1
    assert world.status["observedGeneration"] == 2


async def test_it_says_how_its_run_stands(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()

    assert world.last_run() == ("Unknown", "Pending")
    world.run_is(world.runs()[0], "Unknown", "Running")
    await world.reconcile()

    assert (world.last_run(), world.status["lastRun"]["reason"]) == (("Unknown", "Running"), "Running")
    world.run_is(world.runs()[0], "False", "StepFailed")
    await world.reconcile()

    assert world.last_run() == ("False", "StepFailed")
    assert world.ready()[0] == "True"


async def test_an_event_tells_how_each_run_ends(world: PipelineWorld):
    for image in ("wine:1", "wine:2"):
        world.pipeline(step("train", image=image))
        await world.reconcile()
        for status, reason in (("Unknown", "Pending"), ("Unknown", "Running"), ("False", "StepFailed")):
            world.run_is(world.runs()[-1], status, reason)
            await world.reconcile()

    ran = [("Normal", "RunStarted"), ("Warning", "StepFailed")]
    assert [event for event in world.events() if event[1] != "Valid"] == ran * 2


async def test_a_new_version_that_is_wrong_in_another_way_is_told(world: PipelineWorld):
    for needs in ("load", "clean"):
        world.pipeline(step("train", dependsOn=[needs]))
        for _ in range(2):
            await world.reconcile()

    assert world.events() == [("Warning", "InvalidSpec")] * 2


async def test_the_progress_of_its_run_costs_no_writes(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()
    world.run_is(world.runs()[0], "Unknown", "Running", "Steps under way: load.")
    await world.reconcile()
    world.kubernetes.requests.clear()

    world.run_is(world.runs()[0], "Unknown", "Running", "Steps under way: train.")
    await world.reconcile()

    assert not world.kubernetes.requests


async def test_a_restored_pipeline_without_status_takes_the_run_that_was_restored_with_it(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()
    run = world.the_run
    world.kubernetes.remove(PIPELINES, "ml", "wine")
    world.kubernetes.remove(PIPELINE_RUNS, "ml", run["metadata"]["name"])
    kept = {key: run["metadata"][key] for key in ("namespace", "name", "labels", "annotations")}
    world.kubernetes.add(PIPELINE_RUNS, {**run, "metadata": kept})
    world.pipeline(description="It has another generation now.")

    await world.reconcile()

    assert world.runs() == [run["metadata"]["name"]]
    assert world.status["lastRun"]["name"] == run["metadata"]["name"]


async def test_a_pipeline_that_was_deleted_and_made_again_waits_for_the_run_of_the_former_to_go(world: PipelineWorld):
    world.pipeline()
    await world.reconcile()
    world.kubernetes.remove(PIPELINES, "ml", "wine")
    world.pipeline()

    again = await world.reconcile()

    assert again is not None
    assert "lastRun" not in world.status
    world.kubernetes.remove(PIPELINE_RUNS, "ml", world.runs()[0])
    await world.reconcile()

    assert world.runs() == [world.status["lastRun"]["name"]]


async def test_one_that_is_being_deleted_starts_nothing(world: PipelineWorld):
    world.apply(PIPELINES, pipeline_body(spec=ON_CHANGE, deletionTimestamp=NOW))

    await world.reconcile()

    assert world.runs() == []
