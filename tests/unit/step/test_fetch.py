"""What fetch verifies, and what it does with what a user's URI leads to."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cairn.step import download
from cairn.step.stores import Object

from .conftest import BASE, Pod, local_stores, tree_of

if TYPE_CHECKING:
    from pathlib import Path

KEY = BASE.removeprefix("pvc://claim/")


async def test_an_object_that_is_not_there_is_missing(pod: Pod):
    refusal = await pod.refusal_of_fetch("model")

    assert (refusal.reason, f"{BASE}/model" in refusal.message) == ("InputMissing", True)


async def test_the_recorded_digest_of_a_file_is_accepted(pod: Pod):
    pod.file("model", b"weights")
    report = await pod.publish("model")

    fetched = await pod.fetch("model", report["artifacts"]["model"]["digest"])

    assert fetched.read_bytes() == b"weights"


async def test_the_recorded_digest_of_a_directory_is_accepted(pod: Pod):
    pod.file("model/a", b"weights")
    report = await pod.publish("model")

    fetched = await pod.fetch("model", report["artifacts"]["model"]["digest"])

    assert tree_of(fetched) == {"a": b"weights"}


async def test_a_file_with_another_digest_is_corrupt(pod: Pod):
    pod.file("model", b"weights")
    report = await pod.publish("model")
    await pod.store.put(f"{KEY}/model", b"weightz")

    refusal = await pod.refusal_of_fetch("model", report["artifacts"]["model"]["digest"])

    assert refusal.reason == "ArtifactCorrupt"


async def test_a_manifest_with_another_digest_is_corrupt(pod: Pod):
    pod.file("model/a")
    report = await pod.publish("model")
    await pod.store.put(f"{KEY}/model.manifest.json", b'{"version":1,"files":[],"directories":[]}')

    refusal = await pod.refusal_of_fetch("model", report["artifacts"]["model"]["digest"])

    assert refusal.reason == "ArtifactCorrupt"


@pytest.mark.parametrize("content", [b"contenT", b"longer than before", b""])
async def test_a_file_in_a_directory_that_is_not_as_the_manifest_says_is_corrupt(pod: Pod, content: bytes):
    pod.file("model/a", b"content")
    await pod.publish("model")
    await pod.store.put(f"{KEY}/model/a", content)

    refusal = await pod.refusal_of_fetch("model")

    assert (refusal.reason, "file a" in refusal.message) == ("ArtifactCorrupt", True)


async def test_a_directory_that_lost_an_object_is_corrupt(pod: Pod):
    pod.file("model/a")
    pod.file("model/b")
    await pod.publish("model")
    await pod.store.delete([f"{KEY}/model/a"])

    refusal = await pod.refusal_of_fetch("model")

    assert (refusal.reason, "lost its file a" in refusal.message) == ("ArtifactCorrupt", True)


async def test_what_is_corrupt_is_never_seen_at_its_path(pod: Pod):
    pod.file("model/a")
    pod.file("model/b")
    await pod.publish("model")
    await pod.store.put(f"{KEY}/model/a", b"other")

    await pod.refusal_of_fetch("model")

    assert list(pod.into.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a//b", "."])
async def test_a_manifest_cannot_lead_out_of_the_artifact(pod: Pod, path: str):
    manifest = f'{{"version":1,"files":[{{"path":"{path}","size":1,"sha256":"ab"}}],"directories":[]}}'
    await pod.store.put(f"{KEY}/model.manifest.json", manifest.encode())

    refusal = await pod.refusal_of_fetch("model")

    assert (refusal.reason, "leads out" in refusal.message) == ("ArtifactCorrupt", True)


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b'{"version":2}', b'{"version":1}', b"\xff", b'{"version":1,"files":[1]}']
)
async def test_what_is_no_manifest_is_corrupt(pod: Pod, manifest: bytes):
    await pod.store.put(f"{KEY}/model.manifest.json", manifest)

    assert (await pod.refusal_of_fetch("model")).reason == "ArtifactCorrupt"


async def test_what_an_interrupted_fetch_left_is_replaced(pod: Pod):
    pod.file("model/a", b"new")
    await pod.publish("model")
    for left in (pod.into / "model", download.partial_path(pod.into / "model")):
        left.mkdir(parents=True)
        (left / "left").write_text("over")

    fetched = await pod.fetch("model")

    assert tree_of(fetched) == {"a": b"new"}
    assert [path.name for path in pod.into.iterdir()] == ["model"]


async def test_everything_below_a_user_s_prefix_is_fetched_without_a_manifest(pod: Pod):
    await pod.store.put("raw/2024/a.csv", b"a")
    await pod.store.put("raw/2024/deep/b.csv", b"b")
    await pod.store.put("raw/2024-old/c.csv", b"c")

    fetched = await pod.fetch("data", uri="pvc://claim/raw/2024/")

    assert tree_of(fetched) == {"a.csv": b"a", "deep": None, "deep/b.csv": b"b"}


async def test_a_user_s_prefix_uses_the_manifest_where_there_is_one(pod: Pod):
    pod.file("model/a")
    (pod.out / "model/empty").mkdir()
    await pod.publish("model")

    fetched = await pod.fetch("model", uri=f"{BASE}/model/")

    assert tree_of(fetched) == {"a": b"content", "empty": None}


async def test_a_user_s_prefix_with_nothing_below_it_is_missing(pod: Pod):
    assert (await pod.refusal_of_fetch("data", uri="pvc://claim/raw/")).reason == "InputMissing"


async def test_an_interrupted_upload_is_missing_although_it_is_fetched_as_a_prefix_with_a_digest(pod: Pod):
    await pod.store.put("raw/a", b"a")

    assert (await pod.refusal_of_fetch("data", "sha256:00", "pvc://claim/raw/")).reason == "InputMissing"


def test_objects_that_stand_for_directories_are_no_files():
    found = [Object("raw", 0), Object("raw/deep", 0), Object("raw/deep/a", 3)]

    assert [file.path for file in download.listed_files(found, "raw")] == ["deep/a"]


@pytest.mark.parametrize("uri", ["s3://claim/x", "pvc://other/x", "claim/x", "pvc://claim", "pvc://claim/", "pvc:///x"])
async def test_a_uri_of_another_store_is_refused(tmp_path: Path, uri: str):
    pod = Pod(tmp_path / "pod", local_stores(tmp_path / "store"))

    assert (await pod.refusal_of_fetch("data", uri=uri)).reason == "InputInvalid"


async def test_a_uri_cannot_lead_out_of_the_local_store(tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    pod = Pod(tmp_path / "pod", local_stores(tmp_path / "store"))

    assert (await pod.refusal_of_fetch("data", uri="pvc://claim/a/../../secret")).reason == "InputInvalid"


async def test_a_full_disk_is_reported_as_such(pod: Pod, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pod.file("model", b"weights")
    await pod.publish("model")
    monkeypatch.setattr(download, "_write", full)

    refusal = await pod.refusal_of_fetch("model")

    assert (refusal.reason, "artifact model" in refusal.message) == ("DiskFull", True)


async def test_a_local_store_that_is_not_mounted_is_unreachable(tmp_path: Path):
    stores = local_stores(tmp_path / "store")
    (tmp_path / "store").rmdir()
    pod = Pod(tmp_path / "pod", stores)

    assert (await pod.refusal_of_fetch("model")).reason == "ArtifactStoreUnreachable"
