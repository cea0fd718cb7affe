"""What runs beside a user's container, against servers in memory and in a directory in place of the pod's root."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from tests.kfp.backend import launcher
from tests.kfp.backend.cluster import Cluster
from tests.kfp.backend.launcher import RESULT, Assignment
from tests.kfp.backend.s3 import S3
from tests.kfp.fake_servers import FakePods, FakeS3


@dataclass
class Pod:
    """A pod, seen from within."""

    objects: dict[str, bytes]
    store: S3
    api: FakePods
    cluster: Cluster
    root: Path

    def assignment(self, **fields: object) -> Assignment:
        known = {"pod": "p", "namespace": "ml", "endpoint": "", "region": "", "log": "s3://b/run/executor-logs-0"}
        return Assignment.model_validate({**known, **fields})

    async def fetch(self, **fields: object) -> None:
        await asyncio.to_thread(launcher.fetch, self.assignment(**fields), self.store, self.root)

    async def wait(self, **fields: object) -> int:
        return await launcher.wait(self.assignment(**fields), self.store, self.cluster, self.root)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @property
    def result(self) -> dict[str, object]:
        return json.loads(self.api.pods["p"]["metadata"]["annotations"][RESULT])


@asynccontextmanager
async def pod(tmp_path: Path, exit_code: int = 0) -> AsyncGenerator[Pod]:
    """A pod whose main container has ended."""
    s3, api = FakeS3(), FakePods()
    api.pods["p"] = {"metadata": {}, "spec": {}}
    api.set("p", "Running", exit_code=exit_code)
    async with TestServer(s3.app()) as store, TestServer(api.app()) as cluster:
        client = Cluster(str(cluster.make_url("/")), tmp_path / "account")
        yield Pod(s3.objects, S3(str(store.make_url("")).rstrip("/")), api, client, tmp_path / "root")
        await client.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")


async def test_files_and_directories_are_fetched(tmp_path: Path) -> None:
    async with pod(tmp_path) as inside:
        inside.objects.update({"b/run/file": b"f", "b/run/tree/a": b"1", "b/run/tree/c/d": b"2"})

        await inside.fetch(inputs=["s3://b/run/file", "s3://b/run/tree"])

        assert (inside.root / "s3/b/run/file").read_bytes() == b"f"
        assert (inside.root / "s3/b/run/tree/c/d").read_bytes() == b"2"


async def test_an_input_that_is_not_there_is_no_failure(tmp_path: Path) -> None:
    async with pod(tmp_path) as inside:
        await inside.fetch(inputs=["s3://b/run/none"])

        assert not (inside.root / "s3/b/run/none").exists()


async def test_any_user_may_write_where_outputs_go(tmp_path: Path) -> None:
    async with pod(tmp_path) as inside:
        await inside.fetch(outputs={"model": "s3://b/run/train/model"})

        assert (inside.root / "s3/b/run/train").stat().st_mode & 0o777 == 0o777
        assert (inside.root / "tmp/kfp/outputs").stat().st_mode & 0o777 == 0o777


async def test_outputs_are_taken_away_and_told(tmp_path: Path) -> None:
    async with pod(tmp_path) as inside:
        inside.api.log = b"hello\n"
        inside.write("s3/b/run/model", "m")
        inside.write("s3/b/run/tree/x/y", "t")
        inside.write("tmp/kfp/outputs/n", "1\n")

        outputs = {"model": "s3://b/run/model", "tree": "s3://b/run/tree"}
        code = await inside.wait(outputs=outputs, parameters=["n"])

        assert code == 0
        assert inside.result == {"artifacts": ["model", "tree"], "parameters": {"n": "1\n"}}
        assert inside.objects["b/run/model"] == b"m"
        assert inside.objects["b/run/tree/x/y"] == b"t"
        assert inside.objects["b/run/executor-logs-0"] == b"hello\n"


async def test_an_output_parameter_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    async with pod(tmp_path) as inside:
        assert await inside.wait(parameters=["n"]) == 1


async def test_an_artifact_that_is_missing_is_none(tmp_path: Path) -> None:
    async with pod(tmp_path) as inside:
        assert await inside.wait(outputs={"model": "s3://b/run/model"}) == 0
        assert inside.result["artifacts"] == []


async def test_of_a_container_that_failed_the_log_alone_is_kept(tmp_path: Path) -> None:
    async with pod(tmp_path, exit_code=3) as inside:
        inside.api.log = b"about to fail\n"
        inside.write("s3/b/run/model", "m")

        assert await inside.wait(outputs={"model": "s3://b/run/model"}) == 0
        assert inside.objects == {"b/run/executor-logs-0": b"about to fail\n"}
