"""The Kubernetes API as JSON: the official async client without its typed models.

Objects stay plain dictionaries, so that nothing a newer API server sends is lost, and a watch event costs no model.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode
from urllib.request import getproxies

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from cairn.api.base import GROUP, VERSION, JsonObject
from cairn.clients import metrics

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=75)
"""A watch is silent for a minute at most: then comes a bookmark."""
WATCH_SECONDS = 300

PAGE_SIZE = 50
"""Objects that are listed at a time: each may be as large as 1.5 MB."""

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Resource:
    """A kind of object as the API server's paths name it."""

    api_version: str
    plural: str
    kind: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of the collection, an object, or a subresource of it."""
        prefix = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [prefix]
        if namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


CAIRN = f"{GROUP}/{VERSION}"
STACK_COMPONENTS = Resource(CAIRN, "stackcomponents", "StackComponent")
PIPELINE_SCHEDULES = Resource(CAIRN, "pipelineschedules", "PipelineSchedule")
PIPELINES = Resource(CAIRN, "pipelines", "Pipeline")
STACKS = Resource(CAIRN, "stacks", "Stack")
PIPELINE_RUNS = Resource(CAIRN, "pipelineruns", "PipelineRun")
JOBS = Resource("batch/v1", "jobs", "Job")
PODS = Resource("v1", "pods", "Pod")
SECRETS = Resource("v1", "secrets", "Secret")
CLAIMS = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = Resource("v1", "serviceaccounts", "ServiceAccount")
SERVICES = Resource("v1", "services", "Service")
CONTROLLER_REVISIONS = Resource("apps/v1", "controllerrevisions", "ControllerRevision")
DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")
STORAGE_CLASSES = Resource("storage.k8s.io/v1", "storageclasses", "StorageClass")
EVENTS = Resource("events.k8s.io/v1", "events", "Event")


class ApiError(Exception):
    """An answer of the API server other than success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """404: the object is not there."""


class AlreadyExistsError(ApiError):
    """409 AlreadyExists: an object of that name is there."""


class ConflictError(ApiError):
    """409 Conflict: the object has changed since it was read."""


class InvalidError(ApiError):
    """400 or 422: the API server refuses the object."""


class ForbiddenError(ApiError):
    """403: no permission, or refused by an admission plugin (quota, Pod Security)."""


class TooLargeError(ApiError):
    """413, or etcd's own refusal: the object would be larger than what the API server keeps."""


class GoneError(ApiError):
    """410: the resource version is too old to watch from."""


CAN_BE_TRIED_AGAIN = (ApiError, aiohttp.ClientError, TimeoutError)
"""What a request may end with that is not answered as hoped."""


class Kubernetes:
    """One connection pool to the API server."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> Kubernetes:
        """Connect with the pod's ServiceAccount, or with the kubeconfig outside a cluster."""
        configuration = unlimited()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        """Return the object; raises NotFoundError."""
        return await self._json("GET", resource.path(namespace, name), resource)

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        selector: str = "",
        fields: str = "",
        accept: str = JSON,
    ) -> tuple[list[JsonObject], str]:
        """Return all objects, read in pages, and the resource version to watch from."""
        items: list[JsonObject] = []
        token = ""
        while True:
            query = {"limit": str(PAGE_SIZE), "labelSelector": selector, "fieldSelector": fields, "continue": token}
            page = await self._json("GET", resource.path(namespace), resource, query=query, verb="list", accept=accept)
            items.extend(page["items"] or ())  # an empty list of metadata is null
            token = page["metadata"].get("continue", "")
            if not token:
                return items, page["metadata"]["resourceVersion"]

    async def create(
        self, resource: Resource, namespace: str, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        """Create the object, or have the API server only check it, and refuse fields that it would else drop.

        Raises:
            AlreadyExistsError, InvalidError, ForbiddenError: what the API server has against it.
        """
        query = {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else None
        return await self._json("POST", resource.path(namespace), resource, query=query, body=body, verb="create")

    async def create_token(self, namespace: str, service_account: str, audience: str, seconds: int) -> JsonObject:
        """Return a TokenRequest with a token of a ServiceAccount that is for an audience, and for so many seconds."""
        path = SERVICE_ACCOUNTS.path(namespace, service_account, "token")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds},
        }
        return await self._json("POST", path, SERVICE_ACCOUNTS, body=body, verb="create")

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, operations: list[JsonObject]
    ) -> JsonObject:
        """Apply a JSON patch (RFC 6902) to the status; raises ConflictError where it names an old resource version."""
        path = resource.path(namespace, name, "status")
        return await self._json("PATCH", path, resource, body=operations, content_type=JSON_PATCH, verb="patch")

    async def merge(self, resource: Resource, namespace: str, name: str, body: JsonObject) -> JsonObject:
        """Apply a JSON merge patch (RFC 7386) to the object."""
        path = resource.path(namespace, name)
        return await self._json("PATCH", path, resource, body=body, content_type=MERGE_PATCH, verb="patch")

    async def apply_dry_run(self, resource: Resource, namespace: str, body: JsonObject) -> JsonObject:
        """Return what an object would be if its fields were set to these, whoever has set them; nothing is changed."""
        path = resource.path(namespace, body["metadata"]["name"])
        query = {"dryRun": "All", "fieldManager": "cairn-operator", "force": "true"}
        return await self._json("PATCH", path, resource, query=query, body=body, content_type=APPLY_PATCH, verb="patch")

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        """Delete the object if it is the one with that UID, and in the background what it owns.

        `grace_seconds` is what a pod's containers get in place of the pod's own grace period. An object that is gone, or
        another of that name, is left as it is.
        """
        options: JsonObject = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        with suppress(NotFoundError, ConflictError):
            await self._json("DELETE", resource.path(namespace, name), resource, body=options, verb="delete")

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        """Delete the objects with these labels, and in the background what they own."""
        options = {"propagationPolicy": "Background"}
        query = {"labelSelector": selector}
        await self._json(
            "DELETE", resource.path(namespace), resource, query=query, body=options, verb="deletecollection"
        )

    async def pod_log(self, namespace: str, pod: str, container: str, *, lines: int, limit: int) -> str:
        """Return the last lines of a container's log, and of these the last `limit` bytes."""
        query = {"container": container, "tailLines": str(lines)}
        return (await self._log(namespace, pod, query, limit)).decode(errors="replace")

    async def whole_pod_log(self, namespace: str, pod: str, container: str, *, limit: int) -> bytes:
        """Return a container's log as it was written, or its last `limit` bytes."""
        return await self._log(namespace, pod, {"container": container}, limit)

    async def _log(self, namespace: str, pod: str, query: dict[str, str], limit: int) -> bytes:
        response = await self._request("GET", PODS.path(namespace, pod, "log"), PODS, query=query, verb="get")
        chunks, size = deque[bytes](), 0
        async with response:
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                while size - len(chunks[0]) >= limit:
                    size -= len(chunks.popleft())
        if size > limit:
            chunks[0] = chunks[0][size - limit :]
        return b"".join(chunks)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        since: str,
        selector: str,
        fields: str,
        accept: str,
    ) -> AsyncIterator[tuple[str, JsonObject]]:
        """Yield (type, object) as things change, bookmarks too, until the server ends it; raises GoneError."""
        query = {
            "watch": "1",
            "resourceVersion": since,
            "labelSelector": selector,
            "fieldSelector": fields,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        response = await self._request(
            "GET",
            resource.path(namespace),
            resource,
            query=query,
            verb="watch",
            accept=accept,
            timeout=WATCH_TIMEOUT,
        )
        try:
            async for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise error_of(event["object"].get("code", 500), event["object"])
                yield event["type"], event["object"]
        finally:
            response.close()

    async def _json(
        self,
        method: str,
        path: str,
        resource: Resource,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        verb: str = "get",
        accept: str = JSON,
    ) -> JsonObject:
        response = await self._request(
            method,
            path,
            resource,
            query=query,
            body=body,
            content_type=content_type,
            verb=verb,
            accept=accept,
        )
        return cast(JsonObject, json.loads(await response.read()))

    async def _request(
        self,
        method: str,
        path: str,
        resource: Resource,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        verb: str,
        accept: str = JSON,
        timeout: aiohttp.ClientTimeout = REQUEST_TIMEOUT,  # noqa: ASYNC109 - aiohttp's own, per request
    ) -> aiohttp.ClientResponse:
        """Send one request with the client's own TLS, proxy and (refreshed) token; raises ApiError."""
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "cairn-operator"}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        asked = urlencode({key: value for key, value in (query or {}).items() if value})
        url = f"{self._api.configuration.host}{path}" + (f"?{asked}" if asked else "")
        answer = await self._api.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        metrics.API_REQUESTS.labels(verb=verb, resource=resource.plural, code=str(response.status)).inc()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise error_of(response.status, await _status_of(response))
        return response


def unlimited() -> Configuration:
    """Return a configuration without a limit of connections: each watch holds one for as long as it lasts.

    Where the environment names no proxy, none is looked for: aiohttp would read it, and a netrc file, for every request,
    which takes twice as long as the request itself.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = 0
    configuration.client_session_kwargs = {"trust_env": bool(getproxies())}
    return configuration


def error_of(code: int, status: Mapping[str, Any]) -> ApiError:
    """Return the error that a Kubernetes `Status` object stands for."""
    reason = str(status.get("reason") or "Unknown")
    message = str(status.get("message") or f"the API server answered {code}")
    kinds: dict[int, type[ApiError]] = {
        HTTPStatus.BAD_REQUEST: InvalidError,
        HTTPStatus.FORBIDDEN: ForbiddenError,
        HTTPStatus.NOT_FOUND: NotFoundError,
        HTTPStatus.CONFLICT: AlreadyExistsError if reason == "AlreadyExists" else ConflictError,
        HTTPStatus.GONE: GoneError,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError,
        HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
    }
    if "etcdserver: request is too large" in message:
        return TooLargeError(code, reason, message)
    return kinds.get(code, ApiError)(code, reason, message)


async def _status_of(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    text = await response.text()
    try:
        status = json.loads(text)
    except ValueError:
        return {"message": text[:500]}
    return cast(Mapping[str, Any], status) if isinstance(status, dict) else {"message": text[:500]}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield lines of any length: aiohttp's own reader has a limit that large objects exceed."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
