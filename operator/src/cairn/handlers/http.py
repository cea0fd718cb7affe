"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cairn.clients.leadership import Leadership
from cairn.handlers.operator import Operator


def application(operator: Operator, leadership: Leadership | None = None) -> web.Application:
    """Return the web application that the kubelet and Prometheus ask; one that waits for its turn is ready too."""

    async def healthz(_: web.Request) -> web.Response:
        """Alive: the event loop answers, and no watch and no queue has died."""
        return _answer(operator.alive, "a watch or a queue has died")

    async def readyz(_: web.Request) -> web.Response:
        """Ready: every object has been seen, and the work goes on; or another operator works."""
        waits = leadership is not None and not leadership.is_leader
        return _answer(waits or operator.ready, "not everything has been seen yet")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


def _answer(good: bool, problem: str) -> web.Response:
    return web.Response(text="ok" if good else problem, status=200 if good else 503)
