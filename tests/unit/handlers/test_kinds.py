from __future__ import annotations

import inspect
from typing import Any, cast

import kopf

from cairn.api.base import JsonObject
from cairn.handlers.kinds import configure, register
from cairn.handlers.operator import Operator


class Told:
    """An operator that only remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None, JsonObject]] = []

    def component_changed(self, type_: str | None, body: JsonObject) -> None:
        self.calls.append(("component", type_, body))

    def stack_changed(self, type_: str | None, body: JsonObject) -> None:
        self.calls.append(("stack", type_, body))

    def pipeline_changed(self, type_: str | None, body: JsonObject) -> None:
        self.calls.append(("pipeline", type_, body))

    def schedule_changed(self, type_: str | None, body: JsonObject) -> None:
        self.calls.append(("schedule", type_, body))

    def run_changed(self, type_: str | None, body: JsonObject) -> None:
        self.calls.append(("run", type_, body))


def handlers(told: Told) -> dict[str, Any]:
    registry = kopf.OperatorRegistry()
    register(registry, cast(Operator, told))
    watching = registry._watching  # pyright: ignore[reportPrivateUsage] - kopf has no other way to look
    return {handler.id: handler.fn for handler in watching.get_all_handlers()}


def test_each_kind_has_a_handler():
    assert sorted(handlers(Told())) == [
        "pipelineruns-changed",
        "pipelines-changed",
        "pipelineschedules-changed",
        "stackcomponents-changed",
        "stacks-changed",
    ]


def test_handlers_run_on_the_loop_and_not_in_a_thread():
    assert all(inspect.iscoroutinefunction(handler) for handler in handlers(Told()).values())


async def test_a_change_is_handed_on_with_its_type():
    told = Told()

    await handlers(told)["stacks-changed"](event={"type": "MODIFIED", "object": {"metadata": {"name": "a"}}})

    assert told.calls == [("stack", "MODIFIED", {"metadata": {"name": "a"}})]


async def test_what_kopf_keeps_and_what_cairn_keeps_are_two_objects():
    told, body = Told(), {"metadata": {"name": "a"}}

    await handlers(told)["pipelineruns-changed"](event={"type": "ADDED", "object": body})
    told.calls[0][2]["metadata"]["name"] = "changed"

    assert body == {"metadata": {"name": "a"}}


def test_kopf_s_finalizer_is_not_the_operator_s():
    settings = kopf.OperatorSettings()

    configure(settings)

    assert settings.persistence.finalizer != "cairn.dev/finalizer"
    assert settings.posting.enabled is False


def test_kopf_copies_no_object_to_compare_it():
    settings = kopf.OperatorSettings()
    configure(settings)
    storage = settings.persistence.diffbase_storage
    body = kopf.Body({"spec": {"steps": [{"name": "a"}]}})

    assert storage.build(body=body) == {}
    assert storage.fetch(body=body) is None
