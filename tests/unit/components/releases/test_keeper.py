"""Releases are kept beside the reconciles, and what becomes of them is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.clients.helm import ReleaseStatus
from cairn.clients.kubernetes import CLAIMS, PODS
from cairn.clients.store import Key
from cairn.components.base import Release, Verdict
from cairn.components.releases.keeper import COMPARE_SECONDS, PROCESSES, PROCESSES_OF_NAMESPACE
from cairn.components.releases.naming import STATE_LABEL, labels_of, state_label
from cairn.components.releases.plan import FIRST_BACKOFF_SECONDS
from tests.unit.clock import ManualClock
from tests.unit.fake_helm import FakeHelm, release_keeper, statuses_of
from tests.unit.fake_kubernetes import World

COMPONENT = ("ml", "tracking")
RELEASE = "tracking-server"
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": RELEASE, "namespace": "ml"}}
OLD, NEW = Release("mlflow", {"replicas": 1}), Release("mlflow", {"replicas": 2})


class ReleaseWorld(World):
    """A cluster whose Helm does what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.helm = FakeHelm(self.kubernetes)
        self.start_anew()

    async def keep(self, release: Release) -> Verdict | None:
        """Look at a release until there is nothing to be done at the moment."""
        verdict = await self.keeper.keep(COMPONENT, release)
        while self.keeper.is_busy(COMPONENT):
            await self.settle()
            verdict = await self.keeper.keep(COMPONENT, release)
        return verdict

    def start_anew(self) -> None:
        """Have another operator take over."""
        self.keeper = release_keeper(self.cluster, self.helm, self.clock)

    async def settle(self) -> None:
        """Let Helm end, unless it is held."""
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def statuses(self) -> list[str]:
        return statuses_of(self.helm, COMPONENT)

    def interrupted(self, *revisions: tuple[ReleaseStatus, Release]) -> None:
        """Have revisions that an operator has left behind."""
        for number, (status, release) in enumerate(revisions, start=1):
            state = {STATE_LABEL: state_label(self.keeper.state_of(COMPONENT, release), number)}
            self.helm.write("ml", RELEASE, number, status, {**labels_of("tracking"), **state})

    def pod(self, state: JsonObject) -> None:
        """Have a pod of the release."""
        metadata = {
            "namespace": "ml",
            "name": "server-1",
            "labels": {"app.kubernetes.io/instance": RELEASE},
            "creationTimestamp": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": RELEASE}}, {"name": "tmp", "emptyDir": {}}]
        status = {"containerStatuses": [{"name": "server", "state": state}]}
        body = {"metadata": metadata, "spec": {"volumes": volumes}, "status": status}
        self.cluster.release_pods.put(self.kubernetes.add(PODS, body))


@pytest.fixture
def world() -> ReleaseWorld:
    return ReleaseWorld()


def told(verdict: Verdict | None) -> tuple[bool | None, str]:
    assert verdict is not None
    return verdict.ready, verdict.reason


async def test_it_is_installed_and_then_there_is_nothing_to_tell(world: ReleaseWorld):
    assert told(await world.keeper.keep(COMPONENT, OLD)) == (None, "HelmInstalling")

    assert await world.keep(OLD) is None
    assert world.statuses == ["deployed"]


async def test_values_that_are_not_the_component_s_choice_are_added(world: ReleaseWorld):
    await world.keep(Release("mlflow", {"commonLabels": {"team": "a"}, "fullnameOverride": "other"}))

    assert world.helm.values["fullnameOverride"] == RELEASE
    assert world.helm.values["commonLabels"] == {"team": "a", "cairn.dev/component": "tracking"}
    assert world.helm.values["image"] == {"repository": "cairn/mlflow", "tag": "test"}


@pytest.mark.parametrize(
    ("image", "used"),
    [
        ({"repository": "own/mlflow"}, {"repository": "own/mlflow"}),
        ({"pullPolicy": "Always"}, {"repository": "cairn/mlflow", "tag": "test", "pullPolicy": "Always"}),
    ],
)
async def test_an_image_of_the_component_s_own_takes_precedence(world: ReleaseWorld, image: Any, used: Any):
    await world.keep(Release("mlflow", {"image": image}))

    assert world.helm.values["image"] == used


async def test_it_is_upgraded_when_it_is_to_be_something_else(world: ReleaseWorld):
    await world.keep(OLD)

    assert told(await world.keeper.keep(COMPONENT, NEW)) == (None, "HelmUpgrading")
    assert await world.keep(NEW) is None
    assert world.statuses == ["superseded", "deployed"]


async def test_what_is_wanted_by_now_is_not_kept_waiting_by_what_was_wanted_before(world: ReleaseWorld):
    world.helm.hold()
    await world.keeper.keep(COMPONENT, OLD)
    await world.settle()
    world.helm.released.set()

    assert told(await world.keeper.keep(COMPONENT, NEW)) == (None, "HelmInstalling")
    assert await world.keep(NEW) is None
    assert world.statuses == ["failed", "deployed"]


class TestAnUpgradeThatFails:
    async def test_is_rolled_back_and_told_in_helm_s_words_with_what_the_pod_says(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.helm.fails["upgrade"] = "timed out waiting for the condition"
        world.pod({"waiting": {"reason": "CrashLoopBackOff"}})

        verdict = await world.keep(NEW)

        assert told(verdict) == (False, "HelmUpgradeFailed")
        assert verdict is not None
        assert (
            "timed out waiting for the condition; pod server-1: container server waits: CrashLoopBackOff"
            in verdict.message
        )
        assert world.helm.asked == ["upgrade", "upgrade", "rollback to 1"]
        assert world.statuses == ["superseded", "failed", "deployed"]

    async def test_is_tried_again_after_a_while_only(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.helm.fails["upgrade"] = "timed out"
        await world.keep(NEW)
        world.helm.fails.clear()

        assert told(await world.keep(NEW)) == (False, "HelmUpgradeFailed")
        world.clock.advance(3600)
        assert await world.keep(NEW) is None

    async def test_is_over_when_the_spec_is_as_it_was(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.helm.fails["upgrade"] = "timed out"
        await world.keep(NEW)
        world.helm.fails.clear()

        assert await world.keep(OLD) is None

    async def test_is_known_to_the_next_operator(self, world: ReleaseWorld):
        world.interrupted(("superseded", OLD), ("failed", NEW), ("deployed", OLD))
        created = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        for secret in world.kubernetes.objects.values():
            secret["metadata"]["creationTimestamp"] = created

        verdict = await world.keep(NEW)

        assert told(verdict) == (False, "HelmUpgradeFailed")
        assert verdict is not None
        assert "revision 2 did not become ready" in verdict.message

    async def test_without_a_revision_is_not_rolled_back(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.helm.fails["refuses"] = "values don't meet the specifications of the schema"

        verdict = await world.keep(NEW)

        assert told(verdict) == (False, "HelmUpgradeFailed")
        assert world.helm.asked == ["upgrade", "upgrade"]
        assert await world.keep(NEW) == verdict

    async def test_whose_rollback_fails_is_not_rolled_back_again_at_once(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.helm.fails |= {"upgrade": "timed out", "rollback": "no way back"}

        verdict = await world.keep(NEW)

        assert told(verdict) == (False, "HelmUpgradeFailed")
        assert verdict is not None
        assert "no way back" in verdict.message
        assert world.helm.asked.count("rollback to 1") == 1


async def test_an_install_that_fails_is_told(world: ReleaseWorld):
    world.helm.fails["upgrade"] = "timed out"

    assert told(await world.keep(OLD)) == (False, "HelmInstallFailed")
    assert world.helm.asked == ["upgrade"]


async def test_an_upgrade_whose_pod_cannot_start_is_given_up(world: ReleaseWorld):
    await world.keep(OLD)
    world.helm.hold()
    await world.keeper.keep(COMPONENT, NEW)
    await world.settle()
    world.pod({"waiting": {"reason": "ErrImagePull", "message": "no such image"}})
    verdict = await world.keeper.keep(COMPONENT, NEW)
    assert verdict is not None
    assert "So far, pod server-1: container server waits: ErrImagePull: no such image" in verdict.message

    world.clock.advance(60)
    verdict = await world.keep(NEW)

    assert told(verdict) == (False, "HelmUpgradeFailed")
    assert verdict is not None
    assert "did not start within 60 s; pod server-1" in verdict.message
    assert world.statuses == ["superseded", "failed", "deployed"]


class TestHelmWasKilled:
    async def test_at_an_install(self, world: ReleaseWorld):
        world.interrupted(("pending-install", OLD))

        assert await world.keep(OLD) is None
        assert world.helm.asked == ["uninstall", "upgrade"]

    async def test_at_an_upgrade(self, world: ReleaseWorld):
        world.interrupted(("deployed", OLD), ("pending-upgrade", NEW))

        assert await world.keep(NEW) is None
        assert world.helm.asked == ["rollback to 1", "upgrade"]

    async def test_at_an_uninstall_before_the_component_was_made_again(self, world: ReleaseWorld):
        world.interrupted(("uninstalling", OLD))

        assert await world.keep(OLD) is None
        assert world.helm.asked == ["uninstall", "upgrade"]


async def test_what_nobody_has_foreseen_is_told_and_tried_again_after_a_while(world: ReleaseWorld):
    async def upgrade(*_: Any, **__: Any) -> None:
        raise ValueError("unforeseen")

    world.helm.upgrade = upgrade

    verdict = await world.keep(OLD)

    assert told(verdict) == (False, "HelmInstallFailed")
    assert verdict is not None
    assert "ValueError, which Cairn does not foresee" in verdict.message


@pytest.mark.parametrize(
    "others",
    [
        [("ml", f"other-{number}") for number in range(PROCESSES_OF_NAMESPACE)],
        [(f"other-{number}", "tracking") for number in range(PROCESSES)],
    ],
    ids=["of a namespace", "of all"],
)
async def test_only_so_many_helms_run_at_a_time_and_the_others_are_not_judged_meanwhile(
    world: ReleaseWorld, others: Sequence[Key]
):
    world.helm.hold()
    for other in others:
        await world.keeper.keep(other, OLD)
    await world.settle()
    world.pod({"waiting": {"reason": "ErrImagePull"}})

    await world.keeper.keep(COMPONENT, OLD)
    await world.settle()
    world.clock.advance(3600)
    verdict = await world.keeper.keep(COMPONENT, OLD)

    assert verdict is not None
    assert verdict.message == "Helm installs release ml/tracking-server, once it is done with others."
    await world.keeper.stop()


async def test_servers_that_do_not_come_up_keep_no_other_namespace_waiting(world: ReleaseWorld):
    world.helm.hold()
    for number in range(PROCESSES):
        await world.keeper.keep(("other", f"other-{number}"), OLD)
    await world.settle()

    await world.keeper.keep(COMPONENT, OLD)
    await world.settle()

    assert world.statuses == ["pending-install"]
    await world.keeper.stop()


class TestRepair:
    async def test_of_objects_that_somebody_has_removed(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.start_anew()
        world.helm.objects = [SERVICE]

        verdict = await world.keeper.keep(COMPONENT, OLD)

        assert told(verdict) == (None, "HelmUpgrading")
        assert verdict is not None
        assert "Service tracking-server is missing" in verdict.message
        await world.settle()

    async def test_of_untouched_objects_is_looked_for_from_time_to_time_only(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.start_anew()
        assert await world.keeper.keep(COMPONENT, OLD, touched=False) is None
        world.helm.objects.append(SERVICE)

        assert await world.keeper.keep(COMPONENT, OLD, touched=False) is None
        world.clock.advance(COMPARE_SECONDS)
        assert told(await world.keeper.keep(COMPONENT, OLD, touched=False)) == (None, "HelmUpgrading")
        await world.settle()

    async def test_is_not_made_for_ever_where_somebody_undoes_it(self, world: ReleaseWorld):
        world.helm.objects = [SERVICE]  # and it stays away

        assert await world.keep(OLD) is None
        assert world.helm.asked == ["upgrade", "upgrade"]

        world.clock.advance(FIRST_BACKOFF_SECONDS)
        assert await world.keep(OLD) is None
        assert world.helm.asked == ["upgrade"] * 3


async def test_a_server_is_not_restarted_whose_claim_goes_when_its_pods_end(world: ReleaseWorld):
    await world.keep(OLD)
    world.pod({"running": {}})
    claim = {"namespace": "ml", "name": RELEASE, "deletionTimestamp": "2026-01-02T03:04:05Z"}
    world.kubernetes.add(CLAIMS, {"metadata": claim})

    assert told(await world.keep(NEW)) == (False, "ClaimTerminating")
    assert world.helm.asked == ["upgrade"]


async def test_a_helm_that_does_not_answer_is_asked_again(world: ReleaseWorld):
    await world.keep(OLD)
    world.start_anew()
    world.helm.fails["manifest"] = "Kubernetes cluster unreachable"

    assert told(await world.keep(OLD)) == (None, "HelmFailed")
    world.helm.fails.clear()
    assert await world.keep(OLD) is None


async def test_a_release_of_somebody_else_is_not_touched(world: ReleaseWorld):
    world.helm.write("ml", RELEASE, 1, "deployed", {})

    assert told(await world.keep(OLD)) == (False, "HelmReleaseNameTaken")
    assert await world.keeper.remove(COMPONENT, keep_data=False) is None
    assert world.helm.asked == []


class TestRemoval:
    async def test_ends_when_nothing_is_left(self, world: ReleaseWorld):
        await world.keep(OLD)

        assert told(await world.keeper.remove(COMPONENT, keep_data=True)) == (None, "HelmUninstalling")
        await world.settle()
        assert await world.keeper.remove(COMPONENT, keep_data=True) is None
        assert world.statuses == []

    async def test_stops_what_was_going_on(self, world: ReleaseWorld):
        world.helm.hold()
        await world.keeper.keep(COMPONENT, OLD)
        await world.settle()
        world.helm.released.set()

        assert told(await world.keeper.remove(COMPONENT, keep_data=True)) == (None, "HelmUninstalling")

    @pytest.mark.parametrize("keep_data", [True, False])
    async def test_takes_the_volume_along_where_it_is_told_to(self, world: ReleaseWorld, *, keep_data: bool):
        labels = {**labels_of("tracking"), "app.kubernetes.io/instance": RELEASE}
        world.kubernetes.add(CLAIMS, {"metadata": {"namespace": "ml", "name": RELEASE, "labels": labels}})
        others = {**labels_of("bucket")}
        world.kubernetes.add(CLAIMS, {"metadata": {"namespace": "ml", "name": "other", "labels": others}})

        assert await world.keeper.remove(COMPONENT, keep_data=keep_data) is None

        kept = [claim["metadata"]["name"] for claim in world.kubernetes.all(CLAIMS)]
        assert kept == (["other", RELEASE] if keep_data else ["other"])

    async def test_that_fails_is_told_and_tried_again_after_a_while(self, world: ReleaseWorld):
        await world.keep(OLD)
        world.helm.fails["uninstall"] = "timed out"
        await world.keeper.remove(COMPONENT, keep_data=True)
        await world.settle()

        assert told(await world.keeper.remove(COMPONENT, keep_data=True)) == (False, "HelmUninstallFailed")
        world.clock.advance(3600)
        world.helm.fails.clear()
        assert told(await world.keeper.remove(COMPONENT, keep_data=True)) == (None, "HelmUninstalling")
        await world.settle()


async def test_an_operator_that_stops_leaves_its_work_to_the_next(world: ReleaseWorld):
    world.helm.hold()
    await world.keeper.keep(COMPONENT, OLD)
    await world.settle()

    await world.keeper.stop()
    world.helm.released.set()
    world.start_anew()

    assert await world.keep(OLD) is None
