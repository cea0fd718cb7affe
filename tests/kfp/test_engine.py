"""How runs are executed: one behaviour each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from tests.kfp.backend.scripted import Deed
from tests.kfp.backend.state import Attempt, fnv1a
from tests.kfp.backend.store import Store
from tests.kfp.harness import backend, doubles, succeeds
from tests.kfp.pipelines import (
    Json,
    Pipeline,
    artifact_of,
    artifacts,
    constant,
    exit_task,
    output_of,
    parameters,
    task,
)


def failing(*tasks: str) -> Callable[[Attempt], Deed]:
    return lambda attempt: Deed(exit_code=1) if attempt.task.rpartition(".")[2] in tasks else succeeds(attempt)


def chain(*names: str) -> Json:
    """A pipeline of tasks that each depend on the one before."""
    pipeline = Pipeline()
    for before, name in zip([None, *names], names, strict=False):
        pipeline.task(name, pipeline.container(name), dependentTasks=[before] if before else [])
    return pipeline.spec


async def test_a_task_starts_when_those_it_depends_on_have_succeeded() -> None:
    async with backend() as server:
        outcome = await server.finish(chain("a", "b", "c"))

        assert outcome.state == "SUCCEEDED"
        assert [attempt.task for attempt in server.executor.started] == ["root.a", "root.b", "root.c"]


async def test_an_input_from_another_task_is_a_dependency() -> None:
    pipeline = Pipeline()
    pipeline.task(
        "a", pipeline.container("a", inputs=parameters(x="STRING")), inputs={"parameters": {"x": output_of("z", "x")}}
    )
    pipeline.task("z", pipeline.container("z", outputs=parameters(x="STRING")))

    async with backend() as server:
        await server.finish(pipeline.spec)

        assert [attempt.task for attempt in server.executor.started] == ["root.z", "root.a"]


async def test_a_chain_beside_a_failed_task_goes_on() -> None:
    pipeline = Pipeline()
    pipeline.task("boom", pipeline.container("boom"))
    pipeline.task("first", pipeline.container("first"))
    pipeline.task("second", pipeline.container("second"), dependentTasks=["first"])

    async with backend(failing("boom")) as server:
        outcome = await server.finish(pipeline.spec)

    assert outcome.state == "FAILED"
    assert outcome.tasks["second"] == "SUCCEEDED"


async def test_what_depends_on_what_was_left_out_is_left_out() -> None:
    async with backend(failing("a")) as server:
        outcome = await server.finish(chain("a", "b", "c"))

    assert outcome.tasks["c"] is None
    assert outcome.tasks["c-driver"] is None


def conditional(condition: str) -> Json:
    pipeline = Pipeline(n={"parameterType": "NUMBER_INTEGER"})
    component = pipeline.container("maybe", inputs=parameters(n="NUMBER_INTEGER"))
    given = {"parameters": {"n": {"componentInputParameter": "n"}}}
    pipeline.task("maybe", component, inputs=given, triggerPolicy={"condition": condition})
    pipeline.task("after", pipeline.container("after"), dependentTasks=["maybe"])
    return pipeline.spec


async def test_a_condition_that_holds_lets_its_task_run() -> None:
    async with backend() as server:
        outcome = await server.finish(conditional("int(inputs.parameter_values['n']) > 2"), n=3)

    assert (outcome.tasks["maybe"], outcome.tasks["after"]) == ("SUCCEEDED", "SUCCEEDED")


async def test_a_condition_that_does_not_hold_skips_its_task_and_leaves_out_what_follows() -> None:
    async with backend() as server:
        outcome = await server.finish(conditional("int(inputs.parameter_values['n']) > 2"), n=2)

    assert outcome.state == "SUCCEEDED"
    assert (outcome.tasks["maybe"], outcome.tasks["after"]) == ("SKIPPED", None)
    assert not server.executor.started


async def test_a_condition_that_cannot_be_evaluated_fails_the_driver() -> None:
    async with backend() as server:
        outcome = await server.finish(conditional("inputs.parameter_values['m'] == 2"), n=2)

    assert (outcome.tasks["maybe-driver"], outcome.tasks["maybe"]) == ("FAILED", None)


async def test_a_sub_dag_hands_its_inputs_in_and_its_outputs_out() -> None:
    pipeline = Pipeline()
    inner = pipeline.container(
        "inner", inputs=parameters(x="STRING"), outputs={**parameters(y="STRING"), **artifacts("d")}
    )
    dag = pipeline.dag(
        "group",
        {"inner": task("inner", inner, inputs={"parameters": {"x": {"componentInputParameter": "x"}}})},
        inputs=parameters(x="STRING"),
        outputs={
            "parameters": {"y": {"valueFromParameter": {"producerSubtask": "inner", "outputParameterKey": "y"}}},
            "artifacts": {"d": {"artifactSelectors": [{"producerSubtask": "inner", "outputArtifactKey": "d"}]}},
        },
    )
    pipeline.task("group", dag, inputs={"parameters": {"x": constant("q")}})
    last = pipeline.container("last", inputs={**parameters(y="STRING"), **artifacts("d")})
    given = {"parameters": {"y": output_of("group", "y")}, "artifacts": {"d": artifact_of("group", "d")}}
    pipeline.task("last", last, inputs=given)

    async with backend(doubles) as server:
        await server.finish(pipeline.spec)

        assert server.parameters_of("root.last") == {"y": "qq"}
        written = server.attempts_at("root.group.inner")[0].outputs.artifacts["d"][0].uri
        assert server.attempts_at("root.last")[0].inputs.artifacts["d"][0].uri == written


async def test_of_two_branches_the_output_of_the_one_that_ran_is_taken() -> None:
    pipeline = Pipeline()
    branches: Json = {}
    for name, condition in {"left": "false", "right": "true"}.items():
        component = pipeline.container(name, inputs=parameters(x="STRING"), outputs=parameters(y="STRING"))
        given = {"parameters": {"x": constant(name)}}
        branches[name] = task(name, component, inputs=given, triggerPolicy={"condition": condition})
    selectors = [{"producerSubtask": name, "outputParameterKey": "y"} for name in branches]
    dag = pipeline.dag(
        "if", branches, outputs={"parameters": {"y": {"valueFromOneof": {"parameterSelectors": selectors}}}}
    )
    pipeline.task("if", dag)
    last = pipeline.container("last", inputs=parameters(y="STRING"))
    pipeline.task("last", last, inputs={"parameters": {"y": output_of("if", "y")}})

    async with backend(doubles) as server:
        await server.finish(pipeline.spec)

        assert server.parameters_of("root.last") == {"y": "rightright"}


def with_exit_task() -> Json:
    pipeline = Pipeline()
    inner = pipeline.dag("exit-handler-1", {"work": task("work", pipeline.container("work"))})
    pipeline.task("exit-handler-1", inner)
    clean = pipeline.container("clean", inputs=parameters(status="TASK_FINAL_STATUS"))
    given = {"parameters": {"status": {"taskFinalStatus": {"producerTask": "exit-handler-1"}}}}
    pipeline.spec["root"]["dag"]["tasks"]["clean"] = exit_task("clean", clean, "exit-handler-1", inputs=given)
    return pipeline.spec


async def test_an_exit_task_runs_after_a_failure_and_is_told_of_it() -> None:
    async with backend(failing("work")) as server:
        outcome = await server.finish(with_exit_task())

        assert (outcome.state, outcome.tasks["clean"]) == ("FAILED", "SUCCEEDED")
        status = server.executor.started[-1].inputs.parameters["status"]
        assert (status["state"], status["pipelineTaskName"]) == ("FAILED", "exit-handler-1")


async def test_an_exit_task_runs_after_success_too() -> None:
    async with backend() as server:
        outcome = await server.finish(with_exit_task())

        assert (outcome.state, outcome.tasks["exit-handler-1.onExit"]) == ("SUCCEEDED", "SUCCEEDED")
        assert server.executor.started[-1].inputs.parameters["status"]["state"] == "COMPLETE"


async def test_a_run_ends_when_its_exit_task_has() -> None:
    slow = failing("work")
    async with backend(lambda one: Deed(takes=200) if one.task.endswith("clean") else slow(one)) as server:
        run_id = await server.submit(with_exit_task())
        server.clock.advance(150)
        before = (await server.run(run_id))["state"]
        server.clock.advance(150)
        after = (await server.run(run_id))["state"]

    assert (before, after) == ("RUNNING", "FAILED")


async def test_no_exit_task_begins_in_a_run_that_is_terminated() -> None:
    async with backend(lambda _: Deed(takes=math.inf)) as server:
        run_id = await server.submit(with_exit_task())
        server.clock.advance(60)
        await server.ask("POST", f"/apis/v2beta1/runs/{run_id}:terminate")
        server.clock.advance(60)

        assert server.outcome(await server.run(run_id)).state == "FAILED"
        assert [attempt.task for attempt in server.executor.started] == ["root.exit-handler-1.work"]


async def test_an_importer_hands_its_artifact_on() -> None:
    pipeline = Pipeline()
    pipeline.spec["components"]["comp-importer"] = {
        "executorLabel": "exec-importer",
        "outputDefinitions": artifacts("artifact"),
    }
    importer = {"artifactUri": {"constant": "s3://b/k"}, "typeSchema": {"schemaTitle": "system.Dataset"}}
    pipeline.spec["deploymentSpec"]["executors"]["exec-importer"] = {"importer": importer}
    pipeline.task("importer", "comp-importer")
    use = pipeline.container("use", inputs=artifacts("d"))
    pipeline.task("use", use, inputs={"artifacts": {"d": artifact_of("importer", "artifact")}})

    async with backend() as server:
        await server.finish(pipeline.spec)

        assert server.attempts_at("root.use")[0].inputs.artifacts["d"][0].uri == "s3://b/k"


def with_outputs() -> Json:
    pipeline = Pipeline()
    return pipeline.task(
        "make", pipeline.container("make", outputs={**parameters(n="NUMBER_INTEGER"), **artifacts("d")})
    ).spec


async def test_an_output_parameter_that_is_not_written_fails_its_task() -> None:
    async with backend(lambda _: Deed(artifacts=["d"])) as server:
        assert (await server.finish(with_outputs())).tasks["make"] == "FAILED"


async def test_an_output_parameter_of_another_type_fails_its_task() -> None:
    async with backend(lambda _: Deed(parameters={"n": "many"})) as server:
        assert (await server.finish(with_outputs())).tasks["make"] == "FAILED"


async def test_an_artifact_that_is_not_written_is_no_failure() -> None:
    async with backend(lambda _: Deed(parameters={"n": "1"})) as server:
        assert (await server.finish(with_outputs())).tasks["make"] == "SUCCEEDED"


async def test_outputs_lie_below_the_pipeline_root_by_pipeline_run_and_task() -> None:
    async with backend() as server:
        run_id = await server.submit(with_outputs())
        server.clock.advance(60)

        attempt = server.executor.started[0]
        uri = attempt.outputs.artifacts["d"][0].uri
        assert uri.startswith(f"s3://mlpipeline/v2/artifacts/sample/{run_id}/make/")
        assert attempt.log_uri == uri.removesuffix("/d") + "/executor-logs-0"


async def test_pods_and_nodes_are_named_as_argo_names_them() -> None:
    async with backend() as server:
        await server.finish(chain("a"))

        attempt = server.executor.started[0]
        number = fnv1a(f"{attempt.workflow}.root.a.executor")
        assert attempt.node_id == f"{attempt.workflow}-{number}"
        assert attempt.pod_name == f"{attempt.workflow}-system-container-impl-{number}"


async def test_a_retried_run_does_only_what_is_not_done() -> None:
    numbers: list[int] = []

    def script(attempt: Attempt) -> Deed:
        numbers.append(0)
        return Deed(exit_code=int(attempt.task == "root.b" and len(numbers) == 2))

    async with backend(script) as server:
        run_id = await server.submit(chain("a", "b", "c"))
        server.clock.advance(200)
        await server.ask("POST", f"/apis/v2beta1/runs/{run_id}:retry")
        server.clock.advance(200)

        assert server.outcome(await server.run(run_id)).state == "SUCCEEDED"
        assert [attempt.task for attempt in server.executor.started] == ["root.a", "root.b", "root.b", "root.c"]


async def test_a_run_that_has_not_failed_is_not_retried() -> None:
    async with backend() as server:
        run_id = await server.submit(chain("a"))
        server.clock.advance(200)

        status, body = await server.ask("POST", f"/apis/v2beta1/runs/{run_id}:retry")

    assert (status, body["code"]) == (500, 13)
    assert "Workflow must be Failed/Error to retry" in body["message"]


async def test_exit_tasks_of_a_retried_run_run_again() -> None:
    async with backend(failing("work")) as server:
        run_id = await server.submit(with_exit_task())
        server.clock.advance(200)
        await server.ask("POST", f"/apis/v2beta1/runs/{run_id}:retry")
        server.clock.advance(200)

        assert [one.task.rpartition(".")[2] for one in server.executor.started] == ["work", "clean"] * 2


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    async with backend(store=Store(tmp_path)) as server:
        run_id = await server.submit(chain("a", "b"))
        server.clock.advance(22)
        clock = server.clock

    async with backend(store=Store(tmp_path), clock=clock) as server:
        server.engine.resume()
        clock.advance(100)

        assert server.outcome(await server.run(run_id)).state == "SUCCEEDED"
        assert [attempt.task for attempt in server.executor.started] == ["root.a", "root.b"]


async def test_a_deleted_run_is_not_followed_any_more() -> None:
    async with backend() as server:
        run_id = await server.submit(chain("a", "b"))
        server.clock.advance(22)
        await server.ask("DELETE", f"/apis/v2beta1/runs/{run_id}")
        server.clock.advance(100)

        assert [attempt.task for attempt in server.executor.started] == ["root.a"]
        assert not server.store.runs


async def test_references_of_the_platform_part_are_resolved() -> None:
    pipeline = Pipeline(chosen={"parameterType": "STRING"})
    pipeline.task("a", pipeline.container("a"))
    of_a = {"secretAsEnv": [{"secretNameParameter": {"componentInputParameter": "chosen"}, "keyToEnv": []}]}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-a": of_a}}}}}

    async with backend() as server:
        await server.finish({"pipeline_spec": pipeline.spec, "platform_spec": platform}, chosen="s3")

        assert server.executor.started[0].platform["secretAsEnv"][0]["secretNameParameter"] == "s3"
