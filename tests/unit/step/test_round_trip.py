"""What one step publishes, the next one fetches."""

from __future__ import annotations

import hashlib
import os

import pytest

from cairn.step import upload
from cairn.step.errors import StoppedError
from cairn.step.tree import survey

from .conftest import BASE, Pod, tree_of


async def test_a_file_comes_back_with_its_content(pod: Pod):
    pod.file("model", b"weights")

    await pod.publish("model")

    assert (await pod.fetch("model")).read_bytes() == b"weights"


async def test_a_file_s_digest_is_the_sha256_of_its_bytes(pod: Pod):
    pod.file("model", b"weights")

    report = await pod.publish("model")

    assert report["artifacts"]["model"] == {
        "digest": "sha256:" + hashlib.sha256(b"weights").hexdigest(),
        "sizeBytes": 7,
    }


async def test_an_empty_file_comes_back(pod: Pod):
    pod.file("model", b"")

    await pod.publish("model")

    assert (await pod.fetch("model")).read_bytes() == b""


async def test_a_large_file_is_sent_in_parts_and_comes_back(pod: Pod, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload, "PART_SIZE", 64 * 1024)
    content = os.urandom(64 * 1024 * 5 + 3)
    pod.file("model", content)

    report = await pod.publish("model")

    assert report["artifacts"]["model"]["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (await pod.fetch("model")).read_bytes() == content


async def test_a_directory_comes_back_with_empty_directories(pod: Pod):
    pod.file("model/config.json", b"{}")
    pod.file("model/weights/0.bin", b"\x00\x01")
    (pod.out / "model/logs/old").mkdir(parents=True)

    await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == tree_of(pod.out / "model")


async def test_an_empty_directory_comes_back(pod: Pod):
    (pod.out / "model").mkdir()

    report = await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == {}
    assert report["artifacts"]["model"]["sizeBytes"] == 0


@pytest.mark.parametrize(
    "name", ["a b", "a%20b", "ä+ö", "日本", "q?x=1&y", "a'\"b", "[x]*", "a#b", ".hidden", "back\\slash"]
)
async def test_a_file_name_comes_back_as_it_was(pod: Pod, name: str):
    pod.file(f"model/{name}", b"x")

    await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == {name: b"x"}


async def test_the_executable_bit_in_a_directory_comes_back(pod: Pod):
    pod.file("model/run").chmod(0o755)
    pod.file("model/data").chmod(0o644)

    await pod.publish("model")

    fetched = await pod.fetch("model")
    assert [os.access(fetched / name, os.X_OK) for name in ("run", "data")] == [True, False]


async def test_what_is_fetched_can_be_read_by_any_user(pod: Pod):
    pod.file("model/deep/file").chmod(0o600)
    (pod.out / "model/deep").chmod(0o700)
    await pod.publish("model")
    old = os.umask(0o077)

    try:
        fetched = await pod.fetch("model")
    finally:
        os.umask(old)

    modes = [path.stat().st_mode & 0o777 for path in (fetched, fetched / "deep", fetched / "deep/file")]
    assert modes == [0o755, 0o755, 0o644]


async def test_a_directory_s_objects_have_the_names_of_its_files(pod: Pod):
    pod.file("model/a/b.bin")

    await pod.publish("model")

    assert await pod.keys() == ["model.manifest.json", "model/a/b.bin"]


async def test_a_directory_that_lost_files_leaves_none_in_the_store(pod: Pod):
    pod.file("model/old/part")
    pod.file("model/new")
    await pod.publish("model")
    (pod.out / "model/old/part").unlink()

    await pod.publish("model")

    assert await pod.keys() == ["model.manifest.json", "model/new"]


async def test_a_directory_inside_may_take_the_place_of_a_file(pod: Pod):
    pod.file("model/a")
    await pod.publish("model")
    (pod.out / "model/a").unlink()
    pod.file("model/a/b", b"below")

    await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == {"a": None, "a/b": b"below"}


async def test_a_file_takes_the_place_of_a_directory(pod: Pod):
    directory = pod.file("model/a").parent
    await pod.publish("model")
    directory.rename(pod.out / "away")
    pod.file("model", b"one file")

    await pod.publish("model")

    assert await pod.keys() == ["model"]
    assert (await pod.fetch("model")).read_bytes() == b"one file"


async def test_a_directory_takes_the_place_of_a_file(pod: Pod):
    pod.file("model").unlink()
    pod.file("model", b"one file")
    await pod.publish("model")
    (pod.out / "model").unlink()
    pod.file("model/a")

    await pod.publish("model")

    assert await pod.keys() == ["model.manifest.json", "model/a"]


async def test_another_artifact_whose_name_begins_alike_is_left_alone(pod: Pod):
    pod.file("model/a")
    pod.file("model-2/b")
    await pod.publish("model-2")

    await pod.publish("model")

    assert "model-2/b" in await pod.keys()


async def test_an_interrupted_directory_does_not_count(pod: Pod):
    pod.file("model/a")
    pod.file("model/b")
    await pod.publish("model")
    pod.stop.set()
    with pytest.raises(StoppedError):
        await upload.Uploader(pod.stop).upload(survey(pod.output("model")), *pod.stores.locate(f"{BASE}/model"))
    pod.stop = type(pod.stop)()

    refusal = await pod.refusal_of_fetch("model")

    assert refusal.reason == "InputMissing"


async def test_a_stopped_upload_in_parts_leaves_no_object(pod: Pod, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload, "PART_SIZE", 1024)
    monkeypatch.setattr(upload, "DRAIN_SECONDS", 0)
    pod.file("model", bytes(10_000))
    tree = survey(pod.output("model"))
    pod.stop.set()

    with pytest.raises(StoppedError):
        await upload.Uploader(pod.stop).upload(tree, *pod.stores.locate(f"{BASE}/model"))

    assert await pod.keys() == []


async def test_many_files_are_all_there(pod: Pod):
    for number in range(300):
        pod.file(f"model/{number % 7}/{number}", str(number).encode())

    await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == tree_of(pod.out / "model")
