from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus, ResolvedStack
from cairn.clients.kubernetes import STACK_COMPONENTS, STACKS
from cairn.runs.stack_choice import Choice, choose_stack
from tests.unit.builders import BUCKET_SPEC, JOBS_SPEC, NAMESPACE, NOW, component_body, run_spec, stack_body
from tests.unit.fake_kubernetes import World

DEFAULT: JsonObject = {"annotations": {"cairn.dev/default-stack": "true"}}


@pytest.fixture
def world() -> World:
    world = World()
    world.apply(STACK_COMPONENTS, component_body("jobs", JOBS_SPEC, ready=True))
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=True))
    return world


def choose(world: World, ref: str | None = None, status: PipelineRunStatus | None = None) -> Choice:
    spec = run_spec(stackRef={"name": ref} if ref else None)
    return choose_stack(world.cluster, NAMESPACE, spec, status or PipelineRunStatus())


def started_on(name: str, *, built_in: bool = False) -> PipelineRunStatus:
    return PipelineRunStatus(start_time=NOW, stack=ResolvedStack(name=name, built_in=built_in, digest="sha256:other"))


def test_the_stack_that_a_run_names(world: World):
    world.apply(STACKS, stack_body("production"))
    world.apply(STACKS, stack_body("other", **DEFAULT))

    choice = choose(world, "production")

    assert choice.stack is not None
    assert choice.stack.name == choice.name == "production"


def test_the_namespace_s_default_where_a_run_names_none(world: World):
    world.apply(STACKS, stack_body("production"))
    world.apply(STACKS, stack_body("usual", **DEFAULT))

    assert choose(world).name == "usual"


def test_the_built_in_stack_where_there_is_no_default(world: World):
    world.apply(STACKS, stack_body("production"))

    choice = choose(world)

    assert choice.stack is not None
    assert (choice.name, choice.stack.built_in) == ("default", True)


def test_a_run_stays_on_the_stack_that_it_started_on(world: World):
    world.apply(STACKS, stack_body("production"))
    world.apply(STACKS, stack_body("usual", **DEFAULT))

    assert choose(world, status=started_on("production")).name == "production"


def test_a_run_stays_on_the_built_in_stack_when_a_default_appears(world: World):
    world.apply(STACKS, stack_body("usual", **DEFAULT))

    choice = choose(world, status=started_on("default", built_in=True))

    assert choice.stack is not None
    assert choice.stack.built_in


def test_a_stack_that_is_not_there_is_named(world: World):
    assert choose(world, "prod").message == (
        "There is no Stack ml/prod; create it, or start a run with another stackRef."
    )


def test_a_stack_that_is_not_ready_says_why(world: World):
    world.apply(STACKS, stack_body("production", store="gone"))

    choice = choose(world, "production")

    assert choice.stack is None
    assert choice.message.startswith("Stack ml/production is not Ready: artifactStore gone: there is no StackComponent")


def test_no_run_starts_on_a_stack_that_is_being_deleted(world: World):
    world.apply(STACKS, stack_body("production", deletionTimestamp=NOW, finalizers=["x"]))

    assert "is being deleted" in choose(world, "production").message
    assert choose(world, "production", started_on("production")).stack is not None
