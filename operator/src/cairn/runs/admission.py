"""Has the API server check the pods of a run before any of them is made.

Much of a pod is Kubernetes' own (volumes, affinity, resources, …), which only the API server can judge, and admission plugins
such as Pod Security and quotas judge it too. One dry run for each kind of pod, remembered, so that runs like those before
cost none.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import ArtifactStatus
from cairn.clients.clock import Clock
from cairn.clients.kubernetes import PODS, ForbiddenError, InvalidError, Kubernetes
from cairn.runs.flow_validation import place_of
from cairn.runs.graph import outputs_of, results_of
from cairn.runs.instances import RunSteps
from cairn.runs.pod import Attempt, PodContext, build_pod
from cairn.runs.pod_shape import pod_shape
from cairn.runs.references import TextsTooLargeError, Values

REMEMBERED = 4096
REMEMBERED_SECONDS = 300.0
DRY_RUN_NAME = "cairn-dry-run"
"""A name that is the same each time, so that a refusal that names the pod is the same each time."""
REFUSED_FOR_GOOD = ("violates PodSecurity", "denied the request", "security context constraint")
"""Words of Pod Security admission, of validating webhooks, and of OpenShift: what they say changes with the pod only."""


class PodAdmission:
    """Asks the API server, once for each kind of pod."""

    def __init__(self, kubernetes: Kubernetes, clock: Clock) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._accepted: OrderedDict[str, float] = OrderedDict()
        """Until when each shape counts as accepted, on the monotonic clock: policies change."""

    async def problem_of(self, context: PodContext, steps: RunSteps) -> str | None:
        """Return what the API server says against the first step that it refuses for good, or None.

        Raises:
            ApiError: it could not judge, or refuses for now.
        """
        context = _with_stand_ins(context, steps)
        for step in steps.by_name.values():
            place = place_of(steps.spec, steps.graph.steps[steps.written(step.name)])
            try:
                pod = build_pod(context, [Attempt(step, 1)])
            except TextsTooLargeError as error:
                return f"{place}: {error}"
            shape = pod_shape(context.run.namespace, pod)
            if self._accepted.get(shape, 0.0) > self._clock.monotonic():
                continue
            refusal = await self._refusal(context, pod)
            if refusal is not None:
                return f"{place}: {refusal}"
            self._accepted[shape] = self._clock.monotonic() + REMEMBERED_SECONDS
            self._accepted.move_to_end(shape)
            if len(self._accepted) > REMEMBERED:
                self._accepted.popitem(last=False)
        return None

    async def _refusal(self, context: PodContext, pod: JsonObject) -> str | None:
        try:
            await dry_run(self._kubernetes, context.run.namespace, pod)
        except InvalidError as error:
            return f"the API server refuses its pod: {error.message}"
        except ForbiddenError as error:
            if "exceeded quota" in error.message:
                return None  # there may be room when the step's turn comes
            if any(words in error.message for words in REFUSED_FOR_GOOD):
                return f"its pod is not allowed here: {error.message}"
            raise  # what is missing (a ServiceAccount, a PriorityClass, a permission) may yet come
        return None


async def dry_run(kubernetes: Kubernetes, namespace: str, template: JsonObject) -> None:
    """Have the API server judge a pod; raises ApiError with what it has against it."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": DRY_RUN_NAME},
        "spec": template["spec"],
    }
    await kubernetes.create(PODS, namespace, body, dry_run=True)


def _with_stand_ins(context: PodContext, steps: RunSteps) -> PodContext:
    """Return the context with something in place of every artifact and result, as if all steps had succeeded."""
    written = steps.graph.steps.values()
    results = {(step.name, result): "0" for step in written for result in results_of(step)}
    artifacts = {
        (step.name, output.name): {
            "0" if step.for_each else "": ArtifactStatus(
                name=output.name,
                uri=context.stack.artifact_store.uri("stand-in"),
                digest=f"sha256:{'0' * 64}",
                size_bytes=0,
            )
        }
        for step in written
        for output in outputs_of(step)
    }
    values = Values(context.values.parameters, context.values.run_name, context.values.run_uid, results)
    return replace(context, artifacts=artifacts, values=values)
