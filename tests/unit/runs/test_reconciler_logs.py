"""Logs of attempts are kept in the artifact store, and neither a step nor a run's end waits for it for long."""

from __future__ import annotations

import asyncio

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.clients.kubernetes import EVENTS, PIPELINE_RUNS, PODS, STACK_COMPONENTS, STACKS, ApiError
from cairn.components.base import StoreUnavailableError
from cairn.runs.attempts import LOG_TAIL_AWAITED_SECONDS
from cairn.runs.keeper import END_WAITS_SECONDS, LOG_NOT_KEPT, MOMENT_SECONDS
from cairn.runs.pauses import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS
from tests.unit.builders import BUCKET_SPEC, RUN, component_body, outputs, run_spec, stack_body, step
from tests.unit.runs.run_world import PRODUCTION, WRITE_STATUS, RunWorld

CHAIN = run_spec(step("load"), step("train", dependsOn=["load"]), **PRODUCTION)
ONE_STEP = run_spec(step("load"), **PRODUCTION)
KEY_OF_LOAD = "ml/wine/wine-1/load/attempt-1.log"
URI_OF_LOAD = f"s3://ml-artifacts/{KEY_OF_LOAD}"
DENIED = StoreUnavailableError("AccessDenied", "The bucket refuses the key; allow it to write.")


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


def node_does_not_answer(world: RunWorld, unread: str) -> None:
    """Have nobody read the log of a container."""
    read = world.kubernetes.whole_pod_log

    async def log(namespace: str, pod: str, container: str, *, limit: int) -> bytes:
        if container == unread:
            raise ApiError(500, "InternalError", "dial tcp 10.0.0.7:10250: i/o timeout")
        return await read(namespace, pod, container, limit=limit)

    world.kubernetes.whole_pod_log = log


def node_hangs(world: RunWorld) -> list[str]:
    """Have no log be read in time; return the containers whose log was asked for."""
    asked: list[str] = []

    async def log(namespace: str, pod: str, container: str, *, limit: int) -> bytes:
        asked.append(container)
        raise TimeoutError

    world.kubernetes.whole_pod_log = log
    return asked


async def load_ends(world: RunWorld, spec: RunSpec, code: int = 0) -> float | None:
    """Have the first step end, having written a log."""
    await world.under_way(spec)
    world.kubernetes.logs["wine-1-load-1-x7k2p", "load"] = "12 rows\n"
    world.put(world.pod("wine-1-load-1").ends("load", code))
    return await world.reconcile()


async def train_ends(world: RunWorld) -> None:
    """Have the second step of CHAIN end, having written a log."""
    world.kubernetes.logs["wine-1-train-1-x7k2p", "train"] = "trained\n"
    world.put(world.pod("wine-1-train-1").runs("train").ends("train"))
    await world.reconcile()


async def test_the_log_is_in_the_store_and_its_uri_in_the_status_with_the_end(world: RunWorld):
    await load_ends(world, ONE_STEP)

    assert world.store.objects == {KEY_OF_LOAD: b"12 rows\n"}
    assert world.step_status("load")["logURI"] == URI_OF_LOAD
    assert world.succeeded() == ("True", "Completed")


async def test_the_next_step_does_not_wait_for_it(world: RunWorld):
    world.store.answers.clear()

    await load_ends(world, CHAIN)

    assert world.jobs() == ["wine-1-load-1", "wine-1-train-1"]
    assert "logURI" not in world.step_status("load")


async def test_it_is_told_with_the_next_thing_that_is_told(world: RunWorld):
    await load_ends(world, CHAIN)
    writes = world.kubernetes.requests[WRITE_STATUS]

    world.put(world.pod("wine-1-train-1").runs("train"))
    await world.reconcile()

    assert world.step_status("load")["logURI"] == URI_OF_LOAD
    assert world.kubernetes.requests[WRITE_STATUS] == writes + 1


async def test_a_failed_attempt_s_log_is_kept_though_the_step_is_tried_again(world: RunWorld):
    await load_ends(world, run_spec(step("load", retry={"limit": 1, "backoffSeconds": 0}), **PRODUCTION), code=3)
    await world.reconcile()

    (first,) = world.step_status("load")["previousAttempts"]
    assert (world.step_status("load")["state"], first["logURI"]) == ("Queued", URI_OF_LOAD)


async def test_the_end_of_a_run_waits_a_moment_before_anything_is_written(world: RunWorld):
    world.store.answers.clear()

    seconds = await load_ends(world, ONE_STEP)

    assert (seconds, world.states()) == (MOMENT_SECONDS, {"load": "Running"})


async def test_the_end_of_the_steps_is_told_when_that_takes_longer(world: RunWorld):
    world.store.answers.clear()
    await load_ends(world, ONE_STEP)
    world.clock.advance(MOMENT_SECONDS)

    seconds = await world.reconcile()

    assert (world.states(), world.succeeded()) == ({"load": "Succeeded"}, ("Unknown", "Running"))
    assert seconds == END_WAITS_SECONDS - MOMENT_SECONDS


async def test_a_run_ends_without_its_logs_when_the_store_refuses_them(world: RunWorld):
    world.store.refusal = DENIED
    await load_ends(world, ONE_STEP)
    world.clock.advance(END_WAITS_SECONDS)

    await world.reconcile()

    assert world.succeeded() == ("True", "Completed")
    assert "logURI" not in world.step_status("load")
    assert (LOG_NOT_KEPT, DENIED.message) in [
        (event["reason"], event["note"][-len(DENIED.message) :]) for event in world.kubernetes.all(EVENTS)
    ]


async def test_a_log_that_the_store_refuses_is_tried_again_later(world: RunWorld):
    world.store.refusal = DENIED
    await load_ends(world, ONE_STEP)
    world.store.refusal = None
    world.clock.advance(MOMENT_SECONDS)

    await world.reconcile()

    assert (world.step_status("load")["logURI"], world.succeeded()) == (URI_OF_LOAD, ("True", "Completed"))


async def test_a_store_that_refuses_is_asked_ever_more_rarely(world: RunWorld):
    world.store.refusal = DENIED
    await load_ends(world, CHAIN)

    pauses: list[float] = []
    for _ in range(6):
        pauses.append(await world.reconcile() or 0)
        world.clock.advance(pauses[-1])
        await world.reconcile()

    assert pauses == sorted(pauses)
    assert (pauses[0] >= SHORTEST_PAUSE_SECONDS, pauses[-1]) == (True, LONGEST_PAUSE_SECONDS)


async def test_logs_are_kept_though_the_stack_cannot_be_used_any_more(world: RunWorld):
    await world.under_way(ONE_STEP)
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=False))
    world.put(world.pod("wine-1-load-1").ends("load"))
    world.kubernetes.logs["wine-1-load-1-x7k2p", "load"] = "12 rows\n"

    await world.reconcile()

    assert (world.step_status("load")["logURI"], world.succeeded()) == (URI_OF_LOAD, ("True", "Completed"))


async def test_a_log_that_cannot_be_read_keeps_no_other_one_waiting(world: RunWorld):
    node_does_not_answer(world, "load")
    await load_ends(world, CHAIN)
    await train_ends(world)
    world.clock.advance(LONGEST_PAUSE_SECONDS)

    await world.reconcile()

    assert world.step_status("train")["logURI"].endswith("/train/attempt-1.log")
    assert "logURI" not in world.step_status("load")


async def test_a_node_that_hangs_is_left_alone_for_a_while(world: RunWorld):
    asked = node_hangs(world)
    await load_ends(world, CHAIN)

    await train_ends(world)

    assert asked == ["load"]


async def test_one_that_becomes_due_while_its_node_is_left_alone_is_waited_for(world: RunWorld):
    node_does_not_answer(world, "load")
    await load_ends(world, CHAIN)
    world.kubernetes.remove(PODS, RUN.namespace, "wine-1-load-1-x7k2p")
    await train_ends(world)
    world.clock.advance(LONGEST_PAUSE_SECONDS)

    await world.reconcile()

    assert world.step_status("train")["logURI"].endswith("/train/attempt-1.log")


async def test_it_is_told_when_the_store_is_not_known_after_a_restart(world: RunWorld):
    world.store.refusal = DENIED
    await load_ends(world, ONE_STEP)
    world.clock.advance(MOMENT_SECONDS)
    await world.reconcile()
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=False))
    world.restart()
    await world.reconcile()
    world.clock.advance(END_WAITS_SECONDS)

    await world.reconcile()

    assert world.succeeded() == ("True", "Completed")
    assert ("Warning", LOG_NOT_KEPT) in world.events()


async def test_what_still_runs_when_a_run_is_cancelled_at_once_leaves_no_log(world: RunWorld):
    await world.under_way(ONE_STEP)
    world.kubernetes.logs["wine-1-load-1-x7k2p", "load"] = "partial\n"
    world.run(run_spec(step("load"), **PRODUCTION, cancel="Immediate"))

    await world.reconcile()

    assert (world.succeeded(), world.store.objects) == (("False", "Cancelled"), {})
    assert ("Warning", LOG_NOT_KEPT) not in world.events()


async def test_a_log_that_is_gone_is_not_waited_for(world: RunWorld):
    await world.under_way(ONE_STEP)
    world.put(world.pod("wine-1-load-1").ends("load"))

    await world.reconcile()

    assert world.succeeded() == ("True", "Completed")
    assert "logURI" not in world.step_status("load")


async def test_a_log_that_cannot_be_read_now_is_read_later(world: RunWorld):
    world.kubernetes.objections["log pods"] = lambda _: ApiError(500, "InternalError", "the kubelet does not answer")
    await load_ends(world, ONE_STEP)
    del world.kubernetes.objections["log pods"]
    world.clock.advance(MOMENT_SECONDS)

    await world.reconcile()

    assert world.step_status("load")["logURI"] == URI_OF_LOAD


async def test_a_step_has_failed_though_the_end_of_its_log_cannot_be_read_for_long(world: RunWorld):
    world.kubernetes.objections["log pods"] = lambda _: ApiError(500, "InternalError", "the kubelet does not answer")
    spec = run_spec(step("load", outputs=outputs(results=["rows"])), **PRODUCTION)
    await world.under_way(spec)
    world.put(world.pod("wine-1-load-1").ends("load", 3, message='{"rows": 1}'))
    await world.reconcile()
    assert world.states() == {"load": "Running"}

    for _ in range(2):
        world.clock.advance(LOG_TAIL_AWAITED_SECONDS)
        await world.reconcile()

    assert (world.step("load"), world.succeeded()) == (("Failed", "ExitCode"), ("False", "StepFailed"))


async def test_the_log_of_a_pod_is_kept_that_only_its_job_s_end_has_told_of(world: RunWorld):
    world.run(ONE_STEP)
    await world.reconcile()
    world.kubernetes.logs["wine-1-load-1-x7k2p", "load"] = "12 rows\n"
    pod = world.pod("wine-1-load-1").on_node().ends("load").body
    world.job_ends("wine-1-load-1", "Complete")
    world.see()
    world.kubernetes.add(PODS, pod)

    await world.reconcile_unseeing()

    assert world.step_status("load")["logURI"] == URI_OF_LOAD


async def test_what_fails_in_an_unforeseen_way_is_told_of_too(world: RunWorld):
    async def fails(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    world.kubernetes.whole_pod_log = fails

    await load_ends(world, ONE_STEP)

    assert world.succeeded() == ("True", "Completed")
    assert ("Warning", LOG_NOT_KEPT) in world.events()


async def test_another_operator_keeps_what_the_last_one_did_not(world: RunWorld):
    world.store.answers.clear()
    await load_ends(world, CHAIN)
    world.store.answers.set()
    await asyncio.sleep(0)
    world.restart()
    world.put(world.pod("wine-1-train-1").runs("train"))
    await world.reconcile()

    world.put(world.pod("wine-1-train-1").ends("train"))
    await world.reconcile()

    assert world.step_status("load")["logURI"] == URI_OF_LOAD


async def test_a_deleted_run_keeps_nothing_any_more(world: RunWorld):
    world.store.answers.clear()
    await load_ends(world, CHAIN)

    world.kubernetes.remove(PIPELINE_RUNS, RUN.namespace, RUN.name)
    await world.reconcile()
    world.store.answers.set()
    await asyncio.sleep(0)

    assert world.store.objects == {}


async def test_logs_of_a_store_that_only_pods_can_use_are_left_in_the_pods(world: RunWorld):
    without_key = {"artifactStore": {"s3": {"bucket": "ml-artifacts"}}}
    world.apply(STACK_COMPONENTS, component_body("open", without_key, ready=True))
    world.apply(STACKS, stack_body("production", store="open", generation=1))

    await load_ends(world, ONE_STEP)

    assert world.store.objects == {}
    assert world.succeeded() == ("True", "Completed")
