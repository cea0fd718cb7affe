"""Each state of each kind, as its reconciler leaves the object."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.time import parse
from cairn.clients.clock import Clock
from cairn.clients.kubernetes import (
    PIPELINE_RUNS,
    PIPELINE_SCHEDULES,
    PIPELINES,
    STACK_COMPONENTS,
    STACKS,
    ForbiddenError,
    Resource,
)
from cairn.components.artifact_store.s3.store import S3
from cairn.components.base import Verdict
from cairn.components.reconciler import ComponentReconciler
from cairn.kinds import kinds
from cairn.pipelines.reconciler import PipelineReconciler
from cairn.schedules.reconciler import PipelineScheduleReconciler
from cairn.stacks.reconciler import StackReconciler
from cairn.stacks.usability import Usability
from tests.kstatus.conftest import Kstatus
from tests.unit.builders import (
    BUCKET_SPEC,
    DISK_SPEC,
    EARLIER,
    JOBS_SPEC,
    RUN,
    component_body,
    pipeline_body,
    run_body,
    run_spec,
    schedule_body,
    stack_body,
    step,
)
from tests.unit.clock import ManualClock
from tests.unit.fake_helm import FakeHelm, release_keeper
from tests.unit.fake_kubernetes import World
from tests.unit.runs.run_world import PRODUCTION, RunWorld

ONE_STEP = run_spec(step("load"), **PRODUCTION)


def unseen(body: JsonObject) -> JsonObject:
    """Return an object as the API server shows it before an operator has."""
    (version,) = next(kind for kind in kinds() if kind.kind == body["kind"]).to_crd()["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
    return {**body, "metadata": {**body["metadata"], "generation": 1}, "status": status}


@pytest.mark.parametrize(
    "body",
    [component_body("new", BUCKET_SPEC), stack_body("new"), pipeline_body(), schedule_body(), run_body()],
    ids=lambda body: body["kind"],
)
def test_what_no_operator_has_seen_is_not_current(body: JsonObject, kstatus: Kstatus):
    assert kstatus(unseen(body)) == "InProgress"


@pytest.mark.parametrize("kind", [STACK_COMPONENTS, STACKS], ids=lambda kind: kind.kind)
async def test_what_has_changed_since_it_was_seen_is_in_progress(kind: Resource, kstatus: Kstatus):
    seen = await component(Verdict.usable("It works.")) if kind is STACK_COMPONENTS else await stack()

    assert kstatus({**seen, "metadata": {**seen["metadata"], "generation": 2}}) == "InProgress"


async def test_what_is_being_deleted_is_terminating(kstatus: Kstatus):
    seen = await stack()

    assert kstatus({**seen, "metadata": {**seen["metadata"], "deletionTimestamp": EARLIER}}) == "Terminating"


class TestStackComponent:
    @pytest.mark.parametrize(
        ("verdict", "status"),
        [
            (Verdict.usable("It works."), "Current"),
            (Verdict.failed("EndpointUnreachable", "It is away; start it."), "InProgress"),
            (Verdict.failed("SecretNotFound", "There is no Secret; create it."), "InProgress"),
            (Verdict.failed("InvalidName", "Name it otherwise."), "Failed"),
            (Verdict.unknown("HelmInstalling", "Helm installs it."), "InProgress"),
            (Verdict.unknown("TrackerNotReady", "It waits for its tracker."), "InProgress"),
            (Verdict.failed("HelmInstallFailed", "It is tried again."), "InProgress"),
        ],
        ids=lambda value: value.reason if isinstance(value, Verdict) else "",
    )
    async def test_it_is_what_its_check_found(self, verdict: Verdict, status: str, kstatus: Kstatus):
        assert kstatus(await component(verdict)) == status

    async def test_one_that_the_operator_may_not_check_is_in_progress(self, kstatus: Kstatus):
        assert kstatus(await component(ForbiddenError(403, "Forbidden", "No."))) == "InProgress"

    @pytest.mark.parametrize("spec", [{"artifactStore": {"s3": {"bucket": 5}}}, {"artifactStore": {"tape": {}}}])
    async def test_one_that_the_operator_does_not_understand_has_failed(self, spec: JsonObject, kstatus: Kstatus):
        assert kstatus(await component(Verdict.usable("It works."), spec)) == "Failed"


class TestStack:
    async def test_a_ready_one_is_current(self, kstatus: Kstatus):
        assert kstatus(await stack()) == "Current"

    async def test_one_whose_components_are_being_checked_is_in_progress(self, kstatus: Kstatus):
        assert kstatus(await stack(bucket=component_body("bucket", BUCKET_SPEC))) == "InProgress"

    async def test_one_whose_component_is_not_there_or_not_ready_is_in_progress(self, kstatus: Kstatus):
        assert kstatus(await stack(bucket=component_body("bucket", BUCKET_SPEC, ready=False))) == "InProgress"
        assert kstatus(await stack(bucket=component_body("other", BUCKET_SPEC, ready=True))) == "InProgress"

    async def test_one_that_names_a_component_of_another_type_has_failed(self, kstatus: Kstatus):
        assert kstatus(await stack(bucket=component_body("bucket", JOBS_SPEC, ready=True))) == "Failed"

    async def test_one_whose_components_do_not_fit_together_yet_is_in_progress(self, kstatus: Kstatus):
        assert kstatus(await stack(bucket=component_body("bucket", DISK_SPEC, ready=True))) == "InProgress"


class TestPipelineRun:
    async def test_one_that_waits_for_its_stack_is_in_progress(self, kstatus: Kstatus):
        world = RunWorld()
        world.run(run_spec(step("load"), stackRef={"name": "missing"}))
        await world.reconcile()

        assert kstatus(run_of(world)) == "InProgress"

    async def test_one_that_runs_is_in_progress(self, kstatus: Kstatus):
        world = RunWorld()
        await world.under_way(ONE_STEP)

        assert kstatus(run_of(world)) == "InProgress"

    async def test_one_that_has_succeeded_is_current(self, kstatus: Kstatus):
        assert kstatus(run_of(await ended(ONE_STEP, 0))) == "Current"

    async def test_one_that_has_failed_has_failed(self, kstatus: Kstatus):
        assert kstatus(run_of(await ended(ONE_STEP, 1))) == "Failed"

    async def test_one_that_was_cancelled_has_failed(self, kstatus: Kstatus):
        world = RunWorld()
        world.run(ONE_STEP.model_copy(update={"cancel": "Graceful"}))
        await world.reconcile()

        assert kstatus(run_of(world)) == "Failed"

    async def test_one_that_could_never_start_has_failed(self, kstatus: Kstatus):
        world = RunWorld()
        world.run(run_spec(step("load", dependsOn=["missing"]), **PRODUCTION))
        await world.reconcile()

        assert kstatus(run_of(world)) == "Failed"

    async def test_one_that_is_suspended_is_as_its_spec_wants_it(self, kstatus: Kstatus):
        world = RunWorld()
        world.run(ONE_STEP.model_copy(update={"suspend": True}))
        await world.reconcile()

        assert kstatus(run_of(world)) == "Current"

    async def test_a_suspended_one_whose_step_still_runs_is_in_progress(self, kstatus: Kstatus):
        world = RunWorld()
        await world.under_way(ONE_STEP)
        body = run_of(world)
        world.kubernetes.add(PIPELINE_RUNS, {**body, "spec": {**body["spec"], "suspend": True}})
        await world.reconcile()

        assert kstatus(run_of(world)) == "InProgress"


class TestPipeline:
    async def test_a_valid_one_is_current(self, kstatus: Kstatus):
        assert kstatus(await pipeline(step("load"))) == "Current"

    async def test_one_that_is_not_valid_has_failed(self, kstatus: Kstatus):
        assert kstatus(await pipeline(step("load", dependsOn=["missing"]))) == "Failed"

    async def test_one_whose_last_run_has_failed_is_current(self, kstatus: Kstatus):
        assert kstatus(await pipeline(step("load"), last_run="StepFailed")) == "Current"

    async def test_one_whose_run_the_api_server_refuses_is_in_progress(self, kstatus: Kstatus):
        refusal = ForbiddenError(403, "Forbidden", "exceeded quota")

        assert kstatus(await pipeline(step("load"), refusal=refusal)) == "InProgress"


class TestPipelineSchedule:
    async def test_a_valid_one_is_current(self, kstatus: Kstatus):
        assert kstatus(await schedule()) == "Current"

    async def test_a_suspended_one_is_as_its_spec_wants_it(self, kstatus: Kstatus):
        assert kstatus(await schedule(suspend=True)) == "Current"

    async def test_one_whose_pipeline_is_not_there_is_in_progress(self, kstatus: Kstatus):
        assert kstatus(await schedule(pipelineRef={"name": "missing"})) == "InProgress"

    async def test_one_whose_times_never_come_has_failed(self, kstatus: Kstatus):
        assert kstatus(await schedule(schedule="0 0 31 2 *")) == "Failed"


async def component(found: Verdict | ForbiddenError, spec: JsonObject = BUCKET_SPEC) -> JsonObject:
    """Return a component whose check has found something."""

    async def check(*_: object) -> Verdict:
        if isinstance(found, ForbiddenError):
            raise found
        return found

    world = World()
    keeper = release_keeper(world.cluster, FakeHelm(world.kubernetes))
    key = world.apply(STACK_COMPONENTS, component_body("bucket", spec))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(S3, "check", check)
        with suppress(ForbiddenError):
            await ComponentReconciler(world.cluster, keeper, interval=300, retry_interval=10).reconcile(key)
    return world.kubernetes.one(STACK_COMPONENTS, "bucket")


async def stack(bucket: JsonObject | None = None) -> JsonObject:
    """Return a Stack, with that component beside its orchestrator."""
    world = World()
    world.apply(STACK_COMPONENTS, component_body("jobs", JOBS_SPEC, ready=True))
    world.apply(STACK_COMPONENTS, bucket or component_body("bucket", BUCKET_SPEC, ready=True))
    key = world.apply(STACKS, stack_body("production"))
    await StackReconciler(world.cluster, Usability(world.cluster.kubernetes, Clock())).reconcile(key)
    return world.kubernetes.one(STACKS, "production")


def run_of(world: RunWorld) -> JsonObject:
    return world.kubernetes.one(PIPELINE_RUNS, RUN.name)


async def ended(spec: RunSpec, code: int) -> RunWorld:
    """Return what happened to a run whose only step has ended with an exit code."""
    world = RunWorld()
    await world.under_way(spec)
    world.put(world.pod("wine-1-load-1").ends("load", code))
    await world.reconcile()
    return world


async def pipeline(*steps: Any, last_run: str | None = None, refusal: ForbiddenError | None = None) -> JsonObject:
    """Return a Pipeline whose changes are run, where its last run has ended so, or is refused."""
    world = World()
    key = world.apply(PIPELINES, pipeline_body(*steps, spec={"runPolicy": "OnChange"}))
    if refusal is not None:
        world.kubernetes.objections["create pipelineruns"] = lambda _: refusal
    reconciler = PipelineReconciler(world.cluster, ManualClock())
    await reconciler.reconcile(key)
    if last_run is not None:
        (run,) = world.kubernetes.all(PIPELINE_RUNS)
        succeeded = {"type": "Succeeded", "status": "False", "reason": last_run, "message": "So it ended."}
        world.apply(PIPELINE_RUNS, {**run, "status": {"conditions": [succeeded], "completionTime": EARLIER}})
        await reconciler.reconcile(key)
        assert world.condition(PIPELINES, key[1], "LastRunSucceeded")["reason"] == last_run
    return world.kubernetes.one(PIPELINES, key[1])


async def schedule(**spec: Any) -> JsonObject:
    """Return a PipelineSchedule that was made just before."""
    world, clock = World(), ManualClock()
    clock.set(parse(EARLIER) + timedelta(minutes=1))
    world.apply(PIPELINES, pipeline_body())
    key = world.apply(PIPELINE_SCHEDULES, schedule_body(spec=spec))
    await PipelineScheduleReconciler(world.cluster, clock).reconcile(key)
    return world.kubernetes.one(PIPELINE_SCHEDULES, key[1])
