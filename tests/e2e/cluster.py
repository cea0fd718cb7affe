"""The cluster as the tests see it: apply, get, and wait by watching."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from polling import poll

Body = dict[str, Any]

FINISHED_SECONDS = 180.0
GONE = 410


class Cluster:
    """A namespace of the cluster that KUBECONFIG names."""

    def __init__(self, api: client.ApiClient, dynamic: DynamicClient, namespace: str) -> None:
        self._api = api
        self._dynamic = dynamic
        self.namespace = namespace

    @classmethod
    def connect(cls, namespace: str = "default") -> Cluster:
        """Connect as kubectl does."""
        api = config.new_client_from_config()
        return cls(api, DynamicClient(api), namespace)

    def within(self, namespace: str) -> Cluster:
        """Return the same cluster, at another namespace."""
        return Cluster(self._api, self._dynamic, namespace)

    @property
    def core(self) -> client.CoreV1Api:
        """The typed API of Kubernetes' core, for what needs it (logs)."""
        return client.CoreV1Api(self._api)

    def create(self, body: Mapping[str, Any]) -> Body:
        """Create an object in this namespace, unless it names one itself."""
        return (
            self._resource(body["apiVersion"], body["kind"])
            .create(body=dict(body), namespace=body["metadata"].get("namespace", self.namespace))
            .to_dict()
        )

    def apply(self, body: Mapping[str, Any]) -> Body:
        """Apply an object server-side."""
        return (
            self._resource(body["apiVersion"], body["kind"])
            .server_side_apply(
                body=dict(body),
                name=body["metadata"]["name"],
                namespace=body["metadata"].get("namespace", self.namespace),
                field_manager="e2e",
                force_conflicts=True,
            )
            .to_dict()
        )

    def get(self, kind: str, name: str) -> Body | None:
        """Return the object, or None."""
        try:
            return self._kind(kind).get(name=name, namespace=self.namespace).to_dict()
        except NotFoundError:
            return None

    def list(self, kind: str, selector: str = "") -> list[Body]:
        """Return the objects of this namespace."""
        found = self._kind(kind).get(namespace=self.namespace, label_selector=selector)
        return cast("list[Body]", found.to_dict()["items"])

    def events(self, kind: str, name: str) -> list[Body]:
        """Return the Events about an object."""
        wanted = {"kind": kind, "name": name}
        return [event for event in self.list("Event") if wanted.items() <= event["regarding"].items()]

    def patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> Body:
        """Merge something into an object."""
        return (
            self._kind(kind)
            .patch(name=name, namespace=self.namespace, body=dict(patch), content_type="application/merge-patch+json")
            .to_dict()
        )

    def delete(self, kind: str, name: str, *, grace_period: int | None = None) -> None:
        """Delete an object, and what it owns, as kubectl does; one that is gone is no error."""
        options: Body = {"propagation_policy": "Background"}
        if grace_period is not None:
            options["grace_period_seconds"] = grace_period
        try:
            self._kind(kind).delete(name=name, namespace=self.namespace, **options)
        except NotFoundError:
            return

    def wait(
        self, kind: str, name: str, holds: Callable[[Body], bool], timeout: float, what: str = "the condition"
    ) -> Body:
        """Watch an object until something holds of it, and return it; fails with what it was last."""
        deadline = time.monotonic() + timeout
        last: Body | None = None
        while (left := deadline - time.monotonic()) > 0:
            last = self.get(kind, name)
            if last is not None and holds(last):
                return last
            version = last["metadata"]["resourceVersion"] if last else None
            try:
                events = self._kind(kind).watch(
                    namespace=self.namespace, name=name, resource_version=version, timeout=max(1, int(left))
                )
                for event in events:
                    last = cast(Body, event["raw_object"])
                    if event["type"] != "DELETED" and holds(last):
                        return last
            except ApiException as error:
                if error.status != GONE:
                    raise
                # the version is too old to watch from: read it again
        raise AssertionError(f"{kind} {name}: {what} did not hold within {timeout:.0f} s: {(last or {}).get('status')}")

    def wait_gone(self, kind: str, name: str, timeout: float) -> None:
        """Wait until an object is gone."""
        poll(lambda: self.get(kind, name), lambda found: found is None, timeout, f"{kind} {name} was not gone")

    def wait_condition(
        self, kind: str, name: str, type_: str, *, status: str, timeout: float, reason: str = ""
    ) -> Body:
        """Wait for a condition, about the current generation, and return it."""

        def holds(body: Body) -> bool:
            found = condition(body, type_)
            current = found.get("observedGeneration") == body["metadata"].get("generation")
            return found.get("status") == status and current and reason in {"", found.get("reason")}

        return condition(self.wait(kind, name, holds, timeout, f"{type_}={status} {reason}"), type_)

    def finished(self, run: str, timeout: float = FINISHED_SECONDS) -> Body:
        """Wait for the end of a run and return it."""
        return self.wait("PipelineRun", run, lambda body: condition(body, "Finished").get("status") == "True", timeout)

    def kubectl(self, *arguments: str, feed: str | None = None) -> str:
        """Run kubectl in this namespace and return what it says, warnings included; fails where it does."""
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        done = subprocess.run(
            command, input=feed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
        return done.stdout

    def wait_log(self, pod: str, container: str, text: str, timeout: float = 60) -> None:
        """Wait until a container has written something."""
        complaint = f"container {container} of pod {pod} did not write {text!r}"
        poll(lambda: self.kubectl("logs", pod, "--container", container), lambda log: text in log, timeout, complaint)

    def release(self, run: str, name: str, timeout: float = 120) -> None:
        """Let a step go on that waits for the file /tmp/go (`manifests.HOLD`)."""
        found = self.wait("PipelineRun", run, lambda body: states(body).get(name) == "Running", timeout)
        let_go = ("exec", step(found, name)["podName"], "--container", name, "--", "touch", "/tmp/go")  # noqa: S108 - of the step's container
        try:
            self.kubectl(*let_go)
        except AssertionError as error:
            if "exit code 137" not in str(error):  # the container has ended before the command that had it go on
                raise

    @contextmanager
    def temporary_namespace(self, name: str, labels: Mapping[str, str]) -> Generator[Cluster]:
        """Make a namespace and delete it afterwards, if it is still there, without waiting for the end of that."""
        meta = {"name": name, "labels": dict(labels)}
        self._resource("v1", "Namespace").create(body={"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        try:
            yield self.within(name)
        finally:
            self.delete("Namespace", name)

    def _kind(self, kind: str) -> Any:
        versions = {
            "Application": "argoproj.io/v1alpha1",
            "ClusterRole": "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
            "ControllerRevision": "apps/v1",
            "Deployment": "apps/v1",
            "Event": "events.k8s.io/v1",
            "Job": "batch/v1",
            "Lease": "coordination.k8s.io/v1",
            "PodDisruptionBudget": "policy/v1",
            "ReplicaSet": "apps/v1",
            "Role": "rbac.authorization.k8s.io/v1",
            "RoleBinding": "rbac.authorization.k8s.io/v1",
        }
        cairn = {"StackComponent", "Stack", "Pipeline", "PipelineSchedule", "PipelineRun"}
        return self._resource("cairn.dev/v1alpha1" if kind in cairn else versions.get(kind, "v1"), kind)

    def _resource(self, api_version: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=api_version, kind=kind)


def condition(body: Mapping[str, Any], type_: str) -> Body:
    """Return the condition of that type, or nothing."""
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == type_), {})


def step(run: Mapping[str, Any], name: str) -> Body:
    """Return the status of a step."""
    return next(item for item in run["status"]["steps"] if item["name"] == name)


def states(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the state of each step."""
    return {item["name"]: item["state"] for item in run.get("status", {}).get("steps") or ()}


def results(run: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the results of a step."""
    return {item["name"]: item["value"] for item in step(run, name).get("results") or ()}


def artifacts(run: Mapping[str, Any], name: str) -> dict[str, Body]:
    """Return the artifacts of a step by their names."""
    return {item["name"]: item for item in step(run, name).get("artifacts") or ()}
