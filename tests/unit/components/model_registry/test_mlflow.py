"""The model registry of an MLflow server: its check, and what is kept in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import STACK_COMPONENTS
from cairn.clients.rest import Access
from cairn.components.experiment_tracker.mlflow.client import MLflowClient
from cairn.components.model_registry.mlflow.config import MLflowRegistryConfig
from cairn.components.model_registry.mlflow.registry import MLflowRegistry
from cairn.components.model_versions import ModelVersion
from cairn.components.neighbours import Neighbours
from cairn.components.records import TrackerError, TrackerUnavailableError
from tests.unit.builders import BUCKET_SPEC, component_body
from tests.unit.fake_kubernetes import World
from tests.unit.fake_mlflow import FakeMLflow

VERSION = ModelVersion(
    "wine", "s3://b/ml/wine/wine-1/train/model", "sha256:1", "run-1", "The first.", {"cairn.run": "wine-1"}
)


@pytest.fixture
async def server() -> AsyncIterator[FakeMLflow]:
    async with FakeMLflow() as server:
        yield server


@pytest.fixture
async def client(server: FakeMLflow) -> AsyncIterator[MLflowClient]:
    server.runs["run-1"] = {}
    client = MLflowClient(Access(server.uri), logs_in=False)
    yield client
    await client.close()


class TestCheck:
    async def check(self, spec: JsonObject | None, *, ready: bool | None = True) -> tuple[bool | None, str, str]:
        world = World()
        if spec is not None:
            world.apply(STACK_COMPONENTS, component_body("mlflow", spec, ready=ready))
        config = MLflowRegistryConfig.model_validate({"trackerRef": {"name": "mlflow"}})
        registry = MLflowRegistry("ml", "models", config)
        assert registry.components == {"mlflow"}
        verdict = await registry.check(world.kubernetes, Neighbours(world.cluster, "ml"))
        return verdict.ready, verdict.reason, verdict.message

    async def test_a_registry_that_answers_is_ready(self, server: FakeMLflow):
        ready, _, _ = await self.check({"experimentTracker": {"mlflow": {"uri": server.uri}}})

        assert ready

    @pytest.mark.parametrize("of_tracker", [False, None])
    async def test_it_waits_for_its_tracker(self, server: FakeMLflow, of_tracker: bool | None):
        server.broken = 503
        spec = {"experimentTracker": {"mlflow": {"uri": server.uri}}}

        ready, reason, message = await self.check(spec, ready=of_tracker)

        assert (ready, reason) == (None, "TrackerNotReady")
        assert "waits for the tracker mlflow" in message

    async def test_a_tracker_that_could_not_be_upgraded_keeps_a_registry_that_answers(self, server: FakeMLflow):
        ready, _, _ = await self.check({"experimentTracker": {"mlflow": {"uri": server.uri}}}, ready=False)

        assert ready

    async def test_a_server_that_fails_is_told_as_its_tracker_tells_it(self, server: FakeMLflow):
        server.broken = 503

        ready, reason, _ = await self.check({"experimentTracker": {"mlflow": {"uri": server.uri}}})

        assert (ready, reason) == (False, "ServerError")

    async def test_a_secret_that_is_missing_is_told(self, server: FakeMLflow):
        auth = {"basic": {"secretRef": {"name": "missing"}}}

        _, reason, _ = await self.check({"experimentTracker": {"mlflow": {"uri": server.uri, "auth": auth}}})

        assert reason == "SecretNotFound"

    @pytest.mark.parametrize(("spec", "found"), [(None, "there is none"), (BUCKET_SPEC, "it is artifactStore.s3")])
    async def test_a_tracker_that_is_none_is_told(self, spec: JsonObject | None, found: str):
        ready, reason, message = await self.check(spec)

        assert (ready, reason) == (False, "TrackerNotFound")
        assert found in message


class TestVersions:
    async def test_a_version_comes_from_its_artifact_and_is_linked_to_its_run(
        self, client: MLflowClient, server: FakeMLflow
    ):
        assert await client.registry.register(VERSION) == "1"

        (version,) = server.models["wine"]
        assert (version["source"], version["run_id"], version["description"]) == (VERSION.uri, "run-1", "The first.")
        assert {"key": "cairn.run", "value": "wine-1"} in version["tags"]

    async def test_the_same_again_is_the_same_version(self, client: MLflowClient, server: FakeMLflow):
        await client.registry.register(VERSION)

        assert await client.registry.register(VERSION) == "1"

    async def test_another_artifact_at_the_same_place_is_another_version(self, client: MLflowClient):
        await client.registry.register(VERSION)

        other = ModelVersion(VERSION.model, VERSION.uri, "sha256:2", None)
        assert await client.registry.register(other) == "2"

    async def test_an_alias_moves(self, client: MLflowClient, server: FakeMLflow):
        for number in ("1", "2"):
            await client.registry.set_alias("wine", "champion", number)

        assert server.aliases == {("wine", "champion"): "2"}

    @pytest.mark.parametrize(("version", "left"), [("1", {}), ("2", {("wine", "pending"): "1"})])
    async def test_an_alias_is_taken_from_the_version_that_is_named_only(
        self, client: MLflowClient, server: FakeMLflow, version: str, left: dict[tuple[str, str], str]
    ):
        server.aliases["wine", "pending"] = "1"

        await client.registry.drop_alias("wine", "pending", version)

        assert server.aliases == left

    async def test_an_alias_that_nothing_bears_is_no_trouble(self, client: MLflowClient):
        await client.registry.drop_alias("wine", "pending", "1")

    async def test_who_has_approved_a_version_is_known_while_it_bears_the_alias(self, client: MLflowClient):
        await client.registry.register(VERSION)
        await client.registry.set_alias("wine", "champion", "1")
        assert await client.registry.approver("wine", "champion", "1") is None

        tags = {"cairn.approval": "Approved", "cairn.approval.by": "alice"}
        await client.registry.tag_version("wine", "1", tags)

        assert await client.registry.approver("wine", "champion", "1") == "alice"
        assert await client.registry.approver("wine", "champion", "2") is None
        assert await client.registry.approver("wine", "challenger", "1") is None

    async def test_tags_are_added(self, client: MLflowClient, server: FakeMLflow):
        await client.registry.register(VERSION)

        await client.registry.tag_version(VERSION.model, "1", {"cairn.approval": "Approved"})

        assert {"key": "cairn.approval", "value": "Approved"} in server.models["wine"][0]["tags"]

    async def test_a_refusal_is_a_tracker_error(self, client: MLflowClient, server: FakeMLflow):
        server.broken = 400

        with pytest.raises(TrackerError):
            await client.registry.register(VERSION)

    async def test_a_model_of_somebody_else_says_nothing_of_others(self, client: MLflowClient, server: FakeMLflow):
        server.broken = 403

        with pytest.raises(TrackerError) as raised:
            await client.registry.register(VERSION)

        assert not isinstance(raised.value, TrackerUnavailableError)
        assert raised.value.reason == "AccessDenied"

    async def test_a_server_that_fails_is_away_for_all(self, client: MLflowClient, server: FakeMLflow):
        server.broken = 503

        with pytest.raises(TrackerUnavailableError):
            await client.registry.register(VERSION)
