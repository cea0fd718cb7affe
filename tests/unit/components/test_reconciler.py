from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from cairn.api.base import JsonObject
from cairn.api.labels import INSTANCE_LABEL
from cairn.clients.kubernetes import SECRETS, STACK_COMPONENTS, STACKS, ApiError, ForbiddenError, Kubernetes
from cairn.components import reconciler as module
from cairn.components.artifact_store.s3.store import S3
from cairn.components.base import Verdict
from cairn.components.experiment_tracker.mlflow.tracker import MLflowTracker
from cairn.components.model_registry.mlflow.registry import MLflowRegistry
from cairn.components.reconciler import ComponentReconciler
from cairn.components.releases.naming import labels_of
from tests.unit.builders import BUCKET_SPEC, MLFLOW_SPEC, NOW, component_body, secret_body, stack_body
from tests.unit.fake_helm import FakeHelm, release_keeper
from tests.unit.fake_kubernetes import World

FINALIZER = "cairn.dev/finalizer"
MLFLOW = ("ml", "mlflow")
GOOD = Verdict.usable("It works.", "https://s3.example.com")
BAD = Verdict.failed("BucketNotFound", "There is no bucket; create it.")


class ComponentWorld(World):
    """A cluster in which the bucket's checks find what the test says, and time passes when the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = GOOD
        self.error: ApiError | None = None
        self.checks = 0
        self.seconds = 1000.0
        self.helm = FakeHelm(self.kubernetes)
        self.releases = release_keeper(self.cluster, self.helm)
        self.reconciler = ComponentReconciler(self.cluster, self.releases, interval=300, retry_interval=10)

    async def check(self, _: Kubernetes) -> Verdict:
        self.checks += 1
        if self.error is not None:
            raise self.error
        return self.verdict

    async def reconcile(self, name: str = "bucket") -> float | None:
        self.see()
        return await self.reconciler.reconcile(("ml", name))

    def ready(self) -> tuple[str, str]:
        condition = self.condition(STACK_COMPONENTS, "bucket", "Ready")
        return condition["status"], condition["reason"]

    @property
    def status(self) -> JsonObject:
        return self.kubernetes.one(STACK_COMPONENTS, "bucket")["status"]

    def secret(self, version: str) -> None:
        metadata = {"namespace": "ml", "name": "s3-credentials", "annotations": {"version": version}}
        self.apply(SECRETS, {"metadata": metadata})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, no_jitter: None) -> ComponentWorld:
    world = ComponentWorld()
    monkeypatch.setattr(S3, "check", lambda _self, kubernetes, _surroundings: world.check(kubernetes))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: world.seconds))
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC))
    return world


async def test_a_component_says_what_its_check_found(world: ComponentWorld):
    await world.reconcile()

    assert world.ready() == ("True", "Checked")
    status = world.status
    assert (status["type"], status["flavor"], status["endpoint"]) == ("artifactStore", "s3", "https://s3.example.com")
    assert status["observedGeneration"] == 1
    assert "lastCheckedTime" in status
    assert world.events() == [("Normal", "Checked")]


async def test_a_failure_is_told_with_its_reason(world: ComponentWorld):
    world.verdict = BAD

    await world.reconcile()

    assert world.ready() == ("False", "BucketNotFound")
    assert world.events() == [("Warning", "BucketNotFound")]


async def test_a_component_that_is_found_broken_and_mended_tells_both(world: ComponentWorld):
    for verdict in (GOOD, BAD, BAD, GOOD):
        world.verdict = verdict
        world.seconds += 300
        await world.reconcile()

    assert world.events() == [("Normal", "Checked"), ("Warning", "BucketNotFound"), ("Normal", "Checked")]


async def test_what_helm_does_not_tell_is_a_warning(world: ComponentWorld):
    world.verdict = Verdict.unknown("HelmFailed", "Look at the operator's log.")

    await world.reconcile()

    assert world.events() == [("Warning", "HelmFailed")]


async def test_a_spec_that_no_check_can_find_usable_is_stalled_until_it_is_another(world: ComponentWorld):
    world.apply(STACK_COMPONENTS, component_body("bucket", {"artifactStore": {"tape": {}}}))
    await world.reconcile()
    stalled = world.condition(STACK_COMPONENTS, "bucket", "Stalled")

    status = world.kubernetes.one(STACK_COMPONENTS, "bucket")["status"]
    world.apply(STACK_COMPONENTS, {**component_body("bucket", BUCKET_SPEC, generation=2), "status": status})
    await world.reconcile()

    assert (stalled["status"], stalled["reason"]) == ("True", "UnknownFlavor")
    assert world.condition(STACK_COMPONENTS, "bucket", "Stalled") is None
    assert world.events() == [("Warning", "UnknownFlavor"), ("Normal", "Checked")]


class TestWhenItIsChecked:
    async def test_not_before_the_next_check_is_due(self, world: ComponentWorld):
        assert await world.reconcile() == 300
        world.seconds += 299
        assert await world.reconcile() == 1

        assert world.checks == 1

    async def test_when_the_next_check_is_due(self, world: ComponentWorld):
        await world.reconcile()
        world.seconds += 300

        await world.reconcile()

        assert world.checks == 2

    async def test_sooner_where_it_is_not_ready(self, world: ComponentWorld):
        world.verdict = BAD

        assert await world.reconcile() == 10

    async def test_at_once_when_the_spec_changes(self, world: ComponentWorld):
        await world.reconcile()
        world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, generation=2))

        await world.reconcile()

        assert world.checks == 2
        assert world.status["observedGeneration"] == 2

    async def test_at_once_when_a_secret_that_it_names_appears_or_is_rotated(self, world: ComponentWorld):
        await world.reconcile()
        world.secret("1")
        await world.reconcile()
        world.secret("2")
        await world.reconcile()

        assert world.checks == 3

    async def test_not_when_its_own_status_or_its_labels_change(self, world: ComponentWorld):
        await world.reconcile()
        world.apply(
            STACK_COMPONENTS, {**component_body("bucket", BUCKET_SPEC, labels={"a": "b"}), "status": world.status}
        )

        await world.reconcile()

        assert world.checks == 1

    async def test_anew_where_it_was_deleted_and_made_again(self, world: ComponentWorld):
        await world.reconcile()
        world.kubernetes.remove(STACK_COMPONENTS, "ml", "bucket")
        await world.reconcile()
        world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC))

        await world.reconcile()

        assert world.checks == 2


async def test_a_check_that_finds_the_same_is_not_written_again(world: ComponentWorld):
    await world.reconcile()
    written = world.kubernetes.requests["patch-status stackcomponents"]
    world.seconds += 300

    await world.reconcile()

    assert world.checks == 2
    assert world.kubernetes.requests["patch-status stackcomponents"] == written
    assert len(world.events()) == 1


def test_it_knows_which_secrets_it_uses(world: ComponentWorld):
    assert world.reconciler.uses_secret(("ml", "bucket"), "s3-credentials")
    assert not world.reconciler.uses_secret(("ml", "bucket"), "other")
    assert not world.reconciler.uses_secret(("ml", "gone"), "s3-credentials")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"artifactStore": {"tape": {}}}, "UnknownFlavor"),
        ({}, "UnknownFlavor"),
        ({"artifactStore": {"s3": {"bucket": "ml-artifacts", "colour": "green"}}}, "InvalidSpec"),
    ],
)
async def test_a_spec_that_this_version_does_not_understand(world: ComponentWorld, spec: JsonObject, reason: str):
    world.apply(STACK_COMPONENTS, component_body("bucket", spec))

    await world.reconcile()

    assert world.ready() == ("False", reason)
    assert world.checks == 0


async def test_a_check_that_rbac_does_not_allow_leaves_it_unknown(world: ComponentWorld):
    await world.reconcile()
    world.seconds += 300
    world.error = ForbiddenError(403, "Forbidden", "no access to secrets")

    with pytest.raises(ForbiddenError):
        await world.reconcile()

    assert world.ready() == ("Unknown", "CheckFailed")
    assert world.events()[-1] == ("Warning", "CheckFailed")


async def test_an_api_server_that_is_away_for_a_moment_changes_nothing(world: ComponentWorld):
    await world.reconcile()
    world.seconds += 300
    world.error = ApiError(503, "ServiceUnavailable", "starting")

    with pytest.raises(ApiError):
        await world.reconcile()

    assert world.ready() == ("True", "Checked")


class TestUse:
    async def test_a_component_names_the_stacks_that_use_it(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        world.apply(STACKS, stack_body("alpha"))
        world.apply(STACKS, stack_body("other", store="elsewhere"))

        await world.reconcile()

        assert world.status["usedBy"] == ["alpha", "production"]

    async def test_a_component_that_no_stack_uses_any_more_names_none(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        await world.reconcile()
        world.kubernetes.remove(STACKS, "ml", "production")

        await world.reconcile()

        assert "usedBy" not in world.status


class TestDeletion:
    def deleted(self, world: ComponentWorld) -> None:
        world.apply(
            STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, finalizers=[FINALIZER], deletionTimestamp=NOW)
        )

    async def test_a_component_gets_a_finalizer_first(self, world: ComponentWorld):
        await world.reconcile()

        assert world.kubernetes.one(STACK_COMPONENTS, "bucket")["metadata"]["finalizers"] == [FINALIZER]

    async def test_a_component_that_no_stack_uses_goes(self, world: ComponentWorld):
        self.deleted(world)

        await world.reconcile()

        assert world.kubernetes.all(STACK_COMPONENTS) == []
        assert world.checks == 0

    async def test_a_component_waits_for_the_stacks_that_use_it_and_names_them(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        self.deleted(world)

        await world.reconcile()

        condition = world.condition(STACK_COMPONENTS, "bucket", "InUse")
        assert condition["message"] == ("Deletion waits for the Stacks that use it: production; change or delete them.")
        assert ("Warning", "UsedByStacks") in world.events()

    async def test_a_component_that_waits_to_go_is_still_checked(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        self.deleted(world)
        world.verdict = BAD

        assert await world.reconcile() == 10
        assert world.ready() == ("False", "BucketNotFound")

    async def test_a_component_that_waits_is_told_of_once(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        self.deleted(world)
        await world.reconcile()
        before = world.kubernetes.requests["patch-status stackcomponents"]

        await world.reconcile()

        assert world.kubernetes.requests["patch-status stackcomponents"] == before
        assert world.events().count(("Warning", "UsedByStacks")) == 1

    async def test_a_component_does_not_wait_for_a_stack_that_vanished_unseen(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        self.deleted(world)
        world.kubernetes.remove(STACKS, "ml", "production")

        await world.reconciler.reconcile(("ml", "bucket"))

        assert world.kubernetes.all(STACK_COMPONENTS) == []

    async def test_a_component_goes_with_the_last_stack_that_uses_it(self, world: ComponentWorld):
        world.apply(STACKS, stack_body("production"))
        self.deleted(world)
        await world.reconcile()
        world.kubernetes.remove(STACKS, "ml", "production")

        await world.reconcile()

        assert world.kubernetes.all(STACK_COMPONENTS) == []


class TestRelease:
    """Of a tracker whose server Cairn installs."""

    @pytest.fixture
    def world(self, monkeypatch: pytest.MonkeyPatch) -> ComponentWorld:
        world = ComponentWorld()
        monkeypatch.setattr(MLflowTracker, "check", lambda _self, kubernetes, _surroundings: world.check(kubernetes))
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: world.seconds))
        server = {"artifactStoreRef": {"name": "bucket"}}
        world.apply(STACK_COMPONENTS, component_body("mlflow", {"experimentTracker": {"mlflow": {"server": server}}}))
        world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC))
        world.secret("1")
        return world

    async def reconcile(self, world: ComponentWorld) -> tuple[str, str]:
        """Reconcile the tracker until Helm has nothing to do; return status and reason of Ready."""
        await world.reconcile("mlflow")
        while world.releases.is_busy(MLFLOW):
            for _ in range(20):
                await asyncio.sleep(0)
            await world.reconcile("mlflow")
        return self.ready(world)

    def ready(self, world: ComponentWorld) -> tuple[str, str]:
        condition = world.condition(STACK_COMPONENTS, "mlflow", "Ready")
        return condition["status"], condition["reason"]

    async def test_what_helm_does_is_told_and_the_check_follows(self, world: ComponentWorld):
        await world.reconcile("mlflow")
        assert (self.ready(world), world.checks) == (("Unknown", "HelmInstalling"), 0)
        assert world.condition(STACK_COMPONENTS, "mlflow", "Reconciling")["reason"] == "HelmInstalling"

        assert await self.reconcile(world) == ("True", "Checked")
        assert world.condition(STACK_COMPONENTS, "mlflow", "Reconciling") is None
        assert world.events() == [("Normal", "HelmInstalling"), ("Normal", "Checked")]

    async def test_a_failure_keeps_the_address_that_is_known(self, world: ComponentWorld):
        await self.reconcile(world)
        world.helm.fails["refuses"] = "values don't meet the specifications of the schema"
        world.secret("2")

        assert await self.reconcile(world) == ("False", "HelmUpgradeFailed")
        assert world.kubernetes.one(STACK_COMPONENTS, "mlflow")["status"]["endpoint"] == GOOD.endpoint

    async def test_a_failure_tells_whether_what_was_there_before_serves(self, world: ComponentWorld):
        await self.reconcile(world)
        world.helm.fails["refuses"] = "values don't meet the specifications of the schema"
        world.verdict = BAD
        world.secret("2")

        await self.reconcile(world)

        message = world.condition(STACK_COMPONENTS, "mlflow", "Ready")["message"]
        assert message.endswith("Besides, BucketNotFound: There is no bucket; create it.")

    async def test_a_check_that_fails_is_told_with_the_pod_that_does_not_serve(self, world: ComponentWorld):
        metadata = {
            "name": "server-1",
            "namespace": "ml",
            "uid": "1",
            "resourceVersion": "1",
            "labels": labels_of("mlflow") | {INSTANCE_LABEL: "mlflow-server"},
            "creationTimestamp": "2026-01-02T03:04:05Z",
        }
        waits = {"name": "server", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        world.cluster.release_pods.put({"metadata": metadata, "spec": {}, "status": {"containerStatuses": [waits]}})
        world.verdict = BAD

        await self.reconcile(world)

        message = world.condition(STACK_COMPONENTS, "mlflow", "Ready")["message"]
        assert message == "There is no bucket; create it. Its pod server-1: container server waits: CrashLoopBackOff."

    async def test_a_secret_of_its_bucket_that_is_rotated_is_an_upgrade(self, world: ComponentWorld):
        await self.reconcile(world)
        world.secret("2")

        await self.reconcile(world)

        assert world.helm.asked == ["upgrade", "upgrade"]

    async def test_without_its_bucket_nothing_is_changed(self, world: ComponentWorld):
        await self.reconcile(world)
        world.kubernetes.remove(STACK_COMPONENTS, "ml", "bucket")

        assert await self.reconcile(world) == ("False", "ArtifactStoreNotFound")
        assert world.helm.asked == ["upgrade"]

    async def test_with_a_secret_that_its_server_cannot_start_with_nothing_is_changed(self, world: ComponentWorld):
        await self.reconcile(world)
        world.apply(SECRETS, secret_body("login", username="admin"))
        body = world.kubernetes.one(STACK_COMPONENTS, "mlflow")
        body["spec"]["experimentTracker"]["mlflow"]["auth"] = {"basic": {"secretRef": {"name": "login"}}}
        body["metadata"]["generation"] += 1
        world.apply(STACK_COMPONENTS, body)

        assert await self.reconcile(world) == ("False", "SecretKeyMissing")
        assert world.helm.asked == ["upgrade"]

    async def test_it_is_looked_at_when_an_object_of_it_has_changed(self, world: ComponentWorld):
        await self.reconcile(world)
        checks = world.checks
        await world.reconcile("mlflow")
        assert world.checks == checks

        world.reconciler.release_changed(MLFLOW)
        await world.reconcile("mlflow")

        assert world.checks == checks + 1

    async def test_a_component_goes_when_its_release_is_gone(self, world: ComponentWorld):
        await self.reconcile(world)
        body = world.kubernetes.one(STACK_COMPONENTS, "mlflow")
        body["metadata"] |= {"deletionTimestamp": NOW, "generation": 2}
        world.apply(STACK_COMPONENTS, body)
        world.helm.hold()

        await world.reconcile("mlflow")
        assert self.ready(world) == ("Unknown", "HelmUninstalling")

        world.helm.released.set()
        for _ in range(20):
            await asyncio.sleep(0)
        await world.reconcile("mlflow")
        assert ("stackcomponents", "ml", "mlflow") not in world.kubernetes.objects


async def test_a_component_is_checked_again_when_one_changes_that_it_refers_to(
    world: ComponentWorld, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(MLflowRegistry, "check", lambda _self, kubernetes, _surroundings: world.check(kubernetes))
    registry = {"modelRegistry": {"mlflow": {"trackerRef": {"name": "mlflow"}}}}
    world.apply(STACK_COMPONENTS, component_body("models", registry))
    world.apply(STACK_COMPONENTS, component_body("mlflow", MLFLOW_SPEC, ready=True))
    await world.reconcile("models")
    await world.reconcile("models")
    assert world.checks == 1
    assert world.reconciler.depends_on(("ml", "models"), "mlflow")

    world.apply(STACK_COMPONENTS, component_body("mlflow", MLFLOW_SPEC, ready=False))
    await world.reconcile("models")

    assert world.checks == 2
