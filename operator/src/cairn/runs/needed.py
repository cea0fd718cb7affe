"""What of Jobs and pods is kept in memory: many of them are known at a time."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import JOBS, Resource
from cairn.clients.store import ObjectStore
from cairn.runs.pod import PLAN_VARIABLE

POD_FIELDS = ("nodeName", "activeDeadlineSeconds", "terminationGracePeriodSeconds")


def needed_of_job(job: JsonObject) -> JsonObject:
    """Return what of a Job is needed: who it is, and its status."""
    return {"metadata": job["metadata"], "status": job.get("status") or {}}


def needed_of_pod(pod: JsonObject) -> JsonObject:
    """Return what of a pod is needed: who it is, where it runs, its containers' names and plans, and its status."""

    def containers(field_name: str) -> list[JsonObject]:
        return [
            {
                "name": container["name"],
                "env": [item for item in container.get("env", ()) if item["name"] == PLAN_VARIABLE],
            }
            for container in pod["spec"].get(field_name, ())
        ]

    spec = {"initContainers": containers("initContainers"), "containers": containers("containers")}
    kept = {field: pod["spec"][field] for field in POD_FIELDS if field in pod["spec"]}
    return {"metadata": pod["metadata"], "spec": {**spec, **kept}, "status": pod.get("status") or {}}


def store_of(cluster: Cluster, resource: Resource) -> ObjectStore:
    """Return where the Jobs, or the pods, of runs are kept."""
    return cluster.jobs if resource is JOBS else cluster.pods


def remember(cluster: Cluster, resource: Resource, workload: JsonObject) -> None:
    """Keep a Job or pod as an answer brought it, until the watch brings it too."""
    needed = needed_of_job if resource is JOBS else needed_of_pod
    store_of(cluster, resource).put(needed(workload))
