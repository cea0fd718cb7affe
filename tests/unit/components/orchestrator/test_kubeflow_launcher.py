"""Whether pods of Kubeflow Pipelines can use an artifact store, by what its launcher is told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import CONFIG_MAPS, SECRETS, ForbiddenError
from cairn.components.artifact_store.s3.store import S3
from cairn.components.errors import ComponentError
from cairn.components.orchestrator.kubeflow.config import KubeflowConfig
from cairn.components.orchestrator.kubeflow.launcher import problem_with_launcher
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from tests.unit.builders import local_store, s3_store
from tests.unit.fake_kubernetes import FakeKubernetes

NAMESPACE = "kubeflow"
STORE = s3_store(bucket="wine", endpoint="http://s3.storage.svc:9000")
AT_AWS = s3_store(bucket="wine")
REF = {"secretName": "bucket", "accessKeyKey": "accesskey", "secretKeyKey": "secretkey"}
DEFAULT: JsonObject = {
    "endpoint": "s3.storage.svc:9000",
    "disableSSL": True,
    "credentials": {"fromEnv": False, "secretRef": REF},
}


class Namespace:
    """The namespace that its pods run in."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes()

    def has_launcher(self, s3: JsonObject | None = None, *, text: str | None = None) -> None:
        """Tell the launcher something of S3."""
        providers = text if text is not None else yaml.safe_dump({"s3": s3 or {"default": DEFAULT}})
        metadata = {"namespace": NAMESPACE, "name": "kfp-launcher"}
        self.kubernetes.add(CONFIG_MAPS, {"metadata": metadata, "data": {"providers": providers}})

    def has_secret(self, *keys: str, name: str = "bucket") -> None:
        """Put the credentials there."""
        metadata = {"namespace": NAMESPACE, "name": name}
        self.kubernetes.add(SECRETS, {"metadata": metadata, "data": dict.fromkeys(keys, "a2V5")})

    async def problem(self, store: S3 = STORE, *, is_in_cluster: bool = True) -> ComponentError | None:
        return await problem_with_launcher(
            self.kubernetes, NAMESPACE, "s3://wine/team/root", store, is_in_cluster=is_in_cluster
        )


@pytest.fixture
def namespace() -> Namespace:
    return Namespace()


async def reason(namespace: Namespace, store: S3 = STORE) -> str | None:
    problem = await namespace.problem(store)
    return problem.reason if problem is not None else None


async def test_a_launcher_that_is_told_of_the_store_has_no_problem(namespace: Namespace):
    namespace.has_launcher()
    namespace.has_secret("accesskey", "secretkey")

    assert await namespace.problem() is None


async def test_a_launcher_that_is_told_nothing_looks_at_aws(namespace: Namespace):
    namespace.has_launcher(text="{}")

    problem = await namespace.problem()

    assert problem is not None
    assert problem.reason == "LauncherNotConfigured"
    assert "ConfigMap kubeflow/kfp-launcher says nothing of s3" in problem.message
    told = problem.message.split("`")[1]
    assert yaml.safe_load(told)["s3"]["default"]["endpoint"] == "http://s3.storage.svc:9000"


async def test_what_is_to_be_written_into_it_is_good(namespace: Namespace):
    before = await namespace.problem()
    assert before is not None
    assert (
        "ConfigMap kubeflow/kfp-launcher does not exist: create it, or correct the orchestrator's namespace"
        in before.message
    )

    namespace.has_launcher(text=before.message.split("`")[1])
    namespace.has_secret("accesskey", "secretkey", name="cairn-bucket")

    assert await namespace.problem() is None


async def test_a_bucket_at_aws_may_be_opened_by_the_identity_of_the_pods(namespace: Namespace):
    assert await reason(namespace, AT_AWS) is None


async def test_what_is_in_another_cluster_is_not_to_be_seen(namespace: Namespace):
    assert await namespace.problem(is_in_cluster=False) is None


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
async def test_what_the_operator_may_not_see_is_no_problem(namespace: Namespace, plural: str):
    namespace.has_launcher()
    namespace.kubernetes.objections[f"get {plural}"] = lambda _: ForbiddenError(403, "Forbidden", "no")

    assert await namespace.problem() is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"endpoint": "minio.kubeflow:9000"}, "has the endpoint minio.kubeflow:9000"),
        ({"endpoint": ""}, "has the endpoint of AWS"),
        ({"disableSSL": False}, "has disableSSL: false"),
    ],
)
async def test_a_launcher_that_is_led_elsewhere(namespace: Namespace, changes: JsonObject, told: str):
    namespace.has_launcher({"default": {**DEFAULT, **changes}})

    problem = await namespace.problem()

    assert problem is not None
    assert problem.reason == "LauncherNotConfigured"
    assert told in problem.message


@pytest.mark.parametrize("key", ["Overrides", "overrides"])
async def test_what_is_said_of_the_bucket_counts_before_the_default(namespace: Namespace, key: str):
    of_the_bucket = {**DEFAULT, "bucketName": "wine", "keyPrefix": "team/"}
    namespace.has_launcher({"default": {**DEFAULT, "endpoint": "minio:9000"}, key: [of_the_bucket]})
    namespace.has_secret("accesskey", "secretkey")

    assert await namespace.problem() is None


async def test_what_is_said_of_another_bucket_does_not_count(namespace: Namespace):
    of_another = {**DEFAULT, "bucketName": "other"}
    namespace.has_launcher({"default": {**DEFAULT, "endpoint": "minio:9000"}, "overrides": [of_another]})

    assert await reason(namespace) == "LauncherNotConfigured"


@pytest.mark.parametrize("text", ["{", "[]", "s3: {default: {}}", "s3: {}"])
async def test_what_the_launcher_cannot_read(namespace: Namespace, text: str):
    namespace.has_launcher(text=text)

    assert await reason(namespace) == "LauncherConfigInvalid"


async def test_credentials_that_are_named_nowhere(namespace: Namespace):
    namespace.has_launcher({"default": {**DEFAULT, "credentials": {"fromEnv": False}}})

    assert await reason(namespace) == "LauncherConfigInvalid"


@pytest.mark.parametrize(("keys", "told"), [((), "does not exist"), (("accesskey",), "has no key secretkey")])
async def test_credentials_that_are_not_there(namespace: Namespace, keys: tuple[str, ...], told: str):
    namespace.has_launcher()
    if keys:
        namespace.has_secret(*keys)

    problem = await namespace.problem()

    assert problem is not None
    assert problem.reason == "LauncherSecretMissing"
    assert told in problem.message


def orchestrator(**config: Any) -> Kubeflow:
    return Kubeflow(
        "ml", "kubeflow", KubeflowConfig.model_validate({"endpoint": "http://ml-pipeline.kubeflow.svc:8888", **config})
    )


def test_a_claim_is_no_store_for_it():
    assert "use an s3 store" in str(orchestrator().incompatibility_with(local_store()))


def test_the_operator_has_to_be_able_to_read_what_steps_write():
    store = s3_store(credentialsSecretRef=None)

    assert "give artifact store bucket a credentialsSecretRef" in str(orchestrator().incompatibility_with(store))


@pytest.mark.parametrize(
    ("root", "fits"),
    [
        (None, True),
        ("s3://wine/team", True),
        ("s3://wine/team/root", True),
        ("s3://wine/teams", False),
        ("s3://wine2", False),
    ],
)
def test_the_pipeline_root_is_below_the_store(root: str | None, fits: bool):
    config = {"pipelineRoot": root} if root else {}

    problem = orchestrator(**config).incompatibility_with(s3_store(bucket="wine", prefix="team"))

    assert (problem is None) == fits


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "key providers: must be an object."),
        ("s3: yes", "key providers: s3: must be an object."),
        ("s3: {default: [", "key providers: it is not YAML (line 1, column 16)."),
    ],
)
async def test_what_the_launcher_cannot_read_is_told_in_words_of_the_text(
    namespace: Namespace, text: str, problem: str
):
    namespace.has_launcher(text=text)

    found = await namespace.problem()

    assert found is not None
    assert problem in found.message
