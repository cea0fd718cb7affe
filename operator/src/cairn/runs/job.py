"""The Job around an attempt's pod."""

from __future__ import annotations

from collections.abc import Sequence

from cairn.api.base import API_VERSION, JsonObject
from cairn.runs import naming
from cairn.runs.pod import Attempt, PodContext, build_pod


def build_job(context: PodContext, attempts: Sequence[Attempt]) -> JsonObject:
    """Return the Job. It never tries again by itself: Cairn counts attempts, because it knows whose fault an end was."""
    pairs = [(attempt.step.name, attempt.number) for attempt in attempts]
    first, number = pairs[0]
    run = context.run
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": naming.job_name(run.name, first, number),
            "namespace": run.namespace,
            "labels": naming.labels(run, context.stack.name, pairs),
            "annotations": {
                naming.ATTEMPTS_ANNOTATION: naming.attempts_text(pairs),
                naming.RUN_NAME_ANNOTATION: run.name,
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "PipelineRun",
                    "name": run.name,
                    "uid": run.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "template": build_pod(context, attempts),
        },
    }
