from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import ApiError, ForbiddenError, InvalidError
from cairn.components.artifact_store.local.config import LocalConfig
from cairn.components.artifact_store.local.store import conflict, judge, should_grow, unusable
from tests.unit.builders import ALONE

from .conftest import FakeKubernetes, local

CLAIMS = "persistentvolumeclaims"
OURS = {"app.kubernetes.io/managed-by": "cairn", "cairn.dev/component": "store"}


def claim(
    phase: str = "Bound",
    *,
    size: str = "10Gi",
    mode: str = "ReadWriteOnce",
    labels: dict[str, str] | None = None,
    deleted: bool = False,
    **spec: Any,
) -> JsonObject:
    metadata: JsonObject = {"namespace": "ml", "name": "cairn-store", "labels": OURS if labels is None else labels}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status: JsonObject = {"phase": phase}
    if phase == "Bound":
        status["capacity"] = {"storage": size}
    return {
        "metadata": metadata,
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}, **spec},
        "status": status,
    }


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"existingClaimName": "shared"},
        {"claim": {}},
        {"claim": {"storageClassName": "fast", "size": "1Ti", "accessMode": "ReadWriteOncePod"}},
        {"claim": {"size": 1000000000}},
    ],
    ids=str,
)
def test_accepted(config: dict[str, Any]):
    local(**config)


@pytest.mark.parametrize(
    "config",
    [
        {"existingClaimName": "Upper"},
        {"claim": {"size": "10 GB"}},
        {"claim": {"accessMode": "ReadOnlyMany"}},
        {"claim": {"labels": {}}},
        {"path": "/data"},
    ],
    ids=str,
)
def test_refused(config: dict[str, Any]):
    with pytest.raises(ValidationError):
        local(**config)


def test_every_field_is_described():
    for name, field in LocalConfig.model_fields.items():
        assert field.description, name


def test_the_claim_has_no_owner_so_that_artifacts_outlive_the_component():
    assert local().manifest() == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "cairn-store", "namespace": "ml", "labels": OURS},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
    }


def test_the_claim_is_as_the_component_says():
    config = {"storageClassName": "fast", "size": "1Ti", "accessMode": "ReadWriteMany"}

    assert local(claim=config).manifest()["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Ti"}},
        "storageClassName": "fast",
    }


def test_names_and_labels_stay_within_their_limits():
    manifest = local("n" * 253).manifest()

    assert len(manifest["metadata"]["name"]) == 253
    assert len(manifest["metadata"]["labels"]["cairn.dev/component"]) == 63
    assert local("n" * 253).claim_name != local("n" * 252 + "m").claim_name


def test_uri_and_access():
    store = local(existingClaimName="shared")

    assert store.uri("ml/run/a") == "pvc://shared/ml/run/a"
    assert store.secrets == frozenset()
    assert store.access.settings == {"local": {"root": "/cairn/store", "claim": "shared"}}
    assert store.access.volumes == [{"name": "cairn-store", "persistentVolumeClaim": {"claimName": "shared"}}]
    assert store.access.volume_mounts == [{"name": "cairn-store", "mountPath": "/cairn/store"}]
    assert not store.access.env


@pytest.mark.parametrize(
    ("mode", "node_local"), [("ReadWriteOnce", True), ("ReadWriteOncePod", True), ("ReadWriteMany", False)]
)
def test_node_local_follows_the_access_mode(mode: str, node_local: bool):
    assert local(claim={"accessMode": mode}).node_local is node_local


def test_a_claim_of_the_user_s_own_is_taken_for_one_that_all_nodes_can_use():
    assert not local(existingClaimName="shared").node_local


@pytest.mark.parametrize(
    ("found", "storage_class", "ready", "reason", "says"),
    [
        (claim(), None, True, "Checked", "is bound: 10Gi, ReadWriteOnce."),
        (claim("Lost"), None, False, "ClaimLost", "restore"),
        (claim(deleted=True), None, False, "ClaimTerminating", "is being deleted"),
        (
            claim("Pending", storageClassName="slow"),
            {"volumeBindingMode": "WaitForFirstConsumer"},
            True,
            "Checked",
            "StorageClass slow binds it when the first run uses it",
        ),
        (
            claim("Pending", storageClassName="slow"),
            {"volumeBindingMode": "Immediate", "provisioner": "ebs"},
            False,
            "ClaimPending",
            "StorageClass slow; if that lasts, look at provisioner ebs",
        ),
        (claim("Pending", storageClassName="slow"), None, False, "StorageClassNotFound", "StorageClass slow"),
        (claim("Pending"), None, False, "StorageClassNotFound", "default"),
        (claim("Pending", storageClassName=""), None, False, "ClaimPending", "made by hand"),
        (claim("Pending", storageClassName="x", volumeName="pv"), None, False, "ClaimPending", "made by hand"),
    ],
)
def test_verdict_on_a_claim(
    found: JsonObject,
    storage_class: JsonObject | None,
    ready: bool,
    reason: str,
    says: str,
):
    verdict = judge(found, storage_class)

    assert (verdict.ready, verdict.reason) == (ready, reason)
    assert verdict.message.startswith("PersistentVolumeClaim ml/cairn-store ")
    assert says in verdict.message


@pytest.mark.parametrize(
    ("found", "config", "says"),
    [
        (claim(), {}, None),
        (claim(storageClassName="standard"), {}, None),
        (claim(size="20Gi"), {}, None),
        (claim(labels={**OURS, "team": "vision"}), {}, None),
        (claim(labels={}), {}, "existingClaimName"),
        (claim(labels={**OURS, "cairn.dev/component": "other"}), {}, "was not made for this component"),
        (claim(mode="ReadWriteMany"), {}, "accessModes ReadWriteMany, and the component asks for ReadWriteOnce"),
        (
            claim(storageClassName="slow"),
            {"claim": {"storageClassName": "fast"}},
            "storageClassName slow, and the component asks for fast",
        ),
    ],
)
def test_a_claim_in_the_place_of_cairn_s_own(found: JsonObject, config: dict[str, Any], says: str | None):
    verdict = conflict(found, local(**config).manifest())

    if says is None:
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict.reason == "ClaimConflict"
        assert says in verdict.message


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (claim(), None),
        (claim(volumeMode="Filesystem"), None),
        (claim(volumeMode="Block"), "ClaimUnusable"),
        (claim(mode="ReadOnlyMany"), "ClaimUnusable"),
    ],
)
def test_a_claim_that_cannot_keep_artifacts(found: JsonObject, reason: str | None):
    verdict = unusable(found)

    assert (verdict.reason if verdict else None) == reason


@pytest.mark.parametrize(
    ("found", "size", "grows"),
    [
        (claim(size="10Gi"), "20Gi", True),
        (claim(size="10Gi"), "10Gi", False),
        (claim(size="10Gi"), "10737418240", False),
        (claim(size="20Gi"), "10Gi", False),
        (claim("Pending", size="10Gi"), "20Gi", False),
    ],
)
def test_a_claim_grows_and_never_shrinks(found: JsonObject, size: str, grows: bool):
    assert should_grow(found, size) is grows


async def test_the_claim_is_made_once(kubernetes: FakeKubernetes):
    kubernetes.add("storageclasses", "slow", volumeBindingMode="WaitForFirstConsumer")
    store = local(claim={"storageClassName": "slow"})

    first, second = await store.check(kubernetes, ALONE), await store.check(kubernetes, ALONE)

    assert first == second
    assert first.ready
    assert [key for key in kubernetes.objects if key[0] == CLAIMS] == [(CLAIMS, "cairn-store")]


async def test_a_bound_claim_grows(kubernetes: FakeKubernetes):
    kubernetes.objects[CLAIMS, "cairn-store"] = claim()

    verdict = await local(claim={"size": "20Gi"}).check(kubernetes, ALONE)

    assert verdict.ready
    assert kubernetes.objects[CLAIMS, "cairn-store"]["spec"]["resources"]["requests"] == {"storage": "20Gi"}


async def test_a_claim_that_may_not_grow(kubernetes: FakeKubernetes):
    kubernetes.objects[CLAIMS, "cairn-store"] = claim()
    kubernetes.refuse = ForbiddenError(403, "Forbidden", "the storageclass must support resize.")

    verdict = await local(claim={"size": "20Gi"}).check(kubernetes, ALONE)

    assert verdict.reason == "ClaimResizeRefused"
    assert verdict.message == (
        "PersistentVolumeClaim ml/cairn-store cannot grow from 10Gi to 20Gi: the storageclass must support resize; set "
        "claim.size back to 10Gi."
    )


@pytest.mark.parametrize(
    "error", [ForbiddenError(403, "Forbidden", "exceeded quota: q"), InvalidError(422, "Invalid", "bad size")]
)
async def test_a_claim_that_the_api_server_refuses(kubernetes: FakeKubernetes, error: ApiError):
    kubernetes.refuse = error

    verdict = await local().check(kubernetes, ALONE)

    assert verdict.reason == "ClaimRefused"
    assert error.message in verdict.message


async def test_an_existing_claim_is_never_made_nor_changed(kubernetes: FakeKubernetes):
    store = local(existingClaimName="shared")

    verdict = await store.check(kubernetes, ALONE)
    assert verdict.reason == "ClaimNotFound"
    assert not kubernetes.objects

    kubernetes.objects[CLAIMS, "shared"] = claim(size="1Gi", labels={})
    kubernetes.refuse = ForbiddenError(403, "Forbidden", "no writes")
    assert (await store.check(kubernetes, ALONE)).ready


async def test_errors_of_the_api_server_itself_are_raised(kubernetes: FakeKubernetes):
    kubernetes.refuse = ApiError(500, "InternalError", "etcd is down")

    with pytest.raises(ApiError, match="etcd is down"):
        await local().check(kubernetes, ALONE)
