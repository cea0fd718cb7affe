from __future__ import annotations

from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipeline import PipelineSpec
from cairn.api.pipelinerun import RunSpec
from cairn.runs.pipeline_runs import completed, revision_of
from tests.unit.builders import pipeline_body, step

ALPHA = {"parameters": [{"name": "alpha", "default": "0.5"}]}
STEPS: list[JsonObject] = [{"name": "only", "image": "ghcr.io/acme/wine:1"}]


def pipeline(*steps: Any, **spec: Any) -> PipelineSpec:
    return PipelineSpec.model_validate(pipeline_body(*steps, spec=spec)["spec"])


def of_template(**fields: Any) -> PipelineSpec:
    return pipeline(template={"spec": {"steps": STEPS, **fields}})


def run_of(spec: PipelineSpec, **fields: Any) -> RunSpec:
    return RunSpec.model_validate(completed({"pipelineRef": {"name": "wine"}, **fields}, spec))


def test_a_run_has_the_steps_of_its_pipeline_and_its_name():
    run = run_of(pipeline(step("load"), step("train")))

    assert (run.pipeline, [item.name for item in run.steps]) == ("wine", ["load", "train"])


def test_a_run_has_the_defaults_of_the_parameters_that_it_does_not_give():
    spec = pipeline(parameters=[{"name": "alpha", "default": "0.5"}, {"name": "beta"}])

    assert run_of(spec, parameters=[{"name": "beta", "value": "1"}]).parameter_values == {"alpha": "0.5", "beta": "1"}


def test_what_a_run_says_replaces_what_its_pipeline_says():
    spec = of_template(stackRef={"name": "laptop"}, failurePolicy="FailFast", timeoutSeconds=60)

    run = run_of(spec, stackRef={"name": "production"}, failurePolicy="StopOnFailure", suspend=True)

    assert run.stack_ref is not None
    assert (run.stack_ref.name, run.failure_policy, run.timeout_seconds, run.suspend) == (
        "production",
        "StopOnFailure",
        60,
        True,
    )


def test_what_a_run_leaves_out_is_what_its_pipeline_says():
    spec = of_template(experiment="baseline", failurePolicy="FailFast")

    run = run_of(spec)

    assert (run.experiment, run.failure_policy) == ("baseline", "FailFast")


def test_another_default_is_another_revision():
    assert revision_of(pipeline(**ALPHA)) != revision_of(pipeline(parameters=[{"name": "alpha", "default": "0.1"}]))


def test_another_image_is_another_revision():
    assert revision_of(pipeline(step("train"))) != revision_of(pipeline(step("train", image="ghcr.io/acme/wine:2")))


def test_what_starts_runs_is_no_part_of_the_revision():
    assert revision_of(pipeline(**ALPHA)) == revision_of(
        pipeline(**ALPHA, runPolicy="OnChange", description="Learns.", ttlSecondsAfterFinished=60)
    )


def test_a_default_that_is_written_out_is_no_other_revision():
    """An API server with newer CRDs answers with the defaults of the fields that they add."""
    plain = pipeline(template={"spec": {"steps": STEPS}})
    written = pipeline(
        template={"spec": {"steps": [{**STEPS[0], "pendingTimeoutSeconds": 600}], "failurePolicy": "ContinueOnFailure"}}
    )

    assert revision_of(plain) == revision_of(written)
