from __future__ import annotations

from collections.abc import Sequence

import pytest

from cairn import uninstall
from cairn.api.base import FINALIZER, JsonObject
from cairn.clients.kubernetes import (
    JSON,
    METADATA_LIST_ONLY,
    PIPELINE_RUNS,
    PODS,
    STACK_COMPONENTS,
    STACKS,
    ConflictError,
    ForbiddenError,
    Kubernetes,
    NotFoundError,
    Resource,
)
from cairn.uninstall import DEPLOYMENTS, Operator, StillHeldError, release, stop

OPERATOR = Operator("cairn-system", "cairn", "app.kubernetes.io/component=operator")


class FakeKubernetes(Kubernetes):
    """What `uninstall` uses of the API: merge patches bound to a resource version, and lists."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Resource, str, str], JsonObject] = {}
        self.pods: list[int] = [0]
        """How many pods of the operator each list of pods shows; the last one stays."""
        self.replicas: int | None = 1
        """None: the Deployment is not there."""
        self.accepts: set[str] = set()
        self.conflicts = 0
        self.absent: set[Resource] = set()
        self.forbidden: set[str | None] = set()
        self.puts_finalizers_back = False

    def add(
        self, resource: Resource, name: str, *, namespace: str = "ml", finalizers: Sequence[str] = (FINALIZER,)
    ) -> None:
        metadata: JsonObject = {"name": name, "namespace": namespace, "resourceVersion": "1"}
        if finalizers:
            metadata["finalizers"] = list(finalizers)
        self.objects[resource, namespace, name] = {"metadata": metadata}

    def finalizers(self, resource: Resource, name: str, namespace: str = "ml") -> list[str]:
        return self.objects[resource, namespace, name]["metadata"].get("finalizers", [])

    async def list(
        self, resource: Resource, namespace: str | None, *, selector: str = "", fields: str = "", accept: str = JSON
    ) -> tuple[list[JsonObject], str]:
        if selector == OPERATOR.pods:
            assert (resource, namespace) == (PODS, OPERATOR.namespace)
            left = self.pods.pop(0) if len(self.pods) > 1 else self.pods[0]
            return [{}] * left, "1"
        assert selector == ("app.kubernetes.io/managed-by=cairn" if resource is PODS else "")
        self.accepts.add(accept)
        if resource in self.absent:
            raise NotFoundError(404, "NotFound", "the server could not find the requested resource")
        if namespace in self.forbidden:
            raise ForbiddenError(403, "Forbidden", f"cannot list resource in the namespace {namespace}")
        return [
            item for (kind, where, _), item in self.objects.items() if kind is resource and namespace in {None, where}
        ], "1"

    async def merge(self, resource: Resource, namespace: str, name: str, body: JsonObject) -> JsonObject:
        if resource is DEPLOYMENTS:
            assert (namespace, name) == (OPERATOR.namespace, f"{OPERATOR.deployment}/scale")
            if self.replicas is None:
                raise NotFoundError(404, "NotFound", "no such Deployment")
            self.replicas = body["spec"]["replicas"]
            return {}
        metadata = self.objects[resource, namespace, name]["metadata"]
        assert body["metadata"]["resourceVersion"] == metadata["resourceVersion"]
        if self.conflicts:
            self.conflicts -= 1
            raise ConflictError(409, "Conflict", "the object has been modified")
        if not self.puts_finalizers_back:
            metadata["finalizers"] = body["metadata"]["finalizers"]
        return {}


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


async def test_the_operator_is_scaled_to_zero_and_its_pod_awaited(kubernetes: FakeKubernetes):
    kubernetes.pods = [1, 1, 0]

    await stop(kubernetes, OPERATOR, pause=0)

    assert kubernetes.replicas == 0
    assert kubernetes.pods == [0]


async def test_an_operator_that_is_gone_is_stopped(kubernetes: FakeKubernetes):
    kubernetes.replicas = None

    await stop(kubernetes, OPERATOR, pause=0)


async def test_a_pod_on_a_dead_node_does_not_hold_up_the_rest(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(uninstall, "STOP_SECONDS", 0)
    kubernetes.pods = [1]

    await stop(kubernetes, OPERATOR, pause=0)

    assert "still there" in caplog.text


async def test_the_finalizer_is_taken_from_every_kind_and_namespace_and_others_stay(kubernetes: FakeKubernetes):
    kubernetes.add(STACK_COMPONENTS, "bucket", finalizers=["example.com/a", FINALIZER, "example.com/b"])
    kubernetes.add(STACKS, "production", namespace="research")
    for number in range(50):
        kubernetes.add(PIPELINE_RUNS, f"wine-{number}")
    kubernetes.add(PIPELINE_RUNS, "free", finalizers=())

    await release(kubernetes, [None], pause=0)

    assert kubernetes.finalizers(STACK_COMPONENTS, "bucket") == ["example.com/a", "example.com/b"]
    assert kubernetes.finalizers(STACKS, "production", "research") == []
    assert all(kubernetes.finalizers(PIPELINE_RUNS, f"wine-{number}") == [] for number in range(50))
    assert kubernetes.accepts == {METADATA_LIST_ONLY}


async def test_only_the_operator_s_namespaces_are_touched(kubernetes: FakeKubernetes):
    kubernetes.add(STACKS, "mine", namespace="ml")
    kubernetes.add(STACKS, "another-operator-s", namespace="research")

    await release(kubernetes, ["ml"], pause=0)

    assert kubernetes.finalizers(STACKS, "mine", "ml") == []
    assert kubernetes.finalizers(STACKS, "another-operator-s", "research") == [FINALIZER]


async def test_an_object_that_changed_meanwhile_is_read_again(kubernetes: FakeKubernetes):
    kubernetes.add(STACKS, "production")
    kubernetes.conflicts = 2

    await release(kubernetes, [None], pause=0)

    assert kubernetes.finalizers(STACKS, "production") == []


async def test_crds_that_are_gone_hold_nothing(kubernetes: FakeKubernetes):
    kubernetes.absent = {STACKS, STACK_COMPONENTS, PIPELINE_RUNS}

    await release(kubernetes, [None], pause=0)


async def test_a_namespace_that_is_gone_is_left_out(kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture):
    kubernetes.add(STACKS, "production", namespace="ml")
    kubernetes.forbidden = {"gone"}

    await release(kubernetes, ["gone", "ml"], pause=0)

    assert kubernetes.finalizers(STACKS, "production") == []
    assert "Left out stacks of namespace gone" in caplog.text


async def test_having_no_permission_at_all_fails(kubernetes: FakeKubernetes):
    kubernetes.forbidden = {None}

    with pytest.raises(ForbiddenError):
        await release(kubernetes, [None], pause=0)


async def test_finalizers_that_come_back_fail(kubernetes: FakeKubernetes):
    kubernetes.add(STACKS, "production")
    kubernetes.puts_finalizers_back = True

    with pytest.raises(StillHeldError, match="stop what puts it there"):
        await release(kubernetes, [None], pause=0)


def test_the_command_line_of_the_hook(monkeypatch: pytest.MonkeyPatch):
    given: list[object] = []

    async def record(operator: Operator, namespaces: Sequence[str | None]) -> None:
        given.append((operator, namespaces))

    monkeypatch.setattr(uninstall, "_connect_and_uninstall", record)
    options = ["--namespace=cairn-system", "--deployment=cairn", f"--pods={OPERATOR.pods}"]

    uninstall.main(options)
    uninstall.main([*options, "--objects-in=ml", "--objects-in=research"])

    assert given == [(OPERATOR, [None]), (OPERATOR, ["ml", "research"])]
