"""What a run does whose steps are written in a Pipeline. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from cairn.api.base import JsonObject
from cairn.api.labels import HASH_LENGTH
from cairn.api.pipeline import PipelineSpec
from cairn.runs.pipeline_parameters import values_of

OF_THE_REFERENCE = frozenset({"pipelineRef", "parameters"})


def revision_of(pipeline: PipelineSpec) -> str:
    """Return what tells a version of a Pipeline from others: of what its runs do, not of what starts them.

    Defaults are left out, so that a field that a newer version of Cairn adds changes nothing.
    """
    written = pipeline.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include={"parameters": True, "template": True}
    )
    text = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def spec_of_run(name: str, pipeline: PipelineSpec, given: Mapping[str, str]) -> JsonObject:
    """Return the spec of a run of a Pipeline, with everything written out."""
    spec: JsonObject = {"pipeline": name, **pipeline.template.spec.to_json()}
    values = values_of(pipeline.parameters or (), given)
    if values:
        spec["parameters"] = [{"name": parameter, "value": value} for parameter, value in values.items()]
    return spec


def completed(run: JsonObject, pipeline: PipelineSpec) -> JsonObject:
    """Return the spec of a run that names a Pipeline, with what it leaves to that."""
    own = {field: value for field, value in run.items() if field not in OF_THE_REFERENCE}
    return {**spec_of_run(run["pipelineRef"]["name"], pipeline, given_in(run)), **own}


def given_in(run: JsonObject) -> Mapping[str, str]:
    """Return the values that a run's spec gives for parameters."""
    return {parameter["name"]: parameter["value"] for parameter in run.get("parameters") or ()}
