"""How runs are recorded in MLflow: what the records are there, and which requests they take."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from cairn.api.base import JsonObject
from cairn.clients.mlflow import MLflow, RefusedError
from cairn.clients.rest import Access, RestError
from cairn.components.experiment_tracker.mlflow.diagnosis import explain
from cairn.components.experiment_tracker.mlflow.registry_client import MLflowRegistryClient
from cairn.components.records import (
    Dataset,
    FoundRecord,
    Record,
    RecordGoneError,
    TrackerClient,
    TrackerError,
    TrackerUnavailableError,
)

PARENT_TAG = "mlflow.parentRunId"
RUN_NAME_TAG = "mlflow.runName"
CONTEXT_TAG = "mlflow.data.context"
LONGEST_DIGEST = 36
"""What MLflow keeps of a dataset's (mlflow/utils/validation.py)."""
DIGEST_UNKNOWN = "unknown"
ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})


class MLflowClient(TrackerClient):
    """Records in one MLflow server."""

    def __init__(self, access: Access, *, logs_in: bool) -> None:
        self._server = MLflow(access)
        self._uri = access.uri
        self._logs_in = logs_in

    @property
    def registry(self) -> MLflowRegistryClient:
        """The way into its model registry."""
        return MLflowRegistryClient(self._server, self._explained)

    async def experiment(self, name: str) -> str:
        """Return the ID of an experiment, which is created if it is not there."""
        async with self._explained():
            return await self._server.experiment_named(name)

    async def find(self, experiment: str, tags: Mapping[str, str]) -> Sequence[FoundRecord]:
        """Return the runs of an experiment with these tags, the oldest first."""
        async with self._explained():
            return [_found(run) for run in await self._server.runs_tagged(experiment, tags)]

    async def create(self, experiment: str, record: Record, parent: str | None) -> str:
        """Create a run, nested in another one where that is given; return its ID."""
        tags = dict(record.tags) if parent is None else {**record.tags, PARENT_TAG: parent}
        async with self._explained():
            return await self._server.create_run(experiment, record.name, record.started, tags)

    async def describe(self, record_id: str, *, params: Mapping[str, str], datasets: Sequence[Dataset]) -> None:
        """Log params and inputs of a run."""
        async with self._explained():
            if params:
                await self._server.log_batch(record_id, params=params)
            if datasets:
                await self._server.log_inputs(record_id, [_input(dataset) for dataset in datasets])

    async def finish(self, record_id: str, record: Record) -> None:
        """Log what is known at a run's end, then end it."""
        metrics = [
            {"key": metric.name, "value": metric.value, "timestamp": metric.moment, "step": 0}
            for metric in record.metrics
        ]
        async with self._explained():
            if metrics or record.closing_tags:
                await self._server.log_batch(record_id, metrics=metrics, tags=record.closing_tags)
            await self._server.update_run(record_id, record.state, record.ended)

    async def take_over(self, record_id: str, record: Record, parent: str) -> None:
        """Name, tag and nest a run."""
        async with self._explained():
            await self._server.log_batch(record_id, tags={**record.tags, RUN_NAME_TAG: record.name, PARENT_TAG: parent})

    async def adopt(self, found: FoundRecord, parent: str, record: Record) -> None:
        """Nest a run in another one, and end it unless it has ended."""
        async with self._explained():
            if found.parent != parent:
                await self._server.log_batch(found.id, tags={PARENT_TAG: parent})
            if found.state not in ENDED:
                await self._server.update_run(found.id, record.state, record.ended)

    async def delete(self, record_id: str) -> None:
        """Delete a run."""
        async with self._explained():
            await self._server.delete_run(record_id)

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    @asynccontextmanager
    async def _explained(self) -> AsyncGenerator[None]:
        """Raise what goes wrong as TrackerError, with what to do about it."""
        try:
            yield
        except RestError as error:
            reason, message = explain(error, self._uri, logs_in=self._logs_in)
            raise _kind_of(error)(reason, message) from error


def _kind_of(error: RestError) -> type[TrackerError]:
    if isinstance(error, RefusedError) and error.is_gone:
        return RecordGoneError
    concerns_all = not isinstance(error, RefusedError) or error.concerns_all
    return TrackerUnavailableError if concerns_all else TrackerError


def _found(run: JsonObject) -> FoundRecord:
    data, info = run.get("data") or {}, run["info"]
    tags, params, state = _pairs(data.get("tags")), _pairs(data.get("params")), info["status"]
    is_empty = state not in ENDED and not params and not data.get("metrics")
    return FoundRecord(info["run_id"], tags.get(PARENT_TAG), state, tags, params, is_empty)


def _pairs(items: Sequence[JsonObject] | None) -> Mapping[str, str]:
    return {item["key"]: item.get("value", "") for item in items or ()}


def _input(dataset: Dataset) -> JsonObject:
    digest = dataset.digest.rpartition(":")[2]
    told = {"name": dataset.name, "digest": digest[:LONGEST_DIGEST] or DIGEST_UNKNOWN}
    source = {
        "source_type": "s3" if dataset.uri.startswith("s3://") else "uri",
        "source": json.dumps({"uri": dataset.uri}),
    }
    tags = {CONTEXT_TAG: dataset.name, **({"cairn.digest": dataset.digest} if digest else {})}
    return {"dataset": {**told, **source}, "tags": [{"key": key, "value": value} for key, value in tags.items()]}
