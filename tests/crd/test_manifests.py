"""The manifests of this folder: what is accepted, what is refused and in which words, what may not change."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cairn.api.base import JsonObject

from .api_server import ApiServer
from .manifests import SPECS, Manifest, crds, manifests, samples
from .schema import nodes, spec_schema
from .test_bounds import model_accepts

NOT_THE_MODELS_BUSINESS = re.compile(r"^Duplicate value")
"""What the API server refuses beyond its rules and the models do not: two items of a list with the same key."""


def named(folder: str) -> list[object]:
    return [pytest.param(manifest, id=manifest.path.stem) for manifest in manifests(folder)]


def rules() -> Iterator[JsonObject]:
    for crd in crds():
        for _, schema in nodes(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], ""):
            yield from schema.get("x-kubernetes-validations", [])


MESSAGES = {rule["message"] for rule in rules()}


@pytest.mark.parametrize("manifest", named("valid"))
def test_valid(manifest: Manifest, api_server: ApiServer) -> None:
    answer = api_server.dry_run(manifest.document)

    assert answer.accepted is not None, answer
    model = SPECS[manifest.document["kind"]]
    # the operator sees the object with the API server's defaults, which are the models' defaults
    assert model.model_validate(manifest.document["spec"]) == model.model_validate(answer.accepted["spec"])


@pytest.mark.parametrize("manifest", named("invalid"))
def test_invalid(manifest: Manifest, api_server: ApiServer) -> None:
    assert manifest.refused is not None
    assert manifest.message is not None

    answer = api_server.dry_run(manifest.document)

    assert answer.refused, answer
    expected = f"expected {manifest.refused}: {manifest.message}, but was {answer}"
    assert answer.names(manifest.refused, manifest.message), expected
    if "spec" in manifest.document and any(for_the_models(problem.message) for problem in answer.problems):
        assert not model_accepts(manifest.document)


@pytest.mark.parametrize("manifest", named("immutable"))
def test_change(manifest: Manifest, api_server: ApiServer) -> None:
    before, after = manifest.documents
    existing = api_server.create(before)
    try:
        answer = api_server.dry_run_update(existing, after)
    finally:
        api_server.delete(existing)

    if manifest.refused is None:
        assert not answer.refused, answer
    else:
        assert manifest.message is not None
        assert answer.refused, answer
        expected = f"expected {manifest.refused}: {manifest.message}, but was {answer}"
        assert answer.names(manifest.refused, manifest.message), expected


@pytest.mark.parametrize("sample", [pytest.param(document, id=name) for name, document in samples()])
def test_sample(sample: JsonObject, api_server: ApiServer) -> None:
    answer = api_server.dry_run(sample)

    assert answer.accepted is not None, answer
    SPECS[sample["kind"]].model_validate(sample["spec"])


def test_every_rule_has_a_manifest_that_it_refuses() -> None:
    refused = {manifest.message for folder in ("invalid", "immutable") for manifest in manifests(folder)}

    untested = {message for message in MESSAGES if not any(words in message for words in refused if words)}
    assert untested == set()


def test_every_field_of_a_run_but_suspend_and_its_time_to_live_is_immutable() -> None:
    run = next(crd for crd in crds() if crd["spec"]["names"]["kind"] == "PipelineRun")
    schema = spec_schema(run)
    immutable = {
        rule["fieldPath"].removeprefix(".") for rule in schema["x-kubernetes-validations"] if "oldSelf" in rule["rule"]
    }

    assert set(schema["properties"]) - immutable == {"suspend", "ttlSecondsAfterFinished"}


def for_the_models(message: str) -> bool:
    """Return whether a model must refuse this too: not what only a rule refuses."""
    return not NOT_THE_MODELS_BUSINESS.search(message) and not any(rule in message for rule in MESSAGES)
