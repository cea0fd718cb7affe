"""How an artifact becomes a version of a registered model.

A run may have 16,000 artifacts, as the API server counts, which bounds what the rules of a CRD may cost at worst: aliases and
tags have patterns only, and the operator says the rest.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import GROUP, Model, Rule, consists_of, list_map, rules
from cairn.api.tag import RECORD_NAME

APPROVE_ANNOTATION = f"{GROUP}/approve"
"""Set on a run, to the name of who says so, to have its models approved that wait for it."""
REFUSE_ANNOTATION = f"{GROUP}/refuse"
"""The same, to have them refused."""
PENDING_ALIAS = "pending"
"""The alias of a version that waits for approval."""
APPROVAL_SECONDS = 604_800
MOST_REGISTRATIONS = 64
"""How many artifacts of a run may be registered."""

_MODEL_NAME = "-_. a-zA-Z0-9"
_ALIAS = "-_a-zA-Z0-9"
ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=f"^[{_MODEL_NAME}]+$",
        json_schema_extra=rules(
            consists_of(_MODEL_NAME, "must be letters, digits, spaces, -, _ and ., such as wine-quality")
        ),
    ),
]
Alias = Annotated[str, Field(min_length=1, max_length=64, pattern=f"^[{_ALIAS}]+$")]
Approval = Literal["NotRequired", "Required"]


class ModelTag(Model):
    """A tag of a version."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=f"^[{RECORD_NAME}]+$")] = Field(
        description="Name of the tag; those that begin with `mlflow.` or `cairn.` are theirs."
    )
    value: str = Field(description="Its value.", max_length=1024)


class Register(Model):
    """Makes the artifact a version of a registered model, once the step has succeeded."""

    name: ModelName = Field(description="Name of the registered model, which is made if it is not there.")
    description: str | None = Field(default=None, description="Description of the version.", max_length=1024)
    tags: Annotated[tuple[ModelTag, ...], Field(max_length=16)] | None = Field(
        default=None, description="Tags of the version.", json_schema_extra=list_map("name")
    )
    alias: Alias | None = Field(
        default=None,
        description="Alias that the version gets, such as champion, and the one that had it loses. Left out: none. `latest`, "
        "`pending`, and `v1` and the like have a meaning of their own.",
    )
    when: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="A CEL expression; where it is false nothing is registered. It sees what the step's own `when` sees, and the "
        "step's own results as `results.<name>`, with _ for - in names. All are strings: "
        "`double(results.accuracy) > 0.9`.",
    )
    approval: Approval = Field(
        default="NotRequired",
        description="NotRequired: the version gets its alias at once. Required: it has the alias `pending` until somebody sets the "
        f"annotation {APPROVE_ANNOTATION} on the run, or {REFUSE_ANNOTATION}, to his name.",
    )
    approval_timeout_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = Field(
        default=APPROVAL_SECONDS, description="How long approval is waited for, from when the version is there."
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.approval) || self.approval == 'NotRequired' || has(self.alias)",
                "approval is of an alias: name it, such as champion",
                field="approval",
            )
        )
    }


RegistrationState = Literal[
    "Pending", "AwaitingApproval", "Registered", "NotRegistered", "ApprovalRefused", "ApprovalTimedOut", "Failed"
]


class RegistrationStatus(Model):
    """What became of an artifact that is to be registered."""

    step: str = Field(description="The step that wrote it.", max_length=80)
    artifact: str = Field(description="Its name.", max_length=63)
    model: str = Field(description="The registered model.", max_length=128)
    state: RegistrationState = Field(
        description="Pending: not known yet. AwaitingApproval: it waits for the annotation "
        f"{APPROVE_ANNOTATION} or {REFUSE_ANNOTATION}. Registered: it is a version, with its alias. NotRegistered: its `when` "
        "is false. ApprovalRefused, ApprovalTimedOut: it is a version, without its alias. Failed: see the message."
    )
    version: str | None = Field(default=None, description="The version, by the registry's own number.", max_length=64)
    alias: str | None = Field(default=None, description="The alias that it has, or waits for.", max_length=64)
    since: str | None = Field(default=None, description="When the version began to wait for approval.", max_length=40)
    message: str | None = Field(default=None, description="Why it is so, in a sentence.", max_length=512)
