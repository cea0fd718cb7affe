"""Whether the components of a stack, each of them ready, can be used together as the cluster is now."""

from __future__ import annotations

from cairn.clients.clock import Clock
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, Kubernetes
from cairn.components.errors import ComponentError
from cairn.stacks.resolution import COMPONENTS_NOT_CHECKED, UsableStack

REMEMBERED_SECONDS = 60.0
"""How long an answer that all is well counts: a Stack is looked at whenever one of its runs begins or ends."""


class Usability:
    """Asks the cluster, and remembers for a while which stacks can be used; what is wrong is asked for each time."""

    def __init__(self, kubernetes: Kubernetes, clock: Clock) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._found_usable: dict[tuple[str, str], float] = {}
        """When a stack was last found usable, by namespace and digest of all specs, on the monotonic clock."""

    async def problem_with(self, stack: UsableStack) -> ComponentError | None:
        """Return why the orchestrator's pods cannot use the artifact store, or why that is not known; None where they can."""
        now = self._clock.monotonic()
        self._found_usable = {
            known: found for known, found in self._found_usable.items() if now - found < REMEMBERED_SECONDS
        }
        key = stack.orchestrator.namespace, stack.digest
        if key in self._found_usable:
            return None
        try:
            problem = await stack.orchestrator.problem_with(self._kubernetes, stack.artifact_store)
        except CAN_BE_TRIED_AGAIN as error:
            message = f"It is not to be found out whether orchestrator and artifact store go together: {error}; it is tried again."
            return ComponentError(COMPONENTS_NOT_CHECKED, message)
        if problem is None:
            self._found_usable[key] = now
        return problem
