"""Whether the pods of Kubeflow Pipelines can use a bucket: what its launcher is told in the ConfigMap `kfp-launcher`.

See https://github.com/kubeflow/pipelines/blob/2.17.0/backend/src/v2/config/s3.go.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from cairn.api.base import first_problem
from cairn.clients.kubernetes import CONFIG_MAPS, SECRETS, ForbiddenError, Kubernetes, NotFoundError
from cairn.components.artifact_store.s3.store import S3
from cairn.components.errors import ComponentError
from cairn.components.secrets import has_key

CONFIG_MAP = "kfp-launcher"
PROPOSED_SECRET = "cairn-bucket"  # noqa: S105 - the name that messages propose
NOT_CONFIGURED = "LauncherNotConfigured"
CONFIG_INVALID = "LauncherConfigInvalid"
SECRET_MISSING = "LauncherSecretMissing"  # noqa: S105 - a reason


class _SecretRef(BaseModel):
    name: str = Field(alias="secretName")
    access_key: str = Field(alias="accessKeyKey")
    secret_key: str = Field(alias="secretKeyKey")


class _Credentials(BaseModel):
    from_env: bool = Field(default=False, alias="fromEnv")
    secret_ref: _SecretRef | None = Field(default=None, alias="secretRef")


class _Settings(BaseModel):
    endpoint: str = ""
    plain: bool | None = Field(default=None, alias="disableSSL")
    credentials: _Credentials


class _Override(_Settings):
    bucket: str = Field(alias="bucketName")
    prefix: str = Field(default="", alias="keyPrefix")


class _S3(BaseModel):
    default: _Settings
    overrides: list[_Override] = Field(
        default_factory=list[_Override], validation_alias=AliasChoices("Overrides", "overrides")
    )

    def of(self, root: str) -> _Settings:
        """Return what counts for a root: the first override of its bucket and prefix, over the default."""
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        for override in self.overrides:
            if override.bucket == bucket and prefix.startswith(override.prefix.strip("/")):
                told = {"endpoint": override.endpoint or self.default.endpoint, "credentials": override.credentials}
                plain = override.plain if override.plain is not None else self.default.plain
                return self.default.model_copy(update={**told, "plain": plain})
        return self.default


class _Providers(BaseModel):
    s3: _S3 | None = None


async def problem_with_launcher(
    kubernetes: Kubernetes, namespace: str, root: str, store: S3, *, is_in_cluster: bool
) -> ComponentError | None:
    """Return why pods in a namespace cannot write below a root in that store, or None, also where it is not to be seen.

    Raises:
        ApiError: the API server does not tell.
    """
    where = f"ConfigMap {namespace}/{CONFIG_MAP}"
    try:
        config = await kubernetes.get(CONFIG_MAPS, namespace, CONFIG_MAP)
    except ForbiddenError:
        return None
    except NotFoundError:
        if not is_in_cluster or store.config.endpoint is None:
            return None
        message = f"{where} does not exist: create it, or correct the orchestrator's namespace, if its pods are in another one."
        return ComponentError(NOT_CONFIGURED, f"{message} {_remedy(namespace, store)}")
    try:
        providers: Any = yaml.safe_load((config.get("data") or {}).get("providers") or "{}")
        told = _Providers.model_validate(providers).s3
    except ValidationError as error:
        return ComponentError(
            CONFIG_INVALID, f"{where}, key providers: {first_problem(error)}. {_remedy(namespace, store)}"
        )
    except yaml.YAMLError as error:
        return ComponentError(
            CONFIG_INVALID, f"{where}, key providers: it is not YAML{_place_of(error)}. {_remedy(namespace, store)}"
        )
    settings = told.of(root) if told is not None else None
    problem = _leads_elsewhere(settings, store)
    if problem is not None:
        return ComponentError(NOT_CONFIGURED, f"{where} {problem}. {_remedy(namespace, store)}")
    return await _problem_with_credentials(kubernetes, namespace, settings, where)


def _place_of(error: yaml.YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""


def _leads_elsewhere(settings: _Settings | None, store: S3) -> str | None:
    """Return what of the settings is not the store; without any, the launcher uses what its pods have in their environment."""
    endpoint = store.config.endpoint
    if endpoint is None:
        return None
    if settings is None:
        return f"says nothing of s3 in its key providers, so that steps would look for the bucket at AWS, not at {endpoint}"
    is_plain = endpoint.startswith("http://")
    if _server(settings.endpoint, is_plain=is_plain) != _server(endpoint, is_plain=is_plain):
        return f"has the endpoint {settings.endpoint or 'of AWS'} for s3, and artifact store {store.name} {endpoint}"
    if bool(settings.plain) != is_plain:
        return f"has disableSSL: {_yaml(bool(settings.plain))} for s3, and artifact store {store.name} {endpoint}"
    return None


def _server(endpoint: str, *, is_plain: bool) -> tuple[str | None, int]:
    """Return host and port of an endpoint, which may be written without its scheme."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return parts.hostname, parts.port or (80 if is_plain else 443)


async def _problem_with_credentials(
    kubernetes: Kubernetes, namespace: str, settings: _Settings | None, where: str
) -> ComponentError | None:
    if settings is None or settings.credentials.from_env:
        return None
    ref = settings.credentials.secret_ref
    if ref is None:
        message = f"{where} has neither fromEnv nor secretRef in the credentials of s3; add one."
        return ComponentError(CONFIG_INVALID, message)
    try:
        secret = await kubernetes.get(SECRETS, namespace, ref.name)
    except ForbiddenError:
        return None
    except NotFoundError:
        message = f"{where} names Secret {namespace}/{ref.name}, which does not exist; create it with the bucket's credentials."
        return ComponentError(SECRET_MISSING, message)
    missing = [key for key in (ref.access_key, ref.secret_key) if not has_key(secret, key)]
    if missing:
        field = "accessKeyKey" if missing[0] == ref.access_key else "secretKeyKey"
        message = (
            f"{where} names Secret {namespace}/{ref.name}, which has no key {missing[0]}; add it, or correct {field}."
        )
        return ComponentError(SECRET_MISSING, message)
    return None


def _remedy(namespace: str, store: S3) -> str:
    """Return the sentence that says what to put there."""
    endpoint = store.config.endpoint
    keys = {"secretName": PROPOSED_SECRET, "accessKeyKey": "accesskey", "secretKeyKey": "secretkey"}
    default = {
        **({"endpoint": endpoint, "disableSSL": endpoint.startswith("http://")} if endpoint else {}),
        "region": store.config.region or "us-east-1",
        "forcePathStyle": store.path_style,
        "credentials": {"fromEnv": False, "secretRef": keys},
    }
    wanted = f"Write into its key providers `{_yaml({'s3': {'default': default}})}`"
    return f"{wanted}, and the credentials into Secret {PROPOSED_SECRET} in {namespace}."


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()
