from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.stack import StackSpec
from cairn.stacks.default_stack import default_stack, is_default
from cairn.stacks.resolution import Resolution, built_in_stack, resolve
from tests.unit.builders import (
    BUCKET_SPEC,
    DISK_SPEC,
    GPU_SPEC,
    JOBS_SPEC,
    LAPTOP_SPEC,
    MLFLOW_SPEC,
    component_body,
    stack_body,
)

COMPONENTS = {
    "jobs": component_body("jobs", JOBS_SPEC, ready=True),
    "laptop": component_body("laptop", LAPTOP_SPEC, ready=True),
    "bucket": component_body("bucket", BUCKET_SPEC, ready=True),
    "disk": component_body("disk", DISK_SPEC, ready=True),
    "gpu": component_body("gpu", GPU_SPEC, ready=True),
    "mlflow": component_body("mlflow", MLFLOW_SPEC, ready=True),
    "mlflow-away": component_body("mlflow-away", MLFLOW_SPEC, ready=False),
    "mlflow-new": component_body("mlflow-new", MLFLOW_SPEC),
    "broken": component_body("broken", BUCKET_SPEC, ready=False),
    "new": component_body("new", BUCKET_SPEC),
    "changed": component_body("changed", BUCKET_SPEC, ready=True, generation=2),
    "future": component_body("future", {"artifactStore": {"tape": {}}}, ready=True),
    "wrong": component_body("wrong", {"artifactStore": {"s3": {"colour": "green"}}}, ready=True),
}


def spec(orchestrator: str = "jobs", store: str = "bucket", **fields: Any) -> StackSpec:
    refs = {"orchestratorRef": {"name": orchestrator}, "artifactStoreRef": {"name": store}}
    return StackSpec.model_validate({**refs, **fields})


def resolved(stack: StackSpec) -> Resolution:
    return resolve("production", stack, COMPONENTS.get)


def test_a_stack_of_ready_components_can_be_used():
    resolution = resolved(spec(stepOperatorRefs=[{"name": "gpu"}]))

    assert (resolution.reason, resolution.message) == ("ComponentsReady", "All 3 components are ready.")
    assert resolution.stack is not None
    assert resolution.stack.orchestrator.name == "jobs"
    assert resolution.stack.artifact_store.name == "bucket"
    assert list(resolution.stack.step_operators) == ["gpu"]
    assert resolution.flavor_of("artifactStore") == "s3"


@pytest.mark.parametrize(
    ("store", "reason", "message"),
    [
        ("gone", "NotFound", "there is no StackComponent gone in this namespace; create it"),
        ("broken", "BucketNotFound", "There is no bucket ml-artifacts; create it."),
        ("new", "NotChecked", "it has not been checked yet"),
        ("changed", "NotChecked", "it has not been checked yet"),
        ("jobs", "WrongType", "it is of type orchestrator; name one of type artifactStore"),
        ("future", "UnknownFlavor", "this version of Cairn has no artifactStore of flavor tape; upgrade the operator"),
        ("wrong", "InvalidSpec", "its spec is not valid: bucket: Field required"),
    ],
)
def test_a_component_that_cannot_be_used_says_why(store: str, reason: str, message: str):
    resolution = resolved(spec(store=store))

    (status,) = [status for status in resolution.components if not status.ready]
    assert (status.type, status.name, status.reason, status.message) == ("artifactStore", store, reason, message)
    assert resolution.stack is None
    assert resolution.reason == ("ComponentsNotChecked" if reason == "NotChecked" else "ComponentsNotReady")
    assert resolution.message == f"artifactStore {store}: {message.removesuffix('.')}."


def test_a_stack_may_have_an_experiment_tracker():
    resolution = resolved(spec(experimentTrackerRef={"name": "mlflow"}))

    assert resolution.reason == "ComponentsReady"
    assert resolution.stack is not None
    assert resolution.stack.experiment_tracker is not None
    assert resolution.stack.experiment_tracker.name == "mlflow"
    assert resolution.flavor_of("experimentTracker") == "mlflow"


def test_runs_go_on_without_the_tracker_that_they_were_to_be_recorded_by():
    resolution = resolved(spec(experimentTrackerRef={"name": "mlflow-away"}))

    assert resolution.reason == "ExperimentTrackerNotReady"
    assert resolution.message.startswith("Runs go on without what is not ready, and are recorded later: ")
    assert resolution.stack is not None
    assert resolution.stack.experiment_tracker is not None


@pytest.mark.parametrize(
    ("name", "reason"), [("gone", "NotFound"), ("bucket", "WrongType"), ("mlflow-new", "NotChecked")]
)
def test_but_not_without_one_that_may_be_none(name: str, reason: str):
    resolution = resolved(spec(experimentTrackerRef={"name": name}))

    assert resolution.stack is None
    assert [status.reason for status in resolution.components if not status.ready] == [reason]


def test_every_component_that_is_not_ready_is_told():
    assert resolved(spec("gone", "broken")).message.startswith("orchestrator gone: there is no")
    assert "; artifactStore broken: There is no bucket" in resolved(spec("gone", "broken")).message


def test_components_that_do_not_fit_together_cannot_be_used():
    resolution = resolved(spec("jobs", "disk"))

    assert (resolution.stack, resolution.reason) == (None, "ComponentsIncompatible")
    assert resolution.message.startswith("orchestrator jobs runs steps on several nodes, but artifact store disk")


def test_the_same_configuration_has_the_same_digest():
    one, other, changed = (
        resolved(spec()).stack,
        resolved(spec()).stack,
        resolved(spec(env=[{"name": "A", "value": "1"}])).stack,
    )

    assert one is not None
    assert other is not None
    assert changed is not None
    assert one.digest == other.digest != changed.digest


def test_a_run_records_the_stack_s_components():
    stack = resolved(spec()).stack

    assert stack is not None
    assert [(item.type, item.name, item.flavor) for item in stack.to_status().components] == [
        ("orchestrator", "jobs", "kubernetes"),
        ("artifactStore", "bucket", "s3"),
    ]


def test_the_built_in_stack_is_local():
    stack = built_in_stack("ml")

    assert (stack.name, stack.built_in) == ("default", True)
    assert [(item.type, item.flavor) for item in stack.components] == [
        ("orchestrator", "local"),
        ("artifactStore", "local"),
    ]


class TestTheDefault:
    def marked(self, name: str, created: str = "2026-01-01T00:00:00Z", value: str = "true") -> JsonObject:
        return stack_body(name, creationTimestamp=created, annotations={"cairn.dev/default-stack": value})

    def test_is_the_stack_that_asks_to_be(self):
        assert default_stack([stack_body("a"), self.marked("b")]) == self.marked("b")

    def test_is_none_where_none_asks(self):
        assert default_stack([stack_body("a"), self.marked("b", value="false")]) is None

    def test_is_the_newest_of_several(self):
        old, new = self.marked("a"), self.marked("b", "2026-01-02T00:00:00Z")

        assert default_stack([new, old]) == default_stack([old, new]) == new

    def test_is_the_first_by_name_of_several_as_new(self):
        assert default_stack([self.marked("b"), self.marked("a")]) == self.marked("a")

    def test_is_asked_for_by_the_word_true(self):
        assert is_default(self.marked("a"))
        assert not is_default(self.marked("a", value="yes"))
        assert not is_default(stack_body("a"))
