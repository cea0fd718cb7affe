"""What every flavor of every component type has: a configuration model, a check, and what it gives to pods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from cairn.api.base import JsonObject, Model
from cairn.api.pod_template import PodTemplate
from cairn.api.workloads import Workload
from cairn.clients.kubernetes import Kubernetes
from cairn.clients.store import Key
from cairn.components.component_types import (
    ARTIFACT_STORE,
    EXPERIMENT_TRACKER,
    MODEL_REGISTRY,
    ORCHESTRATOR,
    STEP_OPERATOR,
)
from cairn.components.errors import ComponentError
from cairn.components.records import TrackerClient
from cairn.components.step_access import StepAccess

Config = TypeVar("Config", bound=Model)


@dataclass(frozen=True)
class Verdict:
    """What a check found: whether the component can be used, and if not, why and what to do."""

    ready: bool | None
    """None where it is not known, or not yet."""
    reason: str
    message: str
    endpoint: str | None = None

    @classmethod
    def usable(cls, message: str, endpoint: str | None = None) -> Verdict:
        """Return the verdict of a check in which everything worked."""
        return cls(ready=True, reason="Checked", message=message, endpoint=endpoint)

    @classmethod
    def failed(cls, reason: str, message: str, endpoint: str | None = None) -> Verdict:
        """Return the verdict of a check that found something wrong; the message ends with the next action."""
        return cls(ready=False, reason=reason, message=message, endpoint=endpoint)

    @classmethod
    def unknown(cls, reason: str, message: str, endpoint: str | None = None) -> Verdict:
        """Return the verdict of a check that could not be made, or not yet."""
        return cls(ready=None, reason=reason, message=message, endpoint=endpoint)


@dataclass(frozen=True)
class Release:
    """What Helm is to keep installed for a component."""

    chart: str
    """Name of a chart that the operator's image carries."""
    values: JsonObject


class Surroundings(Protocol):
    """What a component can see of its namespace."""

    def component(self, name: str) -> Flavor[Any] | None:
        """Return another component; None where there is none, or its spec is not valid."""
        ...

    def readiness(self, name: str) -> JsonObject | None:
        """Return the condition Ready of another component; None where there is none yet."""
        ...

    def version_of_secret(self, name: str) -> str:
        """Return the version of a Secret, which any change of it changes; empty where there is none."""
        ...


class Flavor(ABC, Generic[Config]):
    """One flavor of one component type. What can be written of it is its package's module `config`."""

    type: ClassVar[str]
    flavor: ClassVar[str]
    config_model: ClassVar[type[Model]]
    runs_wait_for_it: ClassVar[bool] = True
    """Whether runs cannot go on while it is not ready."""

    def __init__(self, namespace: str, name: str, config: Config) -> None:
        self.namespace = namespace
        self.name = name
        self.config = config

    @property
    def key(self) -> Key:
        """The component's namespace and name."""
        return self.namespace, self.name

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the Secrets that the configuration refers to; a change of one leads to a new check."""
        return frozenset()

    @property
    def components(self) -> frozenset[str]:
        """Names of the components that the configuration refers to; a change of one leads to a new check."""
        return frozenset()

    def release(self, surroundings: Surroundings) -> Release | None:  # noqa: ARG002 - most have none
        """Return what Helm is to keep installed for the component, if anything; raises ComponentError."""
        return None

    async def check_before_release(self, kubernetes: Kubernetes) -> None:
        """Find out whether what the release reads when it starts can be used; raises ComponentError, ApiError."""

    @property
    def keeps_data(self) -> bool:
        """Whether the volumes of its release outlive the component."""
        return True

    @abstractmethod
    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:
        """Find out, by really doing it, whether the component can be used.

        Every failure that the component's owner can mend becomes a `Verdict` with its own reason. Errors of the
        Kubernetes API itself are raised (ApiError) and lead to another try.
        """


class Orchestrator(Flavor[Config]):
    """Runs the steps."""

    type = ORCHESTRATOR
    runs_elsewhere: ClassVar[bool] = False
    """Whether another system carries runs out, with pods of its own."""

    @property
    @abstractmethod
    def pod_template(self) -> PodTemplate | None:
        """Additions to every step's pod."""

    @property
    @abstractmethod
    def max_parallel_steps(self) -> int | None:
        """How many steps of one run may have a pod of their own at once.

        None where they share one pod, one after another, or where something else decides that.
        """

    @property
    def workload(self) -> Workload:
        """What an attempt of a step is made as."""
        return "Job"

    def incompatibility_with(self, store: ArtifactStore[Any]) -> str | None:
        """Return a sentence, with the next action, that says why it cannot be used with an artifact store, or None."""
        if self.max_parallel_steps is None or not store.node_local:
            return None
        return (
            f"orchestrator {self.name} runs steps on several nodes, but artifact store {store.name} can be used from one node at a "
            "time; use an s3 store, a claim with accessMode ReadWriteMany, or the local orchestrator"
        )

    async def problem_with(self, kubernetes: Kubernetes, store: ArtifactStore[Any]) -> ComponentError | None:  # noqa: ARG002 - it runs steps itself
        """Return why its pods cannot use an artifact store that it is compatible with, or None; raises ApiError."""
        return None

    @property
    def workspace_size(self) -> str | None:
        """Size limit of the volume of a pod that inputs and outputs pass through; None for no limit but the node's."""
        return None


class ExperimentTracker(Flavor[Config]):
    """Records runs."""

    type = EXPERIMENT_TRACKER
    runs_wait_for_it = False

    @property
    @abstractmethod
    def uri(self) -> str:
        """Address of the tracker for the operator and for pods."""

    @abstractmethod
    def experiment_name(self, name: str) -> str:
        """Return what an experiment is called in the tracker."""

    @abstractmethod
    def url_of(self, experiment: str, record: str) -> str:
        """Return where people see a record, by the tracker's IDs."""

    @property
    def artifact_store_of_steps(self) -> str | None:
        """Name of the artifact store that the code of steps itself writes to when it records artifacts; None for none."""
        return None

    @abstractmethod
    def step_access(
        self, experiment_name: str, record: str | None, parent: str | None, context: Mapping[str, str]
    ) -> StepAccess:
        """Return what an attempt's container needs for its code to record into the record of the attempt.

        Where that is not known it records anew, as it does what comes beside it: below `parent`, with the tags `context`.
        """

    @abstractmethod
    async def client(self, kubernetes: Kubernetes) -> TrackerClient:
        """Return the operator's own way into the tracker; raises TrackerUnavailableError, ApiError."""


class ModelRegistry(Flavor[Config]):
    """Keeps versions of models. The operator's way into it is that of its experiment tracker's client."""

    type = MODEL_REGISTRY
    runs_wait_for_it = False

    @property
    @abstractmethod
    def tracker(self) -> str:
        """Name of the experiment tracker that it belongs to, whose records versions are linked to."""


class StepOperator(Flavor[Config]):
    """Runs single steps in a way of its own."""

    type = STEP_OPERATOR

    @property
    @abstractmethod
    def pod_template(self) -> PodTemplate | None:
        """Additions to the pod of a step that asks for this step operator."""


@dataclass(frozen=True)
class StoreAccess:
    """What the containers that fetch and publish artifacts need to reach the store."""

    settings: JsonObject
    """Where the store is, without credentials: the `store` part of the plan that `cairn.step` reads."""
    env: Sequence[JsonObject] = ()
    """Kubernetes EnvVars; credentials by `secretKeyRef` only."""
    volumes: Sequence[JsonObject] = ()
    volume_mounts: Sequence[JsonObject] = field(default_factory=tuple)
    service_account_name: str | None = None
    """ServiceAccount whose identity opens the store, where no credentials are named."""


class StoreUnavailableError(ComponentError):
    """The operator cannot use an artifact store."""


@dataclass(frozen=True)
class Digest:
    """What content amounts to."""

    sha256: str
    """In hex."""
    size: int
    """Bytes."""


class StoreClient(ABC):
    """What the operator itself keeps in an artifact store. Methods raise StoreUnavailableError."""

    @abstractmethod
    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Keep content under a key, in place of what is there."""

    @abstractmethod
    async def get(self, key: str, limit: int) -> bytes | None:
        """Return what is kept under a key, the first `limit` bytes of it; None where nothing is."""

    @abstractmethod
    async def digest(self, key: str) -> Digest | None:
        """Return the digest of what is kept under a key, however much that is; None where nothing is."""

    @abstractmethod
    async def entity_tag(self, key: str) -> str | None:
        """Return the store's tag of what is kept under a key, which any change of it changes; None where nothing is."""

    @abstractmethod
    async def entity_tags_below(self, key: str) -> Mapping[str, str]:
        """Return the tags of what is kept below a key, by the rest of its key."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""


class ArtifactStore(Flavor[Config]):
    """Keeps artifacts."""

    type = ARTIFACT_STORE

    @abstractmethod
    def uri(self, key: str) -> str:
        """Return the URI of a key such as `<namespace>/<pipeline>/<run>/<step>/<artifact>`, the store's prefix included."""

    @property
    @abstractmethod
    def access(self) -> StoreAccess:
        """What fetch and publish need to reach the store."""

    @property
    @abstractmethod
    def node_local(self) -> bool:
        """Whether the store can be used from one node at a time only."""

    @property
    def code_access(self) -> StepAccess:
        """What the code of a step needs to use the store itself, with its vendor's library."""
        return StepAccess()

    @property
    def serves_uris(self) -> bool:
        """Whether whoever has credentials can fetch an artifact by its URI, also outside of the cluster's pods."""
        return False

    @property
    def open_to_operator(self) -> bool:
        """Whether the operator itself can read and write the store, not only pods."""
        return False

    async def client(self, kubernetes: Kubernetes) -> StoreClient:
        """Return the operator's own way into a store that is open to it; raises StoreUnavailableError."""
        raise NotImplementedError(f"{self.flavor} is not open to the operator")
