from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cairn.components.artifact_store.s3.config import S3Config

from .conftest import s3

CREDENTIALS = {"credentialsSecretRef": {"name": "keys"}}


def test_the_bucket_s_name_is_enough():
    config = S3Config.model_validate({"bucket": "ml-artifacts"})

    assert config.to_json() == {
        "bucket": "ml-artifacts",
        "prefix": "",
        "region": "us-east-1",
        "addressingStyle": "Auto",
        "createBucket": False,
    }


@pytest.mark.parametrize(
    "config",
    [
        {"bucket": "a.b-c"},
        {"prefix": "team/cairn"},
        {"prefix": "year=2026/.hidden"},
        {"endpoint": "http://s3"},
        {"endpoint": "https://s3.storage.svc.cluster.local:9000"},
        {"endpoint": "http://10.0.0.1:9000"},
        {"endpoint": "http://[::1]:9000"},
        {"region": "auto"},
        {"addressingStyle": "Virtual"},
    ],
    ids=str,
)
def test_accepted(config: dict[str, Any]):
    s3(**config)


@pytest.mark.parametrize(
    "config",
    [
        {"bucket": "ab"},
        {"bucket": "a" * 64},
        {"bucket": "Upper"},
        {"bucket": "under_score"},
        {"bucket": "-begins"},
        {"prefix": "with blank"},
        {"prefix": "p" * 513},
        {"endpoint": "s3:9000"},
        {"endpoint": "ftp://s3.svc"},
        {"endpoint": "http://s3.svc/"},
        {"endpoint": "http://s3.svc/path"},
        {"endpoint": "http://s3.svc?query"},
        {"endpoint": "http://user:password@s3.svc"},
        {"endpoint": "http://under_score"},
        {"endpoint": "http://s3.svc:0"},
        {"region": "US East"},
        {"addressingStyle": "path"},
        {"caSecretRef": {"name": "ca"}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_refused(config: dict[str, Any]):
    with pytest.raises(ValidationError):
        s3(**config)


def test_every_field_is_described():
    for name, field in S3Config.model_fields.items():
        assert field.description, name


def test_secrets_are_those_that_the_check_reads():
    assert s3().secrets == frozenset()
    assert s3(**CREDENTIALS, caSecretRef={"name": "ca", "key": "pem"}).secrets == {"keys", "ca"}


@pytest.mark.parametrize(
    ("prefix", "uri"), [("", "s3://ml-artifacts/ml/run/a"), ("team/x", "s3://ml-artifacts/team/x/ml/run/a")]
)
def test_uri(prefix: str, uri: str):
    assert s3(prefix=prefix).uri("ml/run/a") == uri


def test_pods_of_every_node_reach_a_bucket():
    assert not s3().node_local


@pytest.mark.parametrize(
    ("config", "style"),
    [
        ({}, "Virtual"),
        ({"bucket": "with.dots"}, "Path"),
        ({"endpoint": "http://s3.svc"}, "Path"),
        ({"endpoint": "http://s3.svc", "addressingStyle": "Virtual"}, "Virtual"),
        ({"addressingStyle": "Path"}, "Path"),
    ],
    ids=str,
)
def test_addressing_style_is_settled_for_pods(config: dict[str, Any], style: str):
    assert s3(**config).access.settings["s3"]["addressingStyle"] == style


def test_access_by_a_secret_and_an_authority_of_its_own():
    store = s3(endpoint="https://s3.svc", region="eu-west-1", **CREDENTIALS, caSecretRef={"name": "ca", "key": "pem"})

    access = store.access

    assert access.settings == {
        "s3": {
            "bucket": "ml-artifacts",
            "endpoint": "https://s3.svc",
            "region": "eu-west-1",
            "addressingStyle": "Path",
            "caFile": "/cairn/ca/ca.crt",
        }
    }
    assert access.env == [
        {"name": "AWS_REGION", "value": "eu-west-1"},
        {"name": "AWS_REQUEST_CHECKSUM_CALCULATION", "value": "when_required"},
        {"name": "AWS_RESPONSE_CHECKSUM_VALIDATION", "value": "when_required"},
        {"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "AWS_ACCESS_KEY_ID"}}},
        {
            "name": "AWS_SECRET_ACCESS_KEY",
            "valueFrom": {"secretKeyRef": {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"}},
        },
        {
            "name": "AWS_SESSION_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "keys", "key": "AWS_SESSION_TOKEN", "optional": True}},
        },
    ]
    assert access.volumes == [
        {"name": "cairn-store-ca", "secret": {"secretName": "ca", "items": [{"key": "pem", "path": "ca.crt"}]}}
    ]
    assert access.volume_mounts == [{"name": "cairn-store-ca", "mountPath": "/cairn/ca", "readOnly": True}]
    assert access.service_account_name is None


def test_access_by_the_identity_of_a_service_account():
    access = s3(serviceAccountName="trainer").access

    assert access.settings == {"s3": {"bucket": "ml-artifacts", "region": "us-east-1", "addressingStyle": "Virtual"}}
    assert access.service_account_name == "trainer"
    assert not [variable for variable in access.env if "valueFrom" in variable]
    assert not access.volumes
    assert not access.volume_mounts


def test_code_that_uses_the_bucket_itself_has_its_address_its_key_and_its_authority():
    store = s3(endpoint="https://s3.example.com", caSecretRef={"name": "authority", "key": "ca.pem"}, **CREDENTIALS)

    access = store.code_access

    env = {variable["name"]: variable.get("value") for variable in access.env}
    assert env["MLFLOW_S3_ENDPOINT_URL"] == env["AWS_ENDPOINT_URL_S3"] == "https://s3.example.com"
    assert env["AWS_CA_BUNDLE"] == "/cairn/code-ca/ca.crt"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= env.keys()
    (volume,) = access.volumes
    assert volume["secret"]["secretName"] == "authority"
    assert volume["name"] not in {other["name"] for other in store.access.volumes}, "one pod may have both"
