"""What model registries are given to keep. The terms are MLflow's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

APPROVAL_TAG, APPROVED_BY_TAG, APPROVED_AT_TAG = "cairn.approval", "cairn.approval.by", "cairn.approval.time"
"""Tags of a version: what was decided about it, by whom, and when."""
APPROVED = "Approved"


@dataclass(frozen=True)
class ModelVersion:
    """What is to be registered."""

    model: str
    uri: str
    """Where the artifact is."""
    digest: str
    record_id: str | None
    """The record of the attempt that has written it, where there is one."""
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class RegistryClient(ABC):
    """The operator's way into the model registry of a tracker. Methods raise TrackerError."""

    @abstractmethod
    async def register(self, version: ModelVersion) -> str:
        """Have a version in the registry, unless it is there; return its number."""

    @abstractmethod
    async def approver(self, model: str, alias: str, version: str) -> str | None:
        """Return who has approved a version that bears an alias; None where it does not, or nobody has."""

    @abstractmethod
    async def set_alias(self, model: str, alias: str, version: str) -> None:
        """Have a version bear an alias, and no other one."""

    @abstractmethod
    async def drop_alias(self, model: str, alias: str, version: str) -> None:
        """Have a version not bear an alias; another version that does keeps it."""

    @abstractmethod
    async def tag_version(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
