"""The orchestrator `kubeflow`: its check, and the operator's way into it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from cairn.api.pod_template import PodTemplate
from cairn.clients.kfp import KubeflowPipelines, Token
from cairn.clients.kubernetes import Kubernetes
from cairn.clients.rest import Access, RestError
from cairn.components.artifact_store.s3.store import S3
from cairn.components.base import ArtifactStore, Orchestrator, Surroundings, Verdict
from cairn.components.errors import ComponentError
from cairn.components.orchestrator.kubeflow.config import KubeflowConfig
from cairn.components.orchestrator.kubeflow.diagnosis import explain
from cairn.components.orchestrator.kubeflow.launcher import problem_with_launcher
from cairn.components.orchestrator.kubeflow.own_token import OwnToken
from cairn.components.secrets import UnusableError, certificates, credential, secret_named

OWN_EXPERIMENT = "cairn"
"""The experiment that a check makes where runs have others."""
UNKNOWN_VERSION = "unknown"
"""What servers say of themselves that were built without one, as KFP's own images are."""


class KubeflowUnavailableError(ComponentError):
    """The operator cannot use Kubeflow Pipelines."""


class Kubeflow(Orchestrator[KubeflowConfig]):
    """See KubeflowConfig."""

    flavor = "kubeflow"
    config_model = KubeflowConfig
    runs_elsewhere = True

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the Secrets that the check reads."""
        auth = self.config.auth
        refs = (auth.token_secret_ref if auth is not None else None, self.config.ca_secret_ref)
        return frozenset(ref.name for ref in refs if ref is not None)

    @property
    def pod_template(self) -> PodTemplate | None:
        """Additions to every step's pod."""
        return self.config.pod_template

    @property
    def max_parallel_steps(self) -> int | None:
        """None: Kubeflow Pipelines decides."""
        return None

    def root_key(self, store: ArtifactStore[Any]) -> str:
        """Return the key, below the store's prefix, that what steps write is kept below."""
        root = self.config.pipeline_root
        if root is None:
            return f"{self.namespace}/.kubeflow"
        return root.removeprefix(store.uri("")).strip("/")

    def url_of(self, run_id: str) -> str | None:
        """Return the page of a run, where the address of the pages is known."""
        pages = self.config.external_url
        return f"{pages}/#/runs/details/{run_id}" if pages is not None else None

    def pipeline_root(self, store: ArtifactStore[Any]) -> str:
        """Return the URI that Kubeflow Pipelines is told to keep what steps write below."""
        return self.config.pipeline_root or store.uri(self.root_key(store))

    def incompatibility_with(self, store: ArtifactStore[Any]) -> str | None:
        """Return why it cannot be used with an artifact store, whatever is in the cluster, or None."""
        if not isinstance(store, S3):
            return (
                f"orchestrator {self.name} runs steps on Kubeflow Pipelines, which cannot use artifact store {store.name}; use an "
                "s3 store"
            )
        if not store.open_to_operator:
            return (
                f"orchestrator {self.name} runs steps on Kubeflow Pipelines, and the operator reads what they have written: give "
                f"artifact store {store.name} a credentialsSecretRef"
            )
        root, within = self.config.pipeline_root, store.uri("").rstrip("/")
        if root is not None and not f"{root}/".startswith(f"{within}/"):
            return (
                f"orchestrator {self.name} has the pipelineRoot {root}, which is not below {within} of artifact store "
                f"{store.name}; correct either of them, or leave pipelineRoot out"
            )
        return None

    async def problem_with(self, kubernetes: Kubernetes, store: ArtifactStore[Any]) -> ComponentError | None:
        """Return why its pods cannot use an artifact store, or None; raises ApiError."""
        if not isinstance(store, S3):
            return None
        host = urlsplit(self.config.endpoint).hostname or ""
        is_in_cluster = host.endswith(".svc") or ".svc." in host
        root = self.pipeline_root(store)
        return await problem_with_launcher(kubernetes, self.config.namespace, root, store, is_in_cluster=is_in_cluster)

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - it refers to no other component
        """Ask the server what it is, and have it make an experiment, or find it, as every run does."""
        endpoint = self.config.endpoint
        try:
            server = await self.client(kubernetes)
        except KubeflowUnavailableError as error:
            return Verdict.failed(error.reason, error.message, endpoint)
        try:
            health = await server.health()
            name = self.config.experiment or OWN_EXPERIMENT
            await server.experiment_named(name, self.config.namespace if health.multi_user else None)
        except UnusableError as error:
            return Verdict.failed(error.reason, error.message, endpoint)
        except RestError as error:
            return Verdict.failed(*explain(error, endpoint, logs_in=self.config.auth is not None), endpoint)
        finally:
            await server.close()
        several = ", with several users" if health.multi_user else ""
        version = f" {health.version}" if health.version != UNKNOWN_VERSION else ""
        message = f"Kubeflow Pipelines{version} at {endpoint} answers{several}, and has the experiment {name}."
        return Verdict.usable(message, endpoint)

    async def client(self, kubernetes: Kubernetes) -> KubeflowPipelines:
        """Return the operator's own way into it; raises KubeflowUnavailableError, ApiError."""
        ca = self.config.ca_secret_ref
        try:
            trusted = None
            if ca is not None:
                trusted = certificates(await secret_named(kubernetes, self.namespace, ca.name), ca.key)
            token = await self._token(kubernetes)
        except UnusableError as error:
            raise KubeflowUnavailableError(error.reason, error.message) from error
        access = Access(self.config.endpoint, ca=trusted)
        return KubeflowPipelines(access, token=token, user=self.config.user)

    async def _token(self, kubernetes: Kubernetes) -> Token | None:
        """Return what the token of each request is."""
        auth = self.config.auth
        if auth is None:
            return None
        if auth.service_account_token is not None:
            return OwnToken(kubernetes, auth.service_account_token.audience)
        ref = auth.token_secret_ref
        if ref is None:
            return None
        held = credential(await secret_named(kubernetes, self.namespace, ref.name), ref.key)

        async def token(*, fresh: bool = False) -> str:  # noqa: ARG001 - a changed Secret makes another client
            return held

        return token
