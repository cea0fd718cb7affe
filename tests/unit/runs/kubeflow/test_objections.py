"""What of a run Kubeflow Pipelines cannot express."""

from __future__ import annotations

from typing import Any

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.runs.kubeflow.objections import objections
from tests.unit.builders import inputs, outputs, pod_context, run_spec, run_steps, step

SHELL = {"command": ["train"]}


def objected(spec: RunSpec) -> list[str]:
    """Return the fields that there are objections to."""
    return [problem.field for problem in objections(pod_context(parameters=spec.parameter_values), run_steps(spec))]


def mount(volume: str) -> dict[str, str]:
    """Return the mount of a volume."""
    return {"name": volume, "mountPath": "/mnt"}


class TestWhen:
    def test_at_the_end_it_is_told_how_the_run_has_ended_and_nothing_of_single_steps(self):
        train = step("train", outputs=outputs(results=["rmse"]), **SHELL)
        for when in ('steps.train.state == "Failed"', 'steps.train.results.rmse == "1"'):
            assert objected(run_spec(train, **{"finally": [step("tell", when=when, **SHELL)]})) == [
                "spec.finally[tell].when"
            ]
        assert objected(run_spec(train, **{"finally": [step("tell", when='run.state == "Failed"', **SHELL)]})) == []

    def test_it_is_not_told_the_results_of_all_instances(self):
        spec = run_spec(
            step("each", forEach={"items": ["a", "b"]}, outputs=outputs(results=["rmse"]), **SHELL),
            step("tell", dependsOn=["each"], when="size(steps.each.results.rmse) > 1", **SHELL),
        )

        assert objected(spec) == ["spec.steps[tell].when"]

    def test_it_is_not_told_whether_a_step_was_left_out(self):
        spec = run_spec(
            step("load", **SHELL),
            step("tune", dependsOn=["load"], when="false", **SHELL),
            step("tell", dependsOn=["tune"], when='steps.tune.state == "Skipped"', **SHELL),
            step("say", dependsOn=["load"], when='steps.load.state == "Succeeded"', **SHELL),
        )

        assert objected(spec) == ["spec.steps[tell].when"]


class TestLeftOut:
    def test_others_come_after_a_step_that_may_be_left_out_or_use_what_it_writes_but_not_both(self):
        tune = step("tune", when="false", outputs=outputs("model"), **SHELL)
        use = step("use", inputs=inputs(m="tune.model"), **SHELL)
        report = step("report", dependsOn=["tune"], **SHELL)

        assert objected(run_spec(tune, use)) == []
        assert objected(run_spec(tune, report)) == []
        assert objected(run_spec(tune, use, report)) == ["spec.steps[tune].when"]

    def test_what_its_condition_asks_for_a_step_uses(self):
        tune = step("tune", when="false", outputs=outputs(results=["rmse"]), **SHELL)
        tell = step("tell", dependsOn=["tune"], when='steps.tune.results.rmse == "1"', **SHELL)

        assert objected(run_spec(tune, tell)) == []

    def test_nothing_only_comes_after_what_is_left_out_with_it(self):
        spec = run_spec(
            step("tune", when="false", outputs=outputs("model"), **SHELL),
            step("use", inputs=inputs(m="tune.model"), **SHELL),
            step("report", dependsOn=["use"], **SHELL),
        )

        assert objected(spec) == ["spec.steps[use]"]


SECRET = {"name": "keys", "secret": {"secretName": "keys"}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "root"}, "spec.steps[root].name"),
        ({"name": "train-driver"}, "spec.steps[train-driver].name"),
        ({"command": None}, "spec.steps[only].command"),
        ({"command": ["train", "{{$.inputs}}"]}, "spec.steps[only].command[1]"),
        ({"args": ["{{$.inputs}}"]}, "spec.steps[only].args[0]"),
        ({"retry": {"limit": 1, "on": "Always"}}, "spec.steps[only].retry.on"),
        ({"retry": {"limit": 9, "backoffSeconds": 10}}, "spec.steps[only].retry.maxBackoffSeconds"),
        (
            {"resources": {"limits": {"nvidia.com/gpu": "1", "example.com/nic": "1"}}},
            "spec.steps[only].resources.limits",
        ),
        (
            {"resources": {"requests": {"ephemeral-storage": "1Gi"}}},
            "spec.steps[only].resources.requests[ephemeral-storage]",
        ),
        ({"podTemplate": {"priorityClassName": "high"}}, "spec.steps[only].podTemplate.priorityClassName"),
        ({"podTemplate": {"envFrom": [{"secretRef": {"name": "keys"}}]}}, "spec.steps[only].podTemplate.envFrom"),
        (
            {"podTemplate": {"automountServiceAccountToken": False}},
            "spec.steps[only].podTemplate.automountServiceAccountToken",
        ),
        (
            {"podTemplate": {"securityContext": {"fsGroup": 1}}},
            "spec.steps[only].podTemplate.securityContext.fsGroup",
        ),
        (
            {"podTemplate": {"volumes": [{"name": "host", "hostPath": {}}], "volumeMounts": [mount("host")]}},
            "spec.steps[only].podTemplate.volumeMounts[host]",
        ),
        (
            {"podTemplate": {"volumes": [SECRET], "volumeMounts": [{**mount("keys"), "subPath": "a"}]}},
            "spec.steps[only].podTemplate.volumeMounts[keys].subPath",
        ),
    ],
)
def test_what_is_refused_of_a_step(fields: dict[str, Any], field: str):
    written: dict[str, Any] = {"name": "only", **SHELL, **fields}

    assert field in objected(run_spec(step(**written)))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"failurePolicy": "StopOnFailure"}, "spec.failurePolicy"),
        ({"failurePolicy": "FailFast", "finally": [step("last", **SHELL)]}, "spec.failurePolicy"),
        ({"maxParallelSteps": 1}, "spec.maxParallelSteps"),
    ],
)
def test_what_is_refused_of_a_run(fields: dict[str, Any], field: str):
    assert objected(run_spec(step("only", **SHELL), **fields)) == [field]


def test_a_run_that_it_can_express_is_not_refused():
    spec = run_spec(
        step("train", outputs=outputs("model", results=["rmse"]), retry={"limit": 2}, timeoutSeconds=60, **SHELL),
        step("use", inputs=inputs(model="train.model"), when="params.alpha != '1'", forEach={"items": ["a"]}, **SHELL),
        parameters=[{"name": "alpha", "value": "2"}],
        failurePolicy="FailFast",
    )

    assert objected(spec) == []


def test_items_that_a_step_writes_are_not_known_in_time():
    spec = run_spec(
        step("split", outputs=outputs(results=["shards"]), **SHELL),
        step("each", forEach={"itemsFrom": "steps.split.results.shards"}, **SHELL),
    )

    assert objected(spec) == ["spec.steps[each].forEach.itemsFrom"]


def test_steps_of_finally_use_nothing_of_the_others():
    last = step("last", inputs=inputs(model="train.model"), **SHELL)

    assert objected(run_spec(step("train", outputs=outputs("model"), **SHELL), **{"finally": [last]})) == [
        "spec.finally[last]"
    ]


def test_all_steps_have_the_same_service_account():
    spec = run_spec(step("one", podTemplate={"serviceAccountName": "a"}, **SHELL), step("other", **SHELL))

    assert objected(spec) == ["spec.podTemplate.serviceAccountName"]
