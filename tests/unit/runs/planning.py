"""Makes plans of runs, and says what they are, in the words of the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.cel import evaluate
from cairn.runs.instances import RunSteps
from cairn.runs.observation import AttemptObservation, Phase
from cairn.runs.planner import Observed, Plan, plan
from cairn.runs.pod import pod_settings, step_template
from cairn.runs.scheduling import OneJobPerStep, OnePodForAll, Scheduler
from cairn.runs.step_plan import Refusal
from tests.unit.builders import MOMENT, NOW, local_stack, pod_context, run_spec, run_steps, seen, step, step_status

TIDY = step("tidy")


def planned(
    spec: RunSpec,
    *attempts: AttemptObservation,
    recorded: Iterable[StepStatus] = (),
    refusals: Mapping[str, Refusal] | None = None,
    scheduler: Scheduler | None = None,
    now: datetime = MOMENT,
    **also: Any,
) -> Plan:
    """Return the plan of a run that has started, given what is seen and recorded of it; `also` are fields of Observed."""
    by_name = {status.name: status for status in recorded}
    observed = Observed(by_name, attempts, refusals or {}, start_time=NOW, **also)
    return with_answers(run_steps(spec, by_name), observed, scheduler or OneJobPerStep(10), now)


def with_answers(steps: RunSteps, observed: Observed, scheduler: Scheduler | None, now: datetime) -> Plan:
    """Return the plan once all is known that it depends on."""
    decided = plan(steps, observed, scheduler, now)
    while decided.questions:
        answers = {question: evaluate(question) for question in decided.questions}
        observed = replace(observed, answers={**observed.answers, **answers})
        decided = plan(steps, observed, scheduler, now)
    return decided


def one_pod(spec: RunSpec) -> OnePodForAll:
    """Return the scheduler of the orchestrator `local` for a run."""
    context = pod_context(local_stack())
    return OnePodForAll({one.name: pod_settings(step_template(context, one)) for one in spec.all_steps})


def pods(decided: Plan) -> list[list[str]]:
    """Return the steps of each pod that is made."""
    return [[name for name, _ in launch.attempts] for launch in decided.launches]


def starts(decided: Plan) -> list[str]:
    """Return the steps of which an attempt is made."""
    return [name for names in pods(decided) for name in names]


def states(decided: Plan) -> dict[str, str]:
    """Return each step's state."""
    return {status.name: status.state for status in decided.steps}


def reasons(decided: Plan) -> dict[str, str | None]:
    """Return each step's reason."""
    return {status.name: status.reason for status in decided.steps}


def runs(name: str, **fields: Any) -> AttemptObservation:
    """Return an attempt that runs on a node."""
    return seen(name, Phase.RUNNING, started=NOW, on_node=True, **fields)


def ended(*names: str, state: str = "Succeeded", **fields: Any) -> list[StepStatus]:
    """Return steps that have ended at their first attempt."""
    return [step_status(name, state, attempts=1, **fields) for name in names]


def queued(*names: str) -> list[StepStatus]:
    """Return steps whose first attempt is recorded."""
    return [step_status(name, "Queued", attempts=1, queuedTime=NOW) for name in names]


def with_finally(*last: Step, steps: tuple[Step, ...] = (step("a"), step("b")), **fields: Any) -> RunSpec:
    """Return a run of two steps, with others at its end."""
    return run_spec(*steps, **fields, **{"finally": list(last or (TIDY,))})


def for_each(*items: str, **fields: Any) -> Step:
    """Return the step `train`, for each item."""
    return step("train", forEach={"items": items or ("x", "y")}, **fields)
