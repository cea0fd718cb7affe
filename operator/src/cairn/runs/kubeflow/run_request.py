"""What of a run is sent to Kubeflow Pipelines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cairn.api.base import JsonObject
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.compiler import compile_run
from cairn.runs.pod import PodContext, step_template


def run_request(context: PodContext, steps: RunSteps, names: Sequence[str], orchestrator: Kubeflow) -> JsonObject:
    """Return the body of the request that creates a run of these steps; the ID of its experiment is to be added.

    Kubeflow Pipelines' own recording in MLflow is off: Cairn records.
    """
    access = {name: found for (name, _), found in context.tracking.items()}
    pipeline = compile_run(context, steps, names, access)
    spec = pipeline.spec
    if pipeline.platform:
        spec = {"pipeline_spec": spec, "platform_spec": pipeline.platform}
    accounts = {step_template(context, steps.by_name[name]).service_account_name for name in names} - {None}
    return {
        "display_name": f"{context.run.name}-{context.run.uid}",
        "pipeline_spec": spec,
        "runtime_config": {
            "parameters": dict(pipeline.parameters),
            "pipeline_root": orchestrator.pipeline_root(context.stack.artifact_store),
        },
        "plugins_input": {"mlflow": {"disabled": True}},
        **({"service_account": accounts.pop()} if accounts else {}),
    }
