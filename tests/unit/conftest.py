"""Settings of all unit tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

from cairn.clients import jitter
from tests.unit.virtual_time import VirtualTimeLoop

settings.register_profile(
    "unit", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("unit")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops of tests marked `virtual_time` never wait."""
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pauses be as long as they are meant to be."""
    monkeypatch.setattr(jitter, "random", SimpleNamespace(uniform=lambda _low, _high: 1.0))
