"""The configuration of an MLflow server that Cairn installs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import LocalRef, Model, ObjectName, Opaque, Quantity, Rule, SecretKeyRef, rules

_USES_POSTGRESQL = "has({0}.backendStore) && has({0}.backendStore.postgresql)"


class SQLite(Model):
    """A database file on a volume of the server."""

    size: Quantity = Field(
        default="2Gi",
        description="Size of the volume, which artifacts are on too where no `artifactStoreRef` is named. It may grow where "
        "the StorageClass allows it.",
    )
    storage_class_name: ObjectName | None = Field(
        default=None, description="StorageClass of the volume. Left out: the cluster's default."
    )


class PostgreSQL(Model):
    """A database in a PostgreSQL server that exists."""

    uri_secret_ref: SecretKeyRef = Field(
        description="Secret and key that hold `postgresql://USER:PASSWORD@HOST:5432/DATABASE`, as `uri` does in the Secret that "
        "CloudNativePG makes for an application."
    )


class BackendStore(Model):
    """Where experiments, runs and models are kept. Exactly one."""

    sqlite: SQLite | None = Field(default=None, description="A database file on a volume: for one server.")
    postgresql: PostgreSQL | None = Field(default=None, description="A database in a PostgreSQL server.")

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.sqlite) != has(self.postgresql)",
                "exactly one of sqlite and postgresql: write `sqlite: {}` for a file on a volume",
            )
        )
    }


class Server(Model):
    """An MLflow server that Cairn installs by Helm and keeps as it is described here."""

    backend_store: BackendStore | None = Field(
        default=None, description="Where experiments, runs and models are kept. Left out: SQLite on a volume of 2Gi."
    )
    artifact_store_ref: LocalRef | None = Field(
        default=None,
        description="StackComponent of type artifactStore whose bucket keeps the artifacts that code logs to MLflow. Left out: "
        "the server's volume.",
    )
    artifact_access: Literal["Proxied", "Direct"] = Field(
        default="Proxied",
        description="Proxied: code sends artifacts to the server, and needs no key of the bucket. Direct: code writes into the "
        "bucket; steps get the bucket's credentials. An experiment keeps what it began with.",
    )
    replicas: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="Servers that share the work. More than one needs PostgreSQL and an `artifactStoreRef`."
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of the server's volume when this StackComponent is deleted. Retain: it stays, and a server of "
        "the same name has it again. Delete: it is deleted. PostgreSQL and buckets are never touched.",
    )
    values: Opaque = Field(
        default={},
        description="More values of the chart, which take precedence over what is said here: Ingress, resources, "
        "environment and others. docs/tracking.md tells where the chart describes them.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.replicas) || self.replicas == 1 || "
                f"({_USES_POSTGRESQL.format('self')} && has(self.artifactStoreRef))",
                "more than one replica needs backendStore.postgresql and artifactStoreRef, as a volume belongs to one server",
                field="replicas",
            ),
            Rule(
                "!has(self.artifactAccess) || self.artifactAccess == 'Proxied' || has(self.artifactStoreRef)",
                "Direct needs a bucket: name its StackComponent in artifactStoreRef",
                field="artifactAccess",
            ),
            Rule(
                f"({_USES_POSTGRESQL.format('self')}) == ({_USES_POSTGRESQL.format('oldSelf')})",
                "what is recorded would not move: create another StackComponent with the other backendStore",
            ),
        )
    }

    @property
    def postgresql(self) -> PostgreSQL | None:
        """The database, where it is not on the server's volume."""
        return self.backend_store.postgresql if self.backend_store is not None else None

    @property
    def database_secret(self) -> str | None:
        """Name of the Secret that says where the database is."""
        return self.postgresql.uri_secret_ref.name if self.postgresql is not None else None

    @property
    def artifact_store(self) -> str | None:
        """Name of the StackComponent whose bucket keeps the artifacts."""
        return self.artifact_store_ref.name if self.artifact_store_ref is not None else None

    @property
    def sqlite(self) -> SQLite:
        """The volume, which has the default size where nothing is said of it."""
        return (self.backend_store.sqlite if self.backend_store is not None else None) or SQLite()
