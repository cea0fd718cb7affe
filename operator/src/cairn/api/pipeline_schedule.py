"""The kind PipelineSchedule: runs of a Pipeline at given times."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import GROUP, LocalRef, Model, Rule, Timestamp, list_map, rules
from cairn.api.conditions import Condition
from cairn.api.pipelinerun import MOST_PARAMETERS, Parameter

SCHEDULE_LABEL = f"{GROUP}/schedule"
SCHEDULED_TIME_ANNOTATION = f"{GROUP}/scheduled-time"
"""The time of the schedule that a run was started for."""

ConcurrencyPolicy = Literal["Forbid", "Allow", "Replace"]
CatchUp = Literal["Latest", "All", "None"]
MOST_MISSED = 100
HISTORY = 10

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def _field(value: str) -> str:
    """Return the regular expression of a field: a list of values, ranges and `*`, the latter with steps."""
    item = f"(([*]|{value}-{value})(/[1-9][0-9]?)?|{value})"
    return f"{item}(,{item})*"


_FIELDS = (
    "[0-5]?[0-9]",
    "([01]?[0-9]|2[0-3])",
    "(0?[1-9]|[12][0-9]|3[01])",
    "(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))",
    "([0-7]|(?i:sun|mon|tue|wed|thu|fri|sat))",
)
CRON = f"^({'|'.join(MACROS)}|{' +'.join(map(_field, _FIELDS))})$"


class PipelineScheduleSpec(Model):
    """What to run, and when."""

    pipeline_ref: LocalRef = Field(
        description="Pipeline to run. Each run is of the Pipeline as it is when the run is started."
    )
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=MOST_PARAMETERS)] | None = Field(
        default=None,
        description="Values for parameters of the Pipeline. `$(schedule.time)` in a value stands for the time that the run is for, "
        "in UTC, such as 2026-01-02T03:00:00Z, and `$(schedule.date)` for its date in the schedule's time zone.",
        json_schema_extra=list_map("name"),
    )
    stack_ref: LocalRef | None = Field(
        default=None, description="Stack that the runs run on. Left out: what the Pipeline says."
    )
    schedule: str = Field(
        description="When to run, in the five fields of cron: minute, hour, day of the month, month, day of the week; or @hourly, "
        "@daily, @weekly, @monthly, @yearly. A time that does not exist on the day that clocks go forward is kept as soon as they "
        "have; one that exists twice on the day that they go back is kept once.",
        min_length=1,
        max_length=128,
        pattern=CRON,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{CRON}')",
                "must be a cron expression of five fields (minute, hour, day of the month, month, day of the week), such as "
                '"30 3 * * 1-5", or @hourly, @daily, @weekly, @monthly or @yearly',
            )
        ),
    )
    time_zone: str = Field(
        default="Etc/UTC",
        description="Time zone of `schedule`, by its name in the tz database.",
        min_length=1,
        max_length=64,
        json_schema_extra=rules(
            Rule(
                "self.matches('^[A-Z][-+_A-Za-z0-9]*(/[-+_A-Za-z0-9]+)*$') && self != 'Local' "
                "&& timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
                "must be the name of a time zone, such as Europe/Berlin or Etc/UTC",
            )
        ),
    )
    suspend: bool = Field(
        default=False,
        description="While true, no run is started; runs under way go on. Times that pass meanwhile are not caught up.",
    )
    concurrency_policy: ConcurrencyPolicy = Field(
        default="Forbid",
        description="What becomes of a time at which an earlier run of the schedule is under way. Forbid: it is skipped, or "
        "with catchUp All waits. Allow: "
        "its run starts beside the other. Replace: the earlier run is cancelled, gracefully, and its own starts.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] | None = Field(
        default=None,
        description="How late a run may start, in seconds after its time; later than that it is skipped. Left out, however late.",
    )
    catch_up: CatchUp = Field(
        default="Latest",
        description="What becomes of times that were missed, while the operator was down or the Pipeline not Ready. Latest: the "
        "newest of them is run. All: each is run, oldest first, one after another with concurrencyPolicy Forbid; at most the "
        f"newest {MOST_MISSED}. None: they are skipped.",
    )
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=HISTORY, description="How many runs of the schedule that succeeded are kept; older ones are deleted."
    )
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=HISTORY, description="How many runs of the schedule that ended otherwise are kept."
    )


class ScheduledRun(Model):
    """The run that was started last."""

    name: str = Field(description="Its name.", max_length=253)
    scheduled_time: Timestamp = Field(description="The time that it is for.")
    reason: str | None = Field(
        default=None,
        description="How it stands: the reason of its condition `Succeeded`, such as Running, Completed or StepFailed.",
        max_length=128,
    )


class PipelineScheduleStatus(Model):
    """What the operator found and did."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="`Ready`: whether runs can be started. `Suspended`: whether `suspend` is set. `LastRunSucceeded`: how the last "
        "run ended, Unknown while it runs. `Stalled`, while only another spec can mend it.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: int | None = Field(
        default=None,
        description="The generation of the spec that the status is about; 0 until the operator has seen it.",
        ge=0,
    )
    observed_schedule: str | None = Field(
        default=None, description="`schedule` and `timeZone` that the times below are of.", max_length=200
    )
    active_since: Timestamp | None = Field(
        default=None,
        description="Since when the times of the schedule count: when it was created, was resumed, or got other times.",
    )
    last_schedule_time: Timestamp | None = Field(
        default=None, description="The newest time that was dealt with: its run was started, or it was skipped."
    )
    next_schedule_time: Timestamp | None = Field(default=None, description="The next time; absent while suspended.")
    active_runs: int | None = Field(default=None, description="How many runs of the schedule are under way.", ge=0)
    last_run: ScheduledRun | None = Field(default=None, description="The run that was started last.")
