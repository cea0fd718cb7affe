"""The configuration of an `mlflow` experiment tracker."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.address import ServerURL
from cairn.api.base import LocalSecretRef, Model, Rule, SecretKeyRef, consists_of, rules
from cairn.components.experiment_tracker.mlflow.server_config import Server

ExperimentPrefix = Annotated[
    str,
    Field(
        max_length=128,
        pattern="^[-_./a-zA-Z0-9]*$",
        json_schema_extra=rules(
            consists_of("-_./a-zA-Z0-9", "must be letters, digits, -, _, . and /, such as team-a/")
        ),
    ),
]


class BasicAuth(Model):
    """A name and a password."""

    secret_ref: LocalSecretRef = Field(description="Secret with the keys `username` and `password`.")


class Auth(Model):
    """How the operator and steps log in. Exactly one way."""

    basic: BasicAuth | None = Field(default=None, description="With name and password.")
    bearer: SecretKeyRef | None = Field(default=None, description="With a token: the Secret and key that hold it.")

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.basic) != has(self.bearer)",
                "exactly one of basic and bearer: write basic.secretRef for a name and password, or bearer for a token",
            )
        )
    }


class MLflowConfig(Model):
    """Records runs in an MLflow tracking server."""

    uri: ServerURL | None = Field(
        default=None,
        description="Address of a server that exists, for the operator and for pods, such as `http://mlflow.ml.svc:5000`.",
    )
    server: Server | None = Field(
        default=None, description="A server that Cairn installs and keeps. Write `server: {}` for one with a volume."
    )
    auth: Auth | None = Field(
        default=None,
        description="How to log in. Left out: the server asks nobody to. A `server` has users log in where `basic` is named: "
        "its first one is that of the Secret, which then needs the key `flask-secret-key` too, any random text.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret and key with the server's certificate authority, in PEM form. Left out: the public ones.",
    )
    external_url: ServerURL | None = Field(
        default=None,
        alias="externalURL",
        description="Address of the server for people, which the links in statuses begin with. Left out: that for pods.",
    )
    experiment_prefix: ExperimentPrefix = Field(
        default="", description="What the names of experiments begin with, such as `team-a/`."
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.uri) != has(self.server)",
                "exactly one of uri and server: write uri for a server that exists, or `server: {}` to have one installed",
            ),
            Rule(
                "has(self.server) == has(oldSelf.server)",
                "a server that Cairn installs and one that exists do not replace each other: create another StackComponent",
            ),
            Rule(
                "!has(self.caSecretRef) || (has(self.uri) && self.uri.startsWith('https://'))",
                "a certificate authority is of use to https only: write the uri with https://, or remove caSecretRef",
                field="caSecretRef",
            ),
            Rule(
                "!has(self.server) || !has(self.auth) || has(self.auth.basic)",
                "a server that Cairn installs knows names and passwords only: name their Secret in basic.secretRef",
                field="auth",
            ),
        )
    }
