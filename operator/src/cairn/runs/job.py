"""What an attempt is made as: a Job around its pod, or the pod alone."""

from __future__ import annotations

from collections.abc import Sequence

from cairn.api.base import FINALIZER, JsonObject
from cairn.api.ownership import controller_reference
from cairn.runs import naming
from cairn.runs.pod import Attempt, PodContext, build_pod
from cairn.runs.pod_shape import pod_shape


def build_job(context: PodContext, attempts: Sequence[Attempt]) -> JsonObject:
    """Return the Job. It never tries again by itself: Cairn counts attempts, because it knows whose fault an end was."""
    template = build_pod(context, attempts)
    pairs = [(attempt.step.name, attempt.number) for attempt in attempts]
    annotations = {
        naming.ATTEMPTS_ANNOTATION: naming.attempts_text(pairs),
        naming.RUN_NAME_ANNOTATION: context.run.name,
        naming.POD_SHAPE_ANNOTATION: pod_shape(context.run.namespace, template),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_metadata(context, attempts),
            "labels": naming.labels(context.run, context.stack.name, pairs),
            "annotations": annotations,
        },
        "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": template},
    }


def build_bare_pod(context: PodContext, attempts: Sequence[Attempt]) -> JsonObject:
    """Return the pod without a Job. Cairn's finalizer keeps it until its end is recorded, whoever deletes it."""
    template = build_pod(context, attempts)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], **_metadata(context, attempts), "finalizers": [FINALIZER]},
        "spec": template["spec"],
    }


def _metadata(context: PodContext, attempts: Sequence[Attempt]) -> JsonObject:
    run, first = context.run, attempts[0]
    return {
        "name": naming.workload_name(run.name, first.step.name, first.number),
        "namespace": run.namespace,
        "ownerReferences": [controller_reference("PipelineRun", run.name, run.uid)],
    }
