"""What the operator keeps in the model registry of an MLflow server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from cairn.api.base import JsonObject
from cairn.clients.mlflow import MLflow
from cairn.clients.mlflow_registry import MLflowModels
from cairn.components.experiment_tracker.mlflow.diagnosis import ACCESS_DENIED
from cairn.components.model_versions import (
    APPROVAL_TAG,
    APPROVED,
    APPROVED_BY_TAG,
    ModelVersion,
    RegistryClient,
)
from cairn.components.records import TrackerError, TrackerUnavailableError

DIGEST_TAG = "cairn.artifact.digest"

Explained = Callable[[], AbstractAsyncContextManager[None]]
"""Raises what goes wrong as TrackerError."""


class MLflowRegistryClient(RegistryClient):
    """Versions of models in one MLflow server."""

    def __init__(self, server: MLflow, explained: Explained) -> None:
        self._models = MLflowModels(server)
        self._explained = explained

    async def register(self, version: ModelVersion) -> str:
        """Create the version, unless one has the same source and digest; return its number."""
        async with self._of_this_model():
            await self._models.need_model(version.model)
            tag = {"key": DIGEST_TAG, "value": version.digest}
            found = await self._models.versions_of(version.model, version.uri)
            same = [int(one["version"]) for one in found if tag in one.get("tags", [])]
            if same:
                return str(min(same))  # a server that does what it has not answered may have made another one
            return await self._models.create_version(
                version.model,
                version.uri,
                run=version.record_id,
                description=version.description,
                tags={**version.tags, DIGEST_TAG: version.digest},
            )

    async def approver(self, model: str, alias: str, version: str) -> str | None:
        """Return who has approved a version that bears an alias; None where it does not, or nobody has."""
        async with self._of_this_model():
            found = await self._bearing(model, alias, version)
        if found is None:
            return None
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return tags.get(APPROVED_BY_TAG) if tags.get(APPROVAL_TAG) == APPROVED else None

    async def set_alias(self, model: str, alias: str, version: str) -> None:
        """Have a version bear an alias, and no other one."""
        async with self._of_this_model():
            await self._models.set_alias(model, alias, version)

    async def drop_alias(self, model: str, alias: str, version: str) -> None:
        """Have a version not bear an alias; another version that does keeps it."""
        async with self._of_this_model():
            if await self._bearing(model, alias, version) is not None:
                await self._models.delete_alias(model, alias)

    async def tag_version(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        async with self._of_this_model():
            for key, value in tags.items():
                await self._models.set_tag(model, version, key, value)

    async def _bearing(self, model: str, alias: str, version: str) -> JsonObject | None:
        """Return a version if it bears an alias."""
        found = await self._models.version_with(model, alias)
        return found if found is not None and found["version"] == version else None

    @asynccontextmanager
    async def _of_this_model(self) -> AsyncGenerator[None]:
        """Raise what goes wrong as TrackerError; a model that the user may not change says nothing of others."""
        try:
            async with self._explained():
                yield
        except TrackerUnavailableError as error:
            if error.reason == ACCESS_DENIED:
                raise TrackerError(error.reason, error.message) from error
            raise
