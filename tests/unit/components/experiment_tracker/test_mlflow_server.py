"""A tracker's `server` becomes values of the chart, which the chart accepts (tests/unit/charts)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import SECRETS, STACK_COMPONENTS
from cairn.components.base import Release
from cairn.components.experiment_tracker.mlflow.config import MLflowConfig
from cairn.components.experiment_tracker.mlflow.tracker import MLflowTracker
from cairn.components.neighbours import Neighbours
from cairn.components.secrets import UnusableError
from tests.unit.builders import BUCKET_SPEC, component_body, secret_body
from tests.unit.fake_kubernetes import FakeKubernetes, World

URI = {"postgresql": {"uriSecretRef": {"name": "mlflow-db", "key": "uri"}}}


def tracker(auth: JsonObject | None = None, **server: Any) -> MLflowTracker:
    """Return a tracker with a server."""
    config = {"server": server, **({"auth": auth} if auth is not None else {})}
    return MLflowTracker("ml", "tracking", MLflowConfig.model_validate(config))


@pytest.fixture
def world() -> World:
    world = World()
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC))
    world.apply(STACK_COMPONENTS, component_body("scratch", {"artifactStore": {"local": {}}}))
    for name in ("s3-credentials", "mlflow-db", "login", "authority"):
        world.apply(SECRETS, {"metadata": {"namespace": "ml", "name": name}})
    return world


def values(world: World, of: MLflowTracker) -> JsonObject:
    """Return the values of its release."""
    release = of.release(Neighbours(world.cluster, "ml"))
    assert isinstance(release, Release)
    return release.values


def test_one_that_exists_has_no_release(world: World):
    existing = MLflowTracker("ml", "tracking", MLflowConfig.model_validate({"uri": "http://mlflow.example.com"}))

    assert existing.release(Neighbours(world.cluster, "ml")) is None
    assert existing.keeps_data


def test_its_address_follows_from_its_name():
    assert tracker().uri == "http://tracking-server.ml.svc:5000"


def test_its_address_has_the_port_and_the_path_of_the_values():
    assert tracker(values={"service": {"port": 80}, "server": {"staticPrefix": "/mlflow/"}}).uri == (
        "http://tracking-server.ml.svc:80/mlflow"
    )


def test_by_default_everything_is_on_a_volume_that_stays(world: World):
    found = values(world, tracker())

    assert found["volume"] == {"size": "2Gi", "keep": True}
    assert "artifacts" not in found
    assert tracker().keeps_data


def test_the_volume_s_size_and_class_are_the_user_s(world: World):
    found = values(world, tracker(backendStore={"sqlite": {"size": "8Gi", "storageClassName": "fast"}}))

    assert found["volume"] == {"size": "8Gi", "storageClassName": "fast", "keep": True}


def test_the_database_is_named_by_its_secret(world: World):
    found = values(world, tracker(backendStore=URI))

    assert found["postgresql"] == {"uriSecret": {"name": "mlflow-db", "key": "uri"}}
    assert "mlflow-db" in tracker(backendStore=URI).secrets


def test_artifacts_go_below_the_prefix_of_the_bucket(world: World):
    found = values(world, tracker(artifactStoreRef={"name": "bucket"}))["artifacts"]

    assert found["destination"].endswith("/ml/.mlflow/tracking")
    assert found["access"] == "Proxied"
    assert found["s3"]["credentialsSecret"] == "s3-credentials"
    assert tracker(artifactStoreRef={"name": "bucket"}).components == {"bucket"}


def test_an_authority_and_an_identity_of_the_bucket_are_the_server_s(world: World):
    spec = {
        "bucket": "data",
        "endpoint": "https://s3.example.com",
        "caSecretRef": {"name": "authority", "key": "ca.crt"},
        "serviceAccountName": "trainer",
    }
    world.apply(STACK_COMPONENTS, component_body("identity", {"artifactStore": {"s3": spec}}))

    found = values(world, tracker(artifactStoreRef={"name": "identity"}))

    assert found["caBundle"] == {"secret": "authority", "key": "ca.crt"}
    assert found["serviceAccount"] == {"create": False, "name": "trainer"}


def test_users_log_in_where_a_secret_with_the_first_is_named(world: World):
    found = values(world, tracker({"basic": {"secretRef": {"name": "login"}}}))

    assert found["auth"] == {"enabled": True, "existingSecret": "login"}


def test_the_user_s_own_values_are_merged_last(world: World):
    found = values(
        world, tracker(replicas=1, values={"volume": {"size": "1Gi", "keep": False}, "ingress": {"enabled": True}})
    )

    assert found["volume"] == {"size": "1Gi", "keep": True}
    assert found["ingress"] == {"enabled": True}


def test_the_server_starts_anew_when_a_secret_changes_that_it_reads(world: World):
    def annotations() -> JsonObject:
        return values(world, tracker(artifactStoreRef={"name": "bucket"}))["podAnnotations"]

    before = annotations()
    world.apply(SECRETS, {"metadata": {"namespace": "ml", "name": "s3-credentials"}})

    assert annotations() != before


def test_without_a_secret_that_it_reads_the_server_is_left_as_it_is(world: World):
    with pytest.raises(UnusableError) as raised:
        values(world, tracker({"basic": {"secretRef": {"name": "missing"}}}))

    assert raised.value.reason == "SecretNotFound"


LOGIN = {"username": "admin", "password": "a-long-password", "flask-secret-key": "any text"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"flask-secret-key": None}, "SecretKeyMissing"),
        ({"username": None}, "SecretKeyMissing"),
        ({"password": "elevenchars"}, "InvalidCredentials"),
        ({"password": "with a line end\n"}, "InvalidCredentials"),
    ],
)
async def test_a_log_in_that_mlflow_does_not_take_is_told_before_it_is_installed(
    changed: dict[str, str | None], reason: str | None
):
    kubernetes = FakeKubernetes()
    data = {key: value for key, value in (LOGIN | changed).items() if value is not None}
    kubernetes.add(SECRETS, secret_body("login", **data))
    server = tracker({"basic": {"secretRef": {"name": "login"}}})

    assert await reason_of(server.check_before_release(kubernetes)) == reason


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("postgresql://user:password@db/mlflow", None),
        ("postgresql://user:password@db/mlflow\n", "InvalidCredentials"),
        ("", "SecretKeyMissing"),
    ],
)
async def test_so_is_the_uri_of_a_database_that_is_none(uri: str, reason: str | None):
    kubernetes = FakeKubernetes()
    kubernetes.add(SECRETS, secret_body("mlflow-db", uri=uri))

    assert await reason_of(tracker(backendStore=URI).check_before_release(kubernetes)) == reason


async def test_a_name_that_no_service_can_have_is_told():
    server = MLflowTracker("ml", "1st", MLflowConfig.model_validate({"server": {}}))

    assert await reason_of(server.check_before_release(FakeKubernetes())) == "InvalidName"


async def reason_of(check: Awaitable[None]) -> str | None:
    """Return why a check fails, or None."""
    try:
        await check
    except UnusableError as error:
        return error.reason
    return None


@pytest.mark.parametrize("given", [{"service": "x"}, {"server": None}, {"service": {"port": 5000}}])
def test_values_that_make_no_sense_leave_it_an_address(given: dict[str, Any]):
    assert tracker(values=given).uri == "http://tracking-server.ml.svc:5000"


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "ArtifactStoreNotFound"), ("scratch", "ArtifactStoreNotSuitable")]
)
def test_a_store_that_cannot_be_used_is_told(world: World, name: str, reason: str):
    with pytest.raises(UnusableError) as raised:
        values(world, tracker(artifactStoreRef={"name": name}))

    assert raised.value.reason == reason
    assert name in raised.value.message


def test_the_policy_says_what_becomes_of_the_volume():
    assert not tracker(deletionPolicy="Delete").keeps_data
