"""What a step's status says of the cache. Pure."""

from __future__ import annotations

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.cache_record import CacheAnswer
from cairn.runs.observation import AttemptObservation
from cairn.runs.states import ENDED

LONGEST_MESSAGE = 256


def with_cache_fields(
    step: Step,
    status: StepStatus,
    recorded: StepStatus | None,
    answer: CacheAnswer | None,
    attempt: AttemptObservation | None,
) -> StepStatus:
    """Return the status with what the cache has to do with the step: what the answer said of it, or what is recorded."""
    if answer is not None:
        key, digest, message = answer.key, answer.image_digest, answer.message
    elif recorded is not None:
        key, digest, message = recorded.cache_key, recorded.image_digest, recorded.cache_message
    else:
        return status
    if recorded is not None and recorded.state in ENDED:
        return status
    ran = attempt.image_digest if attempt is not None and status.state == "Succeeded" else None
    if status.state == "Succeeded" and key is not None and "@" not in step.image and ran != digest:
        message = (
            f"It was not kept in the cache: its image is {digest} in the registry, but its node has {ran or 'another'}."
        )
        key = None
    told = message[:LONGEST_MESSAGE] if message is not None else None
    return status.model_copy(update={"cache_key": key, "image_digest": digest, "cache_message": told})
