"""An S3 component says what is wrong with it and is Ready soon after it is mended, and its Stack with it."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest
import trustme

from cluster import Body, Cluster, condition, states
from manifests import component, python, run, s3, secret, stack
from polling import poll
from s3 import HTTP_PORT, S3Server

WITHIN = 15.0
"""Seconds after which a component and its Stack show what became of them."""
UNCHANGED = 12.0
"""Seconds in which a failure that stays the same is found again several times."""
CREDENTIALS = "s3-credentials"
AUTHORITY = {"name": "s3-ca", "key": "ca.crt"}


@dataclass
class Store:
    """An S3 component named `bucket`, and the Stack `stack` that names it."""

    namespace: Cluster
    server: S3Server
    bucket: str
    _values: set[str] = field(default_factory=set[str])
    """Everything that was ever in the Secret with the access key."""

    def has_credentials(self, **data: str) -> None:
        self._values |= set(data.values())
        self.namespace.apply(secret(CREDENTIALS, **data))

    def has_authority(self, pem: str) -> None:
        self.namespace.apply(secret(AUTHORITY["name"], **{AUTHORITY["key"]: pem}))

    def is_configured(self, bucket: str | None = None, endpoint: str | None = None, **fields: object) -> None:
        spec = s3(bucket or self.bucket, endpoint or self.server.endpoint, credentials=CREDENTIALS, **fields)
        self.namespace.apply(component("bucket", spec))

    def is_broken(self, reason: str) -> str:
        """Wait until the component and its Stack show that, and return the component's message."""
        deadline = time.monotonic() + WITHIN
        ready = self.namespace.wait_condition(
            "StackComponent", "bucket", "Ready", status="False", reason=reason, timeout=WITHIN
        )

        def follows(body: Body) -> bool:
            found = condition(body, "Ready")
            return (found.get("status"), found.get("reason")) == ("False", "ComponentsNotReady") and (
                f"artifactStore bucket: {ready['message']}" in found["message"]
                and {"reason": reason, "ready": False}.items() <= part(body, "bucket").items()
            )

        self.namespace.wait("Stack", "stack", follows, deadline - time.monotonic(), f"not Ready, {reason}")
        self.shows_no_secret()
        return ready["message"]

    def is_mended(self) -> None:
        """Wait until the Stack can be used, so the component too."""
        self.namespace.wait_condition("Stack", "stack", "Ready", status="True", timeout=WITHIN)
        found = self.namespace.get("StackComponent", "bucket") or {}
        assert condition(found, "Ready")["status"] == "True", found
        self.shows_no_secret()

    def shows_no_secret(self) -> None:
        shown = str([self.namespace.list(kind) for kind in ("StackComponent", "Stack", "Event")])
        assert not [value for value in spellings(self._values) if value in shown]


def part(body: Body, name: str) -> Body:
    """Return what a Stack says of one of its components."""
    return next((item for item in (body.get("status") or {}).get("components", ()) if item["name"] == name), {})


def spellings(values: set[str]) -> set[str]:
    return values | {base64.b64encode(value.encode()).decode() for value in values}


@pytest.fixture
def store(namespace: Cluster, s3_service: S3Server, bucket: str) -> Store:
    """The Stack, and nothing yet of the store that it names."""
    namespace.apply(component("local", {"orchestrator": {"local": {}}}))
    namespace.apply(stack("stack", orchestrator="local", store="bucket"))
    return Store(namespace, s3_service, bucket)


# ---- what can be wrong


@pytest.mark.parametrize(
    ("key", "value", "action"),
    [
        ("AWS_ACCESS_KEY_ID", "nobody-has-this-key", "correct AWS_ACCESS_KEY_ID there"),
        ("AWS_SECRET_ACCESS_KEY", "not-the-secret-of-it", "correct AWS_SECRET_ACCESS_KEY there"),
        ("AWS_SECRET_ACCESS_KEY", "copied-with-line-end\n", "store the bare value"),
    ],
    ids=["unknown access key", "wrong secret key", "line end"],
)
def test_wrong_key(store: Store, key: str, value: str, action: str) -> None:
    store.has_credentials(**{**store.server.credentials, key: value})
    store.is_configured()

    message = store.is_broken("InvalidCredentials")
    assert f"Secret {store.namespace.namespace}/{CREDENTIALS}" in message
    assert action in message

    store.has_credentials(**store.server.credentials)
    store.is_mended()


def test_missing_secret(store: Store) -> None:
    store.is_configured()

    message = store.is_broken("SecretNotFound")
    assert f"Secret {store.namespace.namespace}/{CREDENTIALS} does not exist; create it" in message

    store.has_credentials(**store.server.credentials)
    store.is_mended()

    store.namespace.delete("Secret", CREDENTIALS)
    store.is_broken("SecretNotFound")


def test_missing_key_in_the_secret(store: Store) -> None:
    store.has_credentials(AWS_ACCESS_KEY_ID=store.server.access_key)
    store.is_configured()

    message = store.is_broken("SecretKeyMissing")
    assert f"Secret {store.namespace.namespace}/{CREDENTIALS} has no key AWS_SECRET_ACCESS_KEY; add it." in message

    store.has_credentials(**store.server.credentials)
    store.is_mended()


def test_missing_bucket(store: Store) -> None:
    name = f"e2e-{secrets.token_hex(4)}"
    store.has_credentials(**store.server.credentials)
    store.is_configured(bucket=name)

    message = store.is_broken("BucketNotFound")
    assert f"Bucket {name} at {store.server.endpoint} does not exist; create it" in message

    store.server.make_bucket(name)
    store.is_mended()


def test_missing_bucket_is_created_where_that_is_asked_for(store: Store) -> None:
    name = f"e2e-{secrets.token_hex(4)}"
    store.has_credentials(**store.server.credentials)
    store.is_configured(bucket=name)
    assert "set createBucket to true" in store.is_broken("BucketNotFound")

    store.is_configured(bucket=name, createBucket=True)

    store.is_mended()
    store.server.client().head_bucket(Bucket=name)
    assert store.server.keys(f"s3://{name}/") == [], "the probe is left behind"


def test_key_that_may_not_create_the_bucket(store: Store) -> None:
    name = f"e2e-{secrets.token_hex(4)}"
    store.has_credentials(**store.server.reader_credentials)
    store.is_configured(bucket=name, createBucket=True)

    message = store.is_broken("BucketCreateDenied")
    assert f"Bucket {name}" in message
    assert "allow s3:CreateBucket" in message

    store.has_credentials(**store.server.credentials)
    store.is_mended()


def test_dead_endpoint(store: Store) -> None:
    store.namespace.apply(service("dead"))
    endpoint = f"http://dead.{store.namespace.namespace}.svc:{HTTP_PORT}"
    store.has_credentials(**store.server.credentials)
    store.is_configured(endpoint=endpoint)

    message = store.is_broken("EndpointUnreachable")
    assert message.startswith(endpoint)
    assert "start the server" in message or "make sure that the server runs" in message

    store.namespace.apply(endpoints("dead", store.server))
    store.is_mended()


def test_host_that_cannot_be_resolved(store: Store) -> None:
    host = f"nowhere.{store.namespace.namespace}.svc"
    store.has_credentials(**store.server.credentials)
    store.is_configured(endpoint=f"http://{host}:{HTTP_PORT}")

    message = store.is_broken("EndpointUnreachable")
    assert f"{host}, that cannot be resolved; correct endpoint" in message

    store.is_configured()
    store.is_mended()


def test_tls_without_an_authority(store: Store) -> None:
    store.has_credentials(**store.server.credentials)
    store.is_configured(endpoint=store.server.tls_endpoint)

    message = store.is_broken("TLSUntrusted")
    assert f"The certificate of {store.server.tls_endpoint} is not trusted" in message
    assert "name that in caSecretRef" in message

    store.has_authority(store.server.ca)
    store.is_configured(endpoint=store.server.tls_endpoint, caSecretRef=AUTHORITY)
    store.is_mended()


def test_wrong_authority(store: Store) -> None:
    store.has_credentials(**store.server.credentials)
    store.has_authority(trustme.CA().cert_pem.bytes().decode())
    store.is_configured(endpoint=store.server.tls_endpoint, caSecretRef=AUTHORITY)

    message = store.is_broken("TLSUntrusted")
    assert f"The certificate of {store.server.tls_endpoint} is not trusted" in message
    assert "put the authority that signed it into the Secret of caSecretRef" in message

    store.has_authority("this is no certificate")
    assert f"Secret {store.namespace.namespace}/{AUTHORITY['name']}" in store.is_broken("CASecretInvalid")

    store.has_authority(store.server.ca)
    store.is_mended()


def test_read_only_key(store: Store) -> None:
    store.server.let_reader_read(store.bucket)
    store.has_credentials(**store.server.reader_credentials)
    store.is_configured(prefix="team/cairn")

    message = store.is_broken("WriteDenied")
    assert f"Bucket {store.bucket} at {store.server.endpoint} refuses PutObject" in message
    assert f"allow s3:PutObject on s3://{store.bucket}/team/cairn/*" in message

    store.has_credentials(**store.server.credentials)
    store.is_mended()


def test_key_without_any_right(store: Store) -> None:
    store.has_credentials(**store.server.reader_credentials)
    store.is_configured()

    message = store.is_broken("AccessDenied")
    assert f"the access key in Secret {store.namespace.namespace}/{CREDENTIALS}" in message

    store.server.let_reader_write(store.bucket)
    store.is_mended()


def test_wrong_region(store: Store) -> None:
    store.has_credentials(**store.server.credentials)
    store.is_configured(region="eu-central-1")

    message = store.is_broken("WrongRegion")
    assert f"Bucket {store.bucket}" in message
    assert "not in region eu-central-1; correct region" in message

    store.is_configured()
    store.is_mended()


# ---- what else a component owes its users


def test_rotated_credentials_are_used_by_the_next_run(store: Store) -> None:
    store.server.let_reader_write(store.bucket)
    store.has_credentials(**store.server.reader_credentials)
    store.has_authority(store.server.ca)
    store.is_configured(endpoint=store.server.tls_endpoint, caSecretRef=AUTHORITY)
    store.is_mended()
    keep = python("keep", "open('/out/word', 'w').write('kept')", outputs=artifact("word", "/out/word"))
    store.namespace.create(run("before", [keep], on="stack"))
    before = store.namespace.finished("before")
    assert states(before) == {"keep": "Succeeded"}, before["status"]

    store.has_credentials(**store.server.credentials)
    store.server.forbid_reader(store.bucket)
    uri = before["status"]["steps"][0]["artifacts"][0]["uri"]
    read = python(
        "read",
        "open('/out/word', 'w').write(open('/in/word').read() + ' and read')",
        inputs=artifact("word", "/in/word", uri=uri),
        outputs=artifact("word", "/out/word"),
    )
    store.namespace.create(run("after", [read], on="stack"))
    after = store.namespace.finished("after")

    assert states(after) == {"read": "Succeeded"}, after["status"]
    assert store.server.read(after["status"]["steps"][0]["artifacts"][0]["uri"]) == b"kept and read"


def test_each_change_makes_one_event(store: Store) -> None:
    broken, stack_broken = ("Warning", "InvalidCredentials"), ("Warning", "ComponentsNotReady")
    mended, stack_mended = ("Normal", "Checked"), ("Normal", "ComponentsReady")
    store.has_credentials(**store.server.credentials)
    store.is_configured()
    store.is_mended()
    before = events_ending_with(store.namespace, "StackComponent", "bucket", mended)
    stack_before = events_ending_with(store.namespace, "Stack", "stack", stack_mended)

    store.has_credentials(**{**store.server.credentials, "AWS_SECRET_ACCESS_KEY": "not-the-secret-of-it"})
    store.is_broken("InvalidCredentials")

    has_events(store.namespace, "StackComponent", "bucket", [*before, broken])
    has_events(store.namespace, "Stack", "stack", [*stack_before, stack_broken])
    unchanged = versions(store.namespace)
    time.sleep(UNCHANGED)
    assert versions(store.namespace) == unchanged, "a failure that stays the same is written again and again"

    store.has_credentials(**store.server.credentials)
    store.is_mended()

    has_events(store.namespace, "StackComponent", "bucket", [*before, broken, mended])
    has_events(store.namespace, "Stack", "stack", [*stack_before, stack_broken, stack_mended])


def test_component_says_which_stacks_use_it(store: Store) -> None:
    store.has_credentials(**store.server.credentials)
    store.is_configured()
    uses(store.namespace, ["stack"])

    store.namespace.apply(stack("another", orchestrator="local", store="bucket"))
    uses(store.namespace, ["another", "stack"])

    store.namespace.patch("Stack", "another", {"spec": {"artifactStoreRef": {"name": "elsewhere"}}})
    uses(store.namespace, ["stack"])

    store.namespace.delete("Stack", "stack")
    uses(store.namespace, [])


def test_component_in_use_is_deleted_when_its_stack_is_gone(store: Store) -> None:
    store.has_credentials(**store.server.credentials)
    store.is_configured()
    store.is_mended()

    store.namespace.delete("StackComponent", "bucket")

    held = store.namespace.wait_condition("StackComponent", "bucket", "InUse", status="True", timeout=WITHIN)
    assert held["message"] == "Deletion waits for the Stacks that use it: stack; change or delete them."
    # it works as before for who uses it, and is checked as before
    store.has_credentials(**{**store.server.credentials, "AWS_SECRET_ACCESS_KEY": "not-the-secret-of-it"})
    store.is_broken("InvalidCredentials")
    store.has_credentials(**store.server.credentials)
    store.is_mended()
    has_events(
        store.namespace,
        "StackComponent",
        "bucket",
        [
            ("Normal", "Checked"),
            ("Warning", "UsedByStacks"),
            ("Warning", "InvalidCredentials"),
            ("Normal", "Checked"),
        ],
    )

    store.namespace.delete("Stack", "stack")
    store.namespace.wait_gone("StackComponent", "bucket", WITHIN)


def test_operator_logs_no_secret(cluster: Cluster, store: Store) -> None:
    wrong = {"AWS_ACCESS_KEY_ID": secrets.token_hex(10), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(10)}
    store.has_credentials(**wrong)
    store.is_configured()
    store.is_broken("InvalidCredentials")
    store.has_credentials(**store.server.credentials)
    store.is_mended()

    pods = cluster.list("Pod", "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator")
    logs = [cluster.kubectl("logs", pod["metadata"]["name"], "--since=120s") for pod in pods]
    assert logs

    values = {*wrong.values(), *store.server.credentials.values()}
    assert not [value for value in spellings(values) if any(value in log for log in logs)]


def uses(namespace: Cluster, stacks: list[str]) -> None:
    """Wait until the component names those Stacks as its users."""
    namespace.wait(
        "StackComponent",
        "bucket",
        lambda body: (body.get("status") or {}).get("usedBy", []) == stacks,
        WITHIN,
        f"usedBy {stacks}",
    )


def events_of(namespace: Cluster, kind: str, name: str) -> list[tuple[str, str]]:
    """Return type and reason of all Events about an object, in their order."""
    events = sorted(namespace.events(kind, name), key=lambda event: event["eventTime"])
    return [(event["type"], event["reason"]) for event in events]


def events_ending_with(namespace: Cluster, kind: str, name: str, last: tuple[str, str]) -> list[tuple[str, str]]:
    """Wait until that is the last Event about an object, which follows its status, and return all."""
    events = partial(events_of, namespace, kind, name)
    return poll(events, lambda found: found[-1:] == [last], WITHIN, f"the last Event was not {last}")


def has_events(namespace: Cluster, kind: str, name: str, wanted: list[tuple[str, str]]) -> None:
    """Wait until these are all Events about an object, which follow its status."""
    events = partial(events_of, namespace, kind, name)
    poll(events, lambda found: found == wanted, WITHIN, f"the Events were not {wanted}")


def versions(namespace: Cluster) -> Mapping[str, str]:
    """Return the resource version of every Stack, StackComponent and Event."""
    kinds = ("Stack", "StackComponent", "Event")
    return {
        item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for kind in kinds for item in namespace.list(kind)
    }


def artifact(name: str, path: str, **fields: str) -> Body:
    """Return inputs or outputs of one artifact."""
    return {"artifacts": [{"name": name, "path": path, **fields}]}


def service(name: str) -> Body:
    """Return a Service that no pod stands behind."""
    port = {"name": "http", "port": HTTP_PORT, "protocol": "TCP"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [port]}}


def endpoints(name: str, server: S3Server) -> Body:
    """Return what puts the S3 server behind that Service."""
    [pod] = server.cluster.list("Pod", "app=s3")
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod["status"]["podIP"]], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": HTTP_PORT, "protocol": "TCP"}],
    }
