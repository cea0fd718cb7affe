"""The API server, as these tests ask it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from kubernetes.client import ApiException, CustomObjectsApi

from cairn.api.base import VERSION, JsonObject

NOT_A_FIELD = "<nil>"
"""What the API server names where it repeats, for the whole object, what it said of a field."""


@dataclass(frozen=True)
class Problem:
    """One thing that the API server refused an object for."""

    field: str
    message: str


@dataclass(frozen=True)
class Answer:
    """What the API server answered: the object with its defaults, or what is wrong with it."""

    accepted: JsonObject | None
    problems: Sequence[Problem] = ()

    @property
    def refused(self) -> bool:
        return self.accepted is None

    def names(self, field: str, words: str) -> bool:
        """Return whether a problem of that field has those words in its message."""
        return any(same_field(problem.field, field) and words in problem.message for problem in self.problems)

    def __str__(self) -> str:
        if self.accepted is not None:
            return f"accepted: {json.dumps(self.accepted['spec'])[:2000]}"
        return "refused:\n" + "\n".join(f"  {problem.field}: {problem.message[:500]}" for problem in self.problems)


class ApiServer:
    """The kinds as a group of their own, in a namespace of their own."""

    def __init__(self, group: str, namespace: str, plurals: Mapping[str, str]) -> None:
        self.group = group
        self.namespace = namespace
        self._plurals = plurals
        self._api = CustomObjectsApi()

    def dry_run(self, manifest: JsonObject) -> Answer:
        """Return what a creation would be answered; nothing is created."""
        return self._ask(
            self._api.create_namespaced_custom_object,
            plural=self._plurals[manifest["kind"]],
            body=self.own(manifest),
            dry_run="All",
        )

    def create(self, manifest: JsonObject) -> JsonObject:
        """Create the object and return it."""
        answer = self._ask(
            self._api.create_namespaced_custom_object,
            plural=self._plurals[manifest["kind"]],
            body=self.own(manifest),
        )
        assert answer.accepted is not None, answer
        return answer.accepted

    def dry_run_update(self, existing: JsonObject, manifest: JsonObject) -> Answer:
        """Return what replacing the object would be answered; nothing is changed."""
        body = self.own(manifest)
        body["metadata"] = {**body["metadata"], "resourceVersion": existing["metadata"]["resourceVersion"]}
        return self._ask(
            self._api.replace_namespaced_custom_object,
            plural=self._plurals[manifest["kind"]],
            name=existing["metadata"]["name"],
            body=body,
            dry_run="All",
        )

    def set_status(self, existing: JsonObject, status: JsonObject) -> JsonObject:
        """Set the status, as the operator does, and return the object."""
        answer = self._ask(
            self._api.replace_namespaced_custom_object_status,
            plural=self._plurals[existing["kind"]],
            name=existing["metadata"]["name"],
            body={**existing, "status": status},
        )
        assert answer.accepted is not None, answer
        return answer.accepted

    def delete(self, existing: JsonObject) -> None:
        """Delete the object."""
        self._api.delete_namespaced_custom_object(
            self.group,
            VERSION,
            self.namespace,
            self._plurals[existing["kind"]],
            existing["metadata"]["name"],
        )

    def own(self, manifest: JsonObject) -> JsonObject:
        """Return the manifest in the tests' own group and namespace."""
        metadata = {**manifest["metadata"], "namespace": self.namespace}
        return {**deepcopy(manifest), "apiVersion": f"{self.group}/{VERSION}", "metadata": metadata}

    def _ask(self, method: Any, **arguments: Any) -> Answer:
        try:
            found = method(
                group=self.group, version=VERSION, namespace=self.namespace, field_validation="Strict", **arguments
            )
        except ApiException as error:
            return Answer(None, _problems(json.loads(cast(str, error.body))))
        return Answer(cast(JsonObject, found))


def same_field(one: str, other: str) -> bool:
    """Return whether two paths are of one field; the key of a map comes as `labels.team` and as `labels[team]`."""
    return _dotted(one) == _dotted(other)


def _dotted(field: str) -> str:
    return re.sub(r"\[([^\]]*)\]", r".\1", field)


def _problems(status: JsonObject) -> tuple[Problem, ...]:
    message: str = status["message"]
    unknown = tuple(Problem(field, "unknown field") for field in re.findall(r'unknown field "([^"]+)"', message))
    causes: Sequence[Mapping[str, str]] = (status.get("details") or {}).get("causes") or ()
    named = tuple(
        Problem(cause.get("field", ""), cause["message"]) for cause in causes if cause.get("field") != NOT_A_FIELD
    )
    return unknown or named or (Problem("", message),)
