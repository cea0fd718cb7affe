"""When the backend tries a task again, and when it does not run it at all."""

from __future__ import annotations

import itertools

from tests.kfp.backend.scripted import Deed
from tests.kfp.harness import backend, doubles
from tests.kfp.pipelines import (
    Json,
    Pipeline,
    constant,
    parameters,
)


def retried(**policy: object) -> Json:
    pipeline = Pipeline()
    pipeline.task("flaky", pipeline.container("flaky"), retryPolicy=policy)
    return pipeline.spec


async def test_a_task_whose_second_attempt_succeeds_has_succeeded() -> None:
    async with backend(lambda attempt: Deed(exit_code=int(attempt.number == 0))) as server:
        outcome = await server.finish(retried(maxRetryCount=2))

        assert outcome.state == "SUCCEEDED"
        assert outcome.tasks["executor(0)"] == "FAILED"
        assert outcome.tasks["executor(1)"] == "SUCCEEDED"
        assert "executor(2)" not in outcome.tasks


async def test_attempts_come_as_far_apart_as_the_backoff_says() -> None:
    async with backend(lambda _: Deed(exit_code=1)) as server:
        await server.submit(retried(maxRetryCount=2, backoffDuration="20s", backoffFactor=2.0))
        begun: list[float] = []
        for second in range(200):
            server.clock.advance(1)
            begun += [second] * (len(server.executor.started) - len(begun))

    # They end 3 s after they began, then wait 20 s and 40 s, then for Argo to look, which it does every 10 s.
    assert [after - before for before, after in itertools.pairwise(begun)] == [30, 50]


async def test_the_maximal_duration_of_backoff_is_a_total() -> None:
    async with backend(lambda _: Deed(exit_code=1)) as server:
        policy = {"backoffDuration": "20s", "backoffFactor": 1.0, "backoffMaxDuration": "40s"}
        outcome = await server.finish(retried(maxRetryCount=5, **policy))

        assert outcome.state == "FAILED"
        assert len(server.executor.started) == 2


def cached(name: str = "sample", x: str = "1") -> Json:
    pipeline = Pipeline(name)
    made = pipeline.container("make", inputs=parameters(x="STRING"), outputs=parameters(y="STRING"))
    given = {"parameters": {"x": constant(x)}}
    return pipeline.task("make", made, inputs=given, cachingOptions={"enableCache": True}).spec


async def test_the_same_work_is_taken_from_the_cache() -> None:
    async with backend(doubles) as server:
        await server.finish(cached())
        outcome = await server.finish(cached())

        assert (outcome.tasks["make"], outcome.tasks["executor"]) == ("SUCCEEDED", "SKIPPED")
        assert len(server.executor.started) == 1


async def test_other_inputs_and_other_pipelines_find_nothing_in_the_cache() -> None:
    async with backend(doubles) as server:
        for spec in (cached(), cached(x="2"), cached(name="other")):
            await server.finish(spec)

        assert len(server.executor.started) == 3


async def test_what_has_failed_is_not_cached() -> None:
    async with backend(lambda _: Deed(exit_code=1)) as server:
        await server.finish(cached())
        await server.finish(cached())

        assert len(server.executor.started) == 2
