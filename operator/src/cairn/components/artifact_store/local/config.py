"""What is written of the artifact store `local`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cairn.api.base import Model, ObjectName, Quantity, Rule, rules

AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]

_CLASS = "has({0}.claim) && has({0}.claim.storageClassName) ? {0}.claim.storageClassName : ''"
_MODE = "has({0}.claim) && has({0}.claim.accessMode) ? {0}.claim.accessMode : 'ReadWriteOnce'"
_EXISTING = "has(self.existingClaimName) || has(oldSelf.existingClaimName)"


class ClaimTemplate(Model):
    """The claim that Cairn makes."""

    storage_class_name: ObjectName | None = Field(
        default=None, description="StorageClass of the claim. Left out: the cluster's default. Immutable."
    )
    size: Quantity = Field(
        default="10Gi",
        description="Size of the claim. A larger one is asked for at once, where the StorageClass lets claims grow; a "
        "smaller one has no effect.",
    )
    access_mode: AccessMode = Field(
        default="ReadWriteOnce",
        description="Who may use the claim at the same time: ReadWriteOnce (pods of one node), ReadWriteMany (pods of "
        "all nodes) or ReadWriteOncePod (one pod). Immutable.",
    )


class LocalConfig(Model):
    """Keeps artifacts in a PersistentVolumeClaim of the cluster, for trying things out without a bucket."""

    existing_claim_name: ObjectName | None = Field(
        default=None,
        description="PersistentVolumeClaim to use. It is never changed. Left out: Cairn makes one, as `claim` says.",
    )
    claim: ClaimTemplate | None = Field(
        default=None,
        description="The claim that Cairn makes, named `cairn-<component>`. It outlives the component, and the "
        "artifacts with it. Left out: one with the defaults.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.existingClaimName) || !has(self.claim)",
                "existingClaimName and claim exclude each other: keep existingClaimName to use a claim of yours, or "
                "claim to have one made",
            ),
            Rule(
                f"{_EXISTING} || ({_CLASS.format('self')}) == ({_CLASS.format('oldSelf')})",
                "claim.storageClassName is immutable, as a claim's is: create another StackComponent",
            ),
            Rule(
                f"{_EXISTING} || ({_MODE.format('self')}) == ({_MODE.format('oldSelf')})",
                "claim.accessMode is immutable, as a claim's is: create another StackComponent",
            ),
        )
    }
