"""The runs that a PipelineSchedule starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from cairn.api.base import API_VERSION, JsonObject
from cairn.api.labels import MANAGED_BY, MANAGED_BY_CAIRN, shortened
from cairn.api.ownership import controller_of, controller_reference
from cairn.api.pipeline import PipelineSpec
from cairn.api.pipeline_schedule import SCHEDULE_LABEL, SCHEDULED_TIME_ANNOTATION, PipelineScheduleSpec
from cairn.api.time import timestamp
from cairn.runs.creator import CREATED_BY_ANNOTATION
from cairn.runs.naming import PIPELINE_LABEL
from cairn.runs.pipeline_runs import spec_of_run
from cairn.schedules.times import Times


def run_name(schedule: str, time: datetime) -> str:
    """Return the name of the run for a time: it follows from that, so that it is made once."""
    return f"{schedule}-{int(time.timestamp()) // 60}"


def values_at(spec: PipelineScheduleSpec, times: Times, time: datetime) -> Mapping[str, str]:
    """Return the values that a schedule gives for parameters, for the run of a time."""
    texts = {"$(schedule.time)": timestamp(time), "$(schedule.date)": times.date_of(time)}
    values: dict[str, str] = {}
    for parameter in spec.parameters or ():
        value = parameter.value
        for reference, text in texts.items():
            value = value.replace(reference, text)
        values[parameter.name] = value
    return values


def run_at(
    schedule: JsonObject, spec: PipelineScheduleSpec, pipeline: PipelineSpec, values: Mapping[str, str], time: datetime
) -> JsonObject:
    """Return the run of a Pipeline for a time of a schedule."""
    metadata, of_template = schedule["metadata"], pipeline.template.metadata
    name, stack = metadata["name"], spec.stack_ref
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {
            "name": run_name(name, time),
            "namespace": metadata["namespace"],
            "labels": {
                **((of_template and of_template.labels) or {}),
                MANAGED_BY: MANAGED_BY_CAIRN,
                PIPELINE_LABEL: spec.pipeline_ref.name,
                SCHEDULE_LABEL: shortened(name),
            },
            "annotations": {
                CREATED_BY_ANNOTATION: f"PipelineSchedule {name}",
                **((of_template and of_template.annotations) or {}),
                SCHEDULED_TIME_ANNOTATION: timestamp(time),
            },
            "ownerReferences": [controller_reference("PipelineSchedule", name, metadata["uid"])],
        },
        "spec": {
            **spec_of_run(spec.pipeline_ref.name, pipeline, values),
            **({"stackRef": stack.to_json()} if stack is not None else {}),
        },
    }


def runs_of(runs: Iterable[JsonObject], schedule: JsonObject) -> list[JsonObject]:
    """Return those runs that a schedule has started."""
    uid = schedule["metadata"]["uid"]
    return [run for run in runs if (controller_of(run) or {}).get("uid") == uid]
