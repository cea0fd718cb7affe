"""The simulation is worth something: a mistake in the engine is found within a thousand seeds."""

from __future__ import annotations

from datetime import datetime

import pytest

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs import planner, step_plan
from cairn.runs.observation import Fault
from cairn.runs.retry import after_end
from cairn.runs.scheduling import Candidates
from cairn.runs.stopping import halt_of
from tests.simulation.invariants import Violation
from tests.simulation.simulate import simulate

SEEDS = 1000


def finds_a_violation() -> bool:
    for seed in range(SEEDS):
        try:
            simulate(seed)
        except Violation:
            return True
    return False


def test_a_disruption_that_is_charged_to_the_step_is_found(monkeypatch: pytest.MonkeyPatch):
    def without_the_rule(step: Step, ended: StepStatus, fault: Fault, now: datetime) -> StepStatus:
        return after_end(step, ended, Fault.STEP if fault is Fault.DISRUPTION else fault, now)

    monkeypatch.setattr(step_plan, "after_end", without_the_rule)

    assert finds_a_violation()


def test_a_step_that_is_started_twice_after_a_restart_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Candidates, "number", lambda self, name: self.states[name].attempts + 1)

    assert finds_a_violation()


def test_a_cancel_that_is_ignored_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        planner, "halt_of", lambda spec, *rest: halt_of(spec.model_copy(update={"cancel": None}), *rest)
    )

    assert finds_a_violation()
