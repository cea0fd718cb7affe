"""The Job controller, the scheduler and the kubelets, each acting when it pleases."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cairn.api.base import JsonObject
from cairn.api.time import parse, timestamp
from cairn.clients.kubernetes import JOBS, PODS
from cairn.runs.naming import attempts_of
from tests.simulation.api_server import SimulatedApiServer, status_of_new_pod
from tests.simulation.clock import SimulatedClock
from tests.simulation.scenario import Behaviour, Scenario
from tests.unit.fake_kubernetes import copied
from tests.unit.fake_registries import DIGEST

Attempt = tuple[str, int]
SIGTERM_CODE = 128 + 15
"""Exit code of what a node has told to stop; no step ends with it by itself."""


@dataclass
class Truth:
    """What became of each attempt, as its node knows it."""

    started: set[Attempt] = field(default_factory=set[Attempt])
    exit_codes: dict[Attempt, set[int]] = field(default_factory=lambda: defaultdict(set[int]))
    """More than one where its turn in a pod that steps share had come and was never seen, before that pod was deleted."""
    disturbed: set[Attempt] = field(default_factory=set[Attempt])
    """Evicted, deleted, lost or stopped: however their containers ended."""


@dataclass
class Nodes:
    """Everything between a Job and the end of its pod."""

    server: SimulatedApiServer
    clock: SimulatedClock
    dice: random.Random
    scenario: Scenario
    truth: Truth = field(default_factory=Truth)
    lost: set[str] = field(default_factory=set[str])
    """UIDs of pods whose node does not answer."""
    _ends: dict[tuple[str, str], datetime] = field(default_factory=dict[tuple[str, str], datetime])

    def act(self) -> None:
        """Let one object get a step further, if it can."""
        candidates = [*self.server.those(JOBS), *self.server.those(PODS)]
        if not candidates:
            return
        body = copied(self.dice.choice(candidates))
        if "template" in body.get("spec", {}):
            self._control(body)
        else:
            self._run(body)

    def disturb(self) -> None:
        """Take a pod or a Job away, as the cluster and people do."""
        pods = [pod for pod in self.server.those(PODS) if pod["status"]["phase"] in {"Pending", "Running"}]
        if not pods:
            return
        pod = copied(self.dice.choice(pods))
        drawn, scenario = self.dice.random(), self.scenario
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if drawn < scenario.evictions and "nodeName" in pod["spec"]:
            self._end_pod(pod, "Evicted", "The node was low on resource: memory.", 137)
        elif drawn < scenario.evictions + scenario.deletions:
            self._disturbed(pod)
            owner = pod["metadata"]["ownerReferences"][0]
            job = self.server.objects.get((JOBS.plural, namespace, owner["name"]))
            if self.dice.random() < 0.5 and job is not None and job["metadata"]["uid"] == owner["uid"]:
                self.server.history.deleted_by_others.append(owner["name"])
                self.server.take_away(JOBS, namespace, owner["name"])
            else:
                self.server.take_away(PODS, namespace, name)
        elif drawn < scenario.evictions + scenario.deletions + scenario.lost_nodes and "nodeName" in pod["spec"]:
            self._disturbed(pod)
            self.lost.add(pod["metadata"]["uid"])
            self.server.take_away(PODS, namespace, name)

    def next_end(self) -> datetime | None:
        """Return when the next container ends by itself, or a pod must be gone."""
        deletions = [
            parse(pod["metadata"]["deletionTimestamp"])
            for pod in self.server.those(PODS)
            if "deletionTimestamp" in pod["metadata"]
        ]
        there = {pod["metadata"]["uid"] for pod in self.server.those(PODS)} - self.lost
        ends = [moment for (uid, _), moment in self._ends.items() if uid in there]
        return min((*ends, *deletions), default=None)

    def _control(self, job: JsonObject) -> None:
        """Do what the Job controller does, with `backoffLimit: 0` and `podReplacementPolicy: Failed`."""
        if (job.get("status") or {}).get("conditions"):
            return
        uid = job["metadata"]["uid"]
        pods = [pod for pod in self.server.those(PODS) if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
        if not pods and not job.get("status"):
            self.server.add(PODS, self._new_pod(job))
            self.server.set_status(JOBS, {**job, "status": {"active": 1}})
        elif not pods:
            self._finish(job, "Failed")
        elif pods[0]["status"]["phase"] in {"Succeeded", "Failed"}:
            self._finish(job, "Complete" if pods[0]["status"]["phase"] == "Succeeded" else "Failed")

    def _finish(self, job: JsonObject, condition: str) -> None:
        moment = timestamp(self.clock.true_time())
        status = {"conditions": [{"type": condition, "status": "True"}], "completionTime": moment}
        self.server.set_status(JOBS, {**job, "status": status})

    def _new_pod(self, job: JsonObject) -> JsonObject:
        template = job["spec"]["template"]
        metadata = job["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **copied(template["metadata"]),
                "labels": {**template["metadata"]["labels"], "batch.kubernetes.io/controller-uid": metadata["uid"]},
                "namespace": metadata["namespace"],
                "name": f"{metadata['name']}-{self.server.version}",
                "creationTimestamp": timestamp(self.clock.true_time()),
                "ownerReferences": [{"kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}],
            },
            "spec": copied(template["spec"]),
            "status": status_of_new_pod(template["spec"]),
        }

    def _run(self, pod: JsonObject) -> None:
        """Do what the scheduler and a kubelet do with a pod."""
        metadata = pod["metadata"]
        if metadata["uid"] in self.lost:
            if self.dice.random() < 0.05:
                self.lost.discard(metadata["uid"])  # the node is back
                self._end_pod(pod, None, None, 137)
        elif pod["status"]["phase"] in {"Succeeded", "Failed"}:
            container, attempt = self._current(pod)
            if "running" in container["state"]:
                self._terminate(pod, container, attempt, 137, "Error")
                self.server.set_status(PODS, pod)
            elif "deletionTimestamp" in metadata:
                self._remove(pod)
        elif "deletionTimestamp" in metadata:
            if not self.scenario.ignores_sigterm or self.clock.true_time() >= parse(metadata["deletionTimestamp"]):
                self._end_pod(pod, None, None, self.dice.choice((0, SIGTERM_CODE)))
        elif "activeDeadlineSeconds" in pod["spec"] and self.dice.random() < 0.7:
            self._end_pod(
                pod, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", SIGTERM_CODE
            )
        else:
            self._go_on(pod)

    def _remove(self, pod: JsonObject) -> None:
        """Delete a pod that has ended once more, which overwrites when that was asked for; then let it go."""
        metadata = pod["metadata"]
        if metadata["deletionGracePeriodSeconds"]:
            moment = timestamp(self.clock.true_time())
            metadata |= {"deletionTimestamp": moment, "deletionGracePeriodSeconds": 0}
            self.server.set_status(PODS, pod)
        elif not metadata.get("finalizers"):
            self.server.remove(PODS, metadata["namespace"], metadata["name"])

    def _go_on(self, pod: JsonObject) -> None:
        container, attempt = self._current(pod)
        if "nodeName" not in pod["spec"]:
            self._schedule(pod, attempt)
        elif "running" not in container["state"]:
            self._start(pod, container, attempt)
        elif self.clock.true_time() >= self._ends[pod["metadata"]["uid"], container["name"]]:
            self._end(pod, container, attempt)

    def _schedule(self, pod: JsonObject, attempt: Attempt) -> None:
        if self.scenario.behaviour(*attempt) is Behaviour.NO_NODE:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
            if condition not in pod["status"]["conditions"]:
                pod["status"]["conditions"] = [condition]
                self.server.set_status(PODS, pod)
            return
        pod["spec"]["nodeName"] = "worker"
        pod["status"]["conditions"] = []
        self.server.set_status(PODS, pod)

    def _start(self, pod: JsonObject, container: JsonObject, attempt: Attempt) -> None:
        behaviour = self.scenario.behaviour(*attempt)
        if behaviour is Behaviour.NO_IMAGE:
            container["state"] = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
        else:
            moment = self.clock.true_time()
            container["state"] = {"running": {"startedAt": timestamp(moment)}}
            container["imageID"] = f"example.com/image@{DIGEST}"
            pod["status"]["phase"] = "Running"
            self.truth.started.add(attempt)
            seconds = 10**6 if behaviour is Behaviour.HANGS else self.dice.choice((0, 1, 20))
            self._ends[pod["metadata"]["uid"], container["name"]] = moment + timedelta(seconds=seconds)
        self.server.set_status(PODS, pod)

    def _end(self, pod: JsonObject, container: JsonObject, attempt: Attempt) -> None:
        behaviour = self.scenario.behaviour(*attempt)
        code = {Behaviour.EXITS: 3, Behaviour.OUT_OF_MEMORY: 137}.get(behaviour, 0)
        reason = {Behaviour.EXITS: "Error", Behaviour.OUT_OF_MEMORY: "OOMKilled"}.get(behaviour, "Completed")
        self._terminate(pod, container, attempt, code, reason)
        last = pod["status"]["containerStatuses"][-1]
        if code or container["name"] == last["name"]:
            pod["status"]["phase"] = "Failed" if code else "Succeeded"
        self.server.set_status(PODS, pod)

    def _end_pod(self, pod: JsonObject, reason: str | None, message: str | None, code: int) -> None:
        """End a pod from outside; a container that has not started stays as it is.

        How one that runs has ended may be told only after that the pod has.
        """
        container, attempt = self._current(pod)
        self._disturbed(pod)
        if "running" in container["state"] and (reason is None or self.dice.random() < 0.8):
            self._terminate(pod, container, attempt, code, "Error")
        last = pod["status"]["containerStatuses"][-1]
        ended_well = last["state"].get("terminated", {}).get("exitCode") == 0
        pod["status"]["phase"] = "Succeeded" if ended_well else "Failed"
        if reason is not None:
            pod["status"] |= {"reason": reason, "message": message}
        self.server.set_status(PODS, pod)

    def _terminate(self, pod: JsonObject, container: JsonObject, attempt: Attempt, code: int, reason: str) -> None:
        started = container["state"]["running"]["startedAt"]
        ended = {"startedAt": started, "finishedAt": timestamp(self.clock.true_time())}
        written = self.scenario.results(attempt[0]) if code == 0 else ""
        container["state"] = {"terminated": {"exitCode": code, "reason": reason, "message": written, **ended}}
        self.truth.exit_codes[attempt].add(code)
        self._ends.pop((pod["metadata"]["uid"], container["name"]), None)

    def _disturbed(self, pod: JsonObject) -> None:
        """Note which attempt, and which might have been next, a disturbance meets."""
        self.truth.disturbed.update(self._attempts(pod))

    def _current(self, pod: JsonObject) -> tuple[JsonObject, Attempt]:
        """Return the container whose turn it is, and its attempt."""
        status = pod["status"]
        containers = [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
        container = next((item for item in containers if "terminated" not in item["state"]), containers[-1])
        return container, dict(self._numbered(pod))[container["name"]]

    def _attempts(self, pod: JsonObject) -> list[Attempt]:
        return [attempt for _, attempt in self._numbered(pod)]

    @staticmethod
    def _numbered(pod: JsonObject) -> list[tuple[str, Attempt]]:
        return [(name, (name, number)) for name, number in attempts_of(pod["metadata"]["annotations"])]
