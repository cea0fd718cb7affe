"""The configuration of an `s3` artifact store, with the rules that S3 has for names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.address import ORIGIN
from cairn.api.base import DNS_LABEL, LocalSecretRef, Model, ObjectName, Rule, SecretKeyRef, rules

_BUCKET = "^[a-z0-9][-.a-z0-9]*[a-z0-9]$"
_PREFIX = "^[-_.=/a-zA-Z0-9]*$"
_ENDPOINT = f"^{ORIGIN}$"

BucketName = Annotated[
    str,
    Field(
        min_length=3,
        max_length=63,
        pattern=_BUCKET,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_BUCKET}') && !self.contains('..') "
                r"&& !self.matches('^[0-9]+([.][0-9]+){3}$') "
                r"&& !self.matches('^(xn--|sthree-|amzn-s3-demo-)') "
                r"&& !self.matches('(-s3alias|--ol-s3|[.]mrap|--x-s3|--table-s3)$')",
                "must be a name that S3 allows: 3 to 63 of a-z, 0-9, - and ., beginning and ending with a "
                "letter or digit, not like an IP address, without .. or a prefix or suffix that AWS reserves",
            )
        ),
    ),
]
KeyPrefix = Annotated[
    str,
    Field(
        max_length=512,
        pattern=_PREFIX,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_PREFIX}') && !self.matches('^/|/$|//') && !self.matches('(^|/)[.][.]?(/|$)')",
                "must be of letters, digits and - _ . = /, without a slash at either end and without empty, . or .. "
                "parts: write it as team/cairn",
            )
        ),
    ),
]
Endpoint = Annotated[
    str,
    Field(
        min_length=8,
        max_length=300,
        pattern=_ENDPOINT,
        json_schema_extra=rules(
            Rule(
                f"self.matches(r'{_ENDPOINT}')",
                "must be http(s)://host[:port] without a path, query or user, such as http://s3.storage.svc:9000; "
                "buckets and prefixes have fields of their own",
            )
        ),
    ),
]


class S3Config(Model):
    """Keeps artifacts in a bucket of Amazon S3 or of a server that speaks its API."""

    bucket: BucketName = Field(description="Name of the bucket. It must exist unless `createBucket` is true.")
    prefix: KeyPrefix = Field(
        default="",
        description="Key prefix that everything is kept under, without a slash at either end. Empty: the whole bucket.",
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="Address of the server for pods, such as `http://s3.storage.svc:9000`. Left out: Amazon S3.",
    )
    region: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)] = Field(
        default="us-east-1", description="Region of the bucket. Most servers other than Amazon's accept the default."
    )
    addressing_style: Literal["Auto", "Path", "Virtual"] = Field(
        default="Auto",
        description="Where the bucket's name goes in a URL. Path: `https://host/bucket`. Virtual: "
        "`https://bucket.host`. Auto: Path where an `endpoint` is set or the bucket's name has a dot, else Virtual.",
    )
    create_bucket: bool = Field(
        default=False, description="Whether to create the bucket if it does not exist. It is never deleted."
    )
    credentials_secret_ref: LocalSecretRef | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and, for temporary credentials, "
        "AWS_SESSION_TOKEN. Left out: pods use the identity of their ServiceAccount.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret and key with the endpoint's certificate authority, in PEM form. Left out: the public ones.",
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount whose cloud identity (IRSA, EKS Pod Identity, workload identity) opens the "
        "bucket, for the pods that move artifacts.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.credentialsSecretRef) || !has(self.serviceAccountName)",
                "credentialsSecretRef and serviceAccountName exclude each other: keep credentialsSecretRef for an "
                "access key, or serviceAccountName for the cloud identity of a ServiceAccount",
            ),
            Rule(
                "!has(self.createBucket) || !self.createBucket || has(self.credentialsSecretRef)",
                "createBucket needs credentialsSecretRef, since the operator creates the bucket: name a Secret, or "
                "create the bucket yourself and drop createBucket",
            ),
            Rule(
                "!has(self.caSecretRef) || !has(self.endpoint) || self.endpoint.startsWith('https://')",
                "caSecretRef is for TLS and the endpoint has none: write https:// or drop caSecretRef",
            ),
        )
    }
