"""The command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kfp.backend.__main__ import executor_of, options_of
from tests.kfp.backend.clock import VirtualClock
from tests.kfp.backend.pods import PodExecutor
from tests.kfp.backend.scripted import succeeding
from tests.kfp.backend.state import Attempt, Phase
from tests.kfp.harness import START, backend
from tests.kfp.pipelines import Pipeline, artifacts, parameters


def test_pods_need_an_image_and_an_object_store(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_of(["--image=operator"])

    assert "--s3-endpoint" in capsys.readouterr().err


async def test_pods_are_made_unless_one_says_otherwise() -> None:
    options = options_of(["--image=i", "--s3-endpoint=http://s3", "--kubernetes=http://127.0.0.1:1", "--namespace=ml"])

    async with executor_of(options, VirtualClock(START)) as executor:
        assert isinstance(executor, PodExecutor)


async def test_a_run_in_memory_writes_all_that_is_declared_and_succeeds() -> None:
    outputs = artifacts("data") | parameters(score="NUMBER_DOUBLE")
    pipeline = Pipeline()
    spec = pipeline.task("a", pipeline.container("a", outputs=outputs)).spec
    async with backend(succeeding(45)) as server:
        run_id = await server.submit(spec)
        server.clock.advance(60)
        assert server.outcome(await server.run(run_id)).tasks["executor"] == "RUNNING"
        server.clock.advance(40)
        assert server.outcome(await server.run(run_id)).state == "SUCCEEDED"


async def test_in_memory_every_container_runs_so_long() -> None:
    clock = VirtualClock(START)
    attempt = Attempt.model_validate(
        {"pod_name": "p", "node_id": "n", "node_name": "n", "workflow": "w", "run_id": "r", "task": "t", "number": 0}
        | {"container": {"image": "i"}}
    )
    async with executor_of(options_of(["--in-memory=5"]), clock) as executor:
        executor.start(attempt)
        clock.advance(3)
        assert executor.progress(attempt).phase is Phase.RUNNING
        clock.advance(3)
        assert executor.progress(attempt).phase is Phase.SUCCEEDED


def test_in_memory_is_understood_beside_the_options_of_a_deployment(tmp_path: Path) -> None:
    options = options_of(["--image=i", "--s3-endpoint=http://s3", f"--state={tmp_path}", "--in-memory=1"])

    assert options.in_memory == 1
