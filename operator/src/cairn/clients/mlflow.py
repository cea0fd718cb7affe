"""MLflow's REST API, as far as Cairn uses it (https://mlflow.org/docs/latest/api_reference/rest-api.html).

The package `mlflow` is not used: it takes 1.4 s and 170 MiB to import, and has no asynchronous side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, cast
from urllib.parse import quote

from cairn.api.base import JsonObject
from cairn.clients.rest import ANSWER_SECONDS, Access, Answer, RestError, RestService

RUNS_AT_ONCE = 100
"""That a search tells of in one answer."""
LARGEST_ERROR = 1024
"""Characters of a server's words that are told."""
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
DOES_NOT_EXIST = "RESOURCE_DOES_NOT_EXIST"
DELETED = "must be in the 'active' state"
"""What is said of runs and experiments that are."""
INVALID_HOST = "Invalid Host header"
NOT_AS_MLFLOW = "does not answer as MLflow does: look where the URI leads to"

RunState = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]


class RefusedError(RestError):
    """It answers that it does not do it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def is_of_deleted(self) -> bool:
        """Whether the request is about something that somebody has deleted, and may restore."""
        return DELETED in str(self)

    @property
    def is_gone(self) -> bool:
        """Whether what the request is about is not there, or somebody has deleted it."""
        return self.code == DOES_NOT_EXIST or self.is_of_deleted

    @property
    def may_pass(self) -> bool:
        """Whether another try of the same may succeed."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def concerns_all(self) -> bool:
        """Whether any other request would be answered in the same way, as far as one can tell."""
        of_the_log_in = self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        return self.may_pass or of_the_log_in or not self.code


class MLflow:
    """One server, with one connection pool for as long as it is used."""

    def __init__(self, access: Access, *, seconds: float = ANSWER_SECONDS) -> None:
        self._service = RestService(access, seconds=seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    # ---- the server

    async def version(self) -> str:
        """Return the server's version, such as `3.17.2`."""
        return (await self._ask("GET", "/version")).text.strip()

    async def need_database(self) -> None:
        """Return once the server has asked its database, which /health does not."""
        await self.call("GET", "experiments/search", params={"max_results": "1"})

    async def need_registry(self) -> None:
        """Return once the server has looked into its model registry."""
        await self.call("GET", "registered-models/search", params={"max_results": "1"})

    async def put_artifact(self, path: str, content: bytes) -> None:
        """Keep an artifact by way of the server, below its destination."""
        await self._ask("PUT", f"{_ARTIFACTS}/{quote(path)}", data=content)

    async def get_artifact(self, path: str) -> bytes:
        """Return such an artifact."""
        return (await self._ask("GET", f"{_ARTIFACTS}/{quote(path)}")).content

    async def delete_artifact(self, path: str) -> None:
        """Delete such an artifact."""
        await self._ask("DELETE", f"{_ARTIFACTS}/{quote(path)}")

    # ---- experiments and runs

    async def experiment_named(self, name: str) -> str:
        """Return the ID of an experiment, which is created if it is not there."""
        try:
            found = await self.call("GET", "experiments/get-by-name", params={"experiment_name": name})
        except RefusedError as error:
            if error.code != DOES_NOT_EXIST:
                raise
        else:
            return part_of(found, "experiment", "experiment_id")
        try:
            return part_of(await self.call("POST", "experiments/create", {"name": name}), "experiment_id")
        except RefusedError as error:
            if error.code != ALREADY_EXISTS:
                raise
        return await self.experiment_named(name)  # somebody else has just created it

    async def runs_tagged(self, experiment: str, tags: Mapping[str, str]) -> Sequence[JsonObject]:
        """Return the runs of an experiment with these tags, the oldest first; deleted ones are none."""
        filters = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        body: JsonObject = {
            "experiment_ids": [experiment],
            "filter": filters,
            "order_by": ["attributes.start_time ASC"],
            "max_results": RUNS_AT_ONCE,
        }
        found: list[JsonObject] = []
        while True:
            page = await self.call("POST", "runs/search", body)
            found += page.get("runs", [])
            if not page.get("next_page_token"):
                return found
            body["page_token"] = page["next_page_token"]

    async def create_run(self, experiment: str, name: str, start_time: int, tags: Mapping[str, str]) -> str:
        """Create a run that is RUNNING since a moment, in milliseconds; return its ID."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": start_time, "tags": _items(tags)}
        return part_of(await self.call("POST", "runs/create", body), "run", "info", "run_id")

    async def log_batch(
        self,
        run: str,
        *,
        metrics: Sequence[JsonObject] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record metrics, each `{key, value, timestamp, step}`, params and tags; the same again changes nothing."""
        body = {"run_id": run, "metrics": list(metrics), "params": _items(params or {}), "tags": _items(tags or {})}
        await self.call("POST", "runs/log-batch", body)

    async def log_inputs(self, run: str, datasets: Sequence[JsonObject]) -> None:
        """Record datasets that a run has read, each `{dataset: {name, digest, …}, tags}`."""
        await self.call("POST", "runs/log-inputs", {"run_id": run, "datasets": list(datasets)})

    async def update_run(self, run: str, state: RunState, end_time: int | None) -> None:
        """Set a run's state, and when it ended, in milliseconds."""
        body: JsonObject = {"run_id": run, "status": state}
        if end_time is not None:
            body["end_time"] = end_time
        await self.call("POST", "runs/update", body)

    async def delete_run(self, run: str) -> None:
        """Delete a run; MLflow can restore it for a while."""
        await self.call("POST", "runs/delete", {"run_id": run})

    # ---- requests

    async def call(
        self, method: str, endpoint: str, body: JsonObject | None = None, *, params: Mapping[str, str] | None = None
    ) -> JsonObject:
        """Return what an endpoint such as `runs/create` answers; raises RestError."""
        found = (await self._ask(method, f"/api/2.0/mlflow/{endpoint}", json=body, params=params)).object
        if found is None:
            raise RestError(NOT_AS_MLFLOW)
        return found

    async def _ask(self, method: str, path: str, **content: Any) -> Answer:
        """Return an answer; raises RestError."""
        answer = await self._service.ask(method, path, **content)
        if answer.is_refusal:
            raise RefusedError(answer.status, *_refusal(answer))
        return answer


_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def part_of(answer: JsonObject, *path: str) -> str:
    """Return a part of an answer; raises RestError where there is none, which MLflow itself would not do."""
    found: Any = answer
    for name in path:
        found = cast(JsonObject, found).get(name) if isinstance(found, dict) else None
    if not isinstance(found, str):
        raise RestError(NOT_AS_MLFLOW)
    return found


def _items(pairs: Mapping[str, str]) -> list[JsonObject]:
    return [{"key": key, "value": value} for key, value in pairs.items()]


def _refusal(answer: Answer) -> tuple[str, str]:
    """Return the code and the words of a refusal, which is JSON where MLflow itself refuses."""
    told = answer.object
    if told is None or "error_code" not in told:
        return "", " ".join(answer.text.split())[:LARGEST_ERROR]
    return str(told["error_code"]), str(told.get("message", ""))[:LARGEST_ERROR]
