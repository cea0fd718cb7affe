"""Whether the components of a stack, each of them ready, can be used together as the cluster is now."""

from __future__ import annotations

from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, Kubernetes
from cairn.components.errors import ComponentError
from cairn.stacks.resolution import COMPONENTS_NOT_CHECKED, UsableStack


async def problem_with(kubernetes: Kubernetes, stack: UsableStack) -> ComponentError | None:
    """Return why the orchestrator's pods cannot use the artifact store, or why that is not known; None where they can."""
    try:
        return await stack.orchestrator.problem_with(kubernetes, stack.artifact_store)
    except CAN_BE_TRIED_AGAIN as error:
        message = f"It is not to be found out whether orchestrator and artifact store go together: {error}; it is tried again."
        return ComponentError(COMPONENTS_NOT_CHECKED, message)
