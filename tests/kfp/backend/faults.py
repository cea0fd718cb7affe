"""Faults for tests, and what was asked for: side endpoints that a real KFP does not have.

`POST /faults` with any of `status`, `body`, `headers`, `delay` (seconds before the answer), `drop` (`before` closes the
connection without doing anything, `after` does what was asked and closes it then), for requests whose `method` and `path` (a
regular expression) match, during `seconds` or for `count` requests. `DELETE /faults` ends them. `GET /requests` counts the
requests so far by method and route; `DELETE /requests` begins anew. `PUT /token` with `token` sets the bearer token that is valid.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from aiohttp import web
from pydantic import BaseModel

from .auth import Auth
from .clock import Clock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(BaseModel):
    """What goes wrong, and for which requests."""

    status: int | None = None
    body: str = ""
    headers: dict[str, str] = {}
    delay: float = 0
    drop: str = ""
    method: str = ""
    path: str = ""
    seconds: float | None = None
    count: int | None = None
    until: datetime | None = None

    def concerns(self, request: web.Request, now: datetime) -> bool:
        """Whether a request is hit."""
        is_over = (self.until is not None and now >= self.until) or self.count == 0
        return not is_over and self.method in {"", request.method} and bool(re.search(self.path, request.path_qs))


class Faults:
    """Lets requests fail, and counts them."""

    def __init__(self, clock: Clock, auth: Auth) -> None:
        self._clock = clock
        self._auth = auth
        self._faults: list[Fault] = []
        self._requests: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """Return the side endpoints."""
        return [
            web.post("/faults", self.add),
            web.delete("/faults", self.clear),
            web.get("/requests", self.count),
            web.delete("/requests", self.forget),
            web.put("/token", self.token),
        ]

    async def add(self, request: web.Request) -> web.Response:
        """Begin a fault."""
        fault = Fault.model_validate_json(await request.text())
        if fault.seconds is not None:
            fault.until = self._clock.now() + timedelta(seconds=fault.seconds)
        self._faults.append(fault)
        return web.json_response({})

    async def clear(self, request: web.Request) -> web.Response:
        """End all faults."""
        self._faults.clear()
        return web.json_response({})

    async def count(self, request: web.Request) -> web.Response:
        """Return how often each route was asked for."""
        return web.json_response(dict(sorted(self._requests.items())))

    async def forget(self, request: web.Request) -> web.Response:
        """Begin counting anew."""
        self._requests.clear()
        return web.json_response({})

    async def token(self, request: web.Request) -> web.Response:
        """Set the bearer token that is valid from now on."""
        self._auth.token = (await request.json())["token"]
        return web.json_response({})

    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request of the API, or let it fail."""
        resource = request.match_info.route.resource
        self._requests[f"{request.method} {resource.canonical if resource else request.path}"] += 1
        fault = next((one for one in self._faults if one.concerns(request, self._clock.now())), None)
        if fault is None:
            return await handler(request)
        if fault.count is not None:
            fault.count -= 1
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop:
            if fault.drop == "after":
                await handler(request)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=499)
        if fault.status is not None:
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        return await handler(request)
