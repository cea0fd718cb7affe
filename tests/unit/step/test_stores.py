"""How the plan's store settings reach obstore."""

from __future__ import annotations

from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
import pytest
from obstore.store import S3Store

from cairn.step.errors import StepError
from cairn.step.plan import S3Settings
from cairn.step.stores import Store, Stores

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as a pod has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def address(settings: S3Settings, uri: str = "s3://ml/a/b") -> str:
    """Return the URL that a request for the URI would go to."""
    store, key = Stores(settings).locate(uri)
    url = urlsplit(signed(store, key))
    return f"{url.scheme}://{url.netloc}{url.path}"


def signed(store: Store, key: str) -> str:
    """Return a signed URL of the key, which shows what obstore was told."""
    assert isinstance(store.client, S3Store)
    return obstore.sign(store.client, "GET", key, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("endpoint", "style", "expected"),
    [
        (None, "Auto", "https://ml.s3.eu-west-1.amazonaws.com/a/b"),
        (None, "Path", "https://s3.eu-west-1.amazonaws.com/ml/a/b"),
        (None, "Virtual", "https://ml.s3.eu-west-1.amazonaws.com/a/b"),
        ("http://s3.demo.svc:7070", "Auto", "http://s3.demo.svc:7070/ml/a/b"),
        ("http://s3.demo.svc:7070/", "Path", "http://s3.demo.svc:7070/ml/a/b"),
        ("https://s3.example.com", "Virtual", "https://ml.s3.example.com/a/b"),
    ],
)
def test_requests_go_to(endpoint: str | None, style: str, expected: str):
    assert address(S3Settings("ml", endpoint, "eu-west-1", style)) == expected


def test_an_endpoint_in_the_environment_does_not_replace_the_plan_s(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://other:1")

    assert address(S3Settings("ml", "http://s3:7070")) == "http://s3:7070/ml/a/b"


def test_a_uri_may_lead_to_another_bucket_of_the_server():
    assert address(S3Settings("ml", "http://s3:7070"), "s3://public/x") == "http://s3:7070/public/x"


def test_an_empty_session_token_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    store, key = Stores(S3Settings("ml", "http://s3:7070")).locate("s3://ml/a")

    assert "Security-Token" not in signed(store, key)


def test_a_ca_file_that_cannot_be_read_is_named():
    stores = Stores(S3Settings("ml", "https://s3:7070", ca_file=Path("/cairn/ca/ca.crt")))

    with pytest.raises(StepError, match=r"/cairn/ca/ca\.crt cannot be read"):
        stores.locate("s3://ml/a")


class Recorder(BaseHTTPRequestHandler):
    """Accepts every object and keeps the names of the headers it came with."""

    headers_seen: set[str] = set()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.headers_seen.update(name.lower() for name in self.headers)
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def recorder() -> Iterator[str]:
    """The endpoint of a server that records headers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def test_an_upload_asks_for_no_checksum_that_some_s3_servers_do_not_know(recorder: str):
    store, key = Stores(S3Settings("ml", recorder)).locate("s3://ml/a")

    await store.put(key, b"x")

    assert "authorization" in Recorder.headers_seen
    assert not {name for name in Recorder.headers_seen if "checksum" in name or "trailer" in name}


async def test_retries_end_when_the_environment_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CAIRN_TRANSFER_RETRY_SECONDS", "0")
    store, key = Stores(S3Settings("ml", "http://127.0.0.1:1")).locate("s3://ml/a")

    with pytest.raises(StepError, match=r"ArtifactStoreUnreachable: .* \(http://127.0.0.1:1\) .* connection refused"):
        await store.put(key, b"x")
