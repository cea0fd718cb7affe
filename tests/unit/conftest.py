"""Settings of all unit tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

from cairn.clients import jitter

settings.register_profile(
    "unit", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("unit")


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pauses be as long as they are meant to be."""
    monkeypatch.setattr(jitter, "random", SimpleNamespace(uniform=lambda _low, _high: 1.0))
