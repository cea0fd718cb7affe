"""The runs that a Pipeline starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from cairn.api.base import API_VERSION, JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.labels import MANAGED_BY, MANAGED_BY_CAIRN
from cairn.api.ownership import controller_of, controller_reference
from cairn.api.pipeline import GENERATION_ANNOTATION, REVISION_LABEL, LastRun, PipelineSpec
from cairn.api.pipelinerun import pipeline_of
from cairn.runs.creator import CREATED_BY_ANNOTATION
from cairn.runs.naming import PIPELINE_LABEL
from cairn.runs.pipeline_runs import spec_of_run


def run_of_change(pipeline: JsonObject, spec: PipelineSpec, revision: str) -> JsonObject:
    """Return the run of a version of a Pipeline. Its name follows from that, so that it is made once."""
    metadata = pipeline["metadata"]
    name, given = metadata["name"], spec.template.metadata
    ttl = spec.ttl_seconds_after_finished
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {
            "name": f"{name}-{metadata['generation']}-{revision}",
            "namespace": metadata["namespace"],
            "labels": {
                **(given.labels if given is not None and given.labels else {}),
                MANAGED_BY: MANAGED_BY_CAIRN,
                PIPELINE_LABEL: name,
                REVISION_LABEL: revision,
            },
            "annotations": {
                CREATED_BY_ANNOTATION: f"Pipeline {name}",
                **(given.annotations if given is not None and given.annotations else {}),
                GENERATION_ANNOTATION: str(metadata["generation"]),
            },
            "ownerReferences": [controller_reference("Pipeline", name, metadata["uid"])],
        },
        "spec": {
            **spec_of_run(name, spec, {}),
            **({"ttlSecondsAfterFinished": ttl} if ttl is not None else {}),
        },
    }


def last_run_of(run: JsonObject) -> LastRun:
    """Return what a Pipeline's status says of a run that a change has started."""
    metadata = run["metadata"]
    return LastRun(name=metadata["name"], revision=metadata["labels"][REVISION_LABEL], generation=_generation_of(run))


def runs_of_revision(
    runs: Iterable[JsonObject], pipeline: JsonObject, revision: str, last: LastRun | None
) -> list[JsonObject]:
    """Return the runs of a version of a Pipeline that are newer than the last one that its status knows, oldest first.

    Those that an operator has started before it died; and where it knows none, those that belong to nobody: a Pipeline that
    was restored from a backup without its status finds those that were restored with it.
    """
    metadata = pipeline["metadata"]
    own = metadata["uid"]
    found = [
        run
        for run in runs
        if (run["metadata"].get("labels") or {}).get(REVISION_LABEL) == revision
        and pipeline_of(run) == metadata["name"]
        if not is_being_deleted(run)
        and (controller_of(run) or {"uid": None})["uid"] in ({own} if last else {own, None})
        if last is None or _generation_of(run) > last.generation
    ]
    return sorted(found, key=lambda run: (run["metadata"].get("creationTimestamp", ""), run["metadata"]["name"]))


def _generation_of(run: JsonObject) -> int:
    """Return the generation of the Pipeline that a run was made for."""
    text = (run["metadata"].get("annotations") or {}).get(GENERATION_ANNOTATION, "")
    return int(text) if text.isdigit() else 0
