"""The HTTP server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from .auth import Auth
from .clock import Clock
from .ends import Ends
from .engine import Engine
from .errors import NOT_FOUND, KfpError
from .experiments import Experiments
from .faults import Faults
from .runs import Runs
from .store import Store

PREFIX = "/apis/v2beta1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(store: Store, engine: Engine, clock: Clock, auth: Auth) -> web.Application:
    """Return the server of a store and an engine."""
    faults = Faults(clock, auth)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, fail or answer a request of the API; the side endpoints are for everybody."""
        if not request.path.startswith("/apis/"):
            return await handler(request)
        return await faults.around(request, lambda asked: _answer(asked, handler, auth))

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response(
            {
                "commit_sha": "unknown",
                "tag_name": "unknown",
                "multi_user": auth.is_multi_user,
                "pipeline_store": "database",
            }
        )

    experiments = Experiments(store, clock)
    runs = Runs(store, engine, experiments, clock)
    app = web.Application(middlewares=[answer], client_max_size=32 * 1024**2)
    app.add_routes([web.get(f"{PREFIX}/healthz", healthz)])
    app.add_routes([*experiments.routes(PREFIX), *runs.routes(PREFIX), *faults.routes(), *Ends(store).routes()])
    return app


async def _answer(request: web.Request, handler: Handler, auth: Auth) -> web.StreamResponse:
    try:
        return auth.check(request) or await handler(request)
    except KfpError as error:
        return web.json_response(error.body(), status=error.status)
    except web.HTTPNotFound:
        return web.json_response({"code": NOT_FOUND, "message": "Not Found", "details": []}, status=404)
