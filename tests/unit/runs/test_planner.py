from __future__ import annotations

from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.observation import Fault, Phase
from cairn.runs.outcome import Outcome
from cairn.runs.planner import Observed, Plan, plan
from cairn.runs.scheduling import Launch, OneJobPerStep
from cairn.runs.step_plan import Refusal
from tests.unit.builders import LATER, MOMENT, NOW, after, run_spec, run_steps, seen, seen_failed, step, step_status
from tests.unit.runs.planning import planned, states

CHAIN = (step("load"), step("train", dependsOn=["load"]), step("report", dependsOn=["train"]))
JOBS = OneJobPerStep(10)


def starts(decided: Plan) -> list[tuple[str, int]]:
    return [attempt for launch in decided.launches for attempt in launch.attempts]


def queued(name: str, **fields: object) -> StepStatus:
    return step_status(name, "Queued", **{"attempts": 1, "queuedTime": NOW, **fields})


class TestWhatStarts:
    def test_a_new_run_starts_what_needs_nothing_and_records_that_first(self):
        decided = planned(run_spec(*CHAIN))

        assert starts(decided) == [("load", 1)]
        assert states(decided) == {"load": "Queued", "train": "Pending", "report": "Pending"}
        assert (decided.steps[0].attempts, decided.steps[0].queued_time) == (1, NOW)

    def test_a_step_starts_once_what_it_needs_has_succeeded(self):
        decided = planned(run_spec(*CHAIN), seen("load", Phase.SUCCEEDED))

        assert starts(decided) == [("train", 1)]

    def test_an_attempt_that_is_recorded_and_was_not_made_is_made_now(self):
        decided = planned(run_spec(*CHAIN), recorded=[queued("load")])

        assert starts(decided) == [("load", 1)]
        assert decided.steps[0] == queued("load")

    def test_an_attempt_that_was_not_made_is_made_now_though_the_one_before_it_is_still_seen(self):
        second = queued("load", attempts=2, retriesUsed=1)

        decided = planned(run_spec(*CHAIN), seen_failed("load", Fault.STEP), recorded=[second])

        assert starts(decided) == [("load", 2)]

    def test_an_attempt_that_is_there_is_not_made_again(self):
        decided = planned(run_spec(*CHAIN), seen("load", Phase.WAITING), recorded=[queued("load")])

        assert decided.launches == ()

    def test_a_refused_attempt_is_made_again_after_a_pause(self):
        refusals = {"load": Refusal("Forbidden", "exceeded quota: jobs")}

        held = planned(run_spec(*CHAIN), recorded=[queued("load")], refusals=refusals)
        afterwards = planned(run_spec(*CHAIN), recorded=held.steps)

        assert starts(held) == []
        assert held.outcome == Outcome("Unknown", "Pending", "Step load waits: Forbidden: exceeded quota: jobs")
        assert starts(afterwards) == [("load", 1)]

    def test_a_step_is_tried_again_when_its_time_has_come(self):
        waits = step_status("load", "Retrying", attempts=1, retriesUsed=1, reason="ExitCode", nextAttemptTime=LATER)

        too_early = planned(run_spec(*CHAIN), recorded=[waits], now=after(59))
        due = planned(run_spec(*CHAIN), recorded=[waits], now=after(60))

        assert (starts(too_early), states(too_early)["load"]) == ([], "Retrying")
        assert (starts(due), states(due)["load"]) == ([("load", 2)], "Queued")
        assert [record.number for record in due.steps[0].previous_attempts or ()] == [1]

    def test_without_a_backoff_it_is_tried_again_at_once(self):
        spec = run_spec(step("load", retry={"limit": 1, "backoffSeconds": 0}))

        decided = planned(spec, seen_failed("load", Fault.STEP), recorded=[queued("load")])

        assert starts(decided) == [("load", 2)]
        assert (decided.steps[0].state, decided.steps[0].retries_used) == ("Queued", 1)

    def test_a_failure_while_others_wait_for_their_retry_leaves_room_for_these(self):
        spec = run_spec(step("a"), step("b"), maxParallelSteps=1)
        waits = step_status("a", "Retrying", attempts=1, disruptions=1, reason="Evicted", nextAttemptTime=LATER)

        assert starts(planned(spec, recorded=[waits])) == [("b", 1)]

    def test_everything_behind_a_failure_is_skipped(self):
        decided = planned(run_spec(*CHAIN, step("free")), seen_failed("load", Fault.STEP))

        assert states(decided) == {"load": "Failed", "train": "Skipped", "report": "Skipped", "free": "Queued"}
        assert decided.steps[1].message == "Step load, which it needs, failed."
        assert decided.steps[2].message == "Step train, which it needs, was skipped."

    def test_nothing_behind_a_step_that_is_tried_again_is_skipped(self):
        decided = planned(run_spec(*CHAIN), seen_failed("load", Fault.DISRUPTION))

        assert states(decided) == {"load": "Retrying", "train": "Pending", "report": "Pending"}

    def test_a_finished_run_starts_nothing_whatever_is_seen(self):
        ended = [step_status(one.name, "Succeeded", attempts=1) for one in CHAIN]

        decided = planned(run_spec(*CHAIN), recorded=ended)

        assert (decided.launches, decided.stops, decided.outcome.reason) == ((), (), "Completed")


class TestWhatHolds:
    def test_a_suspended_run_starts_nothing(self):
        decided = planned(run_spec(*CHAIN, suspend=True))

        assert (decided.launches, decided.outcome.reason) == ((), "Suspended")
        assert states(decided)["load"] == "Pending"

    def test_a_suspended_run_takes_back_an_attempt_that_was_not_made(self):
        decided = planned(run_spec(*CHAIN, suspend=True), recorded=[queued("load")], now=after(3600))

        assert (decided.launches, states(decided)["load"]) == ((), "Pending")
        assert decided.outcome.reason == "Suspended"

    def test_a_suspended_run_tries_nothing_again_and_need_not_be_looked_at_for_it(self):
        waits = step_status("load", "Retrying", attempts=1, disruptions=1, reason="Evicted", nextAttemptTime=LATER)
        spec = run_spec(*CHAIN, suspend=True)

        decided = planned(spec, recorded=[waits], now=after(3600))
        before = planned(spec, recorded=[waits])

        assert (starts(decided), states(decided)["load"]) == ([], "Retrying")
        assert before.look_again is None

    def test_what_runs_goes_on_while_a_run_is_suspended(self):
        decided = planned(run_spec(*CHAIN, suspend=True), seen("load", Phase.RUNNING))

        assert (decided.outcome.reason, states(decided)["load"], decided.stops) == ("Running", "Running", ())

    def test_a_suspended_run_still_has_a_deadline(self):
        decided = planned(run_spec(*CHAIN, suspend=True, timeoutSeconds=60), now=after(61))

        assert (decided.outcome.reason, states(decided)["load"]) == ("TimedOut", "Cancelled")

    def test_a_stack_that_cannot_be_used_holds_the_run(self):
        observed = Observed({}, [seen("load", Phase.SUCCEEDED)])

        decided = plan(run_steps(run_spec(*CHAIN)), observed, None, MOMENT, "Stack ml/x is not Ready")

        assert decided.launches == ()
        assert decided.outcome == Outcome("Unknown", "StackNotReady", "Stack ml/x is not Ready")

    def test_a_stack_that_cannot_be_used_takes_back_an_attempt_that_was_not_made(self):
        observed = Observed({"load": queued("load")})

        decided = plan(run_steps(run_spec(*CHAIN)), observed, None, after(3600), "Stack ml/x is not Ready")

        assert (states(decided)["load"], decided.outcome.reason) == ("Pending", "StackNotReady")


class TestLookAgain:
    def test_nothing_is_due_in_a_run_without_timeouts_whose_steps_run(self):
        assert planned(run_spec(*CHAIN), seen("load", Phase.RUNNING)).look_again is None

    def test_the_pending_timeout(self):
        decided = planned(run_spec(step("load", pendingTimeoutSeconds=60)), recorded=[queued("load")])

        assert decided.look_again == after(61)

    def test_the_attempt_s_timeout(self):
        spec = run_spec(step("load", timeoutSeconds=60))

        assert planned(spec, seen("load", Phase.RUNNING, started=NOW)).look_again == after(61)

    def test_the_run_s_timeout(self):
        spec = run_spec(step("load"), timeoutSeconds=60)

        assert planned(spec, seen("load", Phase.RUNNING, started=NOW)).look_again == after(61)

    def test_the_next_attempt(self):
        waits = step_status("load", "Retrying", attempts=1, disruptions=1, reason="Evicted", nextAttemptTime=LATER)

        assert planned(run_spec(*CHAIN), recorded=[waits]).look_again == after(60)

    def test_a_pod_that_will_count_as_lost(self):
        going = seen("load", Phase.RUNNING, reason="PodDeleted", being_stopped=True, awaited_until=after(45))

        assert planned(run_spec(*CHAIN), going).look_again == after(45)

    def test_the_first_of_these(self):
        spec = run_spec(step("load", timeoutSeconds=30), step("free", timeoutSeconds=20), timeoutSeconds=60)
        running = [seen(name, Phase.RUNNING, started=NOW) for name in ("load", "free")]

        assert planned(spec, *running).look_again == after(21)

    def test_what_is_being_stopped_has_no_timeouts_any_more(self):
        spec = run_spec(step("load", timeoutSeconds=60), timeoutSeconds=90, cancel="Graceful")

        decided = planned(spec, seen("load", Phase.RUNNING, started=NOW, on_node=True))

        assert decided.look_again is None


class TestApplyingAPlanTwice:
    def test_what_was_made_and_seen_is_planned_alike(self):
        attempts = [seen("load", Phase.SUCCEEDED), seen("train", Phase.RUNNING)]
        first = planned(run_spec(*CHAIN), *attempts)

        again = planned(run_spec(*CHAIN), *attempts, recorded=first.steps)

        assert again == first
        assert again.launches == ()

    def test_what_was_recorded_and_not_made_is_made_as_it_was_recorded(self):
        first = planned(run_spec(*CHAIN))

        again = planned(run_spec(*CHAIN), recorded=first.steps, now=after(30))

        assert (again.steps, again.launches) == (first.steps, (Launch((("load", 1),)),))
