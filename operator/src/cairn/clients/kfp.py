"""Kubeflow Pipelines' REST API v2beta1, as far as Cairn uses it.

See https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/. The package `kfp` is not used: it
pins old versions of what the operator uses, and its requests block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, cast

from cairn.api.base import JsonObject
from cairn.clients.rest import ANSWER_SECONDS, Access, Answer, RestError, RestService

API = "/apis/v2beta1"
LARGEST_ERROR = 1024
"""Characters of a server's words that are told."""
RUNS_AT_ONCE = 100
"""That a search tells of in one answer."""
ALREADY_EXISTS = 6
NOT_FOUND = 5
INVALID_ARGUMENT = 3
"""Codes of gRPC, which its refusals have: https://grpc.io/docs/guides/status-codes/."""
INVALID_INPUT = "InvalidInputError"
NOT_AS_KFP = "does not answer as Kubeflow Pipelines does: look where the endpoint leads to"
USER_HEADER = "kubeflow-userid"
"""Names the user where several share an installation; a proxy of the cluster believes it of whom it trusts."""


class Token(Protocol):
    """The token of the next request: one of a ServiceAccount changes every hour."""

    async def __call__(self, *, fresh: bool = False) -> str:
        """Return it; a `fresh` one where the last one was refused and there can be another."""
        ...


class RefusedError(RestError):
    """It answers that it does not do it."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        """Of gRPC; None where something before the API has answered."""

    @property
    def may_pass(self) -> bool:
        """Whether another try of the same may succeed; what is wrong with a pipeline is told as an error of the server."""
        if INVALID_INPUT in str(self):
            return False
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def is_not_found(self) -> bool:
        """Whether the API does not know what the request is about; a 404 without a code is no API's."""
        return self.code == NOT_FOUND


@dataclass(frozen=True)
class Health:
    """What a server says of itself."""

    version: str
    multi_user: bool
    """Whether experiments and runs belong to namespaces."""


class KubeflowPipelines:
    """One server, with one connection pool for as long as it is used. Methods raise RestError, and what its token raises."""

    def __init__(
        self, access: Access, *, token: Token | None = None, user: str | None = None, seconds: float = ANSWER_SECONDS
    ) -> None:
        self._service = RestService(access, seconds=seconds)
        self._token = token
        self._user = user
        self._several_users: bool | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    async def health(self) -> Health:
        """Return what the server says of itself."""
        found = await self._call("GET", "healthz")
        multi_user = found.get("multi_user")
        if not isinstance(multi_user, bool):
            raise RestError(NOT_AS_KFP)
        return Health(str(found.get("tag_name", "")), multi_user)

    async def has_several_users(self) -> bool:
        """Return whether experiments and runs belong to namespaces; asked for once."""
        if self._several_users is None:
            self._several_users = (await self.health()).multi_user
        return self._several_users

    async def experiment_named(self, name: str, namespace: str | None) -> str:
        """Return the ID of an experiment, which is created if it is not there; `namespace` where there are several users."""
        found = await self._experiment(name, namespace)
        if found is not None:
            return found
        body = {"display_name": name, **({"namespace": namespace} if namespace is not None else {})}
        try:
            return _text(await self._call("POST", "experiments", json=body), "experiment_id")
        except RefusedError as error:
            if error.code != ALREADY_EXISTS:
                raise
        found = await self._experiment(name, namespace)  # somebody else has just created it
        if found is None:
            raise RestError(
                f"says that there is an experiment {name}, and does not find it; see whether it is archived"
            )
        return found

    async def runs_named(self, name: str, experiment: str) -> Sequence[JsonObject]:
        """Return the runs of an experiment that people see under a name, the oldest first."""
        params = {
            "experiment_id": experiment,
            "filter": _equals("display_name", name),
            "page_size": str(RUNS_AT_ONCE),
            "sort_by": "created_at asc",
        }
        return _objects(await self._call("GET", "runs", params=params), "runs")

    async def create_run(self, body: JsonObject, seconds: float = ANSWER_SECONDS) -> str:
        """Create a run and return its ID; the same again creates another one."""
        return _text(await self._call("POST", "runs", json=body, seconds=seconds), "run_id")

    async def run(self, run_id: str) -> JsonObject:
        """Return a run, with its tasks."""
        return await self._call("GET", f"runs/{run_id}")

    async def terminate(self, run_id: str) -> None:
        """Have a run end; one that has ended stays as it is."""
        try:
            await self._call("POST", f"runs/{run_id}:terminate")
        except RefusedError as error:
            if error.code != INVALID_ARGUMENT:  # it has ended
                raise

    async def _experiment(self, name: str, namespace: str | None) -> str | None:
        params = {
            "filter": _equals("display_name", name),
            **({"namespace": namespace} if namespace is not None else {}),
        }
        found = _objects(await self._call("GET", "experiments", params=params), "experiments")
        return _text(found[0], "experiment_id") if found else None

    async def _call(self, method: str, path: str, **content: Any) -> JsonObject:
        """Return what the API answers."""
        headers = await self._headers()
        answer = await self._service.ask(method, f"{API}/{path}", headers=headers, **content)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._token is not None:
            renewed = await self._headers(fresh=True)
            if renewed != headers:
                answer = await self._service.ask(method, f"{API}/{path}", headers=renewed, **content)
        if answer.is_refusal:
            raise _refusal(answer)
        found = answer.object
        if found is None:
            raise RestError(NOT_AS_KFP)
        return found

    async def _headers(self, *, fresh: bool = False) -> Mapping[str, str]:
        token = await self._token(fresh=fresh) if self._token is not None else None
        return {
            **({"Authorization": f"Bearer {token}"} if token is not None else {}),
            **({USER_HEADER: self._user} if self._user is not None else {}),
        }


def _equals(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"key": key, "operation": "EQUALS", "string_value": value}]})


def _text(answer: JsonObject, name: str) -> str:
    found = answer.get(name)
    if not isinstance(found, str):
        raise RestError(NOT_AS_KFP)
    return found


def _objects(answer: JsonObject, name: str) -> Sequence[JsonObject]:
    """Return a list of objects, which is left out where it is empty."""
    found: Any = answer.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in cast(list[Any], found)):
        raise RestError(NOT_AS_KFP)
    return cast(list[JsonObject], found)


def _refusal(answer: Answer) -> RefusedError:
    """Return a refusal with its innermost words: around them is where in the server it came up."""
    told = answer.object
    code = told.get("code") if told is not None else None
    if told is None or not isinstance(code, int):
        words = " ".join(answer.text.split())
        return RefusedError(answer.status, None, "" if words.startswith("<") else words[:LARGEST_ERROR])
    return RefusedError(answer.status, code, str(told.get("message", ""))[:LARGEST_ERROR])
