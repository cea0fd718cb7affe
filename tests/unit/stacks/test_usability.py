from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.api.stack import StackSpec
from cairn.clients.kubernetes import CONFIG_MAPS, ApiError
from cairn.stacks.resolution import UsableStack, resolve
from cairn.stacks.usability import REMEMBERED_SECONDS, Usability
from tests.unit.builders import component_body
from tests.unit.clock import ManualClock
from tests.unit.fake_kubernetes import FakeKubernetes

GET_CONFIG_MAP = "get configmaps"
KUBEFLOW = {"orchestrator": {"kubeflow": {"endpoint": "http://ml-pipeline.kubeflow.svc:8888"}}}
STORE = {
    "bucket": "wine",
    "endpoint": "http://s3.storage.svc:9000",
    "credentialsSecretRef": {"name": "s3-credentials"},
}
LAUNCHER = """\
s3: {default: {endpoint: "s3.storage.svc:9000", disableSSL: true, credentials: {fromEnv: true}}}
"""


class KubeflowCluster:
    """A cluster with Kubeflow Pipelines, whose launcher may be configured."""

    def __init__(self) -> None:
        self.kubernetes, self.clock = FakeKubernetes(), ManualClock()
        self.usability = Usability(self.kubernetes, self.clock)

    def has_launcher(self) -> None:
        metadata = {"namespace": "kubeflow", "name": "kfp-launcher"}
        self.kubernetes.add(CONFIG_MAPS, {"metadata": metadata, "data": {"providers": LAUNCHER}})

    async def reason(self, stack: UsableStack) -> str | None:
        problem = await self.usability.problem_with(stack)
        return problem.reason if problem is not None else None

    @property
    def questions(self) -> int:
        """Return how often the launcher's configuration was asked for."""
        return self.kubernetes.requests[GET_CONFIG_MAP]


@pytest.fixture
def cluster() -> KubeflowCluster:
    return KubeflowCluster()


def stack(**store: str) -> UsableStack:
    components = {
        "kubeflow": component_body("kubeflow", KUBEFLOW, ready=True),
        "bucket": component_body("bucket", {"artifactStore": {"s3": {**STORE, **store}}}, ready=True),
    }
    refs = {"orchestratorRef": {"name": "kubeflow"}, "artifactStoreRef": {"name": "bucket"}}
    resolved = resolve("production", StackSpec.model_validate(refs), components.get).stack
    assert resolved is not None
    return resolved


async def test_what_is_wrong_is_asked_for_each_time(cluster: KubeflowCluster):
    before = await cluster.reason(stack())
    cluster.has_launcher()

    assert (before, await cluster.reason(stack())) == ("LauncherNotConfigured", None)


async def test_that_all_is_well_is_asked_for_once_in_a_while(cluster: KubeflowCluster):
    cluster.has_launcher()

    for _ in range(10):
        await cluster.reason(stack())
    asked = cluster.questions
    cluster.clock.advance(REMEMBERED_SECONDS)
    await cluster.reason(stack())

    assert (asked, cluster.questions) == (1, 2)


async def test_a_stack_that_has_changed_is_asked_for_again(cluster: KubeflowCluster):
    cluster.has_launcher()

    before = await cluster.reason(stack())

    assert (before, await cluster.reason(stack(endpoint="http://other.svc:9000"))) == (None, "LauncherNotConfigured")


async def test_an_api_server_that_does_not_tell_is_no_answer(cluster: KubeflowCluster):
    def away(_: JsonObject) -> ApiError:
        return ApiError(503, "ServiceUnavailable", "It is not there.")

    cluster.has_launcher()
    cluster.kubernetes.objections[GET_CONFIG_MAP] = away
    before = await cluster.reason(stack())
    cluster.kubernetes.objections.clear()

    assert (before, await cluster.reason(stack())) == ("ComponentsNotChecked", None)
