from __future__ import annotations

from cairn.api.stack import StackSpec
from cairn.components.usage import components_of, references, users_of
from tests.unit.builders import stack_body


def test_a_stack_s_references_are_told_with_their_type():
    body = stack_body("production")
    body["spec"]["stepOperatorRefs"] = [{"name": "gpu"}, {"name": "tpu"}]
    body["spec"]["experimentTrackerRef"] = {"name": "mlflow"}
    body["spec"]["modelRegistryRef"] = {"name": "models"}

    assert list(references(StackSpec.model_validate(body["spec"]))) == [
        ("orchestrator", "jobs"),
        ("artifactStore", "bucket"),
        ("experimentTracker", "mlflow"),
        ("modelRegistry", "models"),
        ("stepOperator", "gpu"),
        ("stepOperator", "tpu"),
    ]


def test_every_field_that_names_a_component_is_among_a_stack_s_references():
    fields = {name for name in StackSpec.model_fields if name.endswith(("_ref", "_refs"))}

    assert fields == {
        *("orchestrator_ref", "artifact_store_ref", "experiment_tracker_ref", "model_registry_ref"),
        "step_operator_refs",
    }


def test_a_stack_that_makes_no_sense_uses_nothing():
    assert components_of({"metadata": {"name": "x"}, "spec": {"colour": "green"}}) == frozenset()
    assert components_of({"metadata": {"name": "x"}}) == frozenset()


def test_a_component_s_users_are_sorted():
    stacks = [stack_body("b"), stack_body("a"), stack_body("c", store="elsewhere")]

    assert users_of("bucket", stacks) == ("a", "b")
