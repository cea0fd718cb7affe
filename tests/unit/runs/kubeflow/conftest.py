"""A world whose Kubeflow Pipelines hurries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cairn.runs.kubeflow import followed_run
from tests.kfp.harness import backend
from tests.unit.runs.kubeflow.kubeflow_world import KubeflowWorld, does


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeflowWorld]:
    monkeypatch.setattr(followed_run, "SHORTEST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(followed_run, "LONGEST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(followed_run, "LONGEST_PAUSE_OF_TROUBLE_SECONDS", 0.005)
    monkeypatch.setattr(followed_run, "TOLD_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(followed_run, "SETTLES_SECONDS", 0.05)
    async with backend(does) as kfp:
        world = KubeflowWorld(kfp)
        yield world
        world.reconciler.stop()
        await world.reconciler.close()
