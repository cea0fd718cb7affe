"""Where the runs of a stack are carried out: its Kubeflow Pipelines, and the artifact store that they write to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from cairn.api.step import Step
from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.rest import RestError
from cairn.components.base import ArtifactStore, StoreClient
from cairn.components.connections import Connections
from cairn.components.errors import ComponentError
from cairn.components.orchestrator.kubeflow.diagnosis import explain
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow, KubeflowUnavailableError
from cairn.runs.kubeflow.outputs import StepOutputs, read_outputs
from cairn.runs.outcome import STACK_NOT_READY

READS_AT_ONCE = 8
"""Steps whose outputs are read: each takes a thread, and all bytes of them go by."""


@dataclass(frozen=True)
class Connected:
    """The operator's connections."""

    servers: Connections[KubeflowPipelines]
    stores: Connections[StoreClient]
    reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READS_AT_ONCE))


@dataclass(frozen=True)
class Site:
    """Components as their specs are now."""

    orchestrator: Kubeflow
    store: ArtifactStore[Any] | None
    """None where it is gone."""
    connected: Connected

    async def server(self) -> KubeflowPipelines:
        """Return the way into Kubeflow Pipelines; raises KubeflowUnavailableError, ApiError."""
        return await self.connected.servers.client_of(self.orchestrator)

    def explained(self, error: RestError) -> ComponentError:
        """Return what an answer of Kubeflow Pipelines means."""
        config = self.orchestrator.config
        return KubeflowUnavailableError(*explain(error, config.endpoint, logs_in=config.auth is not None))

    async def outputs(self, pipeline: str, run_id: str, step: Step) -> StepOutputs:
        """Return what a step has written in a run; raises ComponentError."""
        if self.store is None:
            raise ComponentError(
                STACK_NOT_READY, "The artifact store that the run began with is gone; create it again."
            )
        place = f"{self.orchestrator.root_key(self.store)}/{pipeline}/{run_id}/{step.name}"
        async with self.connected.reads:
            client = await self.connected.stores.client_of(self.store)
            return await read_outputs(client, place, step, self.store.uri)
