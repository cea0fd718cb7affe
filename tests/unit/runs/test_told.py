from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.clients.condition_events import changes
from cairn.runs.told import TOLD


def events(type_: str, *course: tuple[str, str]) -> list[tuple[str, str]]:
    """Return what is told while a condition takes these statuses and reasons."""
    statuses = [status(type_, *state) for state in course]
    return [
        (event.type, event.reason)
        for old, new in zip([{}, *statuses], statuses, strict=False)
        for event in changes(old, new, TOLD)
    ]


def status(type_: str, status_: str, reason: str) -> JsonObject:
    return {"conditions": [{"type": type_, "status": status_, "reason": reason, "message": "So it stands."}]}


@pytest.mark.parametrize(
    ("end", "event"),
    [
        (("True", "Completed"), ("Normal", "Completed")),
        (("False", "StepFailed"), ("Warning", "StepFailed")),
        (("False", "Cancelled"), ("Warning", "Cancelled")),
    ],
)
def test_of_a_run_that_goes_its_way_the_end_is_told(end: tuple[str, str], event: tuple[str, str]):
    assert events("Succeeded", ("Unknown", "Running"), end) == [event]


def test_what_a_run_waits_for_is_told():
    course = [("Unknown", reason) for reason in ("StackNotReady", "Running", "Pending", "Running", "Suspended")]

    assert events("Succeeded", *course) == [
        ("Normal", "StackNotReady"),
        ("Warning", "Pending"),
        ("Normal", "Suspended"),
    ]


@pytest.mark.parametrize("reason", ["Pending", "PodsNotAdmitted"])
def test_what_somebody_is_to_mend_is_a_warning(reason: str):
    assert events("Succeeded", ("Unknown", reason)) == [("Warning", reason)]


def test_a_run_that_is_recorded_as_it_goes_tells_nothing_of_it():
    assert events("Tracked", ("True", "Recording"), ("True", "Recorded")) == []


def test_a_tracker_that_is_away_and_comes_back_is_told():
    course = [("True", "Recording"), ("False", "EndpointUnreachable"), ("True", "Recording"), ("True", "Recorded")]

    assert events("Tracked", *course) == [("Warning", "EndpointUnreachable"), ("Normal", "Recording")]


def test_what_becomes_of_models_is_told():
    course = [("Unknown", "Registering"), ("Unknown", "AwaitingApproval"), ("False", "ApprovalRefused")]

    assert events("Registered", *course) == [("Normal", "AwaitingApproval"), ("Warning", "ApprovalRefused")]


def test_that_no_model_was_to_be_registered_is_no_failure():
    assert events("Registered", ("False", "NotRegistered")) == [("Normal", "NotRegistered")]


@pytest.mark.parametrize("type_", ["Finished", "Reconciling", "Stalled"])
def test_what_says_nothing_that_another_condition_does_not_is_not_told(type_: str):
    assert events(type_, ("True", "StepFailed")) == []
