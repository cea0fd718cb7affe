"""When runs were over, to the microsecond, which KFP's API has in whole seconds: a side endpoint that a real KFP does not have.

`GET /ends` has of each run that is said to be over, by its ID, `ended`, when its workflow was, and `told`, when the API had told
all of it, both in seconds since 1970.
"""

from __future__ import annotations

from aiohttp import web

from .state import Run
from .store import Store


class Ends:
    """Tells when runs were over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        """Return the side endpoint."""
        return [web.get("/ends", self.tell)]

    async def tell(self, request: web.Request) -> web.Response:
        """Return when each run was over."""
        return web.json_response(
            {
                run.run_id: {"ended": run.finished_at.timestamp(), "told": _told(run)}
                for run in self._store.runs.values()
                if run.finished_at is not None
            }
        )


def _told(run: Run) -> float:
    """Return when the latest of its states was reported."""
    histories = [run.state_history, *(task.state_history for task in run.tasks.values())]
    return max(moment.update_time.timestamp() for history in histories for moment in history)
