"""How records become runs of an MLflow server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cairn.clients.rest import Access
from cairn.components.experiment_tracker.mlflow.client import MLflowClient
from cairn.components.records import (
    Dataset,
    Metric,
    Record,
    RecordGoneError,
    TrackerError,
    TrackerUnavailableError,
)
from tests.unit.fake_mlflow import FakeMLflow, pairs

UID = {"cairn.run.uid": "uid-1"}
TRAIN = Record("train", 1000, UID)
TRAINED = replace(
    TRAIN, state="FAILED", ended=2000, closing_tags={"cairn.reason": "ExitCode"}, metrics=(Metric("rmse", 0.5, 2000),)
)
DIGEST = "a" * 64


@pytest.fixture
async def server() -> AsyncIterator[FakeMLflow]:
    async with FakeMLflow() as server:
        yield server


@pytest.fixture
async def client(server: FakeMLflow) -> AsyncIterator[MLflowClient]:
    client = MLflowClient(Access(server.uri), logs_in=False)
    yield client
    await client.close()


async def test_an_attempt_is_a_run_nested_in_that_of_its_pipeline_run(client: MLflowClient, server: FakeMLflow):
    experiment = await client.experiment("wine")

    parent = await client.create(experiment, Record("wine-1", 1000, UID), None)
    child = await client.create(experiment, TRAIN, parent)

    assert pairs(server.runs[child], "tags") == {**UID, "mlflow.parentRunId": parent}
    assert server.runs[child]["info"]["run_name"] == "train"


async def test_what_it_has_is_found(client: MLflowClient):
    experiment = await client.experiment("wine")
    run = await client.create(experiment, TRAIN, None)
    await client.describe(run, params={"alpha": "0.5"}, datasets=())
    await client.finish(run, TRAINED)

    (found,) = await client.find(experiment, UID)

    assert (found.id, found.state, found.params) == (run, "FAILED", {"alpha": "0.5"})
    assert found.tags == {**UID, "cairn.reason": "ExitCode"}
    assert found.parent is None


async def test_datasets_are_inputs_with_as_much_of_their_digest_as_fits(client: MLflowClient, server: FakeMLflow):
    run = await client.create(await client.experiment("wine"), TRAIN, None)

    await client.describe(
        run,
        params={},
        datasets=[Dataset("data", "s3://b/data", f"sha256:{DIGEST}"), Dataset("other", "https://host/x.csv", "")],
    )

    first, second = server.runs[run]["inputs"]["dataset_inputs"]
    assert first["dataset"] == {
        "name": "data",
        "digest": DIGEST[:36],
        "source_type": "s3",
        "source": '{"uri": "s3://b/data"}',
    }
    assert {"key": "cairn.digest", "value": f"sha256:{DIGEST}"} in first["tags"]
    assert (second["dataset"]["digest"], second["dataset"]["source_type"]) == ("unknown", "uri")


async def test_an_end_is_logged_before_the_run_is_ended(client: MLflowClient, server: FakeMLflow):
    run = await client.create(await client.experiment("wine"), TRAIN, None)

    await client.finish(run, TRAINED)

    assert pairs(server.runs[run], "metrics") == {"rmse": 0.5}
    assert (server.runs[run]["info"]["status"], server.runs[run]["info"]["end_time"]) == ("FAILED", 2000)
    assert list(server.requests)[-2:] == ["runs/log-batch", "runs/update"]


class TestAdoption:
    @pytest.fixture
    async def experiment(self, client: MLflowClient) -> str:
        return await client.experiment("wine")

    async def test_nests_and_ends_what_is_open(self, client: MLflowClient, server: FakeMLflow, experiment: str):
        trial = await client.create(experiment, TRAIN, None)
        (found,) = await client.find(experiment, UID)

        await client.adopt(found, "parent", TRAINED)

        assert pairs(server.runs[trial], "tags")["mlflow.parentRunId"] == "parent"
        assert server.runs[trial]["info"]["status"] == "FAILED"

    async def test_leaves_alone_what_is_nested_there_and_has_ended(
        self, client: MLflowClient, server: FakeMLflow, experiment: str
    ):
        trial = await client.create(experiment, TRAIN, "parent")
        await client.finish(trial, replace(TRAINED, state="FINISHED"))
        (found,) = await client.find(experiment, UID)
        server.requests.clear()

        await client.adopt(found, "parent", TRAINED)

        assert not server.requests
        assert server.runs[trial]["info"]["status"] == "FINISHED"


async def test_a_run_that_a_step_has_made_becomes_that_of_its_attempt(client: MLflowClient, server: FakeMLflow):
    experiment = await client.experiment("wine")
    own = await client.create(experiment, Record("sleepy-fox", 1000, {}), None)

    await client.take_over(own, TRAIN, "parent")

    (found,) = await client.find(experiment, UID)
    assert (found.id, found.parent, found.tags["mlflow.runName"]) == (own, "parent", "train")


class TestErrors:
    async def test_of_a_run_that_is_gone(self, client: MLflowClient):
        await client.create(await client.experiment("wine"), TRAIN, None)

        with pytest.raises(RecordGoneError):
            await client.finish("f" * 32, TRAINED)

    async def test_of_a_server_that_fails_concern_all(self, client: MLflowClient, server: FakeMLflow):
        server.broken = 503

        with pytest.raises(TrackerUnavailableError, match="fails"):
            await client.experiment("wine")

    async def test_of_a_log_in_that_is_not_known_concern_all(self, client: MLflowClient, server: FakeMLflow):
        server.authorization = "Basic other"

        with pytest.raises(TrackerUnavailableError, match="set auth") as raised:
            await client.experiment("wine")

        assert raised.value.reason == "Unauthorized"

    async def test_of_a_request_that_is_refused_concern_that_one(self, client: MLflowClient):
        run = await client.create(await client.experiment("wine"), TRAIN, None)
        await client.describe(run, params={"alpha": "1"}, datasets=())

        with pytest.raises(TrackerError, match="Changing param values") as raised:
            await client.describe(run, params={"alpha": "2"}, datasets=())

        assert not isinstance(raised.value, TrackerUnavailableError)
