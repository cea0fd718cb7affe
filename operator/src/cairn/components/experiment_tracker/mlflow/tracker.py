"""The experiment tracker `mlflow`: its check, and what steps need to reach it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import Kubernetes
from cairn.clients.mlflow import NOT_AS_MLFLOW, MLflow
from cairn.clients.rest import Access, RestError
from cairn.components.base import ExperimentTracker, Release, Surroundings, Verdict
from cairn.components.experiment_tracker.mlflow.artifact_probe import ProbeError, probe_artifacts
from cairn.components.experiment_tracker.mlflow.chart_values import path_of, release_of
from cairn.components.experiment_tracker.mlflow.client import PARENT_TAG, MLflowClient
from cairn.components.experiment_tracker.mlflow.config import MLflowConfig
from cairn.components.experiment_tracker.mlflow.diagnosis import explain
from cairn.components.progress import INVALID_NAME
from cairn.components.records import TrackerUnavailableError
from cairn.components.releases.naming import release_name
from cairn.components.secrets import (
    UnusableError,
    certificates,
    credential,
    from_secret,
    mounted,
    need_key,
    secret_named,
)
from cairn.components.step_access import StepAccess

OLDEST_VERSION = (3, 0)
"""The oldest MLflow whose API Cairn is tried with."""
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")
USERNAME, PASSWORD, SESSION_KEY = "username", "password", "flask-secret-key"
SHORTEST_PASSWORD = 12
"""See _validate_password in MLflow's mlflow/utils/validation.py."""
CA_VOLUME = "cairn-tracker-ca"
CA_DIRECTORY = "/cairn/tracker"


class MLflowTracker(ExperimentTracker[MLflowConfig]):
    """See MLflowConfig."""

    flavor = "mlflow"
    config_model = MLflowConfig

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the Secrets that the check reads."""
        auth, ca, server = self.config.auth, self.config.ca_secret_ref, self.config.server
        bearer = auth.bearer.name if auth is not None and auth.bearer is not None else None
        database = server.database_secret if server is not None else None
        return frozenset(filter(None, (self._basic, bearer, ca.name if ca is not None else None, database)))

    @property
    def _basic(self) -> str | None:
        """Name of the Secret with name and password."""
        auth = self.config.auth
        return auth.basic.secret_ref.name if auth is not None and auth.basic is not None else None

    @property
    def components(self) -> frozenset[str]:
        """Name of the artifact store whose bucket the server keeps artifacts in."""
        server = self.config.server
        return frozenset(filter(None, (server.artifact_store if server is not None else None,)))

    @property
    def artifact_store_of_steps(self) -> str | None:
        """Name of the artifact store that MLflow's client in a step writes to itself."""
        server = self.config.server
        return server.artifact_store if server is not None and server.artifact_access == "Direct" else None

    def release(self, surroundings: Surroundings) -> Release | None:
        """Return the release of the server, where it is one that Cairn installs; raises UnusableError."""
        if self.config.server is None:
            return None
        return release_of(self.config.server, f"{self.namespace}/.mlflow/{self.name}", self._basic, surroundings)

    async def check_before_release(self, kubernetes: Kubernetes) -> None:
        """Raise UnusableError where its Service could not be made, or the server would end as soon as it has read its Secrets."""
        server = self.config.server
        if server is not None and not self.name[0].isalpha():
            message = (
                f"The server's Service, {release_name(self.name)}, must begin with a letter: create the StackComponent with a name "
                "that does."
            )
            raise UnusableError(INVALID_NAME, message)
        if server is not None and server.postgresql is not None:
            ref = server.postgresql.uri_secret_ref
            credential(await secret_named(kubernetes, self.namespace, ref.name), ref.key)
        if server is not None and self._basic is not None:
            secret = await secret_named(kubernetes, self.namespace, self._basic)
            credential(secret, USERNAME)
            need_key(secret, SESSION_KEY)
            if len(credential(secret, PASSWORD)) < SHORTEST_PASSWORD:
                message = (
                    f"MLflow takes no password of less than {SHORTEST_PASSWORD} characters: write a longer one into Secret "
                    f"{self.namespace}/{self._basic}."
                )
                raise UnusableError("InvalidCredentials", message)

    @property
    def keeps_data(self) -> bool:
        """Whether the server's volume outlives this component."""
        return self.config.server is None or self.config.server.deletion_policy == "Retain"

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - it refers to no other component
        """Ask the server for its version, and for something that it must ask its database for.

        One that Cairn has installed must keep an artifact, too.
        """
        uri = self.uri
        try:
            server = MLflow(await self.access(kubernetes))
        except UnusableError as error:
            return Verdict.failed(error.reason, error.message, uri)
        try:
            version = await server.version()
            number = _VERSION.match(version)
            if number is None:
                return Verdict.failed("NotMLflow", f"MLflow at {uri} {NOT_AS_MLFLOW}.", uri)
            if tuple(map(int, number.groups())) < OLDEST_VERSION:
                oldest = ".".join(map(str, OLDEST_VERSION))
                message = f"MLflow at {uri} is of version {version[:64]}; upgrade it to {oldest} or newer."
                return Verdict.failed("VersionNotSupported", message, uri)
            await server.need_database()
            if self._proxies_artifacts:
                await probe_artifacts(server, self.name)
        except ProbeError as error:
            return Verdict.failed("ArtifactsNotKept", f"MLflow at {uri} {error}", uri)
        except RestError as error:
            return Verdict.failed(*explain(error, uri, logs_in=self.config.auth is not None), uri)
        finally:
            await server.close()
        kept = ", and an artifact was written, read back and deleted" if self._proxies_artifacts else ""
        return Verdict.usable(f"MLflow {version} at {uri} answers, and so does its database{kept}.", uri)

    @property
    def _proxies_artifacts(self) -> bool:
        return self.config.server is not None and self.config.server.artifact_access == "Proxied"

    @property
    def uri(self) -> str:
        """Address of the server for the operator and for pods."""
        server = self.config.server
        if server is None:
            return str(self.config.uri)
        return f"http://{release_name(self.name)}.{self.namespace}.svc{path_of(server)}"

    def experiment_name(self, name: str) -> str:
        """Return the name with the prefix of this tracker."""
        return f"{self.config.experiment_prefix}{name}"

    def url_of(self, experiment: str, record: str) -> str:
        """Return the page of a run."""
        return f"{self.config.external_url or self.uri}/#/experiments/{experiment}/runs/{record}"

    def step_access(
        self, experiment_name: str, record: str | None, parent: str | None, context: Mapping[str, str]
    ) -> StepAccess:
        """Return the variables that MLflow's client reads: `start_run` and autologging go into the run that they name.

        A run that the code makes besides has the tags of the run context. The client's own retries would keep a step waiting
        for four minutes per call where the server is away.
        """
        tags = {**context, **({PARENT_TAG: parent} if parent is not None else {})}
        values = {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_RUN_CONTEXT": json.dumps(tags, separators=(",", ":")),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
            "MLFLOW_EXPERIMENT_NAME": experiment_name,
            **({"MLFLOW_RUN_ID": record} if record is not None else {}),
        }
        env = [{"name": name, "value": value} for name, value in values.items()]
        ca = self.config.ca_secret_ref
        if ca is None:
            return StepAccess([*env, *self._log_in()])
        env.append({"name": "MLFLOW_TRACKING_SERVER_CERT_PATH", "value": f"{CA_DIRECTORY}/{ca.key}"})
        volume, mount = mounted(ca, CA_VOLUME, CA_DIRECTORY, ca.key)
        return StepAccess([*env, *self._log_in()], (volume,), (mount,))

    def _log_in(self) -> Iterator[JsonObject]:
        auth = self.config.auth
        if auth is not None and auth.bearer is not None:
            yield from_secret(auth.bearer.name, auth.bearer.key, name="MLFLOW_TRACKING_TOKEN")
        if auth is not None and auth.basic is not None:
            yield from_secret(auth.basic.secret_ref.name, USERNAME, name="MLFLOW_TRACKING_USERNAME")
            yield from_secret(auth.basic.secret_ref.name, PASSWORD, name="MLFLOW_TRACKING_PASSWORD")

    async def client(self, kubernetes: Kubernetes) -> MLflowClient:
        """Return the operator's own way into the server; raises TrackerUnavailableError, ApiError."""
        try:
            return MLflowClient(await self.access(kubernetes), logs_in=self.config.auth is not None)
        except UnusableError as error:
            raise TrackerUnavailableError(error.reason, error.message) from error

    async def access(self, kubernetes: Kubernetes) -> Access:
        """Return how the operator reaches the server; raises UnusableError."""
        ca = self.config.ca_secret_ref
        trusted = None
        if ca is not None:
            trusted = certificates(await secret_named(kubernetes, self.namespace, ca.name), ca.key)
        return Access(self.uri, await self._authorization(kubernetes), trusted)

    async def _authorization(self, kubernetes: Kubernetes) -> str | None:
        auth = self.config.auth
        if auth is None:
            return None
        if auth.bearer is not None:
            secret = await secret_named(kubernetes, self.namespace, auth.bearer.name)
            return f"Bearer {credential(secret, auth.bearer.key)}"
        if auth.basic is None:
            return None
        secret = await secret_named(kubernetes, self.namespace, auth.basic.secret_ref.name)
        pair = f"{credential(secret, USERNAME)}:{credential(secret, PASSWORD)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
