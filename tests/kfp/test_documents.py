"""Every document that the compiler makes is one for KFP's SDK and for its API server, and nothing in it stands for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings

from cairn.api.pipeline import PipelineSpec
from cairn.api.pipelinerun import RunSpec
from cairn.components.step_access import StepAccess
from cairn.runs.kubeflow.compiler import Pipeline
from cairn.runs.pipeline_runs import completed
from cairn.runs.validation import problems_of
from tests.kfp.backend import checks
from tests.kfp.compiling import STACK, compiled, objected
from tests.kfp.generated_runs import GeneratedRun, runs
from tests.kfp.sdk_process import RefusedError, Sdk
from tests.kfp.unresolved import unresolved
from tests.unit.builders import kubernetes_stack, step_operator

MANIFESTS = Path(__file__).parents[2] / "manifests"
SAMPLES = (*sorted((MANIFESTS / "samples").glob("*.yaml")), MANIFESTS / "demo" / "pipelinerun.yaml")
OBJECTED = {
    "finally": "spec.finally[tell].when",
    "for-each": "spec.steps[train].forEach.itemsFrom",
    "parallel": "spec.maxParallelSteps",
    "retry": "spec.steps[train].retry.on",
    "timeouts": "spec.steps[train].podTemplate.terminationGracePeriodSeconds",
}
"""The samples that Kubeflow Pipelines cannot run, by the first field that it has nothing for."""
GENERATED = 500
TOLD = StepAccess([{"name": "MLFLOW_RUN_ID", "value": "1"}])


def sample_runs() -> Iterator[tuple[str, RunSpec]]:
    """The runs of the sample set, by name, with what they leave to the set's Pipelines."""
    documents = [document for path in SAMPLES for document in yaml.safe_load_all(path.read_text())]
    pipelines = {
        document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "Pipeline"
    }
    for document in documents:
        if document["kind"] == "PipelineRun":
            spec = document["spec"]
            if "pipelineRef" in spec:
                spec = completed(spec, PipelineSpec.model_validate(pipelines[spec["pipelineRef"]["name"]]))
            yield document["metadata"]["name"], RunSpec.model_validate(spec)


SAMPLE_RUNS = dict(sample_runs())
OF_SAMPLES = kubernetes_stack(operators=[step_operator("gpu")])


def accept(sdk: Sdk, pipeline: Pipeline) -> None:
    """Fail where somebody would refuse the pipeline."""
    sdk.understood(pipeline)
    spec, _ = checks.pipeline({"pipeline_spec": pipeline.spec, "platform_spec": pipeline.platform})
    checks.parameters(spec, dict(pipeline.parameters))
    assert unresolved(pipeline.spec) == []


@pytest.mark.parametrize("name", [name for name in SAMPLE_RUNS if name not in OBJECTED])
def test_of_every_sample(sdk: Sdk, name: str):
    spec = SAMPLE_RUNS[name]
    assert objected(spec, OF_SAMPLES) == ()

    accept(sdk, compiled(spec, stack=OF_SAMPLES))


@pytest.mark.parametrize("name", OBJECTED)
def test_samples_that_are_none_for_kubeflow_pipelines_are_objected_to(name: str):
    assert objected(SAMPLE_RUNS[name])[0].field == OBJECTED[name]


@settings(
    max_examples=GENERATED, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
@given(run=runs())
def test_of_generated_runs(sdk: Sdk, run: GeneratedRun):
    assert problems_of(run.spec, STACK) == ()
    assume(not objected(run.spec))

    pipeline = compiled(run.spec, cached=run.cached, access=TOLD)
    assume(pipeline.spec["deploymentSpec"]["executors"])  # what has nothing to run is not submitted

    accept(sdk, pipeline)


def test_a_document_that_is_none_is_refused(sdk: Sdk):
    pipeline = compiled(SAMPLE_RUNS["hello"])
    pipeline.spec["root"]["dag"]["tasks"]["greet"]["dependsOn"] = ["nobody"]

    with pytest.raises(RefusedError, match="dependsOn"):
        sdk.understood(pipeline)
