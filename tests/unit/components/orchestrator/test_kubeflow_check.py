"""The check of a `kubeflow` orchestrator: what it finds, and what it tells to do."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import SECRETS
from cairn.components.base import Verdict
from cairn.components.orchestrator.kubeflow import own_token
from cairn.components.orchestrator.kubeflow.config import KubeflowConfig
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from cairn.components.orchestrator.kubeflow.own_token import OwnToken
from cairn.components.secrets import UnusableError
from tests.unit.builders import ALONE, secret_body
from tests.unit.fake_kubernetes import FakeKubernetes

LOGIN, WRONG_LOGIN = {"token": "t0ken"}, {"token": "wr0ng"}
TOKEN = {"tokenSecretRef": {"name": "login", "key": "token"}}


class Installation:
    """Kubeflow Pipelines with one user or several, and what is wrong with it."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes()
        self.multi_user = False
        self.wants: dict[str, str] = {}
        """Headers that each request must have."""
        self.refusal: tuple[int, str] | None = None
        self.experiments: list[JsonObject] = []
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/apis/v2beta1/healthz", self._health)
        application.router.add_get("/apis/v2beta1/experiments", self._list)
        application.router.add_post("/apis/v2beta1/experiments", self._create)
        self.server = TestServer(application)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def check(self, **config: Any) -> Verdict:
        fields = {**({} if "endpoint" in config else {"endpoint": self.endpoint}), **config}
        return await Kubeflow("ml", "kubeflow", KubeflowConfig.model_validate(fields)).check(self.kubernetes, ALONE)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if any(request.headers.get(name) != value for name, value in self.wants.items()):
            return web.Response(status=401, text="Unauthorized")
        if self.refusal is not None:
            status, text = self.refusal
            return web.Response(status=status, text=text)
        return await handler(request)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"multi_user": self.multi_user, "tag_name": "2.17.0"})

    async def _list(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query["filter"])["predicates"][0]["string_value"]
        return web.json_response({"experiments": [one for one in self.experiments if one["display_name"] == wanted]})

    async def _create(self, request: web.Request) -> web.Response:
        made = {**await request.json(), "experiment_id": f"id-{len(self.experiments)}"}
        self.experiments.append(made)
        return web.json_response(made)


@pytest.fixture
async def installation() -> AsyncIterator[Installation]:
    installation = Installation()
    await installation.server.start_server()
    yield installation
    await installation.server.close()


async def test_one_that_answers_and_makes_experiments_is_ready(installation: Installation):
    verdict = await installation.check()
    await installation.check()

    assert (verdict.ready, verdict.endpoint) == (True, installation.endpoint)
    assert "Kubeflow Pipelines 2.17.0" in verdict.message
    assert [one["display_name"] for one in installation.experiments] == ["cairn"]


async def test_of_several_users_experiments_belong_to_the_namespace(installation: Installation):
    installation.multi_user = True
    installation.wants = {"kubeflow-userid": "alice@example.com"}

    verdict = await installation.check(namespace="alice", user="alice@example.com", experiment="wine")

    assert verdict.ready
    assert [(one["display_name"], one["namespace"]) for one in installation.experiments] == [("wine", "alice")]


async def test_it_logs_in_with_the_token_of_a_secret(installation: Installation):
    installation.kubernetes.add(SECRETS, secret_body("login", **LOGIN))
    installation.wants = {"Authorization": "Bearer t0ken"}

    assert (await installation.check(auth=TOKEN)).ready


@pytest.mark.parametrize(("auth", "remedy"), [(None, "set auth"), (TOKEN, "correct the token")])
async def test_a_log_in_that_is_missing_or_wrong_is_told(
    installation: Installation, auth: JsonObject | None, remedy: str
):
    installation.kubernetes.add(SECRETS, secret_body("login", **WRONG_LOGIN))
    installation.wants = {"Authorization": "Bearer t0ken"}

    verdict = await installation.check(**({"auth": auth} if auth else {}))

    assert (verdict.ready, verdict.reason) == (False, "Unauthorized")
    assert remedy in verdict.message


async def test_a_secret_that_is_missing_is_named(installation: Installation):
    verdict = await installation.check(auth=TOKEN)

    assert (verdict.ready, verdict.reason) == (False, "SecretNotFound")


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((404, "404 page not found"), "NotKubeflowPipelines"),
        ((200, "<html>Welcome</html>"), "NotKubeflowPipelines"),
        ((403, '{"code": 7, "message": "not allowed"}'), "AccessDenied"),
        ((500, '{"code": 13, "message": "no database"}'), "ServerError"),
        ((429, "slow down"), "TooManyRequests"),
        ((400, '{"code": 3, "message": "bad"}'), "RequestRefused"),
    ],
)
async def test_each_failure_has_its_reason(installation: Installation, refusal: tuple[int, str], reason: str):
    installation.refusal = refusal

    verdict = await installation.check()

    assert (verdict.ready, verdict.reason) == (False, reason)


async def test_one_that_is_away_is_not_reached(installation: Installation):
    endpoint = installation.endpoint
    await installation.server.close()

    assert (await installation.check(endpoint=endpoint)).reason == "EndpointUnreachable"


@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc.cluster.local", "k3s", "sts.amazonaws.com", ""])
def test_no_token_is_asked_for_that_the_api_server_or_another_service_takes(audience: str):
    """Whoever may create a StackComponent says where it is sent."""
    with pytest.raises(ValidationError, match="audience"):
        KubeflowConfig.model_validate({"endpoint": "http://k", "auth": {"serviceAccountToken": {"audience": audience}}})


class TestOwnToken:
    class Cluster(FakeKubernetes):
        """Counts the tokens that it makes."""

        made = 0

        async def create_token(self, namespace: str, service_account: str, audience: str, seconds: int) -> JsonObject:
            self.made += 1
            return {"status": {"token": f"{namespace}/{service_account} for {audience} {seconds} s, {self.made}"}}

    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Path:
        claims = base64.urlsafe_b64encode(b'{"sub": "system:serviceaccount:cairn-system:cairn"}').decode().rstrip("=")
        (tmp_path / "token").write_text(f"header.{claims}.signature")
        return tmp_path / "token"

    async def test_is_made_for_the_audience_and_used_for_most_of_its_life(
        self, mounted: Path, monkeypatch: pytest.MonkeyPatch
    ):
        seconds = [0.0]
        monkeypatch.setattr(own_token.time, "monotonic", lambda: seconds[0] + 1)
        token = OwnToken(self.Cluster(), "kfp", mounted=mounted)

        first, second = await token(), await token()
        seconds[0] = 3000.0
        third = await token()

        assert first == second == "cairn-system/cairn for kfp 3600 s, 1"
        assert third.endswith(", 2")

    async def test_needs_an_operator_that_runs_as_one(self, tmp_path: Path):
        with pytest.raises(UnusableError, match=r"use auth\.tokenSecretRef"):
            await OwnToken(self.Cluster(), "kfp", mounted=tmp_path / "none")()
