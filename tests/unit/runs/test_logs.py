"""Which logs are to be kept, and what the status says of them."""

from __future__ import annotations

from cairn.api.pipelinerun_status import AttemptStatus, StepStatus
from cairn.runs.logs import Unkept, unkept, with_logs
from tests.unit.builders import LATER, NOW

URI = "s3://ml-artifacts/ml/wine/wine-1/train/attempt-1.log"


def status(state: str = "Succeeded", **fields: object) -> StepStatus:
    return StepStatus.model_validate(
        {"name": "train", "state": state, "attempts": 1, "pod_name": "pod-1", "start_time": NOW, **fields}
    )


def attempt(number: int, **fields: object) -> AttemptStatus:
    given = {"number": number, "reason": "ExitCode", "charged": True, "pod_name": f"pod-{number}", "start_time": NOW}
    return AttemptStatus.model_validate({**given, **fields})


class TestUnkept:
    def test_of_what_has_ended(self):
        ended = [status(state) for state in ("Succeeded", "Failed", "Cancelled", "Retrying")]

        assert list(unkept(ended)) == [Unkept("train", 1, "pod-1")] * 4

    def test_not_of_what_goes_on(self):
        assert list(unkept([status("Running"), status("Queued")])) == []

    def test_not_of_what_never_started(self):
        assert list(unkept([status("Failed", start_time=None), status("Skipped", pod_name=None)])) == []

    def test_not_again(self):
        assert list(unkept([status(log_uri=URI, previous_attempts=[attempt(1, log_uri=URI)])])) == []

    def test_of_earlier_attempts(self):
        again = status("Running", attempts=3, previous_attempts=[attempt(1), attempt(2, start_time=None)])

        assert list(unkept([again])) == [Unkept("train", 1, "pod-1")]


class TestWithLogs:
    def test_the_latest_attempt_has_its_uri(self):
        (one,) = with_logs([status()], {("train", 1): URI})

        assert one.log_uri == URI

    def test_an_earlier_attempt_has_its_uri_and_the_latest_one_goes_on(self):
        again = status("Running", attempts=2, previous_attempts=[attempt(1)])

        (one,) = with_logs([again], {("train", 1): URI})

        assert (one.log_uri, one.previous_attempts) == (None, (attempt(1, log_uri=URI),))

    def test_others_stay_as_they_are(self):
        before = [status(completion_time=LATER)]

        assert with_logs(before, {("load", 1): URI}) == tuple(before)
