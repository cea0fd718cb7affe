from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.clients.clock import Clock
from cairn.clients.kubernetes import PIPELINE_RUNS, STACK_COMPONENTS, STACKS
from cairn.stacks.reconciler import StackReconciler
from cairn.stacks.usability import Usability
from tests.unit.builders import BUCKET_SPEC, JOBS_SPEC, NOW, component_body, run_body, stack_body
from tests.unit.fake_kubernetes import World

DEFAULT: JsonObject = {"annotations": {"cairn.dev/default-stack": "true"}}
FINALIZER = "cairn.dev/finalizer"
KUBEFLOW_SPEC: JsonObject = {"orchestrator": {"kubeflow": {"endpoint": "http://ml-pipeline.kubeflow.svc:8888"}}}
AT_HOME: JsonObject = {
    "bucket": "wine",
    "endpoint": "http://s3.storage.svc:9000",
    "credentialsSecretRef": {"name": "s3-credentials"},
}


class StackWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.apply(STACK_COMPONENTS, component_body("jobs", JOBS_SPEC, ready=True))
        self.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=True))
        self.reconciler = StackReconciler(self.cluster, Usability(self.cluster.kubernetes, Clock()))

    async def reconcile(self, *names: str) -> None:
        for name in names:
            self.see()
            await self.reconciler.reconcile(("ml", name))

    def ready(self, name: str = "production") -> tuple[str, str]:
        condition = self.condition(STACKS, name, "Ready")
        return condition["status"], condition["reason"]

    def stack(self, name: str = "production") -> JsonObject:
        return self.kubernetes.one(STACKS, name)

    def run_on(self, stack: str, name: str = "wine-1", **status: str) -> None:
        body = run_body(name=name)
        self.apply(PIPELINE_RUNS, {**body, "status": {"stack": {"name": stack, "digest": "x"}, **status}})


@pytest.fixture
def world() -> StackWorld:
    return StackWorld()


async def test_a_stack_is_ready_when_its_components_are(world: StackWorld):
    world.apply(STACKS, stack_body("production"))

    await world.reconcile("production")

    assert world.ready() == ("True", "ComponentsReady")
    status = world.stack()["status"]
    assert (status["orchestrator"], status["artifactStore"], status["observedGeneration"]) == ("kubernetes", "s3", 1)
    assert [item["name"] for item in status["components"]] == ["jobs", "bucket"]
    assert world.events() == [("Normal", "ComponentsReady")]


async def test_a_stack_follows_its_components(world: StackWorld):
    world.apply(STACKS, stack_body("production"))
    await world.reconcile("production")

    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=False))
    await world.reconcile("production")
    broken = world.ready()
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=True))
    await world.reconcile("production")

    assert (broken, world.ready()) == (("False", "ComponentsNotReady"), ("True", "ComponentsReady"))
    assert [kind for kind, _ in world.events()] == ["Normal", "Warning", "Normal"]


async def test_a_stack_whose_components_do_not_go_together_in_the_cluster_is_not_ready(world: StackWorld):
    world.apply(STACK_COMPONENTS, component_body("kubeflow", KUBEFLOW_SPEC, ready=True))
    world.apply(STACK_COMPONENTS, component_body("bucket", {"artifactStore": {"s3": AT_HOME}}, ready=True))
    world.apply(STACKS, stack_body("production", orchestrator="kubeflow"))

    await world.reconcile("production")

    assert world.ready() == ("False", "LauncherNotConfigured")


async def test_another_component_that_is_broken_is_an_event_of_its_own(world: StackWorld):
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=False))
    world.apply(STACKS, stack_body("production", orchestrator="missing"))
    await world.reconcile("production")

    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=True))
    await world.reconcile("production")

    assert world.events() == [("Warning", "ComponentsNotReady")] * 2


async def test_a_component_that_is_not_checked_yet_is_no_event(world: StackWorld):
    world.apply(STACK_COMPONENTS, component_body("new", BUCKET_SPEC))
    world.apply(STACKS, stack_body("production", store="new"))

    await world.reconcile("production")

    assert world.ready() == ("False", "ComponentsNotChecked")
    assert world.condition(STACKS, "production", "Reconciling")["reason"] == "ComponentsNotChecked"
    assert world.events() == []


async def test_a_component_that_gets_checked_beside_one_that_is_missing_is_no_event_of_its_own(world: StackWorld):
    world.apply(STACK_COMPONENTS, component_body("new", JOBS_SPEC))
    world.apply(STACKS, stack_body("production", orchestrator="new", store="missing"))
    await world.reconcile("production")

    world.apply(STACK_COMPONENTS, component_body("new", JOBS_SPEC, ready=True))
    await world.reconcile("production")

    assert world.ready() == ("False", "ComponentsNotReady")
    assert world.events() == [("Warning", "ComponentsNotReady")]


async def test_a_stack_is_written_only_when_something_has_changed(world: StackWorld):
    world.apply(STACKS, stack_body("production"))
    await world.reconcile("production")
    before = world.kubernetes.requests.copy()

    await world.reconcile("production")

    assert world.kubernetes.requests == before


async def test_a_spec_that_this_version_does_not_understand(world: StackWorld):
    body = stack_body("production")
    body["spec"]["colour"] = "green"
    world.apply(STACKS, body)

    await world.reconcile("production")

    assert world.ready() == ("False", "InvalidSpec")
    assert world.condition(STACKS, "production", "Stalled")["reason"] == "InvalidSpec"
    assert world.events() == [("Warning", "InvalidSpec")]


async def test_a_stack_that_is_gone_is_nothing_to_do(world: StackWorld):
    await world.reconcile("never-there")


async def test_active_runs_are_counted(world: StackWorld):
    world.apply(STACKS, stack_body("production"))
    world.run_on("production", "a")
    world.run_on("production", "b", completionTime=NOW)
    world.run_on("other", "c")

    await world.reconcile("production")

    assert world.stack()["status"]["activeRuns"] == 1


class TestTheDefault:
    async def test_the_only_one_is_it(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", **DEFAULT))

        await world.reconcile("production")

        condition = world.condition(STACKS, "production", "Default")
        assert (condition["status"], condition["reason"]) == ("True", "OnlyDefault")
        assert ("Normal", "OnlyDefault") in world.events()

    async def test_a_rival_is_told_once_by_each(self, world: StackWorld):
        world.apply(STACKS, stack_body("old", creationTimestamp="2026-01-01T00:00:00Z", **DEFAULT))
        await world.reconcile("old")
        world.apply(STACKS, stack_body("new", creationTimestamp="2026-01-02T00:00:00Z", **DEFAULT))

        for _ in range(2):
            await world.reconcile("old", "new")

        told = [reason for reason in world.events() if reason[1] != "ComponentsReady"]
        assert told == [("Normal", "OnlyDefault"), *[("Warning", "SeveralDefaults")] * 2]

    async def test_of_two_the_newest_is_it_and_both_say_so(self, world: StackWorld):
        world.apply(STACKS, stack_body("old", creationTimestamp="2026-01-01T00:00:00Z", **DEFAULT))
        world.apply(STACKS, stack_body("new", creationTimestamp="2026-01-02T00:00:00Z", **DEFAULT))

        await world.reconcile("old", "new")

        conditions = [world.condition(STACKS, name, "Default") for name in ("old", "new")]
        assert [(item["status"], item["reason"]) for item in conditions] == [
            ("False", "SeveralDefaults"),
            ("True", "SeveralDefaults"),
        ]
        assert conditions[0]["message"] == (
            "Several Stacks have the annotation cairn.dev/default-stack: new, old. The newest, new, is the default; take "
            "the annotation off the others."
        )

    async def test_one_that_no_longer_asks_says_nothing_of_it(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", **DEFAULT))
        await world.reconcile("production")
        status = world.stack()["status"]

        world.apply(STACKS, {**stack_body("production", annotations={}), "status": status})
        await world.reconcile("production")

        assert world.condition(STACKS, "production", "Default") is None


class TestDeletion:
    async def test_a_stack_gets_a_finalizer_first(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=["other"]))

        await world.reconcile("production")

        assert world.stack()["metadata"]["finalizers"] == ["other", FINALIZER]

    async def test_a_stack_that_no_run_uses_goes(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=[FINALIZER], deletionTimestamp=NOW))
        world.run_on("production", "done", completionTime=NOW)

        await world.reconcile("production")

        assert world.kubernetes.all(STACKS) == []

    async def test_a_stack_waits_for_its_runs(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=[FINALIZER], deletionTimestamp=NOW))
        world.run_on("production")

        await world.reconcile("production")

        condition = world.condition(STACKS, "production", "Ready")
        assert (condition["status"], condition["reason"]) == ("False", "Deleting")
        assert "wine-1" in condition["message"]

    async def test_a_stack_goes_when_its_last_run_has_ended(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=[FINALIZER], deletionTimestamp=NOW))
        world.run_on("production")
        await world.reconcile("production")

        world.run_on("production", completionTime=NOW)
        await world.reconcile("production")

        assert world.kubernetes.all(STACKS) == []

    async def test_a_stack_does_not_wait_for_a_run_that_vanished_unseen(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=[FINALIZER], deletionTimestamp=NOW))
        world.run_on("production")
        world.kubernetes.remove(PIPELINE_RUNS, "ml", "wine-1")

        await world.reconciler.reconcile(("ml", "production"))

        assert world.kubernetes.all(STACKS) == []

    async def test_a_stack_that_waits_looks_again(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=[FINALIZER], deletionTimestamp=NOW))
        world.run_on("production")

        assert await world.reconciler.reconcile(("ml", "production")) == 60

    async def test_another_s_finalizer_stays(self, world: StackWorld):
        world.apply(STACKS, stack_body("production", finalizers=["other", FINALIZER], deletionTimestamp=NOW))

        await world.reconcile("production")

        assert world.stack()["metadata"]["finalizers"] == ["other"]
