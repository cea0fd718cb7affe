"""kopf's handlers: each change of one of the kinds wakes a reconcile. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import kopf

from cairn.api.base import GROUP, VERSION, JsonObject
from cairn.clients.depth import bounded
from cairn.clients.kubernetes import PAGE_SIZE
from cairn.handlers.operator import Operator

STARTUP_BACKOFF_SECONDS = 5.0
"""How soon the start is tried again, such as where the API server does not answer yet."""

Changed = Callable[[str | None, JsonObject], None]


def register(registry: kopf.OperatorRegistry, operator: Operator) -> None:
    """Register a handler for each kind, and the operator's start and stop."""
    for plural, changed in (
        ("stackcomponents", operator.component_changed),
        ("stacks", operator.stack_changed),
        ("pipelines", operator.pipeline_changed),
        ("pipelineschedules", operator.schedule_changed),
        ("pipelineruns", operator.run_changed),
    ):
        kopf.on.event(GROUP, VERSION, plural, id=f"{plural}-changed", registry=registry)(_handler(changed))

    kopf.on.login(registry=registry)(_login)

    @kopf.on.startup(registry=registry, backoff=STARTUP_BACKOFF_SECONDS)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        configure(settings)
        await operator.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        await operator.stop()


def configure(settings: kopf.OperatorSettings) -> None:
    """Set what kopf is to leave alone, and Cairn's own names for what it writes."""
    settings.persistence.finalizer = f"{GROUP}/kopf"  # kopf takes its own off; the operator's must not be that one
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NothingCompared()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = PAGE_SIZE
    settings.peering.standalone = True


class NothingCompared(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object at each event, to compare what no handler here asks for.

    A run has up to 1,500 steps, and an event for each that changes.
    """

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:  # noqa: ARG002 - kopf's signature
        """Return nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - kopf's signature
        """Return nothing to compare with."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


def _handler(changed: Changed) -> Callable[..., Awaitable[None]]:
    """Return a coroutine function: kopf would call any other in a thread, and nothing that it touches is made for threads."""

    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        changed(event["type"], bounded(cast(JsonObject, event["object"])))

    return handle


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Connect as Cairn's own client does: with the pod's ServiceAccount, or with the kubeconfig outside a cluster."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
