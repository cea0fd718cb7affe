"""Models that steps have written become versions in the stack's model registry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.clients.kubernetes import PIPELINE_RUNS, STACK_COMPONENTS, STACKS
from cairn.components.base import StoreUnavailableError
from cairn.components.model_versions import ModelVersion
from cairn.runs import registered_run, tracking
from cairn.runs.reconciler import RETRY_FOLLOW_UP_SECONDS
from tests.unit.builders import RUN, component_body, run_body, run_spec, stack_body, step
from tests.unit.fake_tracker import AWAY, REFUSED
from tests.unit.runs.run_world import WRITE_STATUS, RunWorld

DIGEST = f"sha256:{'1' * 64}"
URI = "s3://ml-artifacts/ml/wine/wine-1/train/model"
KEY = "ml/wine/wine-1/train/model"


def training(**register: Any) -> RunSpec:
    """Return a run whose first step writes a model that is registered, and whose second goes on."""
    model = {"name": "model", "path": "/out/model", "type": "Model", "register": {"name": "wine", **register}}
    train = step("train", outputs={"artifacts": [model], "results": ["accuracy"]})
    return run_spec(train, step("report", dependsOn=["train"]), stackRef={"name": "registering"})


class ModelWorld(RunWorld):
    """A run on a stack with a model registry."""

    def __init__(self) -> None:
        super().__init__()
        registry = {"modelRegistry": {"mlflow": {"trackerRef": {"name": "mlflow"}}}}
        self.apply(STACK_COMPONENTS, component_body("models", registry, ready=True))
        stack = stack_body("registering", tracker="mlflow")
        stack["spec"]["modelRegistryRef"] = {"name": "models"}
        self.apply(STACKS, stack)

    @property
    def registry(self) -> Any:
        return self.tracker.registry

    async def train_ends(self, spec: RunSpec, accuracy: float = 0.9) -> None:
        """Have the first step end, having written a model."""
        self.run(spec)
        await self.reconcile()
        self.store.objects[KEY] = b"weights"
        report = {"artifacts": {"model": {"digest": DIGEST, "sizeBytes": 7}}}
        pod = self.pod("wine-1-train-1").runs("train")
        pod.ends("train", message=json.dumps({"accuracy": accuracy}))
        self.put(pod.ends("cairn-publish", message=json.dumps(report)))
        await self.reconcile()

    async def run_ends(self) -> None:
        """Have the second step end."""
        self.put(self.pod("wine-1-report-1").runs("report").ends("report"))
        await self.reconcile()

    async def annotate(self, **annotations: str) -> float | None:
        """Have somebody annotate the run."""
        body = self.kubernetes.one(PIPELINE_RUNS, RUN.name)
        body["metadata"]["annotations"] = {f"cairn.dev/{name}": value for name, value in annotations.items()}
        self.apply(PIPELINE_RUNS, body)
        return await self.reconcile()

    def registered(self) -> tuple[str, str]:
        condition = self.condition(PIPELINE_RUNS, RUN.name, "Registered")
        return condition["status"], condition["reason"]

    def registration(self) -> JsonObject:
        (found,) = self.status["registrations"]
        return found


@pytest.fixture
def world() -> ModelWorld:
    return ModelWorld()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(registered_run, "SHORTEST_PAUSE_SECONDS", 0.0)


async def test_a_model_is_registered_as_soon_as_its_step_has_succeeded(world: ModelWorld):
    tags = [{"name": "team", "value": "a"}]
    await world.train_ends(training(alias="champion", description="The first.", tags=tags))

    (version,) = world.registry.versions
    attempt = next(record_id for record_id, held in world.tracker.held.items() if held.name == "train")
    assert isinstance(version, ModelVersion)
    assert (version.model, version.uri, version.digest) == ("wine", URI, DIGEST)
    assert (version.record_id, version.description) == (attempt, "The first.")
    assert {"team": "a", "cairn.run": "wine-1", "cairn.step": "train"}.items() <= version.tags.items()
    assert world.registry.aliases == {"champion": "1"}
    assert world.registration() == {
        "step": "train",
        "artifact": "model",
        "model": "wine",
        "state": "Registered",
        "version": "1",
        "alias": "champion",
    }
    assert world.registered() == ("Unknown", "Registering")


async def test_the_run_s_end_tells_that_all_are_registered(world: ModelWorld):
    await world.train_ends(training())
    await world.run_ends()

    assert world.registered() == ("True", "Registered")
    assert ("Normal", "Registered") in world.events()
    assert world.registry.aliases == {}


async def test_a_run_that_registers_nothing_says_nothing_of_it(world: ModelWorld):
    await world.under_way(run_spec(step("only"), stackRef={"name": "registering"}))

    assert world.condition(PIPELINE_RUNS, RUN.name, "Registered") is None


async def test_another_operator_registers_nothing_twice(world: ModelWorld):
    await world.train_ends(training(alias="champion"))
    body = world.kubernetes.one(PIPELINE_RUNS, RUN.name)
    del body["status"]["registrations"]  # the operator died before it wrote that
    world.kubernetes.objects[PIPELINE_RUNS.plural, "ml", RUN.name] = body
    world.restart()
    await world.run_ends()

    assert world.tracker.asked.count("register wine") == 2

    assert len(world.registry.versions) == 1
    assert world.registered() == ("True", "Registered")


class TestWhen:
    @pytest.mark.parametrize(("accuracy", "versions"), [(0.95, 1), (0.85, 0)])
    async def test_a_model_is_registered_where_the_expression_is_true(
        self, world: ModelWorld, accuracy: float, versions: int
    ):
        await world.train_ends(training(when="double(results.accuracy) > 0.9"), accuracy)
        await world.run_ends()

        assert len(world.registry.versions) == versions
        assert world.registered() == (("True", "Registered") if versions else ("False", "NotRegistered"))

    async def test_one_that_cannot_be_evaluated_is_told(self, world: ModelWorld):
        await world.train_ends(training(when="int(results.accuracy) > 0"))

        assert world.registered() == ("False", "RegistrationFailed")
        assert "when cannot be evaluated" in world.registration()["message"]


class TestApproval:
    async def test_a_version_waits_with_the_alias_pending(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required"))
        await world.run_ends()

        assert world.registry.aliases == {"pending": "1"}
        assert world.registration()["state"] == "AwaitingApproval"
        assert world.registered() == ("Unknown", "AwaitingApproval")
        assert ("Normal", "AwaitingApproval") in world.events()

    async def test_an_approved_version_gets_its_alias(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required"))
        await world.run_ends()

        await world.annotate(approve="alice")

        assert world.registry.aliases == {"champion": "1"}
        assert world.registry.tags["1"]["cairn.approval"] == "Approved"
        assert world.registry.tags["1"]["cairn.approval.by"] == "alice"
        assert world.registered() == ("True", "Registered")
        assert world.registration()["message"] == "Approved by alice."

    async def test_a_refused_one_does_not(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required"))
        await world.run_ends()

        await world.annotate(refuse="bob", approve="alice")

        assert world.registry.aliases == {}
        assert world.registry.tags["1"]["cairn.approval.by"] == "bob"
        assert world.registered() == ("False", "ApprovalRefused")
        assert "alias" not in world.registration()

    async def test_the_time_for_it_may_be_up(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required", approvalTimeoutSeconds=60))
        await world.run_ends()

        world.clock.advance(60)
        await world.reconcile()

        assert world.registry.aliases == {}
        assert world.registry.tags["1"]["cairn.approval"] == "TimedOut"
        assert world.registered() == ("False", "ApprovalTimedOut")

    async def test_one_that_was_approved_before_need_not_be_approved_again(self, world: ModelWorld):
        spec = training(alias="champion", approval="Required")
        await world.train_ends(spec)
        await world.run_ends()
        await world.annotate(approve="alice")
        fields = {**spec.to_json(), "rerunOf": {"name": "wine-1", "from": "report"}}
        again = run_body(RunSpec.model_validate(fields), "wine-2", uid="uid-of-wine-2")

        await world.reconcile(world.apply(PIPELINE_RUNS, again))

        (one,) = world.kubernetes.one(PIPELINE_RUNS, "wine-2")["status"]["registrations"]
        assert (one["state"], one["message"]) == ("Registered", "Approved by alice before.")
        assert world.registry.aliases == {"champion": "1"}

    async def test_what_was_decided_is_told_where_the_registry_is_gone(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required"))
        await world.run_ends()
        stack = world.kubernetes.one(STACKS, "registering")
        del stack["spec"]["modelRegistryRef"]
        world.apply(STACKS, stack)

        await world.annotate(approve="alice")

        assert world.registered() == ("False", "ModelRegistryNotFound")
        message = world.condition(PIPELINE_RUNS, RUN.name, "Registered")["message"]
        assert message.endswith("What was decided is carried out as soon as it can be.")
        stack["spec"]["modelRegistryRef"] = {"name": "models"}
        world.apply(STACKS, stack)
        await world.reconcile()
        assert world.registry.aliases == {"champion": "1"}

    async def test_the_time_for_it_is_up_without_a_registry_too(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required", approvalTimeoutSeconds=60))
        await world.run_ends()
        world.kubernetes.remove(STACKS, "ml", "registering")
        world.clock.advance(60)

        await world.reconcile()

        assert world.registered() == ("False", "ApprovalTimedOut")
        assert "keeps the alias pending" in world.registration()["message"]

    async def test_it_does_not_wait_for_ever_when_its_run_is_deleted(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required"))
        await world.run_ends()
        world.kubernetes.remove(PIPELINE_RUNS, "ml", RUN.name)

        await world.reconcile()

        assert world.registry.aliases == {}
        assert world.registry.tags["1"]["cairn.approval"] == "RunDeleted"

    async def test_another_operator_knows_what_waits(self, world: ModelWorld):
        await world.train_ends(training(alias="champion", approval="Required"))
        await world.run_ends()
        world.restart()

        await world.annotate(approve="alice")

        assert world.registry.aliases == {"champion": "1"}
        assert len(world.registry.versions) == 1

    async def test_a_run_is_kept_while_one_waits(self, world: ModelWorld):
        spec = training(alias="champion", approval="Required").model_copy(update={"ttl_seconds_after_finished": 0})
        await world.train_ends(spec)
        await world.run_ends()
        assert world.runs() == ["wine-1"]

        await world.annotate(approve="alice")
        await world.reconcile()

        assert world.runs() == []


async def test_a_run_whose_models_wait_is_written_once(world: ModelWorld):
    await world.train_ends(training(alias="champion", approval="Required"))
    await world.run_ends()
    before = world.kubernetes.requests[WRITE_STATUS]

    for _ in range(3):
        await world.reconcile()

    assert world.kubernetes.requests[WRITE_STATUS] == before
    condition = world.condition(PIPELINE_RUNS, RUN.name, "Tracked")
    assert condition["reason"] == "Recorded"


async def test_an_approval_whose_time_is_up_is_not_looked_at_all_the_time(world: ModelWorld):
    await world.train_ends(training(alias="champion", approval="Required", approvalTimeoutSeconds=60))
    await world.run_ends()
    world.tracker.answers.clear()
    world.clock.advance(61)

    again = await world.reconcile()

    assert again == RETRY_FOLLOW_UP_SECONDS
    world.tracker.answers.set()


async def test_a_step_that_a_rerun_takes_over_is_registered_too(world: ModelWorld):
    await world.train_ends(training())
    await world.run_ends()
    fields = {**training(alias="champion").to_json(), "rerunOf": {"name": "wine-1", "from": "report"}}
    key = world.apply(PIPELINE_RUNS, run_body(RunSpec.model_validate(fields), "wine-2", uid="uid-of-wine-2"))

    await world.reconcile(key)

    (one,) = world.kubernetes.one(PIPELINE_RUNS, "wine-2")["status"]["registrations"]
    assert (one["state"], one["version"]) == ("Registered", "1")


class TestTrouble:
    async def test_a_registry_that_is_away_is_waited_for(self, world: ModelWorld):
        world.run(training(alias="champion"))
        await world.reconcile()
        world.tracker.answers.clear()
        await world.train_ends(training(alias="champion"))
        assert world.registration()["state"] == "Pending"

        world.tracker.answers.set()
        await world.run_ends()

        assert world.registered() == ("True", "Registered")

    async def test_what_it_refuses_is_told(self, world: ModelWorld):
        world.tracker.refused.add("wine")

        await world.train_ends(training())

        assert world.registered() == ("False", "RegistrationFailed")
        assert world.registration()["message"] == REFUSED.message

    async def test_a_model_that_is_not_there_any_more_is_told(self, world: ModelWorld):
        world.run(training())
        await world.reconcile()
        world.store.answers.clear()
        await world.train_ends(training())
        world.store.objects.clear()
        world.store.answers.set()

        await world.run_ends()

        assert world.registered() == ("False", "RegistrationFailed")
        assert f"nothing at {URI}" in world.registration()["message"]

    async def test_a_bucket_that_does_not_answer_is_waited_for(self, world: ModelWorld):
        world.store.refusal = StoreUnavailableError("EndpointUnreachable", "The bucket does not answer.")
        await world.train_ends(training())
        assert world.registered() == ("False", "EndpointUnreachable")

        world.store.refusal = None
        await world.run_ends()

        assert world.registered() == ("True", "Registered")

    async def test_a_decision_waits_for_no_other_model(self, world: ModelWorld, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(registered_run, "SHORTEST_PAUSE_SECONDS", 3600.0)
        train, report = training(alias="champion", approval="Required").steps
        report = report.model_copy(update={"outputs": train.outputs})
        spec = run_spec(train, report, stackRef={"name": "registering"})
        await world.train_ends(spec)
        world.store.refusal = StoreUnavailableError("EndpointUnreachable", "The bucket does not answer.")
        published = json.dumps({"artifacts": {"model": {"digest": DIGEST, "sizeBytes": 7}}})
        pod = world.pod("wine-1-report-1").runs("report").ends("report", message=json.dumps({"accuracy": 0.9}))
        world.put(pod.ends("cairn-publish", message=published))
        await world.reconcile()

        await world.annotate(approve="alice")

        states = {one["step"]: one["state"] for one in world.status["registrations"]}
        assert states == {"train": "Registered", "report": "Pending"}

    async def test_a_tracker_that_is_away_keeps_no_step_waiting(self, world: ModelWorld):
        world.tracker.problem = AWAY

        await world.train_ends(training())
        await world.run_ends()

        assert world.succeeded() == ("True", "Completed")

    async def test_a_run_whose_step_fails_registers_nothing(self, world: ModelWorld):
        await world.under_way(training())
        world.put(world.pod("wine-1-train-1").runs("train").ends("train", 3))
        await world.reconcile()

        assert world.registered() == ("False", "NotRegistered")
        assert world.registry.versions == []
