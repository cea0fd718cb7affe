"""MLflow's REST API as Cairn uses it, asked of a server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cairn.clients.mlflow import MLflow, RefusedError
from cairn.clients.rest import Access, RestError, UnreachableError
from tests.unit.fake_mlflow import FakeMLflow, pairs

UID = {"cairn.run.uid": "uid-1"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeMLflow]:
    async with FakeMLflow() as fake:
        yield fake


@pytest.fixture
async def mlflow(fake: FakeMLflow) -> AsyncIterator[MLflow]:
    client = MLflow(Access(fake.uri, "Bearer token"), seconds=0.5)
    yield client
    await client.close()


async def test_an_experiment_is_created_once(mlflow: MLflow, fake: FakeMLflow):
    first, second = await mlflow.experiment_named("wine"), await mlflow.experiment_named("wine")

    assert first == second == fake.experiments["wine"]
    assert fake.requests["experiments/create"] == 1


async def test_an_experiment_that_somebody_else_creates_at_the_same_time_is_that_one(mlflow: MLflow, fake: FakeMLflow):
    ids = await asyncio.gather(*[mlflow.experiment_named("wine") for _ in range(5)])

    assert set(ids) == {fake.experiments["wine"]}


async def test_a_run_is_found_by_its_tags(mlflow: MLflow):
    experiment = await mlflow.experiment_named("wine")
    run = await mlflow.create_run(experiment, "wine-1", 1000, UID)
    await mlflow.create_run(experiment, "wine-2", 1000, {"cairn.run.uid": "uid-2"})

    assert [found["info"]["run_id"] for found in await mlflow.runs_tagged(experiment, UID)] == [run]
    assert await mlflow.runs_tagged(experiment, {"cairn.run.uid": "uid-3"}) == []


async def test_what_is_recorded_twice_is_there_once(mlflow: MLflow, fake: FakeMLflow):
    run = await mlflow.create_run(await mlflow.experiment_named("wine"), "wine-1", 1000, {})
    metric = {"key": "rmse", "value": 0.5, "timestamp": 1000, "step": 0}

    for _ in range(2):
        await mlflow.log_batch(run, metrics=[metric], params={"alpha": "1"}, tags={"stack": "production"})

    assert fake.runs[run]["data"]["metrics"] == [metric]
    assert (pairs(fake.runs[run], "params"), pairs(fake.runs[run], "tags")) == (
        {"alpha": "1"},
        {"stack": "production"},
    )


async def test_a_param_does_not_change(mlflow: MLflow):
    run = await mlflow.create_run(await mlflow.experiment_named("wine"), "wine-1", 1000, {})
    await mlflow.log_batch(run, params={"alpha": "1"})

    with pytest.raises(RefusedError, match="Changing param values is not allowed") as refused:
        await mlflow.log_batch(run, params={"alpha": "2"})

    assert (refused.value.code, refused.value.may_pass) == ("INVALID_PARAMETER_VALUE", False)


async def test_a_run_ends(mlflow: MLflow, fake: FakeMLflow):
    run = await mlflow.create_run(await mlflow.experiment_named("wine"), "wine-1", 1000, {})

    await mlflow.update_run(run, "FAILED", 2000)

    assert (fake.runs[run]["info"]["status"], fake.runs[run]["info"]["end_time"]) == ("FAILED", 2000)


async def test_an_artifact_goes_through_the_server(mlflow: MLflow):
    await mlflow.put_artifact("cairn/a b", b"hello")

    assert await mlflow.get_artifact("cairn/a b") == b"hello"
    await mlflow.delete_artifact("cairn/a b")
    with pytest.raises(RefusedError, match="No such artifact"):
        await mlflow.get_artifact("cairn/a b")


async def test_it_logs_in(mlflow: MLflow, fake: FakeMLflow):
    fake.authorization = "Bearer token"

    assert await mlflow.version() == "3.17.2"


async def test_a_log_in_is_in_no_text(fake: FakeMLflow):
    assert "secret" not in repr(Access(fake.uri, "Bearer secret", "secret"))


async def test_a_server_that_is_slow_does_not_answer(mlflow: MLflow, fake: FakeMLflow):
    fake.delay = 5

    with pytest.raises(UnreachableError, match=r"has not answered within 0\.5 s"):
        await mlflow.need_database()


async def test_a_server_that_is_away_cannot_be_reached(mlflow: MLflow, fake: FakeMLflow):
    await fake.server.close()

    with pytest.raises(UnreachableError, match="cannot be reached"):
        await mlflow.need_database()


@pytest.mark.parametrize(("status", "may_pass"), [(503, True), (429, True), (500, True), (400, False)])
async def test_a_refusal_that_is_not_mlflow_s_is_told_as_it_is(
    mlflow: MLflow, fake: FakeMLflow, status: int, may_pass: bool
):
    fake.broken = status

    with pytest.raises(RefusedError, match="<h1>Bad</h1>") as refused:
        await mlflow.need_database()

    assert (refused.value.status, refused.value.code, refused.value.may_pass) == (status, "", may_pass)


@pytest.mark.parametrize("page", ["<html>Welcome</html>", "[]", "[" * 200_000, '{"experiment": {}}'])
async def test_what_is_no_mlflow_is_found_out(mlflow: MLflow, fake: FakeMLflow, page: str):
    fake.page = page

    with pytest.raises(RestError, match="does not answer as MLflow does"):
        await mlflow.experiment_named("wine")


async def test_a_refusal_may_be_of_no_sense(mlflow: MLflow, fake: FakeMLflow):
    fake.page, fake.status = "[" * 200_000, 400

    with pytest.raises(RefusedError):
        await mlflow.need_database()


async def test_no_more_is_read_than_mlflow_would_answer(
    mlflow: MLflow, fake: FakeMLflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cairn.clients.rest.LARGEST_ANSWER", 1000)
    fake.page = "9" * 1001

    with pytest.raises(RestError, match="answers with more than 1000 bytes"):
        await mlflow.version()


async def test_what_is_compressed_is_not_unpacked(mlflow: MLflow, fake: FakeMLflow):
    fake.page, fake.headers = "9" * 1000, {"Content-Encoding": "gzip"}

    assert await mlflow.version() == fake.page


@pytest.mark.parametrize("host", ["mlflow..ml", "..", "a" * 75])
async def test_a_host_name_that_is_none_cannot_be_reached(host: str):
    mlflow = MLflow(Access(f"http://{host}:5000"))

    with pytest.raises(UnreachableError):
        await mlflow.version()

    await mlflow.close()


async def test_runs_are_found_that_do_not_fit_into_one_answer(
    mlflow: MLflow, fake: FakeMLflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cairn.clients.mlflow.RUNS_AT_ONCE", 2)
    for number in range(5):
        await mlflow.create_run("1", f"wine-{number}", 1000, UID)

    found = await mlflow.runs_tagged("1", UID)

    assert [run["info"]["run_name"] for run in found] == [f"wine-{number}" for number in range(5)]


async def test_a_run_that_is_deleted_is_there_no_more(mlflow: MLflow, fake: FakeMLflow):
    run = await mlflow.create_run("1", "wine", 1000, UID)

    await mlflow.delete_run(run)

    assert fake.runs == {}


async def test_what_is_deleted_is_gone(mlflow: MLflow):
    run = await mlflow.create_run("1", "wine", 1000, UID)
    await mlflow.delete_run(run)

    with pytest.raises(RefusedError, match="Current state is deleted") as refused:
        await mlflow.update_run(run, "FINISHED", 2000)

    assert refused.value.is_gone
