"""The same against a real S3 server, when one is there: VERSITYGW names the versitygw binary."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cairn.step import upload
from cairn.step.plan import S3Settings
from cairn.step.stores import Stores

from . import conftest
from .conftest import Pod, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSITYGW = os.environ.get("VERSITYGW") or shutil.which("versitygw")

pytestmark = pytest.mark.skipif(VERSITYGW is None, reason="no versitygw; name the binary in VERSITYGW")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the bucket `bucket`."""
    root = tmp_path_factory.mktemp("s3")
    (root / "bucket").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    keys = {"ROOT_ACCESS_KEY": "key", "ROOT_SECRET_KEY": "secret"}
    with subprocess.Popen(
        [str(VERSITYGW), "--quiet", "--port", address, "posix", str(root)],
        env={**os.environ, **keys},
        stdout=subprocess.DEVNULL,
    ) as server:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        yield f"http://{address}"
        server.terminate()


@pytest.fixture
def pod(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    """A pod whose store is a fresh prefix of the bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("CAIRN_TRANSFER_RETRY_SECONDS", "1")
    monkeypatch.setattr(conftest, "BASE", f"s3://bucket/{tmp_path.name}")
    return Pod(tmp_path / "pod", Stores(S3Settings("bucket", endpoint)))


async def test_a_directory_comes_back(pod: Pod):
    pod.file("model/config.json", b"{}")
    pod.file("model/weights/ä +%20#1?", b"\x00\x01")
    (pod.out / "model/logs").mkdir()

    await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == tree_of(pod.out / "model")


async def test_a_file_in_parts_comes_back(pod: Pod, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload, "PART_SIZE", 5 * 1024 * 1024)
    content = os.urandom(17 * 1024 * 1024)
    pod.file("model", content)

    await pod.publish("model")

    assert (await pod.fetch("model")).read_bytes() == content


async def test_a_file_takes_the_place_of_a_directory_and_the_other_way_round(pod: Pod):
    pod.file("model/deep/a")
    await pod.publish("model")
    shutil.rmtree(pod.out / "model")
    pod.file("model", b"one file")

    await pod.publish("model")
    fetched_file = (await pod.fetch("model")).read_bytes()
    (pod.out / "model").unlink()
    pod.file("model/b", b"again")
    await pod.publish("model")

    assert fetched_file == b"one file"
    assert tree_of(await pod.fetch("model")) == {"b": b"again"}


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
async def test_wrong_credentials_are_denied(pod: Pod, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "wrong")
    pod.file("model")

    refusals = [await pod.refusal_of_publish("model"), await pod.refusal_of_fetch("model")]

    assert [refusal.reason for refusal in refusals] == ["ArtifactStoreDenied", "ArtifactStoreDenied"]


async def test_a_bucket_that_does_not_exist_is_named(endpoint: str, pod: Pod, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conftest, "BASE", "s3://nothing/x")
    pod.file("model")

    refusals = [await pod.refusal_of_publish("model"), await pod.refusal_of_fetch("model")]

    assert [(refusal.reason, "nothing" in refusal.message) for refusal in refusals] == [("BucketNotFound", True)] * 2
