"""What carries runs out, by the orchestrators of their stacks."""

from __future__ import annotations

from collections.abc import Mapping

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.store import Key
from cairn.clients.wake import Wake
from cairn.components.base import StoreClient
from cairn.components.component_types import ORCHESTRATOR
from cairn.components.connections import Connections
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from cairn.runs.execution import Execution
from cairn.runs.kubeflow.execution import KubeflowExecution
from cairn.runs.pod_execution import PodExecution
from cairn.stacks.resolution import UsableStack


class Executions:
    """One for all runs whose orchestrator is of a flavor."""

    def __init__(self, cluster: Cluster, stores: Connections[StoreClient], clock: Clock, wake: Wake) -> None:
        self._in_pods: Execution = PodExecution(cluster, clock)
        self._others: Mapping[str, Execution] = {Kubeflow.flavor: KubeflowExecution(cluster, stores, clock, wake)}
        self._all = (self._in_pods, *self._others.values())

    def of(self, status: PipelineRunStatus, stack: UsableStack | None = None) -> Execution:
        """Return what carries a run out, or has done so: its stack may be gone, or have changed."""
        recorded = status.stack.components if status.stack is not None else ()
        flavor = next((one.flavor for one in recorded if one.type == ORCHESTRATOR), None)
        return self._of_flavor(flavor or (stack.orchestrator.flavor if stack is not None else ""))

    def on(self, stack: UsableStack) -> Execution:
        """Return what carries runs out that begin on a stack."""
        return self._of_flavor(stack.orchestrator.flavor)

    async def release(self, key: Key, body: JsonObject | None) -> float | None:
        """Let go of a run that is being deleted, or is gone; return in how many seconds to go on with that."""
        due = [await execution.release(key, body) for execution in self._all]
        return min((seconds for seconds in due if seconds is not None), default=None)

    async def release_of_others(self, body: JsonObject) -> None:
        """Let go of what is left of an earlier run of that name."""
        for execution in self._all:
            await execution.release_of_others(body)

    def shut_down(self) -> None:
        """Stop what is done beside the reconciles."""
        for execution in self._all:
            execution.shut_down()

    async def close(self) -> None:
        """Close connections."""
        for execution in self._all:
            await execution.close()

    def _of_flavor(self, flavor: str) -> Execution:
        return self._others.get(flavor, self._in_pods)
