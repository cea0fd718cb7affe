"""What the backend does with loops."""

from __future__ import annotations

import json

from tests.kfp.backend.scripted import Deed
from tests.kfp.backend.state import Attempt
from tests.kfp.harness import backend, doubles
from tests.kfp.pipelines import (
    Json,
    Pipeline,
    output_of,
    parameters,
    task,
)


def loop(items: Json, **fields: Json) -> Json:
    """A loop over a DAG with one task, and a task that collects what its turns have put out."""
    pipeline = Pipeline(many={"parameterType": "LIST", "isOptional": True})
    worker = pipeline.container("work", inputs=parameters(x="STRING"), outputs=parameters(y="STRING"))
    inner = {"work": task("work", worker, inputs={"parameters": {"x": {"componentInputParameter": "item"}}})}
    source = {"valueFromParameter": {"producerSubtask": "work", "outputParameterKey": "y"}}
    dag = pipeline.dag(
        "for-loop-1", inner, inputs=parameters(item="STRING", many="LIST"), outputs={"parameters": {"ys": source}}
    )
    pipeline.spec["components"][dag]["inputDefinitions"]["parameters"]["many"]["isOptional"] = True
    pipeline.task("for-loop-1", dag, parameterIterator={"itemInput": "item", "items": items}, **fields)
    collect = pipeline.container("collect", inputs=parameters(ys="LIST"))
    pipeline.task("collect", collect, inputs={"parameters": {"ys": output_of("for-loop-1", "ys")}})
    return pipeline.spec


async def test_a_loop_over_items_that_are_written_down_collects_its_outputs() -> None:
    async with backend(doubles) as server:
        outcome = await server.finish(loop({"raw": json.dumps(["a", "b"])}))

        assert outcome.state == "SUCCEEDED"
        assert server.parameters_of("root.collect") == {"ys": ["aa", "bb"]}


async def test_a_loop_over_a_parameter_has_a_turn_for_each_item() -> None:
    given = {"parameters": {"many": {"componentInputParameter": "many"}}}

    async with backend(doubles) as server:
        await server.finish(loop({"inputParameter": "many"}, inputs=given), many=[1, 2, 3])

        assert server.parameters_of("root.collect") == {"ys": ["11", "22", "33"]}
        assert server.attempts_at("root.for-loop-1.iteration-iterations(2:2).iteration-item.work")


async def test_a_loop_over_nothing_is_skipped() -> None:
    async with backend(doubles) as server:
        outcome = await server.finish(loop({"raw": "[]"}))

    assert (outcome.tasks["iteration-iterations"], outcome.tasks["for-loop-1"]) == ("SKIPPED", "SUCCEEDED")


async def test_no_more_turns_run_at_once_than_allowed() -> None:
    spec = loop({"raw": "[1, 2, 3]"}, iteratorPolicy={"parallelismLimit": 1})

    async with backend(doubles) as server:
        run_id = await server.submit(spec)
        server.clock.advance(55)
        at_once = len(server.executor.started)
        server.clock.advance(600)

        assert at_once == 1
        assert server.outcome(await server.run(run_id)).state == "SUCCEEDED"


async def test_one_failed_turn_fails_the_loop_after_the_others_have_run() -> None:
    def script(attempt: Attempt) -> Deed:
        return Deed(exit_code=1) if attempt.inputs.parameters.get("x") == "a" else doubles(attempt)

    async with backend(script) as server:
        outcome = await server.finish(loop({"raw": json.dumps(["a", "b"])}))

        assert outcome.tasks["for-loop-1"] == "FAILED"
        assert outcome.tasks["iteration-iterations(1:1)"] == "SUCCEEDED"
