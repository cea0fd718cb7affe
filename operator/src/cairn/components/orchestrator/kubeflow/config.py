"""The configuration of a `kubeflow` orchestrator."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.address import ServerURL
from cairn.api.base import Model, ObjectName, Rule, SecretKeyRef, rules
from cairn.api.pod_template import PodTemplate

AUDIENCE = "pipelines.kubeflow.org"
"""Whom tokens for Kubeflow Pipelines are for, unless an installation has been told otherwise."""
_ROOT = "^s3://[a-z0-9][-.a-z0-9]+[a-z0-9](/[-_.=a-zA-Z0-9]+)*$"
_USER = "^[!-~]+$"
_AUDIENCE = "^pipelines[.][-.a-z0-9]+$"
"""Whoever may create a StackComponent chooses who reads the token: with one for the API server he could do all that the
operator may."""

PipelineRoot = Annotated[
    str,
    Field(
        min_length=8,
        max_length=512,
        pattern=_ROOT,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_ROOT}') && !self.matches('/[.][.]?(/|$)')",
                "must be s3://bucket/prefix of letters, digits and - _ . =, without a slash at its end and without empty, . or .. "
                "parts, such as s3://ml-artifacts/cairn/kubeflow",
            )
        ),
    ),
]
User = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=_USER,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_USER}')",
                "must be a name as the installation knows it, without spaces, such as alice@example.com",
            )
        ),
    ),
]
Audience = Annotated[
    str,
    Field(
        max_length=253,
        pattern=_AUDIENCE,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_AUDIENCE}')",
                "must begin with pipelines., such as pipelines.kubeflow.org: the operator sends no tokens that others take, such "
                "as the API server",
            )
        ),
    ),
]


class ServiceAccountToken(Model):
    """A token of the operator's own ServiceAccount, made anew before it expires."""

    audience: Audience = Field(
        default=AUDIENCE,
        description="Whom the token is for: what `TOKEN_REVIEW_AUDIENCE` of ml-pipeline says.",
    )


class Auth(Model):
    """How the operator logs in. Exactly one way."""

    token_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret and key that hold a token, sent as `Authorization: Bearer`; a change of it is noticed.",
    )
    service_account_token: ServiceAccountToken | None = Field(
        default=None,
        description="A token of the operator's own ServiceAccount, which must be bound to a role in `namespace`, such as "
        "`kubeflow-pipelines-edit`. `{}` is enough.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.tokenSecretRef) != has(self.serviceAccountToken)",
                "exactly one of tokenSecretRef and serviceAccountToken: write `serviceAccountToken: {}` for the operator's own",
            )
        )
    }


class KubeflowConfig(Model):
    """Runs pipelines on Kubeflow Pipelines 2, which decides when which step runs."""

    endpoint: ServerURL = Field(
        description="Address of its API, such as `http://ml-pipeline.kubeflow.svc:8888`; behind a gateway, with the path, such as "
        "`https://kubeflow.example.com/pipeline`.",
    )
    namespace: ObjectName = Field(
        default="kubeflow",
        description="Namespace that the pods of runs are in: that of the installation or, where it has several users, that of a "
        "profile. Secrets, ConfigMaps, claims and ServiceAccounts that steps name are looked for there. Left out: kubeflow, "
        "whatever the endpoint.",
    )
    experiment: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None,
        description="Experiment that all runs belong to. Left out: each run's `experiment`, else its pipeline.",
    )
    pipeline_root: PipelineRoot | None = Field(
        default=None,
        description="Where it keeps what steps write, such as `s3://bucket/prefix/kubeflow`: below the bucket and prefix of the "
        "stack's artifact store. Left out: `<namespace>/.kubeflow` there.",
    )
    auth: Auth | None = Field(
        default=None,
        description="How the operator logs in. Left out: it does not, as installations with one user want it.",
    )
    user: User | None = Field(
        default=None,
        description="Whom runs belong to where an installation has several users, such as `alice@example.com`: it is sent in the "
        "header `kubeflow-userid`, which the installation must be told to believe of the operator. Left out: the token tells.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret and key with the endpoint's certificate authority, in PEM form. Left out: the public ones.",
    )
    external_url: ServerURL | None = Field(
        default=None,
        alias="externalURL",
        description="Address of its pages for people, such as `https://kubeflow.example.com/pipeline`, for the links in statuses. "
        "Left out: there are none.",
    )
    pod_template: PodTemplate | None = Field(
        default=None,
        description="Additions to every step's pod. Of what Kubeflow Pipelines cannot express, a run is told before it starts.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.caSecretRef) || self.endpoint.startsWith('https://')",
                "a certificate authority is of use to https only: write the endpoint with https://, or remove caSecretRef",
                field="caSecretRef",
            ),
        )
    }
