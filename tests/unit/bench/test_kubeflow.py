"""What Cairn costs on Kubeflow Pipelines, as far as it can be seen without a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest
import yaml

from cairn.api.base import JsonObject
from cairn.api.stack import StackSpec
from cairn.clients.kubernetes import PIPELINE_RUNS, STACK_COMPONENTS, STACKS, Resource
from cairn.components.registry import load
from tests.bench import kubeflow
from tests.bench.active import Reading, Timeline, behind, mistake
from tests.bench.cluster import CLUSTERS, BenchCluster
from tests.bench.cost import Meter
from tests.bench.kubeflow import SERVERS, FollowedArm, printed
from tests.bench.kubeflow_server import KubeflowServer, S3Server
from tests.bench.names import CAIRN_JOBS, KUBEFLOW, KUBEFLOW_QUICK, RAISED, REAL
from tests.bench.objects import LASTS_ANNOTATION
from tests.bench.parts import KUBEFLOW_RUNS, KUBEFLOW_STEPS, PARTS
from tests.bench.report import write
from tests.bench.results import Active, Measurement, OnKubeflow, OperatorCost, Part, Results
from tests.bench.tables import kubeflow_requests, kubeflow_runs, kubeflow_steps, requests
from tests.bench.work import chain
from tests.kfp.backend.__main__ import options_of
from tests.kfp.backend.scripted import succeeding
from tests.kfp.harness import Backend, backend
from tests.kfp.pipelines import Pipeline
from tests.unit.fake_kubernetes import FakeKubernetes

NAMESPACE = "bench-cairn"
GET_RUN, CREATE_RUN = "GET /apis/v2beta1/runs/{run_id}", "POST /apis/v2beta1/runs"


def pipeline_run(
    name: str, *, on_kubeflow: str | None = None, step: str = "Pending", ended: bool = False
) -> JsonObject:
    status: JsonObject = {"steps": [{"name": "s0", "state": step}]}
    if on_kubeflow is not None:
        status["orchestratorRun"] = {"id": on_kubeflow}
    if ended:
        status |= {
            "completionTime": "2026-11-23T09:00:00Z",
            "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed"}],
        }
    return {"metadata": {"name": name, "uid": f"uid-of-{name}"}, "status": status}


@pytest.mark.parametrize(
    ("fields", "is_under_way"),
    [
        ({}, False),
        ({"step": "Queued"}, False),
        ({"on_kubeflow": "id-1", "step": "Queued"}, True),
        ({"step": "Running"}, True),
        ({"step": "Succeeded", "ended": True}, True),
    ],
)
def test_a_run_is_under_way_once_it_is_submitted_or_a_step_runs(fields: dict[str, Any], is_under_way: bool) -> None:
    timeline = Timeline()

    timeline.note(pipeline_run("run-0", **fields), 3)

    assert bool(timeline.under_way) is is_under_way


def timeline_of(**runs: tuple[float, float]) -> Timeline:
    """Return when runs were submitted and over."""
    timeline = Timeline()
    for name, (under_way, over) in runs.items():
        timeline.note(pipeline_run(name, on_kubeflow=f"id-of-{name}"), under_way)
        timeline.note(pipeline_run(name, on_kubeflow=f"id-of-{name}", ended=True), over)
    return timeline


def reading(moment: float, cpu_seconds: float, got: int, peak: float = 100) -> Reading:
    return Reading(moment, cpu_seconds, peak, {GET_RUN: got, CREATE_RUN: 2})


def test_moments_are_those_of_the_last_to_begin_and_the_first_to_end() -> None:
    timeline = timeline_of(a=(10, 200), b=(40, 190))

    assert timeline.moments(began=5) == {"all under way": 35, "first over": 185}


def test_only_what_went_on_while_all_were_active_is_counted() -> None:
    timeline = timeline_of(a=(10, 200), b=(40, 190))
    readings = [
        reading(39, 0, 0),
        reading(50, 1, 100),
        reading(60, 2, 700),
        reading(70, 3, 900, 120),
        reading(195, 9, 999),
    ]

    active = timeline.active(readings)

    assert active is not None
    assert (active.lasted, active.seconds, active.cores, active.peak_mib) == (150, 20, 0.1, 120)
    assert active.requests == {GET_RUN: 800}  # none was created meanwhile
    assert (active.rate, active.busiest) == (40, 60)


def test_nothing_is_said_where_not_all_were_active_at_once() -> None:
    timeline = timeline_of(a=(10, 30), b=(40, 190))

    assert timeline.active([reading(35, 1, 1), reading(38, 2, 2)]) is None


def test_what_cairn_adds_is_from_when_all_was_told_to_when_the_run_was_seen_finished() -> None:
    timeline = timeline_of(a=(10, 30.5))

    told, noticed = behind(timeline, {"id-of-a": {"ended": 1028, "told": 1029.25}, "another": {}}, epoch=1000)

    assert (told, noticed) == ([1.25], [1.25])
    assert OnKubeflow(told_after=told, noticed_after=noticed).behind == [2.5]


def kfp_run(name: str, run_id: str = "", state: str = "SUCCEEDED") -> JsonObject:
    return {"display_name": f"{name}-uid-of-{name}", "run_id": run_id or f"id-of-{name}", "state": state}


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [
        ([kfp_run("a"), kfp_run("b"), kfp_run("somebody-else")], None),
        ([kfp_run("a")], "lacks 1"),
        ([kfp_run("a"), kfp_run("b"), kfp_run("b", "id-of-another")], "has 1 more than once; 1 IDs are not"),
        ([kfp_run("a"), kfp_run("b", "id-of-another")], "2 IDs are not those of the statuses"),
        ([kfp_run("a"), kfp_run("b", state="FAILED")], "'FAILED': 1"),
    ],
)
def test_each_run_must_be_there_once_and_have_succeeded(runs: list[JsonObject], complaint: str | None) -> None:
    found = mistake(timeline_of(a=(1, 2), b=(1, 2)), runs)

    assert found is None if complaint is None else complaint in str(found)


def measured(part: str, arm: str, seconds: float, **fields: Any) -> Measurement:
    cluster = RAISED if part == KUBEFLOW_RUNS else REAL
    operator = OperatorCost(requests={"patch pipelineruns/status": 6, "create events": 2}, cpu_seconds=9, peak_mib=150)
    common: dict[str, Any] = {"part": part, "cluster": cluster, "arm": arm, "runs": 2, "steps": 2, "seconds": seconds}
    return Measurement(**common, operator=operator, **fields)


def results_of(part: str, *measurements: Measurement) -> Results:
    return Results(parts={part: Part(date="2026-11-23", commit="abc", measurements=list(measurements))})


@pytest.fixture
def many() -> Results:
    moments = {"all under way": 30.0, "first over": 190.0}
    active = Active(lasted=160, seconds=150, cpu_seconds=30, peak_mib=140)
    asked = {GET_RUN: 60, CREATE_RUN: 2}
    there = OnKubeflow(requests=asked, told_after=[1, 1], noticed_after=[2, 8])
    on_kubeflow = active.model_copy(update={"requests": {GET_RUN: 45}, "busiest": 0.8, "cpu_seconds": 60})
    return results_of(
        KUBEFLOW_RUNS,
        measured(KUBEFLOW_RUNS, CAIRN_JOBS, 260, moments=moments, active=active),
        measured(KUBEFLOW_RUNS, KUBEFLOW, 300, moments=moments, active=on_kubeflow, kubeflow=there),
    )


def test_many_runs_are_told_beside_the_same_as_jobs(many: Results) -> None:
    rows = kubeflow_runs(many).splitlines()[2:]

    assert rows == [
        f"| 2 | {CAIRN_JOBS} | 30 | 160 |  |  | 0.200 | 140 |  | 4.0 | 3.0 | 260 | 1 |",
        f"| 2 | {KUBEFLOW} | 30 | 160 | 0.3 | 0.8 | 0.400 | 140 | 31.0 | 4.0 | 3.0 | 300 | 1 |",
    ]


def test_requests_are_told_by_kind(many: Results) -> None:
    rows = kubeflow_requests(many).splitlines()[2:]

    assert rows == ["| `GET runs/{run_id}` | 0.30 | 30.0 |", "| `POST runs` | 0.00 | 1.0 |"]
    assert f"| 500 runs of 2 steps of 2 minutes | {KUBEFLOW} |" in requests(many)


def test_a_measurement_is_printed(many: Results) -> None:
    jobs, on_kubeflow = (list(printed(one)) for one in many.parts[KUBEFLOW_RUNS].measurements)

    assert jobs == ["all 2 were active for 160 s; the operator meanwhile: 0.200 cores, 140 MiB at most"]
    assert on_kubeflow[1:] == [
        "requests to Kubeflow Pipelines meanwhile: 0.3 /s, at most 0.8 /s",
        f"  {GET_RUN}: 0.30 /s",
        "requests to Kubeflow Pipelines per run: 31.0",
        "from its end to the PipelineRun's: 9.00 s, 8.00 s after it was told",
    ]


def test_a_short_run_is_told_beside_the_same_as_jobs() -> None:
    def there(*noticed: float) -> OnKubeflow:
        return OnKubeflow(requests={GET_RUN: 20}, told_after=[1.25] * len(noticed), noticed_after=list(noticed))

    results = results_of(
        KUBEFLOW_STEPS,
        *(measured(KUBEFLOW_STEPS, CAIRN_JOBS, seconds) for seconds in (4, 3, 99)),
        *(measured(KUBEFLOW_STEPS, KUBEFLOW, 60, kubeflow=there(noticed)) for noticed in (1, 5, 2)),
        measured(KUBEFLOW_STEPS, KUBEFLOW_QUICK, 10, kubeflow=there(0.5)),
    )

    assert kubeflow_steps(results).splitlines()[2:] == [
        f"| {CAIRN_JOBS} | 4.0 | 1.00 |  |  |  |  | 4.0 | 3 |",
        f"| {KUBEFLOW} | 60.0 | 15.00 | 1.25 / 1.25 | 2.00 / 5.00 | 3.25 / 6.25 | 10.0 | 4.0 | 3 |",
        f"| {KUBEFLOW_QUICK} | 10.0 | 2.50 | 1.25 / 1.25 | 0.50 / 0.50 | 1.75 / 1.75 | 10.0 | 4.0 | 1 |",
    ]


def test_what_was_broken_off_before_both_sides_were_measured_is_left_out(many: Results, tmp_path: Any) -> None:
    part = many.parts[KUBEFLOW_RUNS]
    half = many.model_copy(
        update={"parts": {KUBEFLOW_RUNS: part.model_copy(update={"measurements": part.measurements[:1]})}}
    )

    write(many, tmp_path / "whole")
    write(half, tmp_path / "half")

    assert f"| {KUBEFLOW} | 30 |" in (tmp_path / "whole.md").read_text()
    assert f"| {CAIRN_JOBS} | 30 |" not in (tmp_path / "half.md").read_text()


def test_results_are_kept_as_they_are(many: Results, tmp_path: Any) -> None:
    many.save(tmp_path / "results.json")

    assert Results.load(tmp_path / "results.json") == many


def test_steps_that_last_do_so_on_fake_nodes_too() -> None:
    run = next(chain(2, seconds=120).manifests("jobs"))
    stages = {one["metadata"]["name"]: one for one in yaml.safe_load_all((CLUSTERS / "fake-nodes.yaml").read_text())}
    delay = stages["pod-succeeded"]["spec"]["delay"]["durationFrom"]["jq"]["expression"]

    assert run["spec"]["podTemplate"]["annotations"] == {LASTS_ANNOTATION: "120s"}
    assert delay == f'.metadata.annotations["{LASTS_ANNOTATION}"]'
    assert "podTemplate" not in next(chain(2).manifests("jobs"))["spec"]


class Api(FakeKubernetes):
    """An API server that puts objects into the namespace that they are made in."""

    async def create(
        self, resource: Resource, namespace: str, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        metadata = {**body["metadata"], "namespace": namespace}
        return await super().create(resource, namespace, {**body, "metadata": metadata}, dry_run=dry_run)


class FakeCluster(BenchCluster):
    """Keeps what it is told to make; a Service's proxy leads to a backend in memory."""

    def __init__(self, backend: Backend | None = None) -> None:
        self.api = Api()
        super().__init__(RAISED, self.api)
        self.applied: list[JsonObject] = []
        self._backend = backend

    @property
    def images(self) -> Mapping[str, str]:
        return {"S3_IMAGE": "s3:1", "OPERATOR_IMAGE": "cairn/operator:1"}

    async def add_namespace(self, name: str, *, stacks: bool) -> None:
        self.applied.append({"kind": "Namespace", "metadata": {"name": name}})

    async def add_stack(self, namespace: str, stack: JsonObject) -> None:
        await self.api.create(STACKS, namespace, stack)

    async def apply(self, namespace: str, manifests: str) -> None:
        self.applied += yaml.safe_load_all(manifests)

    async def kubectl(self, *arguments: str, feed: str | None = None) -> str:
        if feed is not None:
            self.applied += json.loads(feed)["items"]
        if arguments[:2] == ("get", "--raw"):
            assert self._backend is not None
            prefix, _, path = arguments[2].partition("/proxy/")
            assert prefix == "/api/v1/namespaces/bench-kfp/services/http:ml-pipeline:8888"
            status, answer = await self._backend.ask("GET", f"/{path}")
            assert status == 200
            return json.dumps(answer)
        return ""

    def of_kind(self, kind: str) -> list[JsonObject]:
        return [one for one in self.applied if one["kind"] == kind]


@pytest.mark.parametrize("part", [KUBEFLOW_RUNS, KUBEFLOW_STEPS])
async def test_servers_are_made_with_a_stack_each(part: str) -> None:
    cluster = FakeCluster()
    s3 = S3Server(cluster)
    await s3.install(NAMESPACE)
    for stack, options in SERVERS[part].values():
        await KubeflowServer(cluster, stack).install(NAMESPACE, s3, options)

    names = [stack for stack, _ in SERVERS[part].values()]
    components = {one["metadata"]["name"]: load(one) for one in cluster.api.all(STACK_COMPONENTS)}
    assert components.keys() == {"bucket", *names}
    for one in cluster.api.all(STACKS):
        spec = StackSpec.model_validate(one["spec"])
        assert spec.orchestrator_ref.name == one["metadata"]["name"]
        assert (
            components[one["metadata"]["name"]].config.endpoint
            == f"http://ml-pipeline.{spec.orchestrator_ref.name}:8888"
        )
    deployments = cluster.of_kind("Deployment")
    assert [one["metadata"].get("namespace") for one in deployments] == [None, *names]
    assert deployments[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "s3:1"
    for one, (_, options) in zip(deployments[1:], SERVERS[part].values(), strict=True):
        command = one["spec"]["template"]["spec"]["containers"][0]["command"]
        given = options_of(command[3:])
        assert (given.in_memory is not None) is (part == KUBEFLOW_RUNS)
        assert given.requeue_seconds == (1 if "--requeue-seconds=1" in options else 10)
        assert given.restrict_main
    assert len({one["stringData"]["AWS_ACCESS_KEY_ID"] for one in cluster.of_kind("Secret")}) == 1


@pytest.fixture
async def kfp() -> AsyncIterator[Backend]:
    async with backend(succeeding(120)) as server:
        yield server


class FakeMeter:
    """Counts a second of CPU time each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.was_asked_thrice = asyncio.Event()

    async def usage(self) -> tuple[float, float]:
        self.asked += 1
        if self.asked == 3:
            self.was_asked_thrice.set()
        return self.asked, 100


async def operate(
    api: FakeKubernetes, kfp: Backend, runs: int, *, twice: str = "", until: asyncio.Event | None = None
) -> None:
    """Do what the operator does; submit the run of the name `twice` once more, and ask for one until something has happened."""
    spec = Pipeline()
    spec.task("a", spec.container("a"))

    def tell(run: JsonObject, **status: Any) -> None:
        api.add(PIPELINE_RUNS, {**run, "status": {**run.get("status", {}), **status}})

    while len(api.all(PIPELINE_RUNS)) < runs:  # noqa: ASYNC110 - as a fake it has no events to wait for
        await asyncio.sleep(0.01)
    submitted: list[str] = []
    for run in api.all(PIPELINE_RUNS):
        asked = {"display_name": f"{run['metadata']['name']}-{run['metadata']['uid']}", "pipeline_spec": spec.spec}
        for _ in range(2 if run["metadata"]["name"] == twice else 1):
            _, made = await kfp.ask("POST", "/apis/v2beta1/runs", asked)
            submitted.append(made["run_id"])
        tell(run, orchestratorRun={"id": submitted[-1]}, steps=[{"name": "s0", "state": "Queued"}])
    while until is not None and not until.is_set():
        await kfp.run(submitted[0])
        await asyncio.sleep(0.01)
    kfp.clock.advance(600)
    for run in api.all(PIPELINE_RUNS):
        condition = {"type": "Succeeded", "status": "True", "reason": "Completed"}
        tell(run, completionTime="2026-11-23T09:00:00Z", conditions=[condition])


def arm_on(cluster: FakeCluster, meter: FakeMeter) -> FollowedArm:
    return FollowedArm(
        cluster.api,
        NAMESPACE,
        "bench-kfp",
        timelines=False,
        label=KUBEFLOW,
        server=KubeflowServer(cluster, "bench-kfp"),
        meter=cast(Meter, meter),
    )


async def test_runs_are_followed_from_their_creation_to_their_end(
    kfp: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeflow, "READ_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("tests.bench.kubeflow_server.PAGE", 2)
    cluster, meter = FakeCluster(kfp), FakeMeter()
    operator = asyncio.create_task(operate(cluster.api, kfp, 5, until=meter.was_asked_thrice))

    async with asyncio.timeout(30):
        done = await arm_on(cluster, meter).do(PARTS[KUBEFLOW_RUNS].work(0.01))
        await operator

    assert done.kubeflow is not None
    assert done.kubeflow.requests.keys() == {CREATE_RUN, GET_RUN}
    assert done.kubeflow.requests[CREATE_RUN] == 5
    assert len(done.kubeflow.noticed_after) == 5
    assert done.kubeflow.told_after == pytest.approx([1.25] * 5)
    assert done.active is not None
    assert done.active.cpu_seconds >= 1
    assert done.active.requests.keys() == {GET_RUN}
    assert 0 < done.moments["all under way"] < done.moments["first over"] <= round(done.seconds, 3)


async def test_a_run_that_was_submitted_twice_ends_the_bench(kfp: Backend) -> None:
    cluster = FakeCluster(kfp)
    operator = asyncio.create_task(operate(cluster.api, kfp, 2, twice="run-1"))

    async with asyncio.timeout(30):
        with pytest.raises(AssertionError, match="1 more than once"):
            await arm_on(cluster, FakeMeter()).do(chain(2, 2))
        await operator
