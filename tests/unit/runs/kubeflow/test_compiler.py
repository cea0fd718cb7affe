"""Runs as pipelines of Kubeflow Pipelines."""

from __future__ import annotations

from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.components.step_access import StepAccess
from cairn.runs.kubeflow.compiler import Pipeline, compile_run
from cairn.runs.kubeflow.prelude import SCRIPT
from cairn.runs.references import unescaped
from tests.unit.builders import inputs, outputs, pod_context, run_spec, run_steps, step

SHELL = {"command": ["train"]}


def compiled(spec: RunSpec, *, without: str = "", access: StepAccess | None = None, **context: Any) -> Pipeline:
    """Return the pipeline of a run, without the steps whose outputs are known."""
    steps = run_steps(spec)
    names = [name for name in steps.by_name if name not in without.split()]
    of = dict.fromkeys(names, access) if access is not None else {}
    return compile_run(
        pod_context(parameters=spec.parameter_values, **context), steps, names, {k: v for k, v in of.items() if v}
    )


def tasks(pipeline: Pipeline) -> JsonObject:
    return pipeline.spec["root"]["dag"]["tasks"]


def container(pipeline: Pipeline, name: str = "only") -> JsonObject:
    return pipeline.spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]


def variables(pipeline: Pipeline, name: str = "only") -> dict[str, str]:
    return {item["name"]: item["value"] for item in container(pipeline, name)["env"]}


def platform(pipeline: Pipeline, name: str = "only") -> JsonObject:
    return pipeline.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{name}"]


class TestContainer:
    def test_a_step_that_moves_nothing_runs_as_it_is(self):
        pipeline = compiled(run_spec(step("only", command=["echo"], args=["hi"])))

        found = container(pipeline)
        assert (found["image"], found["command"], found["args"]) == ("ghcr.io/acme/wine:1", ["echo"], ["hi"])
        assert pipeline.spec["components"]["comp-only"] == {"executorLabel": "exec-only"}

    def test_a_script_goes_to_its_interpreter_with_nothing_replaced(self):
        found = container(compiled(run_spec(step("only", script="print('$(params.x)')", interpreter=["python", "-c"]))))

        assert [unescaped(text) for text in (*found["command"], *found["args"])] == [
            "python",
            "-c",
            "print('$(params.x)')",
        ]

    def test_what_it_reads_and_writes_is_put_into_place_around_it(self):
        spec = run_spec(
            step("load", outputs=outputs("data"), **SHELL),
            step("train", inputs=inputs(data="load.data"), outputs=outputs("model", results=["rmse"]), **SHELL),
        )

        found = container(compiled(spec), "train")

        assert found["command"] == ["sh", "-c", SCRIPT, "cairn"]
        assert found["args"] == [
            *("1", "{{$.inputs.artifacts['data'].path}}", "/in/data"),
            *("3", "{{$.outputs.artifacts['model'].path}}", "/out/model"),
            *("{{$.outputs.artifacts['results.json'].path}}", "/cairn/results/results.json"),
            *("{{$.outputs.parameters['results'].output_file}}", "/cairn/results/results.json"),
            "train",
        ]

    def test_it_sees_the_same_variables_as_anywhere(self):
        spec = run_spec(
            step("only", env=[{"name": "MODE", "value": "$(params.alpha) of $(run.name)"}], **SHELL),
            parameters=[{"name": "alpha", "value": "0.5"}],
        )

        found = variables(compiled(spec))

        assert found["MODE"] == "0.5 of wine-1"
        assert found["CAIRN_PARAM_ALPHA"] == "0.5"
        assert (found["CAIRN_RUN"], found["CAIRN_STEP"]) == ("wine-1", "only")

    def test_a_variable_with_a_result_is_set_by_the_command_as_the_environment_has_no_placeholders(self):
        spec = run_spec(
            step("load", outputs=outputs(results=["rows"]), **SHELL),
            step("train", env=[{"name": "ROWS", "value": "n=$(steps.load.results.rows)"}], **SHELL),
        )

        pipeline = compiled(spec)

        assert container(pipeline, "train")["command"] == [
            "env",
            "ROWS=n={{$.inputs.parameters['load.rows']}}",
            "train",
        ]
        assert "ROWS" not in variables(pipeline, "train")

    def test_a_log_in_comes_from_its_secret(self):
        secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}}
        access = StepAccess([{"name": "MLFLOW_RUN_ID", "value": "1"}, secret])

        pipeline = compiled(run_spec(step("only", **SHELL)), access=access)

        assert variables(pipeline)["MLFLOW_RUN_ID"] == "1"
        assert platform(pipeline)["secretAsEnv"] == [
            {
                "secretNameParameter": {"runtimeValue": {"constant": "login"}},
                "keyToEnv": [{"secretKey": "token", "envVar": "TOKEN"}],
            }
        ]

    def test_its_resources_are_the_container_s(self):
        limits = {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "2"}
        spec = run_spec(step("only", resources={"requests": {"cpu": "500m"}, "limits": limits}, **SHELL))

        assert container(compiled(spec))["resources"] == {
            "resourceCpuLimit": "1",
            "resourceMemoryLimit": "1Gi",
            "resourceCpuRequest": "500m",
            "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "2"},
        }


class TestTask:
    def test_it_waits_for_what_it_needs(self):
        spec = run_spec(step("a", **SHELL), step("b", **SHELL), step("c", dependsOn=["b", "a"], **SHELL))

        assert tasks(compiled(spec))["c"]["dependentTasks"] == ["a", "b"]

    def test_parameters_of_the_run_are_those_of_the_pipeline(self):
        spec = run_spec(
            step("only", args=["--alpha=$(params.alpha)"], **SHELL), parameters=[{"name": "alpha", "value": "1"}]
        )

        pipeline = compiled(spec)

        assert pipeline.parameters == {"alpha": "1"}
        assert pipeline.spec["root"]["inputDefinitions"] == {"parameters": {"alpha": {"parameterType": "STRING"}}}
        assert tasks(pipeline)["only"]["inputs"] == {"parameters": {"alpha": {"componentInputParameter": "alpha"}}}
        assert container(pipeline)["args"] == ["--alpha={{$.inputs.parameters['alpha']}}"]

    def test_results_are_handed_on_one_by_one(self):
        spec = run_spec(
            step("load", outputs=outputs(results=["rows"]), **SHELL),
            step("b", args=["$(steps.load.results.rows)"], **SHELL),
        )

        pipeline = compiled(spec)

        assert pipeline.spec["components"]["comp-load"]["outputDefinitions"]["parameters"] == {
            "results": {"parameterType": "STRUCT"}
        }
        assert tasks(pipeline)["b"]["inputs"]["parameters"]["load.rows"] == {
            "taskOutputParameter": {"producerTask": "load", "outputParameterKey": "results"},
            "parameterExpressionSelector": 'parseJson(string_value)["rows"]',
        }

    def test_artifacts_have_the_types_of_kubeflow(self):
        model = {"name": "model", "path": "/out/model", "type": "Model"}

        pipeline = compiled(run_spec(step("only", outputs={"artifacts": [model]}, **SHELL)))

        definitions = pipeline.spec["components"]["comp-only"]["outputDefinitions"]["artifacts"]
        assert definitions["model"]["artifactType"] == {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}

    def test_a_uri_is_imported(self):
        pipeline = compiled(run_spec(step("only", inputs=inputs(raw="s3://data/raw.csv"), **SHELL)))

        importer = tasks(pipeline)["cairn-import-only-1"]
        assert importer["inputs"]["parameters"]["uri"] == {"runtimeValue": {"constant": "s3://data/raw.csv"}}
        assert tasks(pipeline)["only"]["dependentTasks"] == ["cairn-import-only-1"]

    def test_what_a_step_has_written_before_is_imported_and_its_results_are_known(self):
        spec = run_spec(
            step("load", outputs=outputs("data", results=["rows"]), **SHELL),
            step("train", inputs=inputs(data="load.data"), args=["$(steps.load.results.rows)"], **SHELL),
        )

        pipeline = compiled(spec, without="load", kept=[("load", "data")], results={("load", "rows"): "7"})

        assert tasks(pipeline).keys() == {"cairn-import-train-1", "train"}
        assert container(pipeline, "train")["args"][-1] == "7"

    def test_attempts_are_counted_by_kubeflow(self):
        spec = run_spec(step("only", retry={"limit": 2, "backoffSeconds": 1, "backoffFactor": 3}, **SHELL))

        policy = tasks(compiled(spec))["only"]["retryPolicy"]
        assert (policy["maxRetryCount"], policy["backoffDuration"], policy["backoffFactor"]) == (2, "1s", 3.0)

    def test_its_time_limit_is_its_pod_s(self):
        assert platform(compiled(run_spec(step("only", timeoutSeconds=60, **SHELL))))["activeDeadlineSeconds"] == "60"

    def test_each_item_has_a_task_and_their_artifacts_lie_together(self):
        spec = run_spec(
            step("each", forEach={"items": ["a", "b"]}, args=["$(item.value)"], outputs=outputs("part"), **SHELL),
            step("all", inputs=inputs(parts="each.part"), **SHELL),
        )

        pipeline = compiled(spec)

        assert container(pipeline, "each-1")["args"][-1] == "b"
        assert tasks(pipeline)["all"]["dependentTasks"] == ["each-0", "each-1"]
        assert [text for text in container(pipeline, "all")["args"] if text.startswith("/in")] == [
            "/in/parts/0",
            "/in/parts/1",
        ]

    def test_of_no_items_there_is_an_empty_directory(self):
        spec = run_spec(
            step("each", forEach={"items": []}, outputs=outputs("part"), **SHELL),
            step("all", inputs=inputs(parts="each.part"), **SHELL),
        )

        pipeline = compiled(spec, without="each")

        assert "inputDefinitions" not in pipeline.spec["components"]["comp-all"]
        assert platform(pipeline, "all")["emptyDirMounts"] == [{"volumeName": "cairn-0", "mountPath": "/in/parts"}]


class TestWhen:
    def test_a_condition_asks_for_what_it_sees(self):
        spec = run_spec(
            step("train", outputs=outputs(results=["rmse"]), **SHELL),
            step("tell", dependsOn=["train"], when="double(steps.train.results.rmse) < 0.5", **SHELL),
        )

        task = tasks(compiled(spec))["tell"]
        assert task["triggerPolicy"] == {"condition": 'double(inputs.parameter_values["train.rmse"]) < 0.5'}
        assert "train.rmse" in task["inputs"]["parameters"]

    def test_what_comes_after_a_step_that_may_be_left_out_goes_on(self):
        spec = run_spec(step("tune", when="false", **SHELL), step("report", dependsOn=["tune"], **SHELL))

        pipeline = compiled(spec)

        group = pipeline.spec["components"]["dag-cairn-when-tune"]["dag"]["tasks"]["tune"]
        assert group["triggerPolicy"] == {"condition": "false"}
        assert tasks(pipeline)["report"]["dependentTasks"] == ["cairn-when-tune"]

    def test_what_uses_its_outputs_is_left_out_with_it(self):
        spec = run_spec(
            step("tune", when="false", outputs=outputs("model"), **SHELL),
            step("use", inputs=inputs(m="tune.model"), **SHELL),
        )

        assert tasks(compiled(spec)).keys() == {"tune", "use"}

    def test_what_a_condition_asks_for_is_an_output_that_is_used(self):
        spec = run_spec(
            step("tune", when="false", outputs=outputs(results=["rmse"]), **SHELL),
            step("tell", dependsOn=["tune"], when="double(steps.tune.results.rmse) < 0.5", **SHELL),
        )

        found = tasks(compiled(spec))

        assert found.keys() == {"tune", "tell"}
        assert found["tell"]["inputs"]["parameters"]["tune.rmse"]["taskOutputParameter"]["producerTask"] == "tune"


class TestFinally:
    def test_it_runs_when_the_others_have_ended_however_they_have(self):
        spec = run_spec(step("train", **SHELL), **{"finally": [step("tell", when='run.state == "Failed"', **SHELL)]})

        pipeline = compiled(spec)

        last = tasks(pipeline)["cairn-finally"]
        assert (last["dependentTasks"], last["triggerPolicy"]) == (
            ["cairn-main"],
            {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        )
        told = pipeline.spec["components"]["dag-cairn-finally"]["dag"]["tasks"]["tell"]
        assert told["triggerPolicy"]["condition"].endswith(
            '["state"] == "COMPLETE" ? "Succeeded" : "Failed") == "Failed"'
        )

    def test_how_the_others_have_ended_is_told_as_the_sdk_has_it_told(self):
        spec = run_spec(step("train", **SHELL), **{"finally": [step("tell", **SHELL)]})

        definitions = compiled(spec).spec["components"]["dag-cairn-finally"]["inputDefinitions"]

        assert definitions == {
            "parameters": {"cairn.status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}
        }

    def test_where_the_others_have_all_succeeded_before_it_is_the_pipeline(self):
        spec = run_spec(step("train", **SHELL), **{"finally": [step("tell", when='run.state == "Failed"', **SHELL)]})

        pipeline = compiled(spec, without="train")

        assert tasks(pipeline)["tell"]["triggerPolicy"] == {"condition": '"Succeeded" == "Failed"'}
        assert pipeline.spec["components"].keys() == {"comp-tell"}
