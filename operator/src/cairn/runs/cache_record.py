"""What is kept in the artifact store of a step that may be cached. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from cairn.api.base import Model
from cairn.api.pipelinerun_status import ArtifactStatus, CachedFrom, ResultStatus, StepStatus
from cairn.api.step import Step
from cairn.api.time import parse
from cairn.runs.graph import outputs_of, results_of

VERSION = 1


@dataclass(frozen=True)
class CacheAnswer:
    """What is known of a step that may be cached, before it starts."""

    key: str | None = None
    image_digest: str | None = None
    message: str | None = None
    """Why it runs, in a sentence."""
    record: CacheRecord | None = None
    """What can be used in its place."""


class CacheRecord(Model):
    """What a step has written, and when: an object in JSON, under the step's key."""

    version: int = VERSION
    from_: Annotated[CachedFrom, Field(alias="from")]
    artifacts: tuple[ArtifactStatus, ...] = ()
    entity_tags: Mapping[str, str] = Field(default_factory=dict[str, str])
    """By artifact: the store's own tag of the object that holds it, or a directory's manifest, which any change of it changes."""
    results: tuple[ResultStatus, ...] = ()

    def stands_against(self, run: str, step: StepStatus) -> bool:
        """Return whether it stays as it is: it was made of that step of that run, or of one that ended later."""
        own = _made_of(run, step)
        return self.from_ == own or parse(self.from_.completion_time) > parse(own.completion_time)


def may_be_cached(step: Step) -> bool:
    """Return whether the author of a step lets it be left out."""
    return step.cache is not None and step.cache.enabled


def record_of(run: str, step: StepStatus, entity_tags: Mapping[str, str]) -> CacheRecord:
    """Return what is kept of a step that has succeeded."""
    return CacheRecord.model_validate(
        {
            "from": _made_of(run, step),
            "artifacts": step.artifacts or (),
            "entity_tags": entity_tags,
            "results": step.results or (),
        }
    )


def _made_of(run: str, step: StepStatus) -> CachedFrom:
    return CachedFrom(run=run, step=step.name, completion_time=step.completion_time or "")


def parsed(content: bytes) -> CacheRecord | None:
    """Return the record that an object holds; None where it is no such record, or another version's."""
    try:
        record = CacheRecord.model_validate_json(content)
        parse(record.from_.completion_time)
    except ValueError:
        return None
    return record if record.version == VERSION else None


def has_expired(record: CacheRecord, step: Step, now: datetime) -> bool:
    """Return whether a record is older than the step wants."""
    seconds = step.cache.expires_after_seconds if step.cache is not None else None
    return seconds is not None and now >= parse(record.from_.completion_time) + timedelta(seconds=seconds)


def has_outputs_of(record: CacheRecord, step: Step) -> bool:
    """Return whether a record has all that the step would write."""
    names, results = {artifact.name for artifact in outputs_of(step)}, set(results_of(step))
    return names == {item.name for item in record.artifacts} and results == {item.name for item in record.results}
