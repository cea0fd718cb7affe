"""The runs on Kubeflow Pipelines that are followed, with their pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import pipeline_of
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.step import Step
from cairn.clients.cluster import Cluster
from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ArtifactStore, StoreClient
from cairn.components.component_types import ARTIFACT_STORE, ORCHESTRATOR
from cairn.components.connections import Connections
from cairn.components.neighbours import Neighbours
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.followed_run import FollowedRun
from cairn.runs.kubeflow.pods import KubeflowPods
from cairn.runs.kubeflow.site import Connected, Site
from cairn.runs.kubeflow.submission import RunName
from cairn.stacks.resolution import UsableStack


@dataclass
class _Followed:
    uid: str
    components: Mapping[str, str]
    """Their names, by type."""
    run: FollowedRun


class FollowedRuns:
    """Holds only what can be found out again."""

    def __init__(self, cluster: Cluster, stores: Connections[StoreClient], wake: Wake) -> None:
        self._cluster = cluster
        self._connected = Connected(Connections[KubeflowPipelines](cluster), stores)
        self._wake = wake
        self._followed: dict[Key, _Followed] = {}
        self.pods = KubeflowPods(cluster, self._pod_changed)

    def get(self, key: Key) -> FollowedRun | None:
        """Return a run that is followed, or None."""
        known = self._followed.get(key)
        return known.run if known is not None else None

    def of(
        self, body: JsonObject, steps: RunSteps | None, status: PipelineRunStatus, stack: UsableStack | None
    ) -> FollowedRun | None:
        """Return what follows a run, as its components are now; None where they are gone, and it was not followed before."""
        key, uid = key_of(body), body["metadata"]["uid"]
        begun_with = status.stack.components if status.stack is not None else stack.components if stack else ()
        names = {component.type: component.name for component in begun_with}
        known = self._followed.get(key)
        if known is not None and known.uid == uid:
            if names and known.run.run_id is None:
                known.components = names  # the Stack may name others until those are recorded
            known.run.look_at_components()
            return known.run
        self.forget(key)
        site = self._site(key[0], names)
        if site is None:
            return None
        pipeline = pipeline_of(body)
        experiment = body["spec"].get("experiment") or status.experiment or pipeline
        run_name = RunName(f"{key[1]}-{uid}", pipeline, experiment)
        by_name: Mapping[str, Step] = steps.by_name if steps is not None else {}
        run = FollowedRun(
            run_name,
            status.orchestrator_run,
            by_name,
            site,
            find_site=lambda: self._site(key[0], followed.components),
            told=lambda: self._wake(key),
        )
        followed = self._followed[key] = _Followed(uid, names, run)
        return run

    def forget(self, key: Key) -> None:
        """Follow a run no longer."""
        known = self._followed.pop(key, None)
        if known is not None:
            known.run.stop()
            self.pods.forget(known.run.run_id or "")

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
        return ((key, known.run) for key, known in self._followed.items() if known.run.run_id == run_id)
