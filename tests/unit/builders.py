"""Small makers of the objects that tests are about: what a test does not say is of no interest to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cairn.api.base import API_VERSION, JsonObject
from cairn.api.pipelinerun import Parameter, RunSpec
from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.api.pod_template import EnvVar, PodTemplate
from cairn.api.step import Step
from cairn.api.time import parse
from cairn.components.artifact_store.local.config import LocalConfig as LocalStoreConfig
from cairn.components.artifact_store.local.store import Local as LocalStore
from cairn.components.artifact_store.s3.config import S3Config
from cairn.components.artifact_store.s3.store import S3
from cairn.components.base import ArtifactStore, StepOperator
from cairn.components.orchestrator.kubernetes.config import KubernetesConfig
from cairn.components.orchestrator.kubernetes.orchestrator import KubernetesJobs
from cairn.components.orchestrator.local.config import LocalConfig
from cairn.components.orchestrator.local.orchestrator import Local
from cairn.components.step_operator.kubernetes.config import KubernetesConfig as StepOperatorConfig
from cairn.components.step_operator.kubernetes.step_operator import KubernetesPods
from cairn.runs.graph import StepGraph
from cairn.runs.instances import RunSteps
from cairn.runs.items import InstanceMaker
from cairn.runs.naming import RunIdentity
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.pod import PodContext, TransferImage
from cairn.runs.references import Values
from cairn.stacks.resolution import UsableStack

NAMESPACE = "ml"
RUN = RunIdentity(NAMESPACE, "wine-1", "uid-of-wine-1", "wine")
TRANSFER = TransferImage("cairn:test")
EARLIER = "2026-01-01T00:00:00Z"
NOW = "2026-01-01T00:01:00Z"
LATER = "2026-01-01T00:02:00Z"
MOMENT = parse(NOW)


def after(seconds: float) -> datetime:
    """Return the moment that many seconds after NOW."""
    return MOMENT + timedelta(seconds=seconds)


def step(name: str, **fields: Any) -> Step:
    """Return a step; fields as in the manifest, in either case."""
    return Step.model_validate({"name": name, "image": "ghcr.io/acme/wine:1", **fields})


def inputs(**sources: str) -> JsonObject:
    """Return `inputs`: each name's source, a `step.artifact` or a URI."""
    return {
        "artifacts": [
            {"name": name, "uri" if "://" in source else "from": source, "path": f"/in/{name}"}
            for name, source in sources.items()
        ]
    }


def outputs(*artifacts: str, results: Sequence[str] = ()) -> JsonObject:
    """Return `outputs`: artifacts of these names, each at `/out/<name>`, and results."""
    return {
        "artifacts": [{"name": name, "path": f"/out/{name}"} for name in artifacts],
        "results": list(results),
    }


def run_spec(*steps: Step, **fields: Any) -> RunSpec:
    """Return a run's spec."""
    return RunSpec.model_validate({"pipeline": "wine", "steps": steps or (step("only"),), **fields})


def pipeline_body(
    *steps: Step, name: str = "wine", spec: Mapping[str, Any] | None = None, **metadata: Any
) -> JsonObject:
    """Return a Pipeline; `spec` has what it says besides its steps."""
    template: JsonObject = {"spec": {"steps": [item.to_json() for item in steps or (step("only"),)]}}
    return {
        "apiVersion": API_VERSION,
        "kind": "Pipeline",
        "metadata": {"namespace": NAMESPACE, "name": name, **metadata},
        "spec": {"runPolicy": "Manual", "template": template, **(spec or {})},
    }


def schedule_body(name: str = "nightly", spec: Mapping[str, Any] | None = None, **metadata: Any) -> JsonObject:
    """Return a PipelineSchedule of the Pipeline `wine`: at every full hour, unless `spec` says something else."""
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineSchedule",
        "metadata": {"namespace": NAMESPACE, "name": name, **metadata},
        "spec": {"pipelineRef": {"name": "wine"}, "schedule": "0 * * * *", **(spec or {})},
    }


def run_steps(spec: RunSpec, recorded: Mapping[str, StepStatus] | None = None) -> RunSteps:
    """Return the steps that a run has, given what is recorded of them."""
    return InstanceMaker(StepGraph(spec)).steps(recorded or {})


def template(**fields: Any) -> PodTemplate:
    """Return additions to a pod; fields as in the manifest, in either case."""
    return PodTemplate.model_validate(fields)


def s3_store(name: str = "bucket", **config: Any) -> S3:
    """Return an S3 store with credentials."""
    fields = {"bucket": "ml-artifacts", "prefix": "cairn", "credentialsSecretRef": {"name": "s3-credentials"}}
    return S3(NAMESPACE, name, S3Config.model_validate({**fields, **config}))


def local_store(name: str = "disk", **config: Any) -> LocalStore:
    """Return a store in a claim."""
    return LocalStore(NAMESPACE, name, LocalStoreConfig.model_validate(config))


def step_operator(name: str, **config: Any) -> KubernetesPods:
    """Return a step operator."""
    return KubernetesPods(NAMESPACE, name, StepOperatorConfig.model_validate(config))


def kubernetes_stack(
    *,
    store: ArtifactStore[Any] | None = None,
    operators: Sequence[StepOperator[Any]] = (),
    orchestrator: Mapping[str, Any] | None = None,
    pod_template: PodTemplate | None = None,
    env: Sequence[EnvVar] = (),
) -> UsableStack:
    """Return a stack that gives each step a Job of its own."""
    jobs = KubernetesJobs(NAMESPACE, "kubernetes", KubernetesConfig.model_validate(orchestrator or {}))
    by_name = {operator.name: operator for operator in operators}
    return UsableStack("production", jobs, store or s3_store(), by_name, pod_template, env, digest="sha256:stack")


def local_stack(
    *, store: ArtifactStore[Any] | None = None, orchestrator: Mapping[str, Any] | None = None
) -> UsableStack:
    """Return a stack that runs all steps in one pod."""
    one_pod = Local(NAMESPACE, "laptop", LocalConfig.model_validate(orchestrator or {}))
    return UsableStack("laptop", one_pod, store or s3_store(), {}, digest="sha256:stack")


def pod_context(
    stack: UsableStack | None = None,
    *,
    run: RunIdentity = RUN,
    run_template: PodTemplate | None = None,
    parameters: Mapping[str, str] | None = None,
    results: Mapping[tuple[str, str], str] | None = None,
    kept: Sequence[tuple[str, str]] = (),
) -> PodContext:
    """Return what a pod is made from; `kept` are the (step, artifact) that are in the store already."""
    stack = stack or kubernetes_stack()
    values = dict(parameters or {})
    return PodContext(
        run=run,
        stack=stack,
        run_template=run_template,
        parameters=[Parameter(name=name, value=value) for name, value in values.items()],
        values=Values(values, run.name, run.uid, results or {}),
        artifacts={
            (step_name, name): {
                "": ArtifactStatus(
                    name=name, uri=f"s3://ml-artifacts/kept/{step_name}/{name}", digest="sha256:abc", size_bytes=3
                )
            }
            for step_name, name in kept
        },
        transfer=TRANSFER,
        work_size=stack.orchestrator.workspace_size,
    )


def states(**by_step: str) -> dict[str, StepStatus]:
    """Return statuses of steps, by name."""
    return {
        name: StepStatus.model_validate({"name": name, "state": state, "attempts": 0 if state == "Pending" else 1})
        for name, state in by_step.items()
    }


def step_status(name: str, state: str, **fields: Any) -> StepStatus:
    """Return the status of a step; fields as in the manifest, in either case."""
    return StepStatus.model_validate({"name": name, "state": state, **fields})


def seen(name: str, phase: Phase, number: int = 1, **fields: Any) -> AttemptObservation:
    """Return an attempt as its Job and pod show it."""
    job = f"wine-1-{name}-{number}"
    shown: dict[str, Any] = {"job_name": job, "job_uid": f"uid-of-{job}", "pod_name": f"pod-of-{job}", **fields}
    return AttemptObservation(name, number, phase, **shown)


def seen_failed(name: str, fault: Fault, number: int = 1, **fields: Any) -> AttemptObservation:
    """Return an attempt that has failed."""
    reasons = {Fault.DISRUPTION: "Evicted", Fault.SURROUNDINGS: "TransferFailed", Fault.STOPPED: "DeadlineExceeded"}
    told = {"reason": reasons.get(fault, "ExitCode"), "message": "No."}
    return seen(name, Phase.FAILED, number, fault=fault, **{**told, **fields})


def run_body(spec: RunSpec | None = None, name: str = RUN.name, **metadata: Any) -> JsonObject:
    """Return a PipelineRun as it is applied."""
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"namespace": NAMESPACE, "name": name, **metadata},
        "spec": (spec or run_spec()).to_json(),
    }


class Alone:
    """The surroundings of a component that is the only one of its namespace."""

    def component(self, name: str) -> None:
        return None

    def readiness(self, name: str) -> None:
        return None

    def version_of_secret(self, name: str) -> str:
        return ""


ALONE = Alone()


def secret_body(name: str, **data: str) -> JsonObject:
    """Return a Secret of the namespace ml."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"namespace": "ml", "name": name}, "data": encoded}


def component_body(name: str, spec: JsonObject, *, ready: bool | None = None, **metadata: Any) -> JsonObject:
    """Return a StackComponent; with `ready`, as the operator has found it."""
    body: JsonObject = {
        "apiVersion": API_VERSION,
        "kind": "StackComponent",
        "metadata": {"namespace": NAMESPACE, "name": name, "generation": 1, **metadata},
        "spec": spec,
    }
    if ready is not None:
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "Checked" if ready else "BucketNotFound",
            "message": "It works." if ready else "There is no bucket ml-artifacts; create it.",
            "lastTransitionTime": EARLIER,
            "observedGeneration": 1,
        }
        body["status"] = {"conditions": [condition]}
    return body


def stack_body(
    name: str, *, orchestrator: str = "jobs", store: str = "bucket", tracker: str | None = None, **metadata: Any
) -> JsonObject:
    """Return a Stack."""
    tracks = {"experimentTrackerRef": {"name": tracker}} if tracker is not None else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "Stack",
        "metadata": {"namespace": NAMESPACE, "name": name, "generation": 1, **metadata},
        "spec": {"orchestratorRef": {"name": orchestrator}, "artifactStoreRef": {"name": store}, **tracks},
    }


JOBS_SPEC: JsonObject = {"orchestrator": {"kubernetes": {}}}
PODS_SPEC: JsonObject = {"orchestrator": {"kubernetes": {"workload": "Pod"}}}
LAPTOP_SPEC: JsonObject = {"orchestrator": {"local": {}}}
BUCKET_SPEC: JsonObject = {
    "artifactStore": {"s3": {"bucket": "ml-artifacts", "credentialsSecretRef": {"name": "s3-credentials"}}}
}
DISK_SPEC: JsonObject = {"artifactStore": {"local": {}}}
MLFLOW_SPEC: JsonObject = {"experimentTracker": {"mlflow": {"uri": "http://mlflow.ml:5000"}}}
GPU_SPEC: JsonObject = {"stepOperator": {"kubernetes": {}}}
