"""Objects of a release that somebody has changed are found."""

from __future__ import annotations

from typing import Any

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import DEPLOYMENTS, InvalidError, NotFoundError, Resource
from cairn.components.releases.drift import drift
from tests.unit.fake_kubernetes import FakeKubernetes, copied

MANIFEST: JsonObject = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"namespace": "ml", "name": "tracking-server"},
    "spec": {"replicas": 1, "template": {"spec": {"serviceAccountName": "tracking"}}},
}


class Applying(FakeKubernetes):
    """An API server that merges what is applied into what is there."""

    async def apply_dry_run(self, resource: Resource, namespace: str, body: JsonObject) -> JsonObject:
        live = await self.get(resource, namespace, body["metadata"]["name"])
        return {**merged(live, body), "metadata": {**live["metadata"], "managedFields": [], "resourceVersion": "9"}}


def merged(live: Any, body: Any) -> Any:
    if isinstance(live, dict) and isinstance(body, dict):
        return {**live, **{key: merged(live.get(key), value) for key, value in body.items()}}
    return body


def deployed(kubernetes: FakeKubernetes, **spec: Any) -> None:
    body = copied(MANIFEST)
    body["spec"].update({"progressDeadlineSeconds": 600, **spec})
    kubernetes.add(DEPLOYMENTS, {**body, "status": {"replicas": 1}})


async def test_what_the_api_server_has_added_is_no_drift():
    kubernetes = Applying()
    deployed(kubernetes)

    assert await drift(kubernetes, "ml", [MANIFEST]) == []


async def test_a_field_that_was_changed_is_named():
    kubernetes = Applying()
    deployed(kubernetes, replicas=0)

    assert await drift(kubernetes, "ml", [MANIFEST]) == ["Deployment tracking-server has another spec.replicas"]


async def test_an_object_that_is_gone_is_named():
    assert await drift(Applying(), "ml", [MANIFEST]) == ["Deployment tracking-server is missing"]


async def test_an_object_that_is_on_its_way_out_is_named():
    kubernetes = Applying()
    body = copied(MANIFEST)
    body["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    kubernetes.add(DEPLOYMENTS, body)

    assert await drift(kubernetes, "ml", [MANIFEST]) == ["Deployment tracking-server is being deleted"]


async def test_an_object_that_goes_between_two_questions_is_missing():
    kubernetes = Applying()
    deployed(kubernetes)
    kubernetes.objections["get deployments"] = lambda _: NotFoundError(404, "NotFound", "not found")

    assert await drift(kubernetes, "ml", [MANIFEST]) == ["Deployment tracking-server is missing"]


async def test_an_object_that_cannot_be_compared_is_left_alone():
    class Refusing(Applying):
        """An API server with a webhook that knows no dry run."""

        async def apply_dry_run(self, resource: Resource, namespace: str, body: JsonObject) -> JsonObject:
            raise InvalidError(400, "BadRequest", "admission webhook does not support dry run")

    kubernetes = Refusing()
    deployed(kubernetes, replicas=0)

    assert await drift(kubernetes, "ml", [MANIFEST]) == []
