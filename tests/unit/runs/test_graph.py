from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.step import Step
from cairn.runs.graph import StepCycleError, dependencies_of, references_of, topological_order
from tests.unit.builders import inputs, outputs, step, template


@pytest.mark.parametrize(
    "waiting",
    [
        step("train", dependsOn=["load"]),
        step("train", inputs=inputs(data="load.dataset")),
        step("train", args=["--rows=$(steps.load.results.rows)"]),
        step("train", command=["sh", "-c", "echo $(steps.load.results.rows)"]),
        step("train", env=[{"name": "ROWS", "value": "$(steps.load.results.rows)"}]),
        step("train", podTemplate=template(env=[{"name": "ROWS", "value": "$(steps.load.results.rows)"}])),
    ],
    ids=["dependsOn", "artifact", "result in args", "result in command", "result in env", "result in podTemplate"],
)
def test_a_step_waits_for_what_it_names_and_for_what_it_uses(waiting: Step):
    assert dependencies_of(waiting) == {"load"}


@pytest.mark.parametrize(
    "free",
    [
        step("train", inputs=inputs(data="s3://bucket/wine.parquet")),
        step("train", args=["$$(steps.load.results.rows)"]),
        step("train", script="print('$(steps.load.results.rows)')"),
    ],
    ids=["uri", "escaped", "script"],
)
def test_a_step_does_not_wait_for_what_is_no_reference(free: Step):
    assert dependencies_of(free) == frozenset()


def test_references_are_told_with_the_field_that_they_are_in():
    found = references_of(step("train", command=["a", "$(params.x)"], env=[{"name": "Y", "value": "$(params.y)"}]))

    assert [(field, reference.text) for field, reference in found] == [
        ("command[1]", "params.x"),
        ("env[Y]", "params.y"),
    ]


def test_steps_that_need_nothing_keep_the_order_in_which_they_are_written():
    assert topological_order([step("b"), step("a"), step("c")]) == ("b", "a", "c")


def test_a_step_comes_after_those_it_needs():
    steps = [step("report", dependsOn=["train"]), step("train", dependsOn=["load"]), step("load")]

    assert topological_order(steps) == ("load", "train", "report")


@given(st.data())
def test_a_run_that_is_written_in_an_order_that_works_keeps_it(data: st.DataObject):
    names = [f"s{index}" for index in range(data.draw(st.integers(1, 8)))]
    steps = [
        step(name, dependsOn=data.draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else [])
        for index, name in enumerate(names)
    ]

    assert topological_order(steps) == tuple(names)


def test_a_cycle_is_told_step_by_step():
    steps = [step("a", dependsOn=["c"]), step("b", dependsOn=["a"]), step("c", dependsOn=["b"]), step("free")]

    with pytest.raises(StepCycleError) as error:
        topological_order(steps)

    assert sorted(set(error.value.steps)) == ["a", "b", "c"]
    assert error.value.steps[0] == error.value.steps[-1]


def test_a_step_that_waits_for_itself_is_a_cycle():
    with pytest.raises(StepCycleError, match="a -> a"):
        topological_order([step("a", inputs=inputs(x="a.model"), outputs=outputs("model"))])
