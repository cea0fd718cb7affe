"""What wakes what. The queues' keys are looked at; nothing is reconciled unless the operator is started."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from cairn.api.base import JsonObject
from cairn.clients.cluster import Cluster
from cairn.clients.events import EventRecorder
from cairn.clients.kubernetes import (
    JOBS,
    PIPELINE_RUNS,
    PODS,
    SECRETS,
    STACK_COMPONENTS,
    STACKS,
    ApiError,
    GoneError,
    Resource,
)
from cairn.clients.store import Key
from cairn.components.artifact_store.s3.store import S3
from cairn.components.base import Verdict
from cairn.handlers import work_queue
from cairn.handlers.operator import Operator
from cairn.handlers.work_queue import WorkQueue
from cairn.settings import Settings
from tests.unit.builders import (
    BUCKET_SPEC,
    JOBS_SPEC,
    NOW,
    component_body,
    pipeline_body,
    run_body,
    run_spec,
    schedule_body,
    stack_body,
    step,
)
from tests.unit.fake_kubernetes import FakeKubernetes
from tests.unit.pods import PodStory
from tests.unit.virtual_time import now, settle

BUCKET, PRODUCTION, WINE = ("ml", "bucket"), ("ml", "production"), ("ml", "wine-1")


pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "time", SimpleNamespace(monotonic=now))


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


@pytest.fixture
def real_operator(kubernetes: FakeKubernetes) -> Operator:
    settings = Settings.model_validate({"step_image": "cairn:test"})
    return Operator(Cluster(kubernetes, EventRecorder(kubernetes, "test")), settings)


class RecordingQueue(WorkQueue):
    """A queue that works on nothing and remembers what was woken, at once or for later."""

    def __init__(self) -> None:
        super().__init__("Recording", self._never, workers=0)
        self.keys: set[Key] = set()

    def wake(self, key: Key) -> None:
        self.keys.add(key)

    def wake_after(self, key: Key, seconds: float) -> None:
        self.keys.add(key)

    @staticmethod
    async def _never(key: Key) -> None:
        raise AssertionError(key)


@pytest.fixture
def operator(real_operator: Operator) -> Operator:
    """An operator that only says what it would reconcile."""
    for name in ("components", "stacks", "pipelines", "schedules", "runs"):
        setattr(real_operator, name, RecordingQueue())
    return real_operator


def woken(queue: WorkQueue) -> set[Key]:
    """Return what was woken since this was last asked."""
    assert isinstance(queue, RecordingQueue)
    keys, queue.keys = queue.keys, set()
    return keys


def settled(operator: Operator) -> None:
    for queue in (operator.components, operator.stacks, operator.pipelines, operator.schedules, operator.runs):
        woken(queue)


def body_of(body: JsonObject, version: int, uid: str = "uid-1") -> JsonObject:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(version), "uid": uid}}


def run_on(stack: str, version: int, *, ended: bool = False) -> JsonObject:
    status: JsonObject = {"stack": {"name": stack, "digest": "x"}}
    return body_of({**run_body(), "status": {**status, **({"completionTime": NOW} if ended else {})}}, version)


class TestComponents:
    async def test_a_component_wakes_itself_and_the_stacks_that_name_it(self, operator: Operator):
        operator.stack_changed("ADDED", body_of(stack_body("production"), 1))
        operator.stack_changed("ADDED", body_of(stack_body("elsewhere", store="other"), 1))
        settled(operator)

        operator.component_changed("ADDED", body_of(component_body("bucket", BUCKET_SPEC), 2))

        assert woken(operator.components) == {BUCKET}
        assert woken(operator.stacks) == {PRODUCTION}

    async def test_a_component_that_vanishes_wakes_the_stacks_that_name_it(self, operator: Operator):
        operator.stack_changed("ADDED", body_of(stack_body("production"), 1))
        operator.component_changed("ADDED", body_of(component_body("bucket", BUCKET_SPEC), 1))
        settled(operator)

        operator.component_changed("DELETED", body_of(component_body("bucket", BUCKET_SPEC), 2))

        assert operator.cluster.components.get(BUCKET) is None
        assert woken(operator.stacks) == {PRODUCTION}

    async def test_a_component_that_was_made_anew_outlives_the_news_that_the_old_one_went(self, operator: Operator):
        operator.component_changed("ADDED", body_of(component_body("bucket", BUCKET_SPEC), 3, uid="new"))

        operator.component_changed("DELETED", body_of(component_body("bucket", BUCKET_SPEC), 2, uid="old"))

        assert operator.cluster.components.get(BUCKET) is not None


class TestPipelines:
    async def test_a_pipeline_wakes_itself_and_the_runs_that_wait_for_it(self, operator: Operator):
        condition = {"type": "Succeeded", "status": "Unknown", "reason": "PipelineNotReady"}
        waiting = body_of({**run_body(), "status": {"conditions": [condition]}}, 1)
        operator.run_changed("ADDED", waiting)
        operator.run_changed("ADDED", body_of(run_body(name="other"), 1))
        settled(operator)

        operator.pipeline_changed("ADDED", body_of(pipeline_body(), 2))

        assert woken(operator.pipelines) == {("ml", "wine")}
        assert woken(operator.runs) == {WINE}

    async def test_a_pipeline_wakes_the_schedules_that_name_it(self, operator: Operator):
        operator.schedule_changed("ADDED", body_of(schedule_body(), 1))
        operator.schedule_changed("ADDED", body_of(schedule_body("other", {"pipelineRef": {"name": "beer"}}), 1))
        settled(operator)

        operator.pipeline_changed("ADDED", body_of(pipeline_body(), 2))

        assert woken(operator.schedules) == {("ml", "nightly")}

    async def test_a_run_wakes_the_schedule_that_has_started_it(self, operator: Operator):
        owner = {"kind": "PipelineSchedule", "name": "nightly", "uid": "uid-1", "controller": True}

        operator.run_changed("MODIFIED", body_of(run_body(ownerReferences=[owner]), 1))

        assert woken(operator.schedules) == {("ml", "nightly")}

    async def test_a_run_wakes_the_pipeline_that_has_started_it(self, operator: Operator):
        operator.run_changed("ADDED", body_of(run_body(labels={"cairn.dev/pipeline-revision": "5e1f0c2a"}), 1))

        assert woken(operator.pipelines) == {("ml", "wine")}

    async def test_the_progress_of_a_run_wakes_its_pipeline_no_further(self, operator: Operator):
        run = run_body(labels={"cairn.dev/pipeline-revision": "5e1f0c2a"})
        condition = {"type": "Succeeded", "status": "Unknown", "reason": "Running", "message": "It runs."}
        operator.run_changed("ADDED", body_of({**run, "status": {"conditions": [condition]}}, 1))
        settled(operator)

        operator.run_changed("MODIFIED", body_of({**run, "status": {"conditions": [condition], "steps": []}}, 2))

        assert woken(operator.pipelines) == set()


class TestStacks:
    async def test_a_stack_wakes_the_components_that_it_names_and_named(self, operator: Operator):
        operator.stack_changed("ADDED", body_of(stack_body("production"), 1))
        settled(operator)

        operator.stack_changed("MODIFIED", body_of(stack_body("production", store="other"), 2))

        assert woken(operator.components) == {("ml", "jobs"), BUCKET, ("ml", "other")}

    async def test_a_stack_that_vanishes_wakes_the_components_that_it_named(self, operator: Operator):
        operator.stack_changed("ADDED", body_of(stack_body("production"), 1))
        settled(operator)

        operator.stack_changed("DELETED", body_of(stack_body("production"), 2))

        assert woken(operator.components) == {("ml", "jobs"), BUCKET}

    async def test_a_stack_wakes_a_component_that_still_says_that_it_uses_it(self, operator: Operator):
        body = component_body("former", BUCKET_SPEC)
        operator.component_changed("ADDED", body_of({**body, "status": {"usedBy": ["production"]}}, 1))

        operator.stack_changed("ADDED", body_of(stack_body("production"), 2))

        assert ("ml", "former") in woken(operator.components)

    async def test_a_stack_whose_status_alone_changes_wakes_no_component(self, operator: Operator):
        operator.stack_changed("ADDED", body_of(stack_body("production"), 1))
        settled(operator)

        operator.stack_changed("MODIFIED", body_of({**stack_body("production"), "status": {"activeRuns": 1}}, 2))

        assert woken(operator.components) == set()
        assert woken(operator.stacks) == {PRODUCTION}

    async def test_a_stack_that_becomes_the_default_wakes_its_rivals(self, operator: Operator):
        for name in ("production", "other"):
            operator.stack_changed("ADDED", body_of(stack_body(name), 1))
        settled(operator)

        default = stack_body("production", annotations={"cairn.dev/default-stack": "true"})
        operator.stack_changed("MODIFIED", body_of(default, 2))

        assert woken(operator.stacks) == {PRODUCTION, ("ml", "other")}

    async def test_a_stack_wakes_the_runs_that_wait_for_one(self, operator: Operator):
        condition = {"type": "Succeeded", "status": "Unknown", "reason": "StackNotReady"}
        operator.run_changed("ADDED", body_of({**run_body(), "status": {"conditions": [condition]}}, 1))
        operator.run_changed("ADDED", body_of(run_body(name="wine-2"), 1))
        settled(operator)

        operator.stack_changed("ADDED", body_of(stack_body("production"), 2))

        assert woken(operator.runs) == {WINE}


class TestRuns:
    async def test_a_run_wakes_itself(self, operator: Operator):
        operator.run_changed("ADDED", body_of(run_body(), 1))

        assert woken(operator.runs) == {WINE}
        assert woken(operator.stacks) == set()

    async def test_a_run_that_starts_ends_or_goes_wakes_its_stack(self, operator: Operator):
        operator.run_changed("MODIFIED", run_on("production", 1))
        started = woken(operator.stacks)
        operator.run_changed("MODIFIED", run_on("production", 2))
        unchanged = woken(operator.stacks)
        operator.run_changed("MODIFIED", run_on("production", 3, ended=True))
        ended = woken(operator.stacks)
        operator.run_changed("DELETED", run_on("production", 4, ended=True))
        gone = woken(operator.stacks)

        assert (started, unchanged, ended, gone) == ({PRODUCTION}, set(), {PRODUCTION}, {PRODUCTION})

    async def test_a_run_s_end_wakes_its_stack_although_the_operator_wrote_it_itself(self, operator: Operator):
        operator.run_changed("MODIFIED", run_on("production", 1))
        settled(operator)
        operator.cluster.runs.put(run_on("production", 2, ended=True))

        operator.run_changed("MODIFIED", run_on("production", 2, ended=True))

        assert woken(operator.stacks) == {PRODUCTION}


async def test_a_start_that_fails_can_be_tried_again(operator: Operator, kubernetes: FakeKubernetes):
    kubernetes.objections["list secrets"] = lambda _: ApiError(503, "ServiceUnavailable", "starting")
    kubernetes.objections["list stacks"] = lambda _: ApiError(503, "ServiceUnavailable", "starting")
    with pytest.raises(ApiError):
        await operator.start()
    ready_after_failure = operator.ready
    kubernetes.objections.clear()

    await operator.start()

    assert (ready_after_failure, operator.ready) == (False, True)
    await operator.stop()


class TestChildren:
    @pytest.mark.parametrize("resource", [JOBS, PODS], ids=["job", "pod"])
    async def test_a_job_or_pod_wakes_its_run_by_its_whole_name(
        self, operator: Operator, kubernetes: FakeKubernetes, resource: Resource
    ):
        await operator.start()
        annotations = {"cairn.dev/run-name": "wine-1"}

        body = {"metadata": {"namespace": "ml", "name": "x", "annotations": annotations}, "spec": {}}
        kubernetes.add(resource, body)
        await settle()
        came = woken(operator.runs)
        kubernetes.remove(resource, "ml", "x")
        await settle()

        assert (came, woken(operator.runs)) == ({WINE}, {WINE})
        await operator.stop()

    async def test_a_job_of_nobody_wakes_nothing(self, operator: Operator, kubernetes: FakeKubernetes):
        await operator.start()

        kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": "x"}})
        await settle()

        assert woken(operator.runs) == set()
        await operator.stop()

    async def test_a_secret_wakes_the_components_that_name_it(self, operator: Operator, kubernetes: FakeKubernetes):
        operator.component_changed("ADDED", body_of(component_body("bucket", BUCKET_SPEC), 1))
        operator.component_changed("ADDED", body_of(component_body("jobs", JOBS_SPEC), 1))
        await operator.start()
        settled(operator)

        kubernetes.add(SECRETS, {"metadata": {"namespace": "ml", "name": "s3-credentials"}})
        await settle()

        assert woken(operator.components) == {BUCKET}
        await operator.stop()


class TestTheWhole:
    """The operator as it is started, on an API server in memory; kopf's part is played by `applied`."""

    def applied(self, real_operator: Operator, resource: Resource, body: JsonObject) -> None:
        kubernetes = real_operator.cluster.kubernetes
        assert isinstance(kubernetes, FakeKubernetes)
        changed = {
            STACK_COMPONENTS: real_operator.component_changed,
            STACKS: real_operator.stack_changed,
            PIPELINE_RUNS: real_operator.run_changed,
        }[resource]
        stored = kubernetes.add(resource, body)
        changed("ADDED", {**stored, "apiVersion": resource.api_version, "kind": resource.kind})

    async def test_a_run_is_carried_out(
        self, real_operator: Operator, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ):
        async def works(*_: object) -> Verdict:
            return Verdict.usable("It works.")

        monkeypatch.setattr(S3, "check", works)
        monkeypatch.setattr(S3, "open_to_operator", False)
        kubernetes.add(STACK_COMPONENTS, component_body("jobs", JOBS_SPEC))
        await real_operator.start()
        self.applied(real_operator, STACK_COMPONENTS, component_body("jobs", JOBS_SPEC))
        self.applied(real_operator, STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC))
        self.applied(real_operator, STACKS, stack_body("production"))
        await asyncio.sleep(5)
        stored = kubernetes.one(STACKS, "production")
        real_operator.stack_changed("MODIFIED", {**stored, "apiVersion": STACKS.api_version, "kind": "Stack"})
        self.applied(real_operator, PIPELINE_RUNS, run_body(run_spec(step("only"), stackRef={"name": "production"})))
        await asyncio.sleep(15)

        job = kubernetes.one(JOBS, "wine-1-only-1")
        kubernetes.add(PODS, PodStory(job).all_end_well().body)
        await asyncio.sleep(5)

        status = kubernetes.one(PIPELINE_RUNS, "wine-1")["status"]
        assert {item["type"]: item["status"] for item in status["conditions"]} == {
            "Succeeded": "True",
            "Finished": "True",
        }
        assert real_operator.alive
        await real_operator.stop()
        assert kubernetes.closed

    async def test_it_is_ready_once_everything_has_been_seen(self, real_operator: Operator):
        before = real_operator.ready
        await real_operator.start()

        assert (before, real_operator.ready) == (False, True)
        await real_operator.stop()

    async def test_it_does_not_start_where_it_may_not_look(self, real_operator: Operator, kubernetes: FakeKubernetes):
        kubernetes.objections["list stacks"] = lambda _: ApiError(403, "Forbidden", "no")

        with pytest.raises(ApiError):
            await real_operator.start()

    async def test_it_is_not_alive_when_a_watch_has_died(self, real_operator: Operator, kubernetes: FakeKubernetes):
        await real_operator.start()

        def mistake(_: JsonObject) -> None:
            raise KeyError("a mistake of ours")

        kubernetes.objections["list pods"] = mistake
        kubernetes.end_watches(GoneError(410, "Expired", "too old"))
        await asyncio.sleep(1)

        assert not real_operator.alive
        assert not real_operator.ready
        await real_operator.stop()
