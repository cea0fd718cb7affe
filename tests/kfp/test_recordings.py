"""Every recording of a real Kubeflow Pipelines backend, asked of this one: same statuses, fields, errors, and states in order."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.kfp.backend import runs
from tests.kfp.backend.clock import Timing, VirtualClock
from tests.kfp.backend.placeholders import resolve
from tests.kfp.backend.scripted import Deed
from tests.kfp.backend.state import Attempt
from tests.kfp.backend.store import Store
from tests.kfp.harness import RECORDINGS, START, Backend, backend, normalised, recording, task_states, workflow_of

Json = dict[str, Any]
NEVER = math.inf


def two_steps(attempt: Attempt) -> Deed:
    if attempt.task == "root.prep":
        return Deed(parameters={"rows": "42\n"}, artifacts=["data"])
    return Deed(exit_code=int(resolve(attempt.container.args[1:], attempt.inputs, attempt.outputs) != ["0.5", "42"]))


def fails(attempt: Attempt) -> Deed:
    return {
        "root.boom": Deed(exit_code=3),
        # Its container had ended before Argo looked, but the pod was still running.
        "root.independent": Deed(takes=8, seen_after=2),
    }[attempt.task]


def hands_fields_on(attempt: Attempt) -> Deed:
    if attempt.task == "root.a":
        return Deed(parameters={"results": '{"v": "hello \\"w\\"", "n": 7}'})
    got = resolve(attempt.container.args, attempt.inputs, attempt.outputs)
    return Deed(exit_code=int(got != ['hello "w"', "7"]))


def reads_its_environment(attempt: Attempt) -> Deed:
    return Deed(exit_code=int({one.name: one.value for one in attempt.container.env}["ALPHA"] != "0.5"))


DEEDS: dict[str, Callable[[Attempt], Deed]] = {
    "ok": two_steps,
    "cached": two_steps,
    "fixed-paths": lambda attempt: Deed(artifacts=list(attempt.outputs.artifacts)),
    "parallel": lambda _: Deed(takes=3),
    "selector": hands_fields_on,
    "env-placeholder": reads_its_environment,
    "fail": fails,
    "retries": lambda _: Deed(exit_code=1),
    "cancel": lambda _: Deed(takes=NEVER),
    "noimage": lambda _: Deed(starts_after=NEVER),
}
"""What the recorded containers did."""
FOLLOWED = ["ok", "fixed-paths", "parallel", "selector", "env-placeholder", "fail", "retries"]
REFUSED = ["create-invalid-ir", "create-missing-parameter", "create-malformed", "create-unknown-experiment"]


@pytest.fixture(autouse=True)
def recorded_workflow_names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Workflows get the names they had, of which the IDs of their nodes are made."""
    names: dict[str, str] = {}
    monkeypatch.setattr(runs, "workflow_name", lambda pipeline: names.get(pipeline, f"{pipeline}-vwxyz"))
    return names


async def create(server: Backend, name: str, experiment: str = "wine3") -> tuple[int, Json]:
    """Send the recorded request in an experiment of that name."""
    body: Json = dict(recording(name)["request"]["body"])
    if body.get("experiment_id", "").strip("0-"):
        body["experiment_id"] = await experiment_id(server, experiment)
    return await server.ask("POST", "/apis/v2beta1/runs", body)


async def experiment_id(server: Backend, name: str) -> str:
    found = [one for one in server.store.experiments.values() if one.display_name == name]
    if found:
        return found[0].experiment_id
    _, body = await server.ask("POST", "/apis/v2beta1/experiments", {"display_name": name})
    return body["experiment_id"]


def expected(name: str) -> tuple[int, Any]:
    response = recording(name)["response"]
    return response["status"], normalised(response["body"])


def recorded_polls(name: str) -> list[Json]:
    return [normalised(answer["response"]["body"]) for answer in recording(name)]


async def follow(server: Backend, run_id: str, seconds: float) -> list[Json]:
    """Return each answer that differs from the one before it, while time passes."""
    until = server.clock.now().timestamp() + seconds
    seen = [normalised(await server.run(run_id))]
    while server.clock.due_by(until) and server.clock.step():
        answer = normalised(await server.run(run_id))
        if answer != seen[-1]:
            seen.append(answer)
    server.clock.advance(until - server.clock.now().timestamp())
    return seen


def assert_agree(recorded: list[Json], seen: list[Json]) -> None:
    """Every recorded answer was given, in the same order, and no states but those that a poll can miss."""
    position = 0
    for number, answer in enumerate(recorded):
        rest = seen[position:]
        assert answer in rest, f"answer {number}:\n{shown([answer])}\nis not among\n{shown(rest)}"
        position += rest.index(answer) + 1
    combinations = [(answer.get("state"), task_states(answer)) for answer in recorded]
    for before, answer in itertools.pairwise(seen[:position]):
        is_report_of_run_alone = task_states(answer) == task_states(before)
        is_recorded = (answer.get("state"), task_states(answer)) in combinations
        assert is_recorded or is_report_of_run_alone, f"never recorded:\n{shown([answer])}"


def shown(answers: list[Json]) -> str:
    leave_out = {"pipeline_spec"}
    return "\n".join(json.dumps({k: v for k, v in one.items() if k not in leave_out}, indent=1) for one in answers)


async def test_healthz() -> None:
    async with backend() as server:
        assert await server.ask("GET", "/apis/v2beta1/healthz") == expected("healthz")


async def test_experiments() -> None:
    async with backend() as server:
        for name in ("create-experiment", "create-experiment-again", "list-experiments-filter"):
            request = recording(name)["request"]
            status, body = await server.ask(request["method"], request["path"], request["body"])
            assert (status, normalised(body)) == expected(name)


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(name: str) -> None:
    async with backend() as server:
        status, body = await create(server, name)

    assert (status, normalised(body)) == expected(name)


@pytest.mark.parametrize("name", list(DEEDS))
async def test_created(name: str) -> None:
    async with backend(DEEDS[name]) as server:
        status, body = await create(server, f"create-{name}")

    assert (status, normalised(body)) == expected(f"create-{name}")


@pytest.mark.parametrize("name", FOLLOWED)
async def test_followed(name: str, recorded_workflow_names: dict[str, str]) -> None:
    name_workflow(recorded_workflow_names, f"poll-{name}")
    async with backend(DEEDS[name]) as server:
        _, run = await create(server, f"create-{name}")

        seen = await follow(server, run["run_id"], 120)

    assert_agree(recorded_polls(f"poll-{name}"), seen)


def name_workflow(names: dict[str, str], poll: str) -> None:
    last: Json = recording(poll)[-1]["response"]["body"]
    names[last["pipeline_spec"]["pipelineInfo"]["name"]] = workflow_of(last)


async def test_cached(recorded_workflow_names: dict[str, str]) -> None:
    async with backend(two_steps) as server:
        _, earlier = await create(server, "create-cached")
        await follow(server, earlier["run_id"], 120)
        name_workflow(recorded_workflow_names, "poll-cached")
        _, run = await create(server, "create-cached")

        seen = await follow(server, run["run_id"], 120)

    assert_agree(recorded_polls("poll-cached"), seen)


async def test_retried(recorded_workflow_names: dict[str, str]) -> None:
    name_workflow(recorded_workflow_names, "poll-fail")
    async with backend(fails) as server:
        _, run = await create(server, "create-fail")
        await follow(server, run["run_id"], 60)

        status, body = await server.ask("POST", f"/apis/v2beta1/runs/{run['run_id']}:retry")
        seen = await follow(server, run["run_id"], 60)

    assert (status, body) == expected("retry-fail")
    assert_agree(recorded_polls("poll-retry-fail"), seen)


@pytest.mark.parametrize(
    ("name", "before", "terminate", "after", "seconds"),
    [
        ("cancel", "poll-cancel-before", "terminate", "poll-cancel-after", 28),
        ("noimage", "poll-noimage", "terminate-noimage", "poll-noimage-after", 61),
    ],
)
async def test_terminated(
    name: str, before: str, terminate: str, after: str, seconds: int, recorded_workflow_names: dict[str, str]
) -> None:
    name_workflow(recorded_workflow_names, before)
    async with backend(DEEDS[name]) as server:
        _, run = await create(server, f"create-{name}")
        seen_before = await follow(server, run["run_id"], seconds)

        status, body = await server.ask("POST", f"/apis/v2beta1/runs/{run['run_id']}:terminate")
        seen_after = await follow(server, run["run_id"], 60)
        again = await server.ask("POST", f"/apis/v2beta1/runs/{run['run_id']}:terminate")

    assert (status, body) == expected(terminate)
    assert_agree(recorded_polls(before), seen_before)
    assert_agree(recorded_polls(after), seen_after)
    assert (again[0], normalised(again[1])) == expected("terminate-again")


async def test_deleted() -> None:
    async with backend(DEEDS["noimage"]) as server:
        _, run = await create(server, "create-noimage")
        await follow(server, run["run_id"], 30)

        deleted = await server.ask("DELETE", f"/apis/v2beta1/runs/{run['run_id']}")
        status, body = await server.ask("GET", f"/apis/v2beta1/runs/{run['run_id']}")

    assert deleted == expected("delete-run")
    assert (status, normalised(body)) == expected("get-deleted-run")


async def test_unknown() -> None:
    async with backend() as server:
        status, body = await server.ask(*request_of("get-unknown-run"))

    assert (status, normalised(body)) == expected("get-unknown-run")


def request_of(name: str) -> tuple[str, str]:
    request = recording(name)["request"]
    return request["method"], request["path"]


@pytest.mark.parametrize("name", ["list-runs-filter-name", "list-runs-filter-display-name"])
async def test_found_by_name(name: str, recorded_workflow_names: dict[str, str]) -> None:
    """Of three runs of one name the first is stuck: a controller saw it late, and its driver's pod never started."""
    store, clock = Store(), VirtualClock(START)
    recorded = recording(name)["response"]["body"]["runs"]
    for number, found in enumerate(recorded):
        recorded_workflow_names["two-step"] = workflow_of(found)
        timing = Timing() if number else Timing(pickup=2, driver=NEVER)
        async with backend(two_steps, timing=timing, store=store, clock=clock) as server:
            body = {
                "display_name": found["display_name"],
                "experiment_id": await experiment_id(server, f"experiment-{number}"),
                "pipeline_spec": found["pipeline_spec"],
                "runtime_config": found["runtime_config"],
            }
            _, run = await server.ask("POST", "/apis/v2beta1/runs", body)
            await follow(server, run["run_id"], 120)

    async with backend(store=store, clock=clock) as server:
        status, body = await server.ask(*request_of(name))

    assert (status, normalised(body)) == expected(name)


async def test_listed(recorded_workflow_names: dict[str, str]) -> None:
    for poll in ("poll-cancel-before", "poll-noimage"):
        name_workflow(recorded_workflow_names, poll)
    async with backend(
        lambda attempt: {**DEEDS, "two-step": two_steps}[attempt.workflow.rpartition("-")[0]](attempt)
    ) as server:
        # The recorded `ok` was of the same pipeline as `cached`.
        for number in range(2):
            await create(server, "create-cached")
            server.clock.advance(60 + number)
        for name, seconds in {"fail": 60, "retries": 90, "cancel": 28, "noimage": 61}.items():
            _, run = await create(server, f"create-{name}")
            await follow(server, run["run_id"], seconds)
            if name in {"cancel", "noimage"}:
                await server.ask("POST", f"/apis/v2beta1/runs/{run['run_id']}:terminate")
                await follow(server, run["run_id"], 60)
        method, path = request_of("list-runs")
        recorded_id = "8afea4aa-dec0-4b1c-9e40-27b60dba9050"

        status, body = await server.ask(method, path.replace(recorded_id, await experiment_id(server, "wine3")))

    assert (status, normalised(body)) == expected("list-runs")


def test_every_recording_is_replayed() -> None:
    text = (RECORDINGS.parent / "test_recordings.py").read_text()
    replayed = {*REFUSED, *(f"create-{name}" for name in DEEDS), *(f"poll-{name}" for name in [*FOLLOWED, "cached"])}

    missing = {
        path.stem for path in RECORDINGS.glob("*.json") if path.stem not in replayed and f'"{path.stem}"' not in text
    }

    assert not missing
