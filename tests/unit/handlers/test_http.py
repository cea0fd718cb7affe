from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from cairn.clients.leadership import Leadership
from cairn.handlers.http import application
from cairn.handlers.operator import Operator
from tests.unit.fake_kubernetes import FakeKubernetes


@dataclass
class State:
    """What the endpoints ask of an operator."""

    alive: bool = True
    ready: bool = True


async def answer(state: State, path: str, leadership: Leadership | None = None) -> tuple[int, str]:
    async with TestClient[Any, Any](TestServer(application(cast(Operator, state), leadership))) as client:
        response = await client.get(path)
        return response.status, await response.text()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_an_operator_that_works_is_alive_and_ready(path: str):
    assert await answer(State(), path) == (200, "ok")


async def test_an_operator_whose_watch_has_died_is_not_alive():
    assert (await answer(State(alive=False), "/healthz"))[0] == 503


async def test_an_operator_that_has_not_seen_everything_is_alive_but_not_ready():
    state = State(ready=False)

    assert (await answer(state, "/healthz"))[0] == 200
    assert (await answer(state, "/readyz"))[0] == 503


@pytest.mark.parametrize(("is_leader", "status"), [(False, 200), (True, 503)])
async def test_an_operator_that_waits_for_its_turn_is_ready(is_leader: bool, status: int):
    leadership = Leadership(FakeKubernetes(), "cairn-system", "cairn", "first")
    leadership.is_leader = is_leader

    assert (await answer(State(ready=False), "/readyz", leadership))[0] == status


async def test_metrics_are_what_prometheus_reads():
    status, text = await answer(State(), "/metrics")

    assert status == 200
    assert "# TYPE cairn_reconcile_seconds histogram" in text
