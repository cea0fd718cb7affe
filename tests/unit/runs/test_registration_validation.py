"""What keeps artifacts from being registered is said before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.components.artifact_store.local.config import LocalConfig
from cairn.components.artifact_store.local.store import Local
from cairn.components.model_registry.mlflow.config import MLflowRegistryConfig
from cairn.components.model_registry.mlflow.registry import MLflowRegistry
from cairn.runs.registration_validation import decided_before_start
from cairn.runs.validation import problems_of
from cairn.stacks.resolution import UsableStack
from tests.unit.builders import kubernetes_stack, run_spec, step

AT = "spec.steps[train].outputs.artifacts[model].register"


def registering(when: str | None = None, for_each: Any = None, **register: Any) -> RunSpec:
    register = {"name": "wine", **register, **({"when": when} if when is not None else {})}
    fields = {"forEach": for_each} if for_each is not None else {}
    model = {"name": "model", "path": "/out/model", "register": register}
    outputs = {"artifacts": [model], "results": ["test-accuracy"]}
    return run_spec(
        step("load", outputs={"results": ["rows"]}), step("train", outputs=outputs, dependsOn=["load"], **fields)
    )


def with_registry(stack: UsableStack) -> UsableStack:
    config = MLflowRegistryConfig.model_validate({"trackerRef": {"name": "mlflow"}})
    return replace(stack, model_registry=MLflowRegistry("ml", "models", config))


def problems(spec: RunSpec, stack: UsableStack | None = None) -> list[tuple[str, str]]:
    found = problems_of(spec, stack or with_registry(kubernetes_stack()))
    return [(problem.field, problem.message) for problem in found]


def test_a_good_run_has_no_problem():
    assert problems(registering("double(results.test_accuracy) > 0.9 && steps.load.results.rows != '0'")) == []


def test_a_stack_without_a_registry_is_named():
    ((field, message),) = problems(registering(), kubernetes_stack())

    assert field == AT
    assert message.startswith("stack production has no model registry")


def test_a_store_that_nobody_else_can_read_is_named():
    local = Local("ml", "scratch", LocalConfig.model_validate({}))
    ((field, message),) = problems(registering(), with_registry(kubernetes_stack(store=local)))

    assert field == AT
    assert "artifact store scratch" in message


def test_instances_of_a_step_register_nothing():
    ((field, message),) = problems(registering(for_each={"items": ["a", "b"]}))

    assert field == AT
    assert message.startswith("a step with forEach registers nothing")


@pytest.mark.parametrize("alias", ["v1", "V12", "latest", "Latest", "pending"])
def test_an_alias_with_a_meaning_of_its_own_is_refused(alias: str):
    ((field, message),) = problems(registering(alias=alias))

    assert field == f"{AT}.alias"
    assert message.startswith(f"{alias} has a meaning of its own")


def test_a_tag_of_mlflow_s_own_is_refused():
    ((field, _),) = problems(registering(tags=[{"name": "mlflow.user", "value": "me"}]))

    assert field == f"{AT}.tags[mlflow.user]"


def test_so_many_models_are_too_many():
    models = [{"name": f"m-{number}", "path": f"/out/{number}", "register": {"name": "wine"}} for number in range(22)]
    steps = [step(f"s{number}", outputs={"artifacts": models}) for number in range(3)]

    assert problems(run_spec(*steps)) == [
        ("spec.steps", "66 artifacts are to be registered; a run may register 64: register them in another run")
    ]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("double(results.rmse) > 0.9", "it sees results.test_accuracy, steps.load.results.rows, steps.load.state"),
        ("results.test_accuracy > 0.9", "write double(…) for a number"),
        ("results.test_accuracy", "true or false"),
    ],
)
def test_an_expression_that_is_not_valid_is_told_with_what_it_sees(when: str, said: str):
    ((field, message),) = problems(registering(when))

    assert field == f"{AT}.when"
    assert said in message


@pytest.mark.parametrize("name", [" ", ".", "..", " . "])
def test_a_model_has_a_name(name: str):
    ((field, message),) = problems(registering(name=name))

    assert field == f"{AT}.name"
    assert "name the model" in message


@pytest.mark.parametrize("name", ["../x", "a//b", "./a", "/a", "."])
def test_a_tag_is_not_named_like_a_path_that_could_be_shorter(name: str):
    ((field, message),) = problems(registering(tags=[{"name": name, "value": "1"}]))

    assert field == f"{AT}.tags[{name}]"
    assert "leave / and . out" in message


@pytest.mark.parametrize("annotation", ["approve", "refuse"])
def test_nobody_decides_before_there_is_a_model(annotation: str):
    body = {"metadata": {"annotations": {f"cairn.dev/{annotation}": "alice"}}}

    problem = decided_before_start(body, registering(alias="champion", approval="Required"))

    assert problem is not None
    assert "create the run without it" in problem.message


def test_annotations_are_nobody_s_concern_where_nothing_waits_for_approval():
    body = {"metadata": {"annotations": {"cairn.dev/approve": "alice"}}}

    assert decided_before_start(body, registering(alias="champion")) is None
