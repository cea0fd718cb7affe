"""The model registry part of MLflow's REST API, as far as Cairn uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cairn.api.base import JsonObject
from cairn.clients.mlflow import ALREADY_EXISTS, MLflow, RefusedError, part_of

NO_SUCH_ALIAS = "INVALID_PARAMETER_VALUE"
"""What MLflow answers where no version bears an alias."""


class MLflowModels:
    """Registered models of one server, their versions and aliases."""

    def __init__(self, server: MLflow) -> None:
        self._server = server

    async def need_model(self, name: str) -> None:
        """Create a registered model unless it is there."""
        try:
            await self._server.call("POST", "registered-models/create", {"name": name})
        except RefusedError as error:
            if error.code != ALREADY_EXISTS:
                raise

    async def versions_of(self, name: str, source: str) -> Sequence[JsonObject]:
        """Return the versions of a model that come from a URI; neither has quotes."""
        params = {"filter": f"name = '{name}' and source_path = '{source}'", "max_results": "1000"}
        return (await self._server.call("GET", "model-versions/search", params=params)).get("model_versions", [])

    async def create_version(
        self, name: str, source: str, *, run: str | None, description: str | None, tags: Mapping[str, str]
    ) -> str:
        """Create a version; return its number."""
        body: JsonObject = {
            "name": name,
            "source": source,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        if run is not None:
            body["run_id"] = run
        if description is not None:
            body["description"] = description
        return part_of(await self._server.call("POST", "model-versions/create", body), "model_version", "version")

    async def set_alias(self, name: str, alias: str, version: str) -> None:
        """Have a version bear an alias, and no other one."""
        await self._server.call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": version})

    async def version_with(self, name: str, alias: str) -> JsonObject | None:
        """Return the version that bears an alias, if one does."""
        try:
            found = await self._server.call("GET", "registered-models/alias", params={"name": name, "alias": alias})
        except RefusedError as error:
            if error.code != NO_SUCH_ALIAS:
                raise
            return None
        part_of(found, "model_version", "version")
        return found["model_version"]

    async def delete_alias(self, name: str, alias: str) -> None:
        """Have no version bear an alias."""
        await self._server.call("DELETE", "registered-models/alias", {"name": name, "alias": alias})

    async def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        await self._server.call(
            "POST", "model-versions/set-tag", {"name": name, "version": version, "key": key, "value": value}
        )
