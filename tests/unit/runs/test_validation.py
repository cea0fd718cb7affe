from __future__ import annotations

from typing import Any

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.pod_template import EnvVar
from cairn.runs.validation import environment_name, problems_of
from tests.unit.builders import inputs, kubernetes_stack, outputs, run_spec, s3_store, step, step_operator, template

LOAD = step("load", outputs=outputs("dataset", results=["rows"]))


def env(name: str, value: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value}]


def test_a_good_run_has_no_problem():
    spec = run_spec(
        LOAD,
        step(
            "train",
            inputs=inputs(data="load.dataset"),
            args=["$(params.alpha)", "$(steps.load.results.rows)", "$(HOME)"],
        ),
        step("gpu", stepOperatorRef={"name": "gpu"}),
        parameters=[{"name": "alpha", "value": "0.5"}],
        podTemplate=template(env=env("RUN", "$(run.name) $(params.alpha)")),
    )

    assert problems_of(spec, kubernetes_stack(operators=[step_operator("gpu")])) == ()


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (
            run_spec(parameters=[{"name": "learning-rate", "value": "1"}, {"name": "learning_rate", "value": "2"}]),
            "spec.parameters[learning_rate]",
            "CAIRN_PARAM_LEARNING_RATE, as learning-rate",
        ),
        (
            run_spec(step("a", dependsOn=["b"])),
            "spec.steps[a].dependsOn",
            "there is no step b; the run has no other step",
        ),
        (
            run_spec(step("a", inputs=inputs(x="b.model"))),
            "spec.steps[a].inputs.artifacts[x].from",
            "there is no step b; the run has no other step",
        ),
        (
            run_spec(LOAD, step("a", inputs=inputs(x="load.model"))),
            "spec.steps[a].inputs.artifacts[x].from",
            "step load has no output artifact model; it declares: dataset",
        ),
        (
            run_spec(step("b"), step("a", inputs=inputs(x="b.model"))),
            "spec.steps[a].inputs.artifacts[x].from",
            "it declares none",
        ),
        (run_spec(step("a", args=["", "$(params.x)"])), "spec.steps[a].args[1]", "the run has no parameter x"),
        (run_spec(step("a", command=["$(run.age)"])), "spec.steps[a].command[0]", "known are params.<name>"),
        (run_spec(step("a", args=["$(steps.b.results.x)"])), "spec.steps[a].args[0]", "there is no step b"),
        (
            run_spec(LOAD, step("a", args=["$(steps.load.results.cols)"])),
            "spec.steps[a].args[0]",
            "step load declares no result cols",
        ),
        (run_spec(step("a", env=env("X", "$(params.x)"))), "spec.steps[a].env[X]", "the run has no parameter x"),
        (run_spec(step("a", env=env("CAIRN_RUN", "x"))), "spec.steps[a].env[CAIRN_RUN]", "Cairn's own"),
        (
            run_spec(step("a", podTemplate=template(env=env("CAIRN_RUN", "x")))),
            "spec.steps[a].env[CAIRN_RUN]",
            "Cairn's own",
        ),
        (
            run_spec(step("a", env=[{"name": "X", "value": "x", "valueFrom": {"fieldRef": {}}}])),
            "spec.steps[a].env[X]",
            "has both value and valueFrom",
        ),
        (
            run_spec(step("a", stepOperatorRef={"name": "tpu"})),
            "spec.steps[a].stepOperatorRef",
            "stack production has no step operator tpu; it has: gpu",
        ),
        (
            run_spec(
                step(
                    "a",
                    outputs={"artifacts": [{"name": "x", "path": "/out/x"}, {"name": "y", "path": "/out/x/y"}]},
                )
            ),
            "spec.steps[a].outputs.artifacts[y]",
            "path /out/x/y is claimed twice, also by outputs.artifacts[x]",
        ),
        (
            run_spec(
                step(
                    "a",
                    outputs=outputs("x"),
                    podTemplate=template(volumeMounts=[{"name": "v", "mountPath": "/out/"}]),
                )
            ),
            "spec.steps[a].podTemplate.volumeMounts[v]",
            "/out holds the output x",
        ),
        (
            run_spec(step("a", dependsOn=["b"]), step("b", dependsOn=["a"])),
            "spec.steps",
            "these steps wait for each other: ",
        ),
        (
            run_spec(podTemplate=template(env=env("X", "$(params.x)"))),
            "spec.podTemplate.env[X]",
            "the run has no parameter x",
        ),
        (
            run_spec(LOAD, podTemplate=template(env=env("X", "$(steps.load.results.rows)"))),
            "spec.podTemplate.env[X]",
            "only a step's own env can use a result",
        ),
        (run_spec(podTemplate=template(env=env("CAIRN_RUN", "x"))), "spec.podTemplate.env[CAIRN_RUN]", "Cairn's own"),
    ],
)
def test_a_problem_names_its_field_and_what_to_do(spec: RunSpec, field: str, message: str):
    problems = problems_of(spec, kubernetes_stack(operators=[step_operator("gpu")]))

    assert [problem.field for problem in problems if message in problem.message] == [field]


def test_a_stack_s_environment_may_use_only_what_every_run_on_it_has():
    stack = kubernetes_stack(
        env=[EnvVar(name="RUN", value="$(run.name)"), EnvVar(name="ALPHA", value="$(params.alpha)")],
        orchestrator={"podTemplate": {"env": env("BETA", "$(params.beta)")}},
        pod_template=template(env=env("GAMMA", "$(params.gamma)")),
        operators=[step_operator("gpu", podTemplate={"env": env("DELTA", "$(params.delta)")})],
    )

    problems = problems_of(run_spec(step("a", stepOperatorRef={"name": "gpu"})), stack)

    assert [problem.field for problem in problems] == [
        "orchestrator kubernetes podTemplate.env[BETA]",
        "stack production.env[ALPHA]",
        "stack production podTemplate.env[GAMMA]",
        "step operator gpu podTemplate.env[DELTA]",
    ]


@pytest.mark.parametrize(
    ("fields", "fields_with_problems"),
    [
        ({"outputs": outputs("data")}, ["spec.steps[a].podTemplate.serviceAccountName"]),
        ({"outputs": outputs("data"), "podTemplate": {"serviceAccountName": "opener"}}, []),
        ({}, []),
    ],
)
def test_a_pod_that_moves_artifacts_runs_as_who_may_open_the_store(
    fields: dict[str, Any], fields_with_problems: list[str]
):
    store = s3_store(credentialsSecretRef=None, serviceAccountName="opener")
    stack = kubernetes_stack(store=store, pod_template=template(serviceAccountName="runner"))

    problems = problems_of(run_spec(step("a", **fields)), stack)

    assert [problem.field for problem in problems] == fields_with_problems


def test_every_problem_is_told_in_the_order_of_the_spec():
    spec = run_spec(step("b", args=["$(params.x)"]), step("a", dependsOn=["z"], args=["$(params.y)"]))

    assert [problem.field for problem in problems_of(spec, kubernetes_stack())] == [
        "spec.steps[b].args[0]",
        "spec.steps[a].dependsOn",
        "spec.steps[a].args[0]",
    ]


def test_a_problem_reads_as_field_and_message():
    (problem,) = problems_of(run_spec(step("a", dependsOn=["b"])), kubernetes_stack())

    assert str(problem) == "spec.steps[a].dependsOn: there is no step b; the run has no other step"


def test_a_parameter_s_variable_is_upper_case_with_underscores():
    assert environment_name("learning-rate") == "CAIRN_PARAM_LEARNING_RATE"
