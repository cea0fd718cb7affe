from __future__ import annotations

from dataclasses import replace

import pytest

from cairn.api.base import JsonObject
from cairn.api.pod_template import EnvVar
from cairn.components.step_access import StepAccess
from cairn.runs.pod import RESULTS_FILE, Attempt, build_pod, pod_settings
from tests.unit.builders import (
    inputs,
    kubernetes_stack,
    local_stack,
    outputs,
    pod_context,
    step,
    step_operator,
    template,
)
from tests.unit.runs.built_pods import LOAD, TRAIN, containers, everything, list_or_value, own, plan, pod_of, variables


class TestTheChain:
    def test_a_step_without_artifacts_is_one_plain_container(self):
        pod = pod_of(pod_context(), step("only"))

        assert list(containers(pod)) == ["only"]
        assert "volumes" not in pod["spec"]

    def test_a_step_with_results_only_is_one_plain_container_too(self):
        assert list(containers(pod_of(pod_context(), step("only", outputs=outputs(results=["rmse"]))))) == ["only"]

    def test_a_step_runs_between_fetch_and_publish(self):
        pod = pod_of(pod_context(kept=[("load", "dataset")]), TRAIN)

        assert list(containers(pod)) == ["cairn-fetch", "train", "cairn-publish"]
        assert [item["name"] for item in pod["spec"]["containers"]] == ["cairn-publish"]

    def test_fetch_is_there_for_inputs_and_publish_for_outputs(self):
        assert list(containers(pod_of(pod_context(), LOAD))) == ["load", "cairn-publish"]
        reader = step("report", inputs=inputs(model="train.model"))
        assert list(containers(pod_of(pod_context(kept=[("train", "model")]), reader))) == ["cairn-fetch", "report"]

    def test_steps_of_one_pod_run_one_after_another(self):
        assert list(containers(pod_of(pod_context(local_stack()), LOAD, TRAIN, step("report")))) == [
            "load",
            "cairn-publish-0",
            "train",
            "cairn-publish-1",
            "report",
        ]

    def test_results_of_a_step_that_shares_its_pod_are_published(self):
        pod = pod_of(pod_context(local_stack()), step("eval", outputs=outputs(results=["rmse"])), step("report"))

        publish = plan(containers(pod)["cairn-publish-0"])
        mount = own(pod, "eval")["volumeMounts"][0]
        assert publish["resultsPath"] == "/cairn/work/results/eval/results.json"
        assert (mount["mountPath"], mount["subPath"]) == ("/cairn/results", "results/eval")
        assert variables(own(pod, "eval"))["CAIRN_RESULTS"] == RESULTS_FILE


class TestTheStepsContainer:
    def test_its_command_is_the_user_s_with_references_replaced(self):
        train = step("only", command=["python", "train.py"], args=["--alpha=$(params.alpha)", "$(HOME)"])

        container = own(pod_of(pod_context(parameters={"alpha": "0.5"}), train))

        assert container["command"] == ["python", "train.py"]
        assert container["args"] == ["--alpha=0.5", "$(HOME)"]

    def test_without_a_command_the_image_s_entrypoint_runs(self):
        container = own(pod_of(pod_context(), step("only")))

        assert not {"command", "args"} & container.keys()

    def test_a_script_is_handed_over_as_it_is_written(self):
        script = "import os\nprint('$(params.alpha) $HOME $$ $(X)')\n"

        container = own(pod_of(pod_context(parameters={"alpha": "1"}), step("only", script=script)))

        assert container["command"] == ["python", "-c"]
        assert container["args"] == [script.replace("$", "$$")]

    def test_nothing_is_replaced_in_the_interpreter(self):
        shell = step("only", script="true", interpreter=["sh", "-c", "$(params.unknown)"])

        assert own(pod_of(pod_context(), shell))["command"] == ["sh", "-c", "$$(params.unknown)"]

    def test_it_knows_its_run_and_the_parameters(self):
        pod = build_pod(pod_context(parameters={"learning-rate": "$1"}), [Attempt(step("only"), 2)])

        assert variables(own(pod)) == {
            "PYTHONUNBUFFERED": "1",
            "HOME": "/tmp",  # noqa: S108
            "CAIRN_RUN": "wine-1",
            "CAIRN_RUN_UID": "uid-of-wine-1",
            "CAIRN_PIPELINE": "wine",
            "CAIRN_STEP": "only",
            "CAIRN_ATTEMPT": "2",
            "CAIRN_PARAM_LEARNING_RATE": "$$1",
        }

    @pytest.mark.parametrize(
        ("fields", "home"),
        [
            ({"env": [{"name": "HOME", "value": "/data"}]}, "/data"),
            ({"podTemplate": {"securityContext": {"runAsUser": 1000}}}, None),
            ({"podTemplate": {"containerSecurityContext": {"runAsUser": 1000}}}, None),
        ],
    )
    def test_its_home_is_its_own_where_it_says_so_or_names_its_user(self, fields: JsonObject, home: str | None):
        pod = pod_of(pod_context(), step("only", **fields))

        assert variables(own(pod)).get("HOME") == home

    def test_its_variables_come_after_cairn_s_so_that_they_can_use_them(self):
        mine = step("only", env=[{"name": "PREFIX", "value": "$(CAIRN_RUN)/x"}])

        names = list(variables(own(pod_of(pod_context(), mine))))

        assert names.index("CAIRN_RUN") < names.index("PREFIX")

    def test_a_variable_from_elsewhere_stays_as_it_is(self):
        source = {"secretKeyRef": {"name": "db", "key": "uri"}}
        mine = step("only", env=[{"name": "DB", "valueFrom": source}])

        assert {"name": "DB", "valueFrom": source} in own(pod_of(pod_context(), mine))["env"]

    def test_a_result_of_another_step_is_filled_in(self):
        report = step(
            "only", args=["$(steps.train.results.rmse)"], env=[{"name": "R", "value": "$(steps.train.results.rmse)"}]
        )

        container = own(pod_of(pod_context(results={("train", "rmse"): "0.7$"}), report))

        assert container["args"] == ["0.7$$"]
        assert variables(container)["R"] == "0.7$$"

    def test_its_termination_message_is_its_results_or_its_last_log_lines(self):
        plain = own(pod_of(pod_context(), step("only")))
        writes = own(pod_of(pod_context(), step("only", outputs=outputs(results=["rmse"]))))

        assert plain["terminationMessagePath"] == "/dev/termination-log"
        assert plain["terminationMessagePolicy"] == writes["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert writes["terminationMessagePath"] == variables(writes)["CAIRN_RESULTS"] == RESULTS_FILE

    def test_a_step_without_results_is_not_told_where_to_write_them(self):
        assert "CAIRN_RESULTS" not in variables(own(pod_of(pod_context(), step("only"))))


class TestSettings:
    EVERYTHING = template(
        labels={"team": "wine"},
        annotations={"note": "x"},
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        affinity={"nodeAffinity": {}},
        topologySpreadConstraints=[{"maxSkew": 1}],
        volumes=[{"name": "cache", "emptyDir": {}}],
        imagePullSecrets=[{"name": "ghcr"}],
        priorityClassName="high",
        runtimeClassName="gvisor",
        schedulerName="volcano",
        serviceAccountName="trainer",
        hostAliases=[{"ip": "10.0.0.1", "hostnames": ["db"]}],
    )

    def test_what_is_given_is_really_on_the_pod(self):
        pod = pod_of(pod_context(run_template=self.EVERYTHING), step("only"))

        given = self.EVERYTHING.to_json()
        assert pod["metadata"]["labels"]["team"] == "wine"
        assert pod["metadata"]["annotations"]["note"] == "x"
        for field in given.keys() - {"labels", "annotations"}:
            assert list_or_value(pod["spec"][field]) == list_or_value(given[field]), field

    def test_what_is_given_for_the_container_is_really_on_it(self):
        given = template(
            env=[{"name": "A", "value": "1"}],
            envFrom=[{"secretRef": {"name": "s"}}],
            volumeMounts=[{"name": "cache", "mountPath": "/cache"}],
            resources={"limits": {"memory": "1Gi"}},
            imagePullPolicy="Always",
        )

        container = own(pod_of(pod_context(run_template=given), step("only")))

        assert list(container["envFrom"]) == [{"secretRef": {"name": "s"}}]
        assert container["volumeMounts"] == [{"name": "cache", "mountPath": "/cache"}]
        assert container["resources"] == {"limits": {"memory": "1Gi"}}
        assert container["imagePullPolicy"] == "Always"
        assert variables(container)["A"] == "1"

    @pytest.mark.parametrize(
        ("levels", "winner"),
        [
            (["orchestrator"], "orchestrator"),
            (["orchestrator", "stack"], "stack"),
            (["stack", "run"], "run"),
            (["run", "operator"], "operator"),
            (["operator", "step"], "step"),
            (["step", "step's own env"], "step's own env"),
            (["orchestrator", "stack", "run", "operator", "step", "step's own env"], "step's own env"),
        ],
    )
    def test_the_most_specific_level_wins(self, levels: list[str], winner: str):
        def level(name: str) -> JsonObject | None:
            return {"env": [{"name": "LEVEL", "value": name}]} if name in levels else None

        stack = kubernetes_stack(
            orchestrator={"podTemplate": level("orchestrator")},
            pod_template=template(**(level("stack") or {})),
            operators=[step_operator("gpu", podTemplate=level("operator"))],
        )
        one = step(
            "only",
            stepOperatorRef={"name": "gpu"},
            podTemplate=level("step"),
            **(level("step's own env") or {}),
        )

        pod = pod_of(pod_context(stack, run_template=template(**(level("run") or {}))), one)

        assert variables(own(pod))["LEVEL"] == winner

    def test_a_stack_s_env_is_for_every_step(self):
        stack = kubernetes_stack(env=[EnvVar(name="REGION", value="$(run.name)-eu")])

        assert variables(own(pod_of(pod_context(stack), step("only"))))["REGION"] == "wine-1-eu"

    def test_a_step_operator_s_settings_are_for_the_steps_that_ask_for_it(self):
        stack = kubernetes_stack(operators=[step_operator("gpu", resources={"limits": {"nvidia.com/gpu": "1"}})])

        asks = own(pod_of(pod_context(stack), step("only", stepOperatorRef={"name": "gpu"})))
        does_not = own(pod_of(pod_context(stack), step("only")))

        assert asks["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
        assert "resources" not in does_not

    def test_cairn_s_labels_cannot_be_taken_over(self):
        pod = pod_of(pod_context(run_template=template(labels={"cairn.dev/run": "mine"})), step("only"))

        assert pod["metadata"]["labels"]["cairn.dev/run"] == "wine-1"

    def test_pods_are_shared_by_steps_whose_pods_have_the_same_settings(self):
        of_the_container = template(env=[{"name": "A", "value": "1"}], resources={"limits": {"cpu": "1"}})

        assert pod_settings(of_the_container) == pod_settings(template())
        assert pod_settings(template(nodeSelector={"disk": "ssd"})) != pod_settings(template())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_containers_names_are_unique_and_valid_labels(count: int):
    steps = [step(f"{'s' * 61}{index}", inputs=inputs(x="s3://b/k"), outputs=outputs("y")) for index in range(count)]

    names = [item["name"] for item in everything(pod_of(pod_context(local_stack()), *steps))]

    assert len(set(names)) == len(names) == 3 * count
    assert all(len(name) <= 63 for name in names)


def test_a_chain_keeps_its_order_for_every_step():
    steps = [step(f"s{index}", inputs=inputs(x="s3://b/k"), outputs=outputs("y")) for index in range(3)]

    names = list(containers(pod_of(pod_context(local_stack()), *steps)))

    assert names == [
        name for index in range(3) for name in (f"cairn-fetch-{index}", f"s{index}", f"cairn-publish-{index}")
    ]


class TestTracking:
    """What a step needs to record into the record of its attempt."""

    ACCESS = StepAccess(
        ({"name": "MLFLOW_RUN_ID", "value": "abc"},),
        ({"name": "ca", "secret": {"secretName": "authority"}},),
        ({"name": "ca", "mountPath": "/ca"},),
    )

    def test_its_container_has(self):
        context = replace(pod_context(), tracking={("load", 1): self.ACCESS})

        spec = build_pod(context, [Attempt(step("load"), 1)])["spec"]

        (container,) = spec["containers"]
        assert {"name": "MLFLOW_RUN_ID", "value": "abc"} in container["env"]
        assert container["volumeMounts"] == [{"name": "ca", "mountPath": "/ca"}]
        assert spec["volumes"] == [{"name": "ca", "secret": {"secretName": "authority"}}]

    def test_another_attempt_has_not(self):
        context = replace(pod_context(), tracking={("load", 1): self.ACCESS})

        (container,) = build_pod(context, [Attempt(step("load"), 2)])["spec"]["containers"]

        assert "MLFLOW_RUN_ID" not in {variable["name"] for variable in container["env"]}

    def test_steps_of_one_pod_share_the_volume(self):
        context = replace(pod_context(local_stack()), tracking={("load", 1): self.ACCESS, ("train", 1): self.ACCESS})

        spec = build_pod(context, [Attempt(step("load"), 1), Attempt(step("train"), 1)])["spec"]

        assert [volume["name"] for volume in spec["volumes"]] == ["ca"]

    def test_what_the_step_sets_itself_takes_precedence(self):
        own = step("load", env=[{"name": "MLFLOW_RUN_ID", "value": "own"}])
        context = replace(pod_context(), tracking={("load", 1): self.ACCESS})

        (container,) = build_pod(context, [Attempt(own, 1)])["spec"]["containers"]

        values = [variable["value"] for variable in container["env"] if variable["name"] == "MLFLOW_RUN_ID"]
        assert values == ["own"]
