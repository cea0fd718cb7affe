"""Kubeflow Pipelines is asked, and understood, as it was recorded (tests/kfp/recordings)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cairn.clients.kfp import KubeflowPipelines, RefusedError
from cairn.clients.rest import Access, RestError

RECORDINGS = Path(__file__).parents[2] / "kfp/recordings"
EXPERIMENT = "8afea4aa-dec0-4b1c-9e40-27b60dba9050"


def recorded(name: str) -> Any:
    """Return a recorded request and its answer."""
    return json.loads((RECORDINGS / f"{name}.json").read_text())


class Server:
    """Answers as was recorded, whatever was asked, one recording after another."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: dict[str, str] = {}
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(application)

    def answers_as(self, *names: str) -> None:
        """Have it answer as in these recordings."""
        for name in names:
            response = recorded(name)["response"]
            self.answers.append((response["status"], json.dumps(response["body"])))

    async def _answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.asked.append((request.method, request.path, dict(request.query), json.loads(text) if text else None))
        self.headers = dict(request.headers)
        status, body = self.answers.pop(0)
        return web.Response(status=status, text=body)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.server.start_server()
    yield server
    await server.server.close()


@pytest.fixture
async def kfp(server: Server) -> AsyncIterator[KubeflowPipelines]:
    client = KubeflowPipelines(Access(f"http://127.0.0.1:{server.server.port}"))
    yield client
    await client.close()


async def test_a_server_says_what_it_is(kfp: KubeflowPipelines, server: Server):
    server.answers_as("healthz")

    health = await kfp.health()

    assert (health.version, health.multi_user) == ("unknown", False)
    assert server.asked == [("GET", "/apis/v2beta1/healthz", {}, None)]


async def test_an_experiment_that_is_there_is_used(kfp: KubeflowPipelines, server: Server):
    server.answers_as("list-experiments-filter")

    assert await kfp.experiment_named("wine3", None) == EXPERIMENT
    (_, _, query, _) = server.asked[0]
    assert json.loads(query["filter"])["predicates"][0]["string_value"] == "wine3"


async def test_one_that_is_not_there_is_created(kfp: KubeflowPipelines, server: Server):
    server.answers.append((200, "{}"))
    server.answers_as("create-experiment")

    assert await kfp.experiment_named("wine3", "ml") == EXPERIMENT
    assert server.asked[1][3] == {"display_name": "wine3", "namespace": "ml"}


async def test_one_that_somebody_else_has_just_created_is_used(kfp: KubeflowPipelines, server: Server):
    server.answers.append((200, "{}"))
    server.answers_as("create-experiment-again", "list-experiments-filter")

    assert await kfp.experiment_named("wine3", None) == EXPERIMENT


async def test_a_run_is_created_and_found_by_its_name(kfp: KubeflowPipelines, server: Server):
    server.answers_as("create-ok", "list-runs-filter-display-name")

    assert await kfp.create_run({"display_name": "ok"}) == "04b03728-0b2e-4cbf-84d0-45ddb452389e"
    assert {run["display_name"] for run in await kfp.runs_named("ok", EXPERIMENT)} == {"ok"}


async def test_a_run_that_it_does_not_take_is_refused_in_its_words(kfp: KubeflowPipelines, server: Server):
    server.answers_as("create-missing-parameter")

    with pytest.raises(RefusedError, match="parameter alpha is not optional") as refused:
        await kfp.create_run({})

    assert (refused.value.status, refused.value.may_pass) == (400, False)


async def test_a_run_that_is_not_there_is_told_from_an_api_that_is_not(kfp: KubeflowPipelines, server: Server):
    server.answers_as("get-deleted-run")
    server.answers.append((404, "404 page not found"))

    with pytest.raises(RefusedError) as of_run:
        await kfp.run("x")
    with pytest.raises(RefusedError) as of_api:
        await kfp.run("x")

    assert (of_run.value.is_not_found, of_api.value.is_not_found) == (True, False)


async def test_a_run_that_has_ended_is_not_terminated_again(kfp: KubeflowPipelines, server: Server):
    server.answers_as("terminate", "terminate-again")

    await kfp.terminate("x")
    await kfp.terminate("x")

    assert [path for _, path, _, _ in server.asked] == ["/apis/v2beta1/runs/x:terminate"] * 2


async def test_each_request_has_the_token_of_its_time_and_the_user(server: Server):
    tokens = iter(["first", "second"])

    async def token(*, fresh: bool = False) -> str:
        assert not fresh
        return next(tokens)

    kfp = KubeflowPipelines(Access(f"http://127.0.0.1:{server.server.port}"), token=token, user="alice@example.com")
    server.answers_as("healthz", "healthz")

    await kfp.health()
    first = server.headers["Authorization"]
    await kfp.health()
    await kfp.close()

    assert (first, server.headers["Authorization"]) == ("Bearer first", "Bearer second")
    assert server.headers["kubeflow-userid"] == "alice@example.com"


async def test_a_token_that_is_refused_is_renewed_once(server: Server):
    async def token(*, fresh: bool = False) -> str:
        return "renewed" if fresh else "expired"

    kfp = KubeflowPipelines(Access(f"http://127.0.0.1:{server.server.port}"), token=token)
    server.answers.append((401, '{"code": 16, "message": "expired"}'))
    server.answers_as("healthz", "healthz")

    await kfp.health()
    await kfp.close()

    assert server.headers["Authorization"] == "Bearer renewed"


async def test_a_token_that_cannot_be_renewed_is_not_tried_again(server: Server):
    async def token(*, fresh: bool = False) -> str:
        return "wrong"

    kfp = KubeflowPipelines(Access(f"http://127.0.0.1:{server.server.port}"), token=token)
    server.answers.append((401, '{"code": 16, "message": "wrong"}'))

    with pytest.raises(RefusedError, match="wrong"):
        await kfp.health()
    await kfp.close()

    assert len(server.asked) == 1


async def test_what_is_wrong_with_a_pipeline_is_final_though_it_is_told_as_an_error_of_the_server(
    kfp: KubeflowPipelines, server: Server
):
    server.answers_as("create-invalid-ir")

    with pytest.raises(RefusedError) as refused:
        await kfp.create_run({})

    assert (refused.value.status, refused.value.may_pass) == (500, False)


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "[]", "{}", '{"multi_user": "yes"}'])
async def test_something_else_is_no_kubeflow_pipelines(kfp: KubeflowPipelines, server: Server, body: str):
    server.answers.append((200, body))

    with pytest.raises(RestError, match="does not answer as Kubeflow Pipelines does"):
        await kfp.health()
