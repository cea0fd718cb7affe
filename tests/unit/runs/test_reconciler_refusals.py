"""What the API server, or Cairn itself, has against a run, its pods and its Jobs."""

from __future__ import annotations

import itertools
import json

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, ApiError, ForbiddenError, InvalidError, TooLargeError
from tests.unit.builders import RUN, run_body, run_spec, step
from tests.unit.runs.run_world import CREATE_JOBS, PRODUCTION, WRITE_STATUS, RunWorld


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


class TestRefusals:
    async def test_a_run_that_makes_no_sense_ends_at_once(self, world: RunWorld):
        world.run(run_spec(step("a", dependsOn=["b"]), step("c", args=["$(params.x)"]), **PRODUCTION))

        assert await world.reconcile() is None

        condition = world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")
        assert (condition["status"], condition["reason"]) == ("False", "InvalidSpec")
        assert condition["message"] == (
            "spec.steps[a].dependsOn: there is no step b; name one of: c; "
            "spec.steps[c].args[0]: $(params.x): the run has no parameter x; write $$( for a literal $("
        )
        assert world.jobs() == []

    async def test_a_spec_that_this_version_does_not_understand_ends_at_once(self, world: RunWorld):
        body = run_body(run_spec(**PRODUCTION))
        body["spec"]["steps"][0]["colour"] = "green"
        world.apply(PIPELINE_RUNS, body)

        await world.reconcile()

        assert world.succeeded() == ("False", "InvalidSpec")

    async def test_a_run_whose_arguments_would_be_too_long_ends_before_any_pod_is_built(self, world: RunWorld):
        parameters = [{"name": "text", "value": "x" * 4000}]
        world.run(run_spec(step("only", args=["$(params.text)" * 300]), **PRODUCTION, parameters=parameters))

        await world.reconcile()

        told = world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")
        assert told["reason"] == "InvalidSpec"
        assert told["message"] == (
            "spec.steps[only]: with its references replaced, a command, argument or variable has some 1204200 bytes, "
            "of which Linux takes 100000"
        )

    async def test_a_run_whose_pods_the_api_server_refuses_ends_before_any_is_made(self, world: RunWorld):
        world.kubernetes.objections["dry-run pods"] = lambda _: InvalidError(422, "Invalid", "bad volume")
        world.run(run_spec(**PRODUCTION))

        await world.reconcile()

        assert world.succeeded() == ("False", "InvalidSpec")
        assert world.jobs() == []

    async def test_a_full_quota_makes_a_step_wait(self, world: RunWorld):
        world.run(run_spec(step("a"), step("b"), **PRODUCTION))
        full = ForbiddenError(403, "Forbidden", "exceeded quota: jobs=1")
        world.kubernetes.objections[CREATE_JOBS] = lambda body: full if "-b-" in body["metadata"]["name"] else None

        again = await world.reconcile()

        assert again == 10
        assert world.jobs() == ["wine-1-a-1"]
        assert world.states() == {"a": "Queued", "b": "Queued"}
        assert world.status["steps"][1]["reason"] == "Forbidden"

    async def test_a_refusal_that_differs_each_time_is_asked_for_at_intervals_only(self, world: RunWorld):
        words = itertools.count()
        world.kubernetes.objections["dry-run pods"] = lambda _: ForbiddenError(
            403, "Forbidden", f"pods a-{next(words)} is forbidden: minimum memory usage per Container is 48Mi"
        )
        world.run(run_spec(step("a"), **PRODUCTION))
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        again = await world.reconcile()

        assert world.kubernetes.requests == before
        assert world.succeeded() == ("Unknown", "PodsNotAdmitted")
        assert again is not None
        assert 0 < again <= 10

    async def test_a_job_that_is_refused_each_time_in_other_words_is_asked_for_at_intervals_only(self, world: RunWorld):
        words = itertools.count()
        world.kubernetes.objections[CREATE_JOBS] = lambda _: ForbiddenError(403, "Forbidden", f"no {next(words)}")
        world.run(run_spec(step("a"), **PRODUCTION))
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        await world.reconcile()

        assert world.kubernetes.requests == before
        assert world.status["steps"][0]["reason"] == "Forbidden"

    async def test_a_job_that_can_never_be_right_ends_its_step(self, world: RunWorld):
        world.kubernetes.objections[CREATE_JOBS] = lambda _: InvalidError(422, "Invalid", "mountPath: must be unique")
        world.run(run_spec(step("a"), **PRODUCTION))

        await world.reconcile()

        assert world.succeeded() == ("False", "StepFailed")
        assert "mountPath: must be unique" in world.status["steps"][0]["message"]

    async def test_a_status_that_is_too_large_is_written_without_logs(self, world: RunWorld):
        def too_large(body: JsonObject) -> ApiError | None:
            text = json.dumps(body)
            return TooLargeError(500, "Unknown", "etcdserver: request is too large") if "logTail" in text else None

        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").ends("only", 1, message="a long log"))
        world.kubernetes.objections[WRITE_STATUS] = too_large

        await world.reconcile()

        assert world.succeeded() == ("False", "StepFailed")
        assert "logTail" not in world.status["steps"][0]

    async def test_a_step_starts_once_there_is_room(self, world: RunWorld):
        world.run(run_spec(step("a"), **PRODUCTION))
        world.kubernetes.objections[CREATE_JOBS] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota")
        await world.reconcile()
        world.kubernetes.objections.clear()
        world.clock.advance(11)

        await world.reconcile()
        await world.reconcile()

        (a,) = world.status["steps"]
        assert world.jobs() == ["wine-1-a-1"]
        assert (a["state"], a["attempts"], a.get("reason"), a.get("message")) == ("Queued", 1, None, None)

    async def test_a_job_that_the_api_server_does_not_create_keeps_nothing_from_being_recorded(self, world: RunWorld):
        world.run(run_spec(step("first"), step("beside"), step("then", dependsOn=["first"]), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-first-1").ends("first", 0))
        world.kubernetes.objections[CREATE_JOBS] = lambda _: ApiError(500, "InternalError", "failed calling webhook")

        await world.reconcile()

        assert world.states() == {"first": "Succeeded", "beside": "Queued", "then": "Queued"}
        assert world.status["steps"][2]["reason"] == "InternalError"

    async def test_two_jobs_that_are_refused_at_different_times_are_asked_for_at_intervals_only(self, world: RunWorld):
        words = itertools.count()
        world.kubernetes.objections[CREATE_JOBS] = lambda body: (
            None if "-a-" in body["metadata"]["name"] else ForbiddenError(403, "Forbidden", f"no {next(words)}")
        )
        world.run(run_spec(step("a"), step("b"), step("c", dependsOn=["a"]), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-a-1").ends("a"))
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        await world.reconcile()
        await world.reconcile()

        assert world.kubernetes.requests == before

    async def test_a_job_that_gets_no_pod_says_what_the_api_server_has_against_it(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        again = await world.reconcile()
        world.clock.advance(6)
        world.kubernetes.objections["dry-run pods"] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota: none")

        await world.reconcile()

        (only,) = world.status["steps"]
        assert again == 10
        assert (only["state"], only["reason"], only["message"]) == ("Queued", "FailedCreate", "exceeded quota: none")


class TestSameNames:
    async def test_another_s_job_of_that_name_is_not_taken_over(self, world: RunWorld):
        world.kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": "wine-1-only-1"}, "spec": {}})
        world.run(run_spec(step("only"), **PRODUCTION))

        again = await world.reconcile()

        (only,) = world.status["steps"]
        assert (only["state"], only["reason"]) == ("Queued", "NameTaken")
        assert again == 10

    async def test_the_run_goes_on_once_the_name_is_free(self, world: RunWorld):
        world.kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": "wine-1-only-1"}, "spec": {}})
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.kubernetes.remove(JOBS, "ml", "wine-1-only-1")
        world.clock.advance(11)

        await world.reconcile()

        assert world.states() == {"only": "Queued"}

    async def test_a_run_that_is_made_anew_is_checked_though_the_old_one_s_jobs_are_there(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.kubernetes.remove(PIPELINE_RUNS, "ml", RUN.name)

        world.run(run_spec(step("only", dependsOn=["gone"]), **PRODUCTION))
        await world.reconcile()

        assert world.succeeded() == ("False", "InvalidSpec")

    async def test_a_run_that_is_made_anew_ignores_the_pods_of_the_old_one(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").ends("only", 1))
        await world.reconcile()
        for resource, name in ((PIPELINE_RUNS, RUN.name), (JOBS, "wine-1-only-1")):
            world.kubernetes.remove(resource, "ml", name)

        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        await world.reconcile()

        assert world.states() == {"only": "Queued"}

    async def test_a_run_that_is_made_anew_waits_for_the_old_one_s_job_to_go(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").ends("only", 1))
        world.kubernetes.remove(PIPELINE_RUNS, "ml", RUN.name)

        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()

        assert world.status["steps"][0]["reason"] == "NameTaken"
