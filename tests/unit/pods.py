"""The pod of a Job as the kubelet reports it, told step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.runs.job import build_job
from cairn.runs.observation import AttemptObservation
from cairn.runs.pod import Attempt
from cairn.runs.pod_end import NOTHING_SEEN, EarlierSight
from cairn.runs.pod_observation import observe_pod
from tests.unit.builders import EARLIER, LATER, MOMENT, NOW, local_stack, pod_context


def job_of(*steps: Step) -> JsonObject:
    """Return the Job of the first attempts of these steps, as the API server has it."""
    job = build_job(pod_context(local_stack() if len(steps) > 1 else None), [Attempt(one, 1) for one in steps])
    return {**job, "metadata": {**job["metadata"], "uid": f"uid-of-{job['metadata']['name']}"}}


def observe(
    pod: PodStory,
    *steps: Step,
    logs: Mapping[str, str] | None = None,
    now: datetime = MOMENT,
    earlier: EarlierSight = NOTHING_SEEN,
) -> Sequence[AttemptObservation]:
    """Return what the pod of these steps shows of their first attempts."""
    return list(
        observe_pod(
            job_of(*steps),
            pod.body,
            [(one, 1) for one in steps],
            logs or {},
            now,
            earlier=earlier,
        )
    )


def observe_one(
    pod: PodStory,
    one: Step,
    *,
    logs: Mapping[str, str] | None = None,
    now: datetime = MOMENT,
    earlier: EarlierSight = NOTHING_SEEN,
) -> AttemptObservation:
    """Return what the pod of that one step shows of its first attempt."""
    (attempt,) = observe(pod, one, logs=logs, now=now, earlier=earlier)
    return attempt


class PodStory:
    """A pod made from a Job's template; each method is something that happens to it."""

    def __init__(self, job: JsonObject, name: str | None = None) -> None:
        metadata, pod = job["metadata"], job["spec"]["template"]
        self.body: JsonObject = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **pod["metadata"],
                "labels": {**pod["metadata"]["labels"], "batch.kubernetes.io/controller-uid": metadata.get("uid", "")},
                "namespace": metadata["namespace"],
                "name": name or f"{metadata['name']}-x7k2p",
                "uid": f"uid-of-{name or metadata['name']}",
                "creationTimestamp": EARLIER,
                "ownerReferences": [
                    {
                        "kind": "Job",
                        "name": metadata["name"],
                        "uid": metadata.get("uid", "uid-of-job"),
                        "controller": True,
                    }
                ],
            },
            "spec": pod["spec"],
            "status": {"phase": "Pending", "conditions": []},
        }
        for kind in ("initContainers", "containers"):
            states = [
                self._status(item["name"], {"waiting": {"reason": "PodInitializing"}}) for item in self._spec(kind)
            ]
            if states:
                self.body["status"][self._field(kind)] = states

    @property
    def containers(self) -> list[str]:
        """Names of all containers, in the order in which they run."""
        return [item["name"] for kind in ("initContainers", "containers") for item in self._spec(kind)]

    def on_node(self, node: str = "node-1") -> Self:
        """A node has room."""
        self.body["spec"] = {**self.body["spec"], "nodeName": node}
        return self

    def is_told_to_stop(self) -> Self:
        """Cairn has the kubelet stop the pod."""
        self.body["spec"] = {**self.body["spec"], "activeDeadlineSeconds": 1}
        return self

    def unschedulable(self, message: str) -> Self:
        """No node has room."""
        return self.condition("PodScheduled", status="False", reason="Unschedulable", message=message)

    def waits(self, container: str, reason: str, message: str) -> Self:
        """The kubelet cannot start a container."""
        return self._set(container, {"waiting": {"reason": reason, "message": message}})

    def runs(self, container: str) -> Self:
        """A container has started."""
        self.body["status"]["phase"] = "Running"
        return self._set(container, {"running": {"startedAt": NOW}})

    def ends(
        self,
        container: str,
        code: int = 0,
        reason: str | None = None,
        message: str | None = None,
        *,
        started: str = NOW,
        finished: str = LATER,
    ) -> Self:
        """A container has ended."""
        ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "message": message}
        times = {"startedAt": "1970-01-01T00:00:00Z" if reason == "StartError" else started, "finishedAt": finished}
        self._set(container, {"terminated": {**{k: v for k, v in ended.items() if v is not None}, **times}})
        last = container == self.containers[-1]
        if code or last:
            self.body["status"]["phase"] = "Failed" if code else "Succeeded"
        return self

    def has_image(self, container: str, digest: str) -> Self:
        """The container runtime tells which image a container was made from."""
        for kind in ("initContainers", "containers"):
            for status in self.body["status"].get(self._field(kind), ()):
                if status["name"] == container:
                    status["imageID"] = f"docker.io/library/wine@{digest}"
        return self

    def all_end_well(self, **messages: str) -> Self:
        """Every container ends with code 0."""
        for container in self.containers:
            self.ends(container, message=messages.get(container.replace("-", "_")))
        return self

    def is_over(self, reason: str | None = None, message: str | None = None) -> Self:
        """The pod has failed as a whole."""
        self.body["status"]["phase"] = "Failed"
        if reason:
            self.body["status"] |= {"reason": reason, "message": message or reason}
        return self

    def has_not_told_its_end(self) -> Self:
        """The kubelet tells how containers ended before it tells how, and why, their pod did."""
        self.body["status"]["phase"] = "Running"
        return self

    def is_being_deleted(self, end_of_grace: str = LATER) -> Self:
        """Somebody has deleted the pod, 30 seconds before that; its containers get their grace period."""
        self.body["metadata"] |= {"deletionTimestamp": end_of_grace, "deletionGracePeriodSeconds": 30}
        return self

    def was_deleted_again(self, when: str = LATER) -> Self:
        """The kubelet has deleted the pod after its end, without a grace period: when that was first done is lost."""
        self.body["metadata"] |= {"deletionTimestamp": when, "deletionGracePeriodSeconds": 0}
        return self

    def condition(self, type_: str, *, status: str = "True", reason: str, message: str, since: str = NOW) -> Self:
        """Set a condition of the pod."""
        times = {"lastTransitionTime": since}
        item = {"type": type_, "status": status, "reason": reason, "message": message, **times}
        self.body["status"]["conditions"].append(item)
        return self

    def _set(self, container: str, state: JsonObject) -> Self:
        for kind in ("initContainers", "containers"):
            for status in self.body["status"].get(self._field(kind), ()):
                if status["name"] == container:
                    status["state"] = state
                    return self
        raise AssertionError(f"the pod has no container {container}; it has {', '.join(self.containers)}")

    def _spec(self, kind: str) -> list[JsonObject]:
        return self.body["spec"].get(kind, [])

    @staticmethod
    def _field(kind: str) -> str:
        return f"{kind.removesuffix('s')}Statuses"

    @staticmethod
    def _status(name: str, state: JsonObject) -> JsonObject:
        return {"name": name, "ready": False, "restartCount": 0, "state": state}
