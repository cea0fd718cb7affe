"""The check, against a bucket in memory and against botocore with a server of canned answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cairn.clients.s3 import Bucket, RefusedError, S3Error, UnreachableError, in_thread
from cairn.components.artifact_store.s3 import store as module
from cairn.components.artifact_store.s3.probe import Outcome, look, probe, probe_key
from tests.unit.builders import ALONE

from .conftest import FakeKubernetes, s3

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "TOPSECRET"}
CREDENTIALS = {"credentialsSecretRef": {"name": "keys"}}


class FakeBucket(Bucket):
    """Objects in memory; `errors` says which operation fails how, `calls` what was asked for."""

    def __init__(self, errors: Mapping[str, S3Error] | None = None, *, keeps_versions: bool = False) -> None:
        super().__init__("b", endpoint="http://s3", region="us-east-1", path_style=True, credentials=None)
        self.errors = dict(errors or {})
        self.keeps_versions = keeps_versions
        self.objects: dict[str, bytes] = {}
        self.calls: list[str] = []

    def head(self) -> None:
        self._note("HeadBucket")

    def create(self) -> None:
        self._note("CreateBucket")

    def put(self, key: str, content: bytes, content_type: str = "") -> str | None:
        self._note("PutObject")
        self.objects[key] = content
        return "v1" if self.keeps_versions else None

    def list_keys(self, prefix: str) -> None:
        self._note("ListObjectsV2")

    def get(self, key: str, limit: int) -> bytes:
        self._note("GetObject")
        return self.objects[key][:limit]

    def delete(self, key: str, version: str | None = None) -> None:
        self._note("DeleteObject" if version is None else "DeleteObjectVersion")
        del self.objects[key]

    def _note(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.errors:
            raise self.errors[operation]


def refused(operation: str, status: int, code: str = "", region: str | None = None) -> dict[str, S3Error]:
    return {operation: RefusedError(operation, status=status, code=code, region=region)}


def test_a_probe_is_written_read_and_deleted():
    bucket = FakeBucket()

    outcome = probe(bucket, "p/probe", create=False)

    assert outcome == Outcome(seen=True)
    assert bucket.calls == ["HeadBucket", "PutObject", "ListObjectsV2", "GetObject", "DeleteObject"]
    assert bucket.objects == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_bucket_that_may_not_be_seen_can_be_usable(status: int):
    bucket = FakeBucket(refused("HeadBucket", status))

    assert probe(bucket, "probe", create=False) == Outcome(seen=False)


def test_a_server_in_trouble_is_not_written_to():
    bucket = FakeBucket(refused("HeadBucket", 503))

    outcome = probe(bucket, "probe", create=False)

    assert outcome.error is bucket.errors["HeadBucket"]
    assert bucket.calls == ["HeadBucket"]


def test_a_bucket_is_created_only_on_request():
    bucket = FakeBucket(refused("HeadBucket", 404))

    assert probe(bucket, "probe", create=True) == Outcome(seen=True, created=True)
    assert bucket.calls == ["HeadBucket", "CreateBucket", "PutObject", "ListObjectsV2", "GetObject", "DeleteObject"]

    bucket.calls.clear()
    probe(bucket, "probe", create=False)
    assert "CreateBucket" not in bucket.calls


def test_a_bucket_that_somebody_else_creates_meanwhile():
    bucket = FakeBucket(refused("HeadBucket", 404) | refused("CreateBucket", 409, "BucketAlreadyOwnedByYou"))

    assert probe(bucket, "probe", create=True) == Outcome(seen=True, created=False)


def test_a_creation_that_is_refused_ends_the_check():
    bucket = FakeBucket(refused("HeadBucket", 404) | refused("CreateBucket", 403, "AccessDenied"))

    assert probe(bucket, "probe", create=True).error is bucket.errors["CreateBucket"]
    assert bucket.calls == ["HeadBucket", "CreateBucket"]


def test_a_write_that_is_refused_says_whether_the_bucket_was_seen():
    bucket = FakeBucket(refused("PutObject", 403, "AccessDenied"))

    assert probe(bucket, "probe", create=False) == Outcome(seen=True, error=bucket.errors["PutObject"])


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject"])
def test_what_cannot_be_read_is_deleted_all_the_same(operation: str):
    bucket = FakeBucket(refused(operation, 403, "AccessDenied"))

    assert probe(bucket, "probe", create=False).error is bucket.errors[operation]
    assert bucket.objects == {}


def test_a_deletion_that_is_refused_is_reported():
    bucket = FakeBucket(refused("DeleteObject", 403, "AccessDenied"))

    assert probe(bucket, "probe", create=False).error is bucket.errors["DeleteObject"]


def test_other_bytes_than_were_written(monkeypatch: pytest.MonkeyPatch):
    bucket = FakeBucket()
    monkeypatch.setattr(bucket, "get", lambda key, limit: b"stale")

    assert not probe(bucket, "probe", create=False).matched
    assert s3().judge(Outcome(seen=True, matched=False), "http://s3").reason == "ProbeMismatch"


def test_a_bucket_that_keeps_versions_keeps_none_of_the_probe():
    bucket = FakeBucket(keeps_versions=True)

    assert probe(bucket, "probe", create=False) == Outcome(seen=True)
    assert bucket.calls[-1] == "DeleteObjectVersion"


def test_versions_that_may_not_be_deleted_are_hidden():
    bucket = FakeBucket(refused("DeleteObjectVersion", 403, "AccessDenied"), keeps_versions=True)

    assert probe(bucket, "probe", create=False) == Outcome(seen=True)
    assert bucket.calls[-2:] == ["DeleteObjectVersion", "DeleteObject"]


@pytest.mark.parametrize(
    ("errors", "fails"),
    [
        ({}, False),
        (refused("HeadBucket", 403), False),
        (refused("HeadBucket", 403, region="us-east-1"), False),
        (refused("HeadBucket", 403, region="eu-west-1"), True),
        (refused("HeadBucket", 404), True),
        (refused("HeadBucket", 503), True),
        ({"HeadBucket": UnreachableError("HeadBucket", "refuses connections", "start it")}, True),
    ],
)
def test_without_credentials_a_bucket_that_refuses_is_there(errors: dict[str, S3Error], fails: bool):
    assert (look(FakeBucket(errors)).error is not None) is fails


def test_each_component_has_one_probe():
    assert probe_key("p", "ml", "a") == probe_key("p", "ml", "a")
    assert probe_key("p", "ml", "a") != probe_key("p", "ml", "b")
    assert probe_key("p", "ml", "a").startswith("p/.cairn-probe-")
    assert probe_key("", "ml", "a").startswith(".cairn-probe-")


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (None, "SecretNotFound", "Secret ml/keys does not exist; create it or correct its name."),
        (
            {"AWS_ACCESS_KEY_ID": "key"},
            "SecretKeyMissing",
            "Secret ml/keys has no key AWS_SECRET_ACCESS_KEY; add it.",
        ),
        (
            {**KEYS, "AWS_ACCESS_KEY_ID": ""},
            "SecretKeyMissing",
            "Secret ml/keys has an empty AWS_ACCESS_KEY_ID; add it.",
        ),
        (
            {**KEYS, "AWS_SECRET_ACCESS_KEY": "TOPSECRET\n"},
            "InvalidCredentials",
            "Secret ml/keys has blanks, line ends or other foreign characters in AWS_SECRET_ACCESS_KEY; store the bare "
            "value.",
        ),
        (
            {**KEYS, "AWS_SESSION_TOKEN": "TOP SECRET"},
            "InvalidCredentials",
            "Secret ml/keys has blanks, line ends or other foreign characters in AWS_SESSION_TOKEN; store the bare "
            "value.",
        ),
    ],
    ids=["absent", "no key", "empty", "line end", "blank"],
)
async def test_credentials_that_cannot_be_used(
    kubernetes: FakeKubernetes, data: dict[str, str] | None, reason: str, message: str
):
    if data is not None:
        kubernetes.add_secret("keys", **data)

    verdict = await s3(endpoint="http://s3.svc", **CREDENTIALS).check(kubernetes, ALONE)

    assert (verdict.ready, verdict.reason, verdict.message) == (False, reason, message)
    assert verdict.endpoint == "http://s3.svc"


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (None, "SecretNotFound", "Secret ml/ca does not exist; create it or correct its name."),
        ({"other": "x"}, "SecretKeyMissing", "Secret ml/ca has no key pem; add it."),
        (
            {"pem": "TOPSECRET"},
            "CASecretInvalid",
            "Secret ml/ca has no PEM certificate in pem; put the certificate of the authority there, as text.",
        ),
        (
            {"pem": "schlüssel"},
            "CASecretInvalid",
            "Secret ml/ca has no PEM certificate in pem; put the certificate of the authority there, as text.",
        ),
        (
            {"pem": ""},
            "CASecretInvalid",
            "Secret ml/ca has no PEM certificate in pem; put the certificate of the authority there, as text.",
        ),
    ],
    ids=["absent", "no key", "not PEM", "not ASCII", "empty"],
)
async def test_an_authority_that_cannot_be_used(
    kubernetes: FakeKubernetes, data: dict[str, str] | None, reason: str, message: str
):
    kubernetes.add_secret("keys", **KEYS)
    if data is not None:
        kubernetes.add_secret("ca", **data)

    verdict = await s3(**CREDENTIALS, caSecretRef={"name": "ca", "key": "pem"}).check(kubernetes, ALONE)

    assert (verdict.ready, verdict.reason, verdict.message) == (False, reason, message)


async def test_a_service_account_must_exist(kubernetes: FakeKubernetes):
    verdict = await s3(serviceAccountName="trainer").check(kubernetes, ALONE)

    assert verdict.reason == "ServiceAccountNotFound"
    assert "ml/trainer" in verdict.message


Canned = Callable[[str], tuple[int, bytes] | None]


class Answers(BaseHTTPRequestHandler):
    """A bucket in memory, or whatever `canned` says."""

    objects: dict[str, bytes]
    canned: Canned
    asked: list[str]

    def _serve(self) -> None:
        type(self).asked.append(self.command)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        canned = type(self).canned(self.command)
        status, body = canned if canned is not None else self._bucket(content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _bucket(self, content: bytes) -> tuple[int, bytes]:
        if self.command == "PUT":
            self.objects[self.path] = content
        body = self.objects.get(self.path, b"")
        if self.command == "DELETE":
            del self.objects[self.path]
            return 204, b""
        return 200, body if self.command == "GET" else b""

    do_HEAD = do_GET = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def server(canned: Canned = lambda _: None) -> Generator[tuple[str, type[Answers]]]:
    handler = type("Handler", (Answers,), {"objects": {}, "canned": staticmethod(canned), "asked": []})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}", handler
    finally:
        listener.shutdown()
        listener.server_close()


async def test_ready_says_what_was_done(kubernetes: FakeKubernetes):
    kubernetes.add_secret("keys", **KEYS)
    with server() as (url, handler):
        verdict = await s3(endpoint=url, prefix="p", **CREDENTIALS).check(kubernetes, ALONE)

    assert verdict.ready
    assert verdict.endpoint == url
    assert verdict.message == (
        f"Bucket ml-artifacts at {url} is there, and an object under s3://ml-artifacts/p/ was written, read back and "
        "deleted."
    )
    assert handler.asked == ["HEAD", "PUT", "GET", "GET", "DELETE"]
    assert handler.objects == {}


async def test_without_credentials_the_bucket_is_only_looked_at(kubernetes: FakeKubernetes):
    kubernetes.add("serviceaccounts", "trainer")
    with server(lambda _: (403, b"")) as (url, handler):
        verdict = await s3(endpoint=url, serviceAccountName="trainer").check(kubernetes, ALONE)

    assert (verdict.ready, verdict.reason) == (True, "Reachable")
    assert "ServiceAccount ml/trainer" in verdict.message
    assert handler.asked == ["HEAD"]


async def test_a_bucket_is_not_followed_to_another_region(kubernetes: FakeKubernetes):
    kubernetes.add_secret("keys", **KEYS)
    error = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"
    with server(lambda _: (400, error)) as (url, handler):
        verdict = await s3(endpoint=url, **CREDENTIALS).check(kubernetes, ALONE)

    assert verdict.reason == "WrongRegion"
    assert "region eu-west-1" in verdict.message
    assert handler.asked == ["HEAD", "PUT"]


async def test_a_failed_request_is_not_repeated(kubernetes: FakeKubernetes):
    kubernetes.add_secret("keys", **KEYS)
    with server(lambda _: (503, b"")) as (url, handler):
        verdict = await s3(endpoint=url, **CREDENTIALS).check(kubernetes, ALONE)

    assert verdict.reason == "ServerError"
    assert handler.asked == ["HEAD"]


async def test_a_slow_store_is_given_up_and_left_alone(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 1)
    kubernetes.add_secret("keys", **KEYS)
    with Bucket("warm", endpoint="http://s3", region="us-east-1", path_style=True, credentials=None):
        pass  # the first client takes longest
    answer = threading.Event()

    def late(_: str) -> None:
        answer.wait(10)

    with server(late) as (url, handler):
        verdict = await s3(endpoint=url, **CREDENTIALS).check(kubernetes, ALONE)
        answer.set()
        await asyncio.sleep(0.3)

    assert verdict.reason == "EndpointUnreachable"
    assert verdict.message == f"{url} did not get beyond HeadBucket within 1 s; look for what slows it down."
    assert handler.asked == ["HEAD"]


async def test_an_endpoint_that_is_none(kubernetes: FakeKubernetes):
    kubernetes.add_secret("keys", **KEYS)
    endpoint = f"http://{'a' * 64}.svc"

    verdict = await s3(endpoint=endpoint, **CREDENTIALS).check(kubernetes, ALONE)

    assert verdict.reason == "EndpointUnreachable"
    assert verdict.message == f"{endpoint} is not an address to connect to; correct the endpoint."


async def test_what_a_thread_raises_reaches_whoever_waits():
    def fail() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        await in_thread(fail, seconds=5)


async def test_dead_endpoints_do_not_wait_for_each_other():
    began = time.monotonic()

    results = await asyncio.gather(
        *(in_thread(lambda: time.sleep(10), seconds=0.2) for _ in range(50)), return_exceptions=True
    )

    assert all(isinstance(result, TimeoutError) for result in results)
    assert time.monotonic() - began < 5
