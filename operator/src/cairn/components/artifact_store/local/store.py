"""How the artifact store `local` is reached, and its check: a claim that is there, or is made."""

from __future__ import annotations

from kubernetes.utils import parse_quantity

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.labels import COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_CAIRN, shortened
from cairn.clients.kubernetes import (
    CLAIMS,
    STORAGE_CLASSES,
    AlreadyExistsError,
    ForbiddenError,
    InvalidError,
    Kubernetes,
    NotFoundError,
)
from cairn.components.artifact_store.local.config import ClaimTemplate, LocalConfig
from cairn.components.base import ArtifactStore, StoreAccess, Surroundings, Verdict

VOLUME = "cairn-store"
ROOT = "/cairn/store"

NAME_LIMIT = 253


class Local(ArtifactStore[LocalConfig]):
    """See LocalConfig."""

    flavor = "local"
    config_model = LocalConfig

    @property
    def claim_name(self) -> str:
        """Name of the claim, whoever made it."""
        return self.config.existing_claim_name or shortened(f"cairn-{self.name}", NAME_LIMIT)

    @property
    def template(self) -> ClaimTemplate:
        """The claim that Cairn makes."""
        return self.config.claim or ClaimTemplate.model_validate({})

    @property
    def node_local(self) -> bool:
        """Whether the claim is for pods of one node. One that Cairn did not make is taken for one that all can use."""
        return self.config.existing_claim_name is None and self.template.access_mode != "ReadWriteMany"

    def uri(self, key: str) -> str:
        """Return the URI of a key."""
        return f"pvc://{self.claim_name}/{key}"

    @property
    def access(self) -> StoreAccess:
        """What fetch and publish need to reach the claim."""
        return StoreAccess(
            settings={"local": {"root": ROOT, "claim": self.claim_name}},
            volumes=[{"name": VOLUME, "persistentVolumeClaim": {"claimName": self.claim_name}}],
            volume_mounts=[{"name": VOLUME, "mountPath": ROOT}],
        )

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - it refers to no other component
        """Make the claim where there is none, let it grow, and see whether it is or can be bound.

        What is in it, no one but a pod can see: a run is the first to write to it.
        """
        try:
            claim = await self._claim(kubernetes)
            problem = unusable(claim) if self.config.existing_claim_name else conflict(claim, self.manifest())
            if problem is None:
                claim = await self._grown(kubernetes, claim)
        except _StoppedError as stop:
            return stop.verdict
        if problem is not None:
            return problem
        return judge(claim, await _storage_class(kubernetes, claim))

    def manifest(self) -> JsonObject:
        """Return the claim that Cairn makes; it has no owner, so that artifacts outlive the component."""
        template = self.template
        spec: JsonObject = {
            "accessModes": [template.access_mode],
            "resources": {"requests": {"storage": template.size}},
        }
        if template.storage_class_name is not None:
            spec["storageClassName"] = template.storage_class_name
        labels = {MANAGED_BY: MANAGED_BY_CAIRN, COMPONENT_LABEL: shortened(self.name)}
        metadata = {"name": self.claim_name, "namespace": self.namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    async def _claim(self, kubernetes: Kubernetes) -> JsonObject:
        where = f"{self.namespace}/{self.claim_name}"
        try:
            return await kubernetes.get(CLAIMS, self.namespace, self.claim_name)
        except NotFoundError:
            if self.config.existing_claim_name is not None:
                message = f"PersistentVolumeClaim {where} does not exist; create it or correct existingClaimName."
                raise _StoppedError("ClaimNotFound", message) from None
        try:
            return await kubernetes.create(CLAIMS, self.namespace, self.manifest())
        except AlreadyExistsError:
            return await kubernetes.get(CLAIMS, self.namespace, self.claim_name)
        except (InvalidError, ForbiddenError) as error:
            found = f"PersistentVolumeClaim {where} is refused: {error.message.rstrip('.')}"
            message = f"{found}; correct claim or what refuses it."
            raise _StoppedError("ClaimRefused", message) from error

    async def _grown(self, kubernetes: Kubernetes, claim: JsonObject) -> JsonObject:
        size = self.template.size
        if self.config.existing_claim_name is not None or not should_grow(claim, size):
            return claim
        body = {"spec": {"resources": {"requests": {"storage": size}}}}
        try:
            return await kubernetes.merge(CLAIMS, self.namespace, self.claim_name, body)
        except (InvalidError, ForbiddenError) as error:
            message = (
                f"PersistentVolumeClaim {self.namespace}/{self.claim_name} cannot grow from {_requested(claim)} to "
                f"{size}: {error.message.rstrip('.')}; set claim.size back to {_requested(claim)}."
            )
            raise _StoppedError("ClaimResizeRefused", message) from error


class _StoppedError(Exception):
    """The check is over before there is a claim to look at."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.verdict = Verdict.failed(reason, message)


async def _storage_class(kubernetes: Kubernetes, claim: JsonObject) -> JsonObject | None:
    """Return the claim's StorageClass, where it matters: as long as the claim waits for a volume."""
    name = claim["spec"].get("storageClassName")
    if not name or _phase(claim) != "Pending":
        return None
    try:
        return await kubernetes.get(STORAGE_CLASSES, None, name)
    except NotFoundError:
        return None


def conflict(claim: JsonObject, manifest: JsonObject) -> Verdict | None:
    """Return why a claim that was found in the place of Cairn's own is not that one, or None."""
    wanted = manifest["metadata"]["labels"]
    labels = claim["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        message = (
            f"PersistentVolumeClaim {_name(claim)} was not made for this component; name it in existingClaimName to "
            "use it, or give the component another name."
        )
        return Verdict.failed("ClaimConflict", message)
    for field in ("accessModes", "storageClassName"):
        asked, found = manifest["spec"].get(field), claim["spec"].get(field)
        if asked is not None and asked != found:
            message = (
                f"PersistentVolumeClaim {_name(claim)} has {field} {_text(found)}, and the component asks for "
                f"{_text(asked)}; correct the component, or delete the claim and what is in it."
            )
            return Verdict.failed("ClaimConflict", message)
    return None


def unusable(claim: JsonObject) -> Verdict | None:
    """Return why a claim that Cairn did not make cannot keep artifacts, or None."""
    if claim["spec"].get("volumeMode") == "Block":
        message = f"PersistentVolumeClaim {_name(claim)} is a block device; name one with volumeMode Filesystem."
        return Verdict.failed("ClaimUnusable", message)
    if claim["spec"].get("accessModes") == ["ReadOnlyMany"]:
        message = f"PersistentVolumeClaim {_name(claim)} can only be read; name one that can be written."
        return Verdict.failed("ClaimUnusable", message)
    return None


def should_grow(claim: JsonObject, size: str) -> bool:
    """Whether to ask for more: a bound claim (the API refuses it for others) that asked for less than `size`."""
    return _phase(claim) == "Bound" and parse_quantity(size) > parse_quantity(_requested(claim))


def judge(claim: JsonObject, storage_class: JsonObject | None) -> Verdict:
    """Return the verdict on a claim. Its StorageClass, None where there is none, matters only while it is pending."""
    name, spec = f"PersistentVolumeClaim {_name(claim)}", claim["spec"]
    if is_being_deleted(claim):
        return Verdict.failed(
            "ClaimTerminating", f"{name} is being deleted; end the pods that use it, or wait for them."
        )
    phase = _phase(claim)
    if phase == "Pending":
        return _judge_pending(name, spec, storage_class)
    if phase == "Lost":
        message = f"{name} has lost its PersistentVolume; restore that, or delete the claim to begin with an empty one."
        return Verdict.failed("ClaimLost", message)
    size = (claim["status"].get("capacity") or {}).get("storage") or _requested(claim)
    return Verdict.usable(f"{name} is bound: {size}, {_text(spec.get('accessModes'))}.")


def _judge_pending(name: str, spec: JsonObject, storage_class: JsonObject | None) -> Verdict:
    class_name = spec.get("storageClassName")
    if class_name is None:
        message = f"{name} names no StorageClass and the cluster has no default one; mark one as the default."
        return Verdict.failed("StorageClassNotFound", message)
    if class_name == "" or spec.get("volumeName"):
        message = f"{name} waits for a PersistentVolume made by hand; create one that fits it."
        return Verdict.failed("ClaimPending", message)
    if storage_class is None:
        message = f"{name} needs StorageClass {class_name}, which does not exist; create it, or use another claim."
        return Verdict.failed("StorageClassNotFound", message)
    if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
        return Verdict.usable(f"{name} is made; StorageClass {class_name} binds it when the first run uses it.")
    provisioner = storage_class.get("provisioner", "unknown")
    message = (
        f"{name} waits for a volume of StorageClass {class_name}; if that lasts, look at provisioner {provisioner}."
    )
    return Verdict.failed("ClaimPending", message)


def _phase(claim: JsonObject) -> str:
    return (claim.get("status") or {}).get("phase") or "Pending"


def _requested(claim: JsonObject) -> str:
    return ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage") or "0"


def _name(claim: JsonObject) -> str:
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
