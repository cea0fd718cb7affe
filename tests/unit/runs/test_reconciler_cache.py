"""A step that has succeeded before is left out, as long as everything that it depends on, and all that it wrote, is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.step import Step
from cairn.clients.kubernetes import PIPELINE_RUNS, STACK_COMPONENTS, STACKS, ApiError
from cairn.clients.registry import RegistryError
from cairn.components.base import StoreUnavailableError
from cairn.runs import step_cache
from cairn.runs.step_cache import ANSWER_HOLDS_SECONDS, CHANGED, TOO_LATE
from tests.unit.builders import RUN, component_body, inputs, outputs, run_spec, stack_body, step
from tests.unit.fake_registries import DIGEST
from tests.unit.runs.run_world import PRODUCTION, WRITE_STATUS, RunWorld

OTHER_DIGEST = f"sha256:{'e' * 64}"


ONE_POD = {"stackRef": {"name": "one-pod"}}
OTHER_ENVIRONMENT = {
    "orchestrator": {"kubernetes": {"podTemplate": {"env": [{"name": "REGION", "value": "eu"}]}}},
}
BASE: JsonObject = {"cache": {}, "outputs": outputs("model", results=["rmse"])}


def train(**fields: Any) -> Step:
    return step("train", **{**BASE, **fields})


def spec(**fields: Any) -> RunSpec:
    return run_spec(train(**fields), step("report", dependsOn=["train"]), **PRODUCTION)


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


async def run_through(world: RunWorld, of: RunSpec, *, node_has: str = DIGEST) -> None:
    """Have train run for real, write its outputs, and the run end."""
    world.run(of)
    await world.reconcile()
    await end_train(world, node_has)
    world.put(world.pod("wine-1-report-1").runs("report").ends("report"))
    await world.reconcile()


async def end_train(world: RunWorld, node_has: str = DIGEST) -> None:
    key = "ml/wine/wine-1/train/model"
    world.store.objects[key] = b"weights"
    report = {"artifacts": {"model": {"digest": f"sha256:{'1' * 64}", "sizeBytes": 7}}}
    pod = world.pod("wine-1-train-1").runs("train").ends("train", message='{"rmse": 0.5}')
    pod.ends("cairn-publish", message=json.dumps(report)).has_image("train", node_has)
    world.put(pod)
    await world.reconcile()


async def again(world: RunWorld, of: RunSpec) -> JsonObject:
    """Delete the run and start another one like it; return what became of train."""
    world.kubernetes.remove(PIPELINE_RUNS, RUN.namespace, RUN.name)
    for kind in ("jobs", "pods"):
        for place in [place for place in world.kubernetes.objects if place[0] == kind]:
            del world.kubernetes.objects[place]
    await world.reconcile()
    world.clock.advance(120)
    world.restart()
    world.run(of)
    await world.reconcile()
    return world.step_status("train")


class TestHit:
    async def test_the_step_has_the_outputs_of_the_earlier_one_and_no_pod(self, world: RunWorld):
        await run_through(world, spec())

        found = await again(world, spec())

        assert (found["state"], found["cachedFrom"]["run"], found["cachedFrom"]["step"]) == (
            "Cached",
            "wine-1",
            "train",
        )
        assert found["artifacts"][0]["uri"] == "s3://ml-artifacts/ml/wine/wine-1/train/model"
        assert found["results"] == [{"name": "rmse", "value": "0.5"}]
        assert world.jobs() == ["wine-1-report-1"]

    async def test_it_counts_as_a_step_that_succeeded(self, world: RunWorld):
        await run_through(world, spec())
        await again(world, spec())
        world.put(world.pod("wine-1-report-1").runs("report").ends("report"))

        await world.reconcile()

        assert (world.succeeded(), world.status["stepsSummary"]) == (("True", "Completed"), "2/2")

    async def test_what_runs_with_its_outputs_is_the_same_too(self, world: RunWorld):
        both = run_spec(
            train(), step("test", cache={}, inputs=inputs(model="train.model"), outputs=outputs("page")), **PRODUCTION
        )
        world.run(both)
        await world.reconcile()
        await end_train(world)
        world.store.objects["ml/wine/wine-1/test/page"] = b"page"
        report = {"artifacts": {"page": {"digest": f"sha256:{'2' * 64}", "sizeBytes": 4}}}
        pod = world.pod("wine-1-test-1").ends("cairn-fetch").runs("test").ends("test").has_image("test", DIGEST)
        world.put(pod.ends("cairn-publish", message=json.dumps(report)))
        await world.reconcile()

        await again(world, both)

        assert (world.states(), world.jobs()) == ({"train": "Cached", "test": "Cached"}, [])
        assert world.succeeded() == ("True", "Completed")

    async def test_an_image_s_tag_is_asked_for_once(self, world: RunWorld):
        many = run_spec(*(step(f"s{index}", cache={}) for index in range(20)), **PRODUCTION)
        world.run(many)
        await world.reconcile()

        assert world.registries.asked.total() == 1

    async def test_an_image_with_a_digest_is_not_asked_for(self, world: RunWorld):
        pinned = spec(image=f"example.com/wine@{DIGEST}")
        await run_through(world, pinned, node_has=OTHER_DIGEST)

        found = await again(world, pinned)

        assert (found["state"], dict(world.registries.asked)) == ("Cached", {})


class TestChangedMeanwhile:
    """What a step depends on is not what it was when the cache was asked."""

    async def test_a_step_that_has_waited_for_its_turn_is_not_kept(self, world: RunWorld):
        waits = run_spec(step("load"), train(), **PRODUCTION, maxParallelSteps=1)
        await world.under_way(waits)
        key = world.step_status("train")["cacheKey"]
        world.apply(STACK_COMPONENTS, component_body("jobs", OTHER_ENVIRONMENT, ready=True))
        world.put(world.pod("wine-1-load-1").ends("load"))

        await world.reconcile()

        assert key is not None
        assert world.step_status("train")["cacheMessage"] == CHANGED

    async def test_nor_is_one_that_is_tried_again_after_the_operator_s_restart(self, world: RunWorld):
        await world.under_way(spec(retry={"limit": 1, "backoffSeconds": 0}))
        world.apply(STACK_COMPONENTS, component_body("jobs", OTHER_ENVIRONMENT, ready=True))
        world.restart()
        world.put(world.pod("wine-1-train-1").ends("train", 3))
        await world.reconcile()
        await world.reconcile()

        assert (world.step_status("train")["attempts"], world.step_status("train")["cacheMessage"]) == (2, CHANGED)

    async def test_nothing_is_kept_before_the_status_says_that_the_step_has_succeeded(self, world: RunWorld):
        world.run(run_spec(train(), **PRODUCTION))
        await world.reconcile()
        world.kubernetes.objections[WRITE_STATUS] = lambda _: ApiError(409, "Conflict", "it has changed")

        with pytest.raises(ApiError):
            await end_train(world)

        assert not [key for key in world.store.objects if key.startswith("ml/.cache/")]

    async def test_a_run_ends_when_that_is_kept(self, world: RunWorld):
        world.run(run_spec(train(), **PRODUCTION))
        await world.reconcile()

        await end_train(world)

        assert world.succeeded() == ("True", "Completed")
        assert [key for key in world.store.objects if key.startswith("ml/.cache/")]

    async def test_what_ended_earlier_replaces_nothing_that_ended_later(self, world: RunWorld):
        await run_through(world, spec())
        (place,) = [key for key in world.store.objects if key.startswith("ml/.cache/")]
        record = json.loads(world.store.objects[place])
        newer = {**record, "from": {"run": "wine-0", "step": "train", "completionTime": "2027-01-01T00:00:00Z"}}
        world.store.objects[place] = json.dumps(newer).encode()
        world.kubernetes.remove(PIPELINE_RUNS, RUN.namespace, RUN.name)

        await run_through(world, spec(cache={"salt": ""}))

        assert json.loads(world.store.objects[place]) == newer

    async def test_a_step_whose_pod_is_there_is_not_left_out(self, world: RunWorld):
        both = run_spec(step("load"), train(), **ONE_POD)
        world.run(run_spec(train(), **ONE_POD))
        await world.reconcile()
        await end_train(world)
        (record,) = [key for key in world.store.objects if "/.cache/" in key]
        kept = world.store.objects.pop(record)
        await again(world, both)
        world.put(world.pod("wine-1-load-1").runs("load"))
        world.store.objects[record] = kept
        world.restart()

        await world.reconcile()

        assert world.states() == {"load": "Running", "train": "Pending"}


class TestLateAnswers:
    """A store that takes its time holds up its own run only, and that not for long."""

    async def test_a_step_starts_once_they_are_there(self, world: RunWorld):
        world.store.answers.clear()
        await world.under_way(run_spec(train(), step("load"), **PRODUCTION))
        before = world.states()
        world.store.answers.set()

        await world.reconcile()

        assert (before, world.states()) == (
            {"train": "Pending", "load": "Pending"},
            {"train": "Queued", "load": "Queued"},
        )

    async def test_the_store_is_asked_once(self, world: RunWorld):
        world.store.answers.clear()
        await world.under_way(spec())
        await world.reconcile()
        world.store.answers.set()
        await world.reconcile()

        assert len([key for key in world.store.asked if "/.cache/" in key]) == 1

    async def test_what_has_come_late_is_used(self, world: RunWorld):
        await run_through(world, spec())
        world.store.answers.clear()
        await again(world, spec())
        world.store.answers.set()

        await world.reconcile()

        assert world.states()["train"] == "Cached"

    async def test_but_not_when_the_stack_has_changed_meanwhile(self, world: RunWorld):
        await run_through(world, spec())
        world.store.answers.clear()
        await again(world, spec())
        world.apply(STACK_COMPONENTS, component_body("jobs", OTHER_ENVIRONMENT, ready=True))
        world.store.answers.set()

        await world.reconcile()

        assert world.states()["train"] == "Queued"

    async def test_nor_when_the_run_was_suspended_and_the_artifact_is_gone(self, world: RunWorld):
        await run_through(world, spec())
        world.store.answers.clear()
        await again(world, spec())
        world.run(run_spec(train(), step("report", dependsOn=["train"]), **PRODUCTION, suspend=True))
        world.store.answers.set()
        await world.reconcile()
        world.clock.advance(ANSWER_HOLDS_SECONDS + 1)
        del world.store.objects["ml/wine/wine-1/train/model"]
        world.run(spec())

        await world.reconcile()

        assert world.states()["train"] == "Queued"

    async def test_a_store_that_never_answers_keeps_no_step_from_running(
        self, world: RunWorld, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(step_cache, "LOOKUP_SECONDS", 0.01)
        world.store.answers.clear()

        await world.under_way(spec())

        assert (world.step_status("train")["state"], world.step_status("train")["cacheMessage"]) == (
            "Running",
            TOO_LATE,
        )

    async def test_a_step_for_which_asking_fails_runs(self, world: RunWorld):
        world.registries.error = RuntimeError("a bug")

        await world.under_way(spec())

        assert world.step_status("train")["state"] == "Running"
        assert "could not be asked" in world.step_status("train")["cacheMessage"]


class TestMiss:
    @pytest.mark.parametrize(
        "change",
        [
            {"args": ["--deep"]},
            {"env": [{"name": "A", "value": "1"}]},
            {"cache": {"salt": "2"}},
            {"cache": {"expiresAfterSeconds": 30}},
            {"outputs": outputs("model", "plot", results=["rmse"])},
        ],
    )
    async def test_what_is_another_step_runs(self, world: RunWorld, change: JsonObject):
        await run_through(world, spec())

        found = await again(world, spec(**change))

        assert found["state"] == "Queued"

    async def test_another_image_behind_the_same_tag(self, world: RunWorld):
        await run_through(world, spec())
        world.registries.digest = OTHER_DIGEST

        assert (await again(world, spec()))["state"] == "Queued"

    async def test_another_parameter(self, world: RunWorld):
        await run_through(world, spec())
        other = run_spec(train(), **PRODUCTION, parameters=[{"name": "alpha", "value": "2"}])

        assert (await again(world, other))["state"] == "Queued"

    async def test_a_deleted_artifact(self, world: RunWorld):
        await run_through(world, spec())
        del world.store.objects["ml/wine/wine-1/train/model"]

        assert (await again(world, spec()))["state"] == "Queued"

    async def test_an_artifact_that_another_run_has_overwritten(self, world: RunWorld):
        await run_through(world, spec())
        world.store.objects["ml/wine/wine-1/train/model"] = b"others"

        assert (await again(world, spec()))["state"] == "Queued"

    async def test_a_record_that_is_none(self, world: RunWorld):
        await run_through(world, spec())
        (place,) = [key for key in world.store.objects if "/.cache/" in key]
        world.store.objects[place] = b"{}"

        assert (await again(world, spec()))["state"] == "Queued"

    async def test_a_step_that_is_not_to_be_cached(self, world: RunWorld):
        await run_through(world, spec())

        found = await again(world, spec(cache={"enabled": False}))

        assert (found["state"], "cacheKey" in found) == ("Queued", False)


class TestNotCached:
    async def test_a_tag_whose_digest_is_not_known(self, world: RunWorld):
        world.registries.error = RegistryError("does not answer within 5 s")

        await run_through(world, spec())

        assert world.step_status("train")["cacheMessage"] == (
            "The digest of ghcr.io/acme/wine:1 is not known: ghcr.io does not answer within 5 s; it is not cached. "
            "Name the image by its digest."
        )
        assert not [key for key in world.store.objects if "/.cache/" in key]

    async def test_an_image_other_than_the_registry_s(self, world: RunWorld):
        await run_through(world, spec(), node_has=OTHER_DIGEST)

        assert "but its node has" in world.step_status("train")["cacheMessage"]
        assert not [key for key in world.store.objects if "/.cache/" in key]

    async def test_an_input_whose_content_may_change(self, world: RunWorld):
        await world.under_way(run_spec(step("train", cache={}, inputs=inputs(data="s3://b/raw")), **PRODUCTION))

        assert "is a URI" in world.step_status("train")["cacheMessage"]

    async def test_in_a_store_that_only_pods_can_use(self, world: RunWorld):
        without_key = {"artifactStore": {"s3": {"bucket": "ml-artifacts"}}}
        world.apply(STACK_COMPONENTS, component_body("open", without_key, ready=True))
        world.apply(STACKS, stack_body("production", store="open", generation=1))

        await world.under_way(spec())

        assert "only pods have" in world.step_status("train")["cacheMessage"]

    async def test_what_is_said_of_it_is_never_too_long(self, world: RunWorld):
        name = "s" * 250
        without_key = {"artifactStore": {"s3": {"bucket": "ml-artifacts"}}}
        world.apply(STACK_COMPONENTS, component_body(name, without_key, ready=True))
        world.apply(STACKS, stack_body("production", store=name, generation=1))

        await world.under_way(spec())

        assert len(world.step_status("train")["cacheMessage"]) == 256

    async def test_a_record_without_a_time_is_none(self, world: RunWorld):
        await run_through(world, spec())
        (place,) = [key for key in world.store.objects if "/.cache/" in key]
        record = json.loads(world.store.objects[place])
        record["from"]["completionTime"] = "yesterday"
        world.store.objects[place] = json.dumps(record).encode()

        assert (await again(world, spec()))["state"] == "Queued"

    async def test_a_failed_step_keeps_what_the_cache_had_to_say_when_others_stop(self, world: RunWorld):
        await world.under_way(run_spec(train(), step("b"), **PRODUCTION, failurePolicy="StopOnFailure"))
        world.put(world.pod("wine-1-train-1").ends("train", 3))

        await world.reconcile()

        assert (world.states()["train"], "cacheKey" in world.step_status("train")) == ("Failed", True)

    async def test_while_the_store_does_not_answer(self, world: RunWorld):
        world.store.refusal = StoreUnavailableError("AccessDenied", "The bucket refuses the key; allow it to read.")

        await world.under_way(spec())

        status = world.step_status("train")
        assert (status["state"], status["cacheMessage"]) == (
            "Running",
            "The cache could not be read: The bucket refuses the key; allow it to read.",
        )
