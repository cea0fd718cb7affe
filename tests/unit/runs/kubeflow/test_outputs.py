"""What a step has written on Kubeflow Pipelines is read from the pipeline root."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from cairn.components.base import StoreUnavailableError
from cairn.runs.kubeflow.outputs import OutputsInvalidError, StepOutputs, read_outputs
from cairn.step.manifest import FileEntry, Manifest
from tests.unit.builders import outputs, step
from tests.unit.fake_stores import FakeStore

PLACE = "ml/.kubeflow/wine/run-1/train"


async def read(objects: dict[str, bytes], **fields: Any) -> tuple[StepOutputs, FakeStore]:
    store = FakeStore()
    store.objects = {f"{PLACE}/{key}": content for key, content in objects.items()}
    return await read_outputs(store, PLACE, step("train", **fields), lambda key: f"s3://b/{key}"), store


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_file_has_the_digest_of_its_content():
    found, _ = await read({"uuid/model": b"weights"}, outputs=outputs("model"))

    model = found.artifacts["model"]
    assert (model.uri, model.size_bytes) == (f"s3://b/{PLACE}/uuid/model", 7)
    assert model.digest == f"sha256:{sha256(b'weights')}"


async def test_a_directory_has_the_digest_that_it_has_anywhere_and_its_manifest_beside_it():
    found, store = await read({"uuid/model/a": b"1", "uuid/model/b/c": b"22"}, outputs=outputs("model"))

    manifest = Manifest.of([FileEntry("a", 1, sha256(b"1")), FileEntry("b/c", 2, sha256(b"22"))], ())
    assert (found.artifacts["model"].digest, found.artifacts["model"].size_bytes) == (manifest.digest, 3)
    assert store.objects[f"{PLACE}/uuid/model.manifest.json"] == manifest.encode()


async def test_results_are_those_that_it_wrote():
    found, _ = await read(
        {"uuid/results.json": b'{"rmse": 0.50, "kind": "forest"}'}, outputs=outputs(results=["rmse", "kind"])
    )

    assert found.results == {"rmse": "0.5", "kind": "forest"}


async def test_of_a_task_that_was_driven_again_that_execution_counts_which_has_written_all():
    objects = {"a/model": b"half", "b/model": b"whole", "b/results.json": b'{"rmse": 1}'}

    found, _ = await read(objects, outputs=outputs("model", results=["rmse"]))

    assert found.artifacts["model"].uri.endswith("/b/model")


async def test_a_step_that_writes_nothing_costs_no_request():
    found, store = await read({})

    assert (found, store.asked) == (StepOutputs({}, {}), [])


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ({}, "OutputMissing"),
        ({"uuid/model": b"weights"}, "OutputMissing"),
        ({"uuid/model": b"weights", "uuid/results.json": b"no JSON"}, "ResultsInvalid"),
        ({"uuid/model": b"weights", "uuid/results.json": b'{"other": 1}'}, "ResultsInvalid"),
    ],
)
async def test_what_is_not_as_declared_is_told(objects: dict[str, bytes], reason: str):
    with pytest.raises(OutputsInvalidError) as invalid:
        await read(objects, outputs=outputs("model", results=["rmse"]))

    assert invalid.value.reason == reason


async def test_a_store_that_is_away_is_another_matter():
    store = FakeStore()
    store.refusal = StoreUnavailableError("EndpointUnreachable", "The bucket does not answer.")

    with pytest.raises(StoreUnavailableError):
        await read_outputs(store, PLACE, step("train", outputs=outputs("model")), str)
