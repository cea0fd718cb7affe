from __future__ import annotations

import base64
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import AlreadyExistsError, ApiError, Kubernetes, NotFoundError, Resource
from cairn.components.artifact_store.local.config import LocalConfig
from cairn.components.artifact_store.local.store import Local
from cairn.components.artifact_store.s3.config import S3Config
from cairn.components.artifact_store.s3.store import S3

NAMESPACE = "ml"


class FakeKubernetes(Kubernetes):
    """Objects in memory, by plural and name; `refuse` answers every write with an error."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], JsonObject] = {}
        self.refuse: ApiError | None = None

    def add(self, plural: str, name: str, **rest: Any) -> None:
        self.objects[plural, name] = {"metadata": {"namespace": NAMESPACE, "name": name}, **rest}

    def add_secret(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.add("secrets", name, data=encoded)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        if (resource.plural, name) not in self.objects:
            raise NotFoundError(404, "NotFound", f"{resource.plural} {name!r} not found")
        return self.objects[resource.plural, name]

    async def create(
        self, resource: Resource, namespace: str, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        if self.refuse is not None:
            raise self.refuse
        key = (resource.plural, body["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExistsError(409, "AlreadyExists", f"{key} exists")
        self.objects[key] = {**body, "status": {"phase": "Pending"}}
        return self.objects[key]

    async def merge(self, resource: Resource, namespace: str, name: str, body: JsonObject) -> JsonObject:
        if self.refuse is not None:
            raise self.refuse
        self.objects[resource.plural, name]["spec"].update(body["spec"])
        return self.objects[resource.plural, name]


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


def s3(**config: Any) -> S3:
    return S3(NAMESPACE, "bucket", S3Config.model_validate({"bucket": "ml-artifacts", **config}))


def local(name: str = "store", **config: Any) -> Local:
    return Local(NAMESPACE, name, LocalConfig.model_validate(config))
