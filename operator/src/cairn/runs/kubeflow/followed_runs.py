"""The runs on Kubeflow Pipelines that are followed, with their pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.step import Step
from cairn.clients.cluster import Cluster
from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ARTIFACT_STORE, ORCHESTRATOR, ArtifactStore, StoreClient
from cairn.components.connections import Connections
from cairn.components.neighbours import Neighbours
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.followed_run import FollowedRun
from cairn.runs.kubeflow.pods import KubeflowPods
from cairn.runs.kubeflow.site import Connected, Site
from cairn.runs.kubeflow.submission import RunName
from cairn.stacks.resolution import UsableStack


class FollowedRuns:
    """Holds only what can be found out again."""

    def __init__(self, cluster: Cluster, stores: Connections[StoreClient], wake: Wake) -> None:
        self._cluster = cluster
        self._connected = Connected(Connections[KubeflowPipelines](cluster), stores)
        self._wake = wake
        self._followed: dict[Key, tuple[str, FollowedRun]] = {}
        """By run, with its UID."""
        self.pods = KubeflowPods(cluster, self._pod_changed)

    def get(self, key: Key) -> FollowedRun | None:
        """Return a run that is followed, or None."""
        known = self._followed.get(key)
        return known[1] if known is not None else None

    def of(
        self, body: JsonObject, steps: RunSteps | None, status: PipelineRunStatus, stack: UsableStack | None
    ) -> FollowedRun | None:
        """Return what follows a run, as its components are now; None where they are gone, and it was not followed before."""
        key, uid = key_of(body), body["metadata"]["uid"]
        before = self._followed.get(key)
        if before is not None and before[0] == uid:
            return before[1]
        self.forget(key)
        begun_with = status.stack.components if status.stack is not None else stack.components if stack else ()
        names = {component.type: component.name for component in begun_with}
        known_site = self._site(key[0], names)
        if known_site is None:
            return None
        site = known_site

        def current_site() -> Site:
            nonlocal site
            site = self._site(key[0], names) or site
            return site

        spec, name = body["spec"], body["metadata"]["name"]
        run_name = RunName(f"{name}-{uid}", spec["pipeline"], spec.get("experiment") or spec["pipeline"])
        by_name: Mapping[str, Step] = steps.by_name if steps is not None else {}
        followed = FollowedRun(run_name, status.orchestrator_run, by_name, current_site, lambda: self._wake(key))
        self._followed[key] = uid, followed
        return followed

    def forget(self, key: Key) -> None:
        """Follow a run no longer."""
        known = self._followed.pop(key, None)
        if known is not None:
            known[1].stop()
            self.pods.forget(known[1].run_id or "")

    def shut_down(self) -> None:
        """Follow none."""
        self.pods.shut_down()
        for key in list(self._followed):
            self.forget(key)

    async def close(self) -> None:
        """Close the connections."""
        await self._connected.servers.close()

    def _site(self, namespace: str, names: Mapping[str, str]) -> Site | None:
        """Return where a run is carried out: by the components that it has begun with, named by type, as they are now."""
        neighbours = Neighbours(self._cluster, namespace)
        orchestrator = neighbours.component(names.get(ORCHESTRATOR, ""))
        store = neighbours.component(names.get(ARTIFACT_STORE, ""))
        if not isinstance(orchestrator, Kubeflow):
            return None
        return Site(orchestrator, store if isinstance(store, ArtifactStore) else None, self._connected)

    def _pod_changed(self, run_id: str) -> None:
        for key, followed in self._of_id(run_id):
            followed.nudge()
            self._wake(key)

    def _of_id(self, run_id: str) -> Iterator[tuple[Key, FollowedRun]]:
        return ((key, followed) for key, (_, followed) in self._followed.items() if followed.run_id == run_id)
