"""The check of an `mlflow` tracker: what it finds of a server in memory, and what it tells to do."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from cairn.clients.kubernetes import SECRETS
from cairn.components.base import Verdict
from cairn.components.experiment_tracker.mlflow.config import MLflowConfig
from cairn.components.experiment_tracker.mlflow.tracker import MLflowTracker
from tests.unit.builders import ALONE, secret_body
from tests.unit.fake_kubernetes import FakeKubernetes
from tests.unit.fake_mlflow import FakeMLflow

BASIC = {"basic": {"secretRef": {"name": "login"}}}
BEARER = {"bearer": {"name": "login", "key": "token"}}
LOGIN = {"username": "cairn", "password": "pa ss"}


class Tracker:
    """A tracker in a namespace, and its server."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes()
        self.server = FakeMLflow()

    def secret(self, data: dict[str, str]) -> None:
        self.kubernetes.add(SECRETS, secret_body("login", **data))

    async def check(self, **config: Any) -> Verdict:
        flavor = MLflowTracker("ml", "mlflow", MLflowConfig.model_validate({"uri": self.server.uri, **config}))
        return await flavor.check(self.kubernetes, ALONE)


@pytest.fixture
async def tracker() -> AsyncIterator[Tracker]:
    tracker = Tracker()
    async with tracker.server:
        yield tracker


async def test_a_server_that_answers_with_its_database_is_ready(tracker: Tracker):
    verdict = await tracker.check()

    assert (verdict.ready, verdict.reason, verdict.endpoint) == (True, "Checked", tracker.server.uri)
    assert "MLflow 3.17.2" in verdict.message


@pytest.mark.parametrize(
    ("auth", "header"), [(BASIC, f"Basic {base64.b64encode(b'cairn:pass').decode()}"), (BEARER, "Bearer t0ken")]
)
async def test_it_logs_in(tracker: Tracker, auth: dict[str, Any], header: str):
    tracker.secret({"username": "cairn", "password": "pass", "token": "t0ken"})
    tracker.server.authorization = header

    assert (await tracker.check(auth=auth)).ready


async def test_a_wrong_log_in_is_told_with_the_place_to_mend_it(tracker: Tracker):
    tracker.secret({"username": "cairn", "password": "wrong"})
    tracker.server.authorization = "Basic something"

    verdict = await tracker.check(auth=BASIC)

    assert (verdict.ready, verdict.reason) == (False, "Unauthorized")
    assert "in the Secret that auth names" in verdict.message
    assert "wrong" not in verdict.message


async def test_so_is_one_that_is_missing(tracker: Tracker):
    tracker.server.authorization = "Basic something"

    verdict = await tracker.check()

    assert (verdict.reason, verdict.message[-10:]) == ("Unauthorized", " set auth.")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "SecretNotFound"), ({"username": "cairn"}, "SecretKeyMissing"), (LOGIN, "InvalidCredentials")],
)
async def test_a_secret_that_is_wrong_is_named(tracker: Tracker, data: dict[str, str] | None, reason: str):
    if data is not None:
        tracker.secret(data)

    verdict = await tracker.check(auth=BASIC)

    assert (verdict.ready, verdict.reason) == (False, reason)
    assert "Secret ml/login" in verdict.message


async def test_a_server_that_is_away_is_not_reached(tracker: Tracker):
    uri = tracker.server.uri
    await tracker.server.server.close()

    verdict = await tracker.check(uri=uri)

    assert verdict.reason == "EndpointUnreachable"


async def test_a_host_name_that_the_server_does_not_answer_to_is_told(tracker: Tracker):
    tracker.server.allowed_host = "mlflow.example.com"

    verdict = await tracker.check()

    assert verdict.reason == "HostNotAllowed"
    assert "--allowed-hosts" in verdict.message


async def test_a_server_without_its_database_fails(tracker: Tracker):
    tracker.server.broken = 503

    verdict = await tracker.check()

    assert verdict.reason == "ServerError"
    assert "whether its database runs" in verdict.message


async def test_an_old_server_is_not_used(tracker: Tracker):
    tracker.server.version = "2.22.1"

    assert (await tracker.check()).reason == "VersionNotSupported"


@pytest.mark.parametrize("version", ["<html>", "", "9" * 5000, "3"])
async def test_what_has_no_version_is_no_mlflow(tracker: Tracker, version: str):
    tracker.server.version = version

    assert (await tracker.check()).reason == "NotMLflow"


async def test_something_else_is_no_mlflow(tracker: Tracker):
    tracker.server.broken = 404

    assert (await tracker.check()).reason == "NotMLflow"


async def test_where_a_server_redirects_to_is_told_and_not_followed(tracker: Tracker):
    tracker.server.page, tracker.server.status = "", 302
    tracker.server.headers = {"Location": f"{tracker.server.uri}/version"}

    verdict = await tracker.check()

    assert (verdict.ready, verdict.reason) == (False, "Redirected")
    assert f"redirects to '{tracker.server.uri}/version'" in verdict.message


async def test_a_certificate_of_an_unknown_authority_is_not_trusted_until_it_is_named(tracker: Tracker):
    authority = trustme.CA()
    secure = FakeMLflow()
    await secure.server.start_server(ssl=_server_context(authority))
    tracker.secret({"ca": authority.cert_pem.bytes().decode()})
    uri = f"https://127.0.0.1:{secure.server.port}"

    untrusted = await tracker.check(uri=uri)
    trusted = await tracker.check(uri=uri, caSecretRef={"name": "login", "key": "ca"})

    assert (untrusted.reason, trusted.ready) == ("TLSUntrusted", True)
    await secure.server.close()


@pytest.mark.parametrize(
    ("config", "secrets"),
    [
        ({}, set()),
        ({"auth": BASIC}, {"login"}),
        ({"auth": BEARER, "caSecretRef": {"name": "ca", "key": "ca.crt"}}, {"login", "ca"}),
    ],
)
def test_the_secrets_that_a_check_reads(config: dict[str, Any], secrets: set[str]):
    flavor = MLflowTracker("ml", "mlflow", MLflowConfig.model_validate({"uri": "https://mlflow", **config}))

    assert flavor.secrets == secrets


def _server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


class Installed(MLflowTracker):
    """A server that Cairn has installed, which answers at another address than that of a Service."""

    address = ""

    @property
    def uri(self) -> str:
        return self.address


async def test_one_that_cairn_has_installed_is_ready_when_it_keeps_an_artifact(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Installed, "address", tracker.server.uri)
    flavor = Installed("ml", "mlflow", MLflowConfig.model_validate({"server": {}}))

    well = await flavor.check(tracker.kubernetes, ALONE)
    tracker.server.keeps_artifacts = False
    without_bucket = await flavor.check(tracker.kubernetes, ALONE)

    assert (well.ready, tracker.server.artifacts) == (True, {})
    assert "an artifact was written, read back and deleted" in well.message
    assert (without_bucket.ready, without_bucket.reason) == (False, "ArtifactsNotKept")
    assert "500 Internal Server Error" in without_bucket.message


async def test_where_clients_write_to_the_bucket_themselves_the_server_is_not_asked_to(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Installed, "address", tracker.server.uri)
    server = {"artifactStoreRef": {"name": "bucket"}, "artifactAccess": "Direct"}
    tracker.server.keeps_artifacts = False

    verdict = await Installed("ml", "mlflow", MLflowConfig.model_validate({"server": server})).check(
        tracker.kubernetes, ALONE
    )

    assert verdict.ready
