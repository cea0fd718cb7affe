"""An S3 server in the cluster, over HTTP and over TLS with a CA of its own, and an independent client of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import botocore.session
import trustme
from botocore.config import Config

from cluster import Cluster
from manifests import PYTHON_IMAGE, RESTRICTED
from port_forward import PortForward

IMAGE = "versity/versitygw:v1.7.0"
HTTP_PORT = 7070
TLS_PORT = 7071


@dataclass(frozen=True)
class S3Server:
    """Where the server is, and who may use it."""

    cluster: Cluster
    access_key: str
    secret_key: str
    reader_key: str
    reader_secret: str
    ca: str
    """The CA of the TLS port, in PEM form."""
    way: PortForward
    """Leads from this machine to the server."""

    @property
    def endpoint(self) -> str:
        """The address within the cluster."""
        return f"http://s3.{self.cluster.namespace}.svc:{HTTP_PORT}"

    @property
    def tls_endpoint(self) -> str:
        """The address within the cluster, with TLS."""
        return f"https://s3.{self.cluster.namespace}.svc:{TLS_PORT}"

    @property
    def credentials(self) -> dict[str, str]:
        """The data of a Secret that may do everything."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    @property
    def reader_credentials(self) -> dict[str, str]:
        """The data of a Secret that may do what bucket policies let it do."""
        return {"AWS_ACCESS_KEY_ID": self.reader_key, "AWS_SECRET_ACCESS_KEY": self.reader_secret}

    def client(self) -> Any:
        """Return a botocore client, which shares nothing with what moves artifacts."""
        return botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self.way.port}",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def make_bucket(self, name: str) -> str:
        """Create a bucket and return its name."""
        self.client().create_bucket(Bucket=name)
        return name

    def read(self, uri: str) -> bytes:
        """Return the object that an `s3://` URI names."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def delete(self, uri: str) -> None:
        """Delete the object that an `s3://` URI names."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client().delete_object(Bucket=bucket, Key=key)

    def keys(self, uri: str) -> list[str]:
        """Return the keys below an `s3://` URI."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def let_reader_read(self, bucket: str) -> None:
        """Give the reader's key the right to list and read a bucket, and no other."""
        self._let_reader(bucket, "s3:GetObject", "s3:ListBucket")

    def let_reader_write(self, bucket: str) -> None:
        """Give the reader's key every right on a bucket."""
        self._let_reader(bucket, "s3:*")

    def forbid_reader(self, bucket: str) -> None:
        """Take all rights on a bucket from the reader's key."""
        self.client().delete_bucket_policy(Bucket=bucket)

    def _let_reader(self, bucket: str, *actions: str) -> None:
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": [self.reader_key]},
                    "Action": list(actions),
                    "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                }
            ],
        }
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


@contextmanager
def s3_server(cluster: Cluster) -> Generator[S3Server]:
    """Start a server in a namespace of its own and open a way to it from this machine."""
    with (
        cluster.temporary_namespace(f"e2e-s3-{secrets.token_hex(4)}", RESTRICTED) as namespace,
        _server_in(namespace) as server,
    ):
        yield server


@contextmanager
def _server_in(cluster: Cluster) -> Generator[S3Server]:
    host = f"s3.{cluster.namespace}.svc"
    ca = trustme.CA()
    certificate = ca.issue_cert(host)
    keys = secrets.token_hex(10), secrets.token_hex(10), secrets.token_hex(10), secrets.token_hex(10)
    account = {"access": keys[2], "secret": keys[3], "role": "user", "userID": 0, "groupID": 0, "projectID": 0}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s3"},
            "stringData": {
                "access": keys[0],
                "secret": keys[1],
                "users.json": json.dumps({"accessAccounts": {keys[2]: account}}),
                "tls.crt": "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems),
                "tls.key": certificate.private_key_pem.bytes().decode(),
            },
        }
    )
    cluster.apply(_deployment())
    ports = [{"name": "http", "port": HTTP_PORT}, {"name": "tls", "port": TLS_PORT}]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3"},
            "spec": {"selector": {"app": "s3"}, "ports": ports},
        }
    )
    cluster.wait("Deployment", "s3", lambda body: body.get("status", {}).get("readyReplicas") == 1, 120)
    way = PortForward(cluster.namespace, "service/s3", HTTP_PORT)
    try:
        yield S3Server(cluster, *keys, ca.cert_pem.bytes().decode(), way)
    finally:
        way.close()


def _deployment() -> dict[str, Any]:
    def container(name: str, port: int, *arguments: str) -> dict[str, Any]:
        return {
            "name": name,
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/usr/local/bin/versitygw"],
            "args": ["--port", f":{port}", "--quiet", "--iam-dir", "/iam", *arguments, "posix", "/data"],
            "env": [
                {"name": "ROOT_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "access"}}},
                {"name": "ROOT_SECRET_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secret"}}},
            ],
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "data", "mountPath": "/data"},
                {"name": "iam", "mountPath": "/iam"},
                {"name": "secret", "mountPath": "/secret"},
            ],
        }

    init = container("users", 1)
    init |= {"image": PYTHON_IMAGE, "command": ["cp", "/secret/users.json", "/iam/users.json"], "args": []}
    del init["readinessProbe"]
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [init],
        "containers": [
            container("http", HTTP_PORT),
            container("tls", TLS_PORT, "--cert", "/secret/tls.crt", "--key", "/secret/tls.key"),
        ],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "iam", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "s3"}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "s3"},
        "spec": {
            "selector": {"matchLabels": {"app": "s3"}},
            "template": {"metadata": {"labels": {"app": "s3"}}, "spec": pod},
        },
    }
