"""What publish refuses, and what it reports."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from cairn.step import tree, upload
from cairn.step.tree import survey

from .conftest import BASE, Pod, local_stores, tree_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_output_that_does_not_exist_is_named_with_its_declared_path(pod: Pod):
    refusal = await pod.refusal_of_publish("model")

    assert refusal.reason == "OutputMissing"
    assert "model at /out/model" in refusal.message


async def test_nothing_is_uploaded_when_one_output_is_missing(pod: Pod):
    pod.file("metrics")

    await pod.refusal_of_publish("metrics", "model")

    assert await pod.keys() == []


async def test_nothing_is_uploaded_when_one_output_is_unfit(pod: Pod):
    pod.file("metrics")
    os.mkfifo(pod.out / "model")

    await pod.refusal_of_publish("metrics", "model")

    assert await pod.keys() == []


async def test_an_output_that_is_a_link_is_refused(pod: Pod):
    pod.file("elsewhere")
    (pod.out / "model").symlink_to("elsewhere")

    refusal = await pod.refusal_of_publish("model")

    assert (refusal.reason, "/out/model is a symbolic link" in refusal.message) == ("OutputInvalid", True)


async def test_an_output_below_a_link_is_refused(pod: Pod, tmp_path: Path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/token").write_text("secret")
    (pod.out / "sub").symlink_to(tmp_path / "secret")

    refusal = await pod.refusal_of_publish("sub/token")

    assert refusal.reason == "OutputInvalid"


@pytest.mark.parametrize("target", ["../elsewhere", "/etc/hostname", "..", "sub/../../elsewhere"])
async def test_a_link_that_leads_out_of_the_directory_is_refused(pod: Pod, target: str):
    pod.file("elsewhere")
    pod.file("model/sub/a")
    (pod.out / "model/link").symlink_to(target)

    refusal = await pod.refusal_of_publish("model")

    assert (refusal.reason, "/out/model/link" in refusal.message) == ("OutputInvalid", True)


async def test_a_link_to_a_directory_whose_name_begins_like_the_artifact_is_refused(pod: Pod):
    pod.file("model-2/secret")
    pod.file("model/a")
    (pod.out / "model/link").symlink_to("../model-2/secret")

    refusal = await pod.refusal_of_publish("model")

    assert "leads out" in refusal.message


async def test_a_link_that_stays_inside_is_stored_as_what_it_leads_to(pod: Pod):
    pod.file("model/v3/weights", b"w")
    (pod.out / "model/latest").symlink_to("v3")
    (pod.out / "model/best").symlink_to("v3/weights")

    await pod.publish("model")

    assert tree_of(await pod.fetch("model")) == {
        "v3": None,
        "v3/weights": b"w",
        "latest": None,
        "latest/weights": b"w",
        "best": b"w",
    }


async def test_an_absolute_link_is_understood_as_the_step_saw_it(pod: Pod):
    pod.file("model/checkpoint-9", b"w")
    (pod.out / "model/last").symlink_to("/out/model/checkpoint-9")

    await pod.publish("model")

    assert tree_of(await pod.fetch("model"))["last"] == b"w"


async def test_an_absolute_link_is_relative_afterwards_for_steps_of_the_same_pod(pod: Pod):
    pod.file("model/v1/weights", b"w")
    (pod.out / "model/links").mkdir()
    (pod.out / "model/links/last").symlink_to("/out/model/v1")
    (pod.out / "model/links/first").symlink_to("/out/model/v1/weights")

    await pod.publish("model")
    (pod.out / "model").rename(pod.out / "seen-elsewhere")

    assert (pod.out / "seen-elsewhere/links/last/weights").read_bytes() == b"w"
    assert (pod.out / "seen-elsewhere/links/first").read_bytes() == b"w"
    assert sorted(path.name for path in (pod.out / "seen-elsewhere/links").iterdir()) == ["first", "last"]


async def test_a_link_that_leads_nowhere_is_refused(pod: Pod):
    pod.file("model/a")
    (pod.out / "model/link").symlink_to("gone")

    assert "leads nowhere" in (await pod.refusal_of_publish("model")).message


@pytest.mark.parametrize("target", [".", "../sub", "link"])
async def test_links_in_a_circle_are_refused(pod: Pod, target: str):
    pod.file("model/sub/a")
    (pod.out / "model/sub/link").symlink_to(target)

    assert (await pod.refusal_of_publish("model")).reason == "OutputInvalid"


async def test_a_socket_is_refused(pod: Pod, monkeypatch: pytest.MonkeyPatch):
    pod.file("model/a")
    monkeypatch.chdir(pod.out / "model")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("agent.sock")

        refusal = await pod.refusal_of_publish("model")

    assert "/out/model/agent.sock is neither a file nor a directory" in refusal.message


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe"])
async def test_a_name_that_a_store_cannot_hold_is_refused(pod: Pod, name: bytes):
    pod.file("model/a")
    (pod.out / "model" / os.fsdecode(name)).write_bytes(b"x")

    assert "rename it" in (await pod.refusal_of_publish("model")).message


async def test_a_directory_with_too_many_files_is_refused(pod: Pod, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree, "FILE_LIMIT", 3)
    for number in range(4):
        pod.file(f"model/{number}")

    assert "more than 3 files" in (await pod.refusal_of_publish("model")).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_publish_may_not_read_is_refused(pod: Pod):
    pod.file("model/a").chmod(0)

    assert "chmod a+rX" in (await pod.refusal_of_publish("model")).message


@pytest.mark.parametrize("part_size", [1024, 1024 * 1024], ids=["in parts", "whole"])
async def test_a_file_that_grew_after_the_survey_is_refused(pod: Pod, part_size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload, "PART_SIZE", part_size)
    monkeypatch.setattr(upload, "DRAIN_SECONDS", 0)
    file = pod.file("model", bytes(5000))
    surveyed = survey(pod.output("model"))
    file.write_bytes(bytes(5001))

    with pytest.raises(upload.StepError, match=r"OutputInvalid: .* /out/model changed while it was uploaded"):
        await upload.Uploader(pod.stop).upload(surveyed, *pod.stores.locate(f"{BASE}/model"))

    assert await pod.keys() == []


async def test_a_file_that_was_rewritten_after_the_survey_is_refused(pod: Pod):
    file = pod.file("model", b"before")
    surveyed = survey(pod.output("model"))
    file.write_bytes(b"after!")
    os.utime(file, ns=(0, 0))

    with pytest.raises(upload.StepError, match="changed"):
        await upload.Uploader(pod.stop).upload(surveyed, *pod.stores.locate(f"{BASE}/model"))


async def test_a_file_that_vanished_after_the_survey_is_refused(pod: Pod):
    file = pod.file("model", b"before")
    surveyed = survey(pod.output("model"))
    file.unlink()

    with pytest.raises(upload.StepError, match="OutputInvalid"):
        await upload.Uploader(pod.stop).upload(surveyed, *pod.stores.locate(f"{BASE}/model"))


async def test_the_results_are_reported_as_they_are(pod: Pod):
    results = pod.file("results.json", b'{"rmse": 0.5}\n')

    report = await pod.publish(results=results)

    assert report == {"artifacts": {}, "results": '{"rmse": 0.5}\n'}


async def test_results_that_were_not_written_are_not_reported(pod: Pod):
    report = await pod.publish(results=pod.out / "results.json")

    assert report == {"artifacts": {}}


async def test_no_more_of_the_results_is_read_than_shows_that_they_are_too_long(pod: Pod):
    results = pod.file("results.json", b"x" * 100_000)

    report = await pod.publish(results=results)

    assert len(report["results"]) == 4097


async def test_results_that_are_a_link_are_refused(pod: Pod, tmp_path: Path):
    (tmp_path / "token").write_text("secret")
    (pod.out / "results.json").symlink_to(tmp_path / "token")

    refusal = await pod.refusal_of_publish(results=pod.out / "results.json")

    assert (refusal.reason, "secret" in refusal.message) == ("OutputInvalid", False)


async def test_a_name_that_the_local_store_cannot_hold_is_refused(tmp_path: Path):
    pod = Pod(tmp_path / "pod", local_stores(tmp_path / "store"))
    pod.file("model/part#1")

    refusal = await pod.refusal_of_publish("model")

    assert (refusal.reason, "rename the file" in refusal.message) == ("OutputInvalid", True)
