"""The plan in CAIRN_PLAN: what to move and where the store is. The operator writes it, this reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from cairn.step.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESSING_STYLES: Final = ("Auto", "Path", "Virtual")


@dataclass(frozen=True)
class S3Settings:
    """An S3 or S3-compatible bucket; without `endpoint` it is AWS."""

    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    addressing_style: str = "Auto"
    ca_file: Path | None = None


@dataclass(frozen=True)
class LocalSettings:
    """A directory, usually a mounted PersistentVolumeClaim."""

    root: Path
    claim: str


StoreSettings = S3Settings | LocalSettings


@dataclass(frozen=True)
class Input:
    """An artifact to download to `path`. Without `digest` it is whatever a user's URI leads to."""

    name: str
    uri: str
    path: Path
    digest: str | None = None


@dataclass(frozen=True)
class Output:
    """An artifact to upload from `path`, which the step knows as `declared_path`."""

    name: str
    uri: str
    path: Path
    declared_path: str


@dataclass(frozen=True)
class FetchPlan:
    """What `fetch` does."""

    store: StoreSettings
    artifacts: tuple[Input, ...]


@dataclass(frozen=True)
class PublishPlan:
    """What `publish` does."""

    store: StoreSettings
    artifacts: tuple[Output, ...]
    results_path: Path | None = None


def parse_fetch(text: str | None) -> FetchPlan:
    """Read the plan of `fetch`.

    Raises:
        PlanError: It is not a plan of this version.
    """
    plan = _load(text)
    return FetchPlan(store=_store(plan.object("store")), artifacts=tuple(map(_input, plan.objects("artifacts"))))


def parse_publish(text: str | None) -> PublishPlan:
    """Read the plan of `publish`.

    Raises:
        PlanError: It is not a plan of this version.
    """
    plan = _load(text)
    return PublishPlan(
        store=_store(plan.object("store")),
        artifacts=tuple(map(_output, plan.objects("artifacts"))),
        results_path=plan.optional_path("resultsPath"),
    )


class _Node:
    """An object of the plan, which names itself in errors."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise PlanError(f"CAIRN_PLAN: {where} is not an object; run fetch and publish in the operator's version.")
        self._value = cast("Mapping[str, Any]", value)
        self._where = where

    def has(self, key: str) -> bool:
        return self._value.get(key) is not None

    def string(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str) or not value:
            raise PlanError(
                f"CAIRN_PLAN: {self._where}.{key} is not a non-empty string; "
                "run fetch and publish in the operator's version."
            )
        return value

    def optional_string(self, key: str) -> str | None:
        return self.string(key) if self.has(key) else None

    def path(self, key: str) -> Path:
        path = Path(self.string(key))
        if not path.is_absolute() or ".." in path.parts or path == Path("/"):
            raise PlanError(f"CAIRN_PLAN: {self._where}.{key} is not an absolute path below /; got {path}.")
        return path

    def optional_path(self, key: str) -> Path | None:
        return self.path(key) if self.has(key) else None

    def object(self, key: str) -> _Node:
        return _Node(self._value.get(key), f"{self._where}.{key}")

    def objects(self, key: str) -> list[_Node]:
        value = self._value.get(key)
        if not isinstance(value, list):
            raise PlanError(
                f"CAIRN_PLAN: {self._where}.{key} is not a list; run fetch and publish in the operator's version."
            )
        return [_Node(item, f"{self._where}.{key}[{index}]") for index, item in enumerate(cast("list[Any]", value))]


def _load(text: str | None) -> _Node:
    if not text:
        raise PlanError("CAIRN_PLAN is not set; it holds the plan as JSON and is set by the operator.")
    try:
        return _Node(json.loads(text), "plan")
    except json.JSONDecodeError as error:
        raise PlanError(f"CAIRN_PLAN is not JSON: {error}.") from error


def _store(node: _Node) -> StoreSettings:
    if node.has("s3"):
        s3 = node.object("s3")
        style = s3.optional_string("addressingStyle") or "Auto"
        if style not in ADDRESSING_STYLES:
            raise PlanError(f"CAIRN_PLAN: addressingStyle {style} is none of {', '.join(ADDRESSING_STYLES)}.")
        return S3Settings(
            bucket=s3.string("bucket"),
            endpoint=s3.optional_string("endpoint"),
            region=s3.optional_string("region") or "us-east-1",
            addressing_style=style,
            ca_file=s3.optional_path("caFile"),
        )
    if node.has("local"):
        local = node.object("local")
        return LocalSettings(root=local.path("root"), claim=local.string("claim"))
    raise PlanError("CAIRN_PLAN: plan.store has neither s3 nor local; run fetch and publish in the operator's version.")


def _input(node: _Node) -> Input:
    return Input(
        name=node.string("name"),
        uri=node.string("uri"),
        path=node.path("path"),
        digest=node.optional_string("digest"),
    )


def _output(node: _Node) -> Output:
    return Output(
        name=node.string("name"),
        uri=node.string("uri"),
        path=node.path("path"),
        declared_path=node.string("declaredPath"),
    )
