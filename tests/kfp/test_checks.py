"""What is refused when a run is created, beside what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kfp.backend import checks
from tests.kfp.backend.errors import KfpError, ProtoError
from tests.kfp.pipelines import Json, Pipeline


def pipeline() -> Json:
    """A pipeline of two tasks."""
    found = Pipeline()
    found.task("a", found.container("a"))
    found.task("b", found.container("b"), dependentTasks=["a"])
    return found.spec


def without_name(spec: Json) -> None:
    spec["pipelineInfo"] = {}


def without_tasks(spec: Json) -> None:
    spec["root"] = {}


def of_an_unknown_component(spec: Json) -> None:
    del spec["components"]["comp-a"]


def of_an_unknown_executor(spec: Json) -> None:
    del spec["deploymentSpec"]["executors"]["exec-a"]


def on_an_unknown_task(spec: Json) -> None:
    spec["root"]["dag"]["tasks"]["b"]["dependentTasks"] = ["c"]


def in_a_circle(spec: Json) -> None:
    spec["root"]["dag"]["tasks"]["a"]["dependentTasks"] = ["b"]


def of_exit_tasks_alone(spec: Json) -> None:
    for task in spec["root"]["dag"]["tasks"].values():
        task["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
        task["dependentTasks"] = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_name, "name is empty"),
        (without_tasks, "root component is empty"),
        (of_an_unknown_component, 'component spec for "comp-a" not found'),
        (of_an_unknown_executor, 'executor with label "exec-a" not found'),
        (on_an_unknown_task, 'depends on unknown task "c"'),
        (in_a_circle, "tasks depend on each other"),
        (of_exit_tasks_alone, "must contain one or more non-exit tasks"),
    ],
)
def test_pipelines_that_are_none(change: Callable[[Json], None], reason: str) -> None:
    spec = pipeline()
    change(spec)

    with pytest.raises(KfpError, match=reason) as refused:
        checks.pipeline(spec)

    assert refused.value.code == 13


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("STRING", 1, "requires type string"),
        ("NUMBER_INTEGER", "1", "requires type double or integer"),
        ("BOOLEAN", "true", "requires type bool"),
        ("LIST", {}, "requires type list"),
        ("STRUCT", [], "requires type struct"),
    ],
)
def test_parameters_of_another_type(kind: str, value: Any, said: str) -> None:
    found = Pipeline(x={"parameterType": kind})
    found.task("a", found.container("a"))
    spec, _ = checks.pipeline(found.spec)

    with pytest.raises(KfpError, match=said):
        checks.parameters(spec, {"x": value})


def test_an_unknown_field_is_told_with_its_place() -> None:
    with pytest.raises(ProtoError, match=r'proto: \(line 2:3\): unknown field "what"'):
        checks.body('{"displayName": "a",\n  "what": 1}', checks.RUN_FIELDS)


def test_fields_may_be_in_either_case() -> None:
    assert checks.body('{"displayName": "a"}', checks.RUN_FIELDS) == {"display_name": "a"}


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_a_body_that_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(ProtoError):
        checks.body(text, checks.RUN_FIELDS)
