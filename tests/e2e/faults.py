"""Faults, injected for real, and what must hold after each."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster import Body, Cluster, condition
from polling import poll

OPERATOR = "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator"
OPERATOR_ACCOUNT = {"name": "cairn", "namespace": "cairn-system"}


def ready_operator(cluster: Cluster, gone: str = "") -> str:
    """Wait until a pod of the operator is ready, other than one that was deleted, and return its name."""

    def ready() -> list[str]:
        pods = [pod for pod in cluster.list("Pod", OPERATOR) if condition(pod, "Ready").get("status") == "True"]
        return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] != gone]

    return poll(ready, bool, 90, "no pod of the operator was ready")[0]


def on_node(node: str, *command: str) -> str:
    """Run a command on a node of this checkout's cluster and return what it prints."""
    if os.environ.get("CLUSTER") == "current":
        pytest.skip("the nodes of a cluster that is not this checkout's own are left alone")
    return subprocess.run(["docker", "exec", node, *command], check=True, capture_output=True, text=True).stdout


def nodes(cluster: Cluster, *, control_plane: bool) -> list[str]:
    """Return the names of the nodes that are, or are not, of the control plane."""
    label = "node-role.kubernetes.io/control-plane"
    found = cluster.list("Node")
    return [node["metadata"]["name"] for node in found if (label in node["metadata"]["labels"]) == control_plane]


def assert_each_step_ran_once(namespace: Cluster) -> None:
    """Check that each step has started once, in a Job of its own on the stack `kubernetes`, whatever happened meanwhile."""
    pods = namespace.list("Pod", "cairn.dev/run")
    owners = [owner for pod in pods for owner in pod["metadata"]["ownerReferences"]]
    jobs = [owner["name"] for owner in owners if owner["kind"] == "Job"]
    assert len(jobs) == len(set(jobs)), "a Job has made more than one pod"
    ran = [started for pod in pods for started in _started(pod)]
    wanted = sorted(
        (body["metadata"]["name"], item["name"])
        for body in namespace.list("PipelineRun")
        for item in body["status"]["steps"]
        if item["state"] != "Skipped"
    )
    more, fewer = Counter(ran) - Counter(wanted), Counter(wanted) - Counter(ran)
    assert not more, f"started more than once: {sorted(more)}"
    assert not fewer, f"never started: {sorted(fewer)}"
    stacks = {body["metadata"]["name"]: body["spec"]["stackRef"]["name"] for body in namespace.list("PipelineRun")}
    alone = [name for name, _ in wanted if stacks[name] == "kubernetes"]
    assert len(namespace.list("Job", "cairn.dev/stack=kubernetes")) == len(alone)


def _started(pod: Body) -> Iterator[tuple[str, str]]:
    """Yield the run and the name of each step that has started in a pod, which may be fewer than it was made for."""
    run_name = pod["metadata"]["annotations"]["cairn.dev/run-name"]
    statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]
    for container in statuses:
        if not container["name"].startswith("cairn-") and "waiting" not in container["state"]:
            yield run_name, container["name"]


@contextmanager
def too_many_requests(cluster: Cluster) -> Generator[None]:
    """Have the API server answer the operator with 429, by its own priority and fairness."""
    flow = "flowcontrol.apiserver.k8s.io/v1"
    limited: Mapping[str, object] = {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 0,
            "lendablePercent": 0,
            "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    }
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": OPERATOR_ACCOUNT}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
        ],
    }
    name = "e2e-nothing-for-cairn"
    level = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 2, "rules": [rule]}
    objects: list[Body] = [
        {"apiVersion": flow, "kind": "PriorityLevelConfiguration", "metadata": {"name": name}, "spec": dict(limited)},
        {"apiVersion": flow, "kind": "FlowSchema", "metadata": {"name": name}, "spec": level},
    ]
    account = f"system:serviceaccount:{OPERATOR_ACCOUNT['namespace']}:{OPERATOR_ACCOUNT['name']}"
    with _there(cluster, objects):
        cluster.wait("FlowSchema", name, lambda schema: condition(schema, "Dangling").get("status") == "False", 30)
        with _kept_busy(cluster, name, account):
            before = _flow(cluster, name)
            yield
            after = _flow(cluster, name)
    assert after["dispatched"] == before["dispatched"], "requests of the operator were served"
    assert after["rejected"] > before["rejected"], "the operator sent no request while none was served"


@contextmanager
def _kept_busy(cluster: Cluster, flow: str, account: str) -> Generator[None]:
    """Send a request whose body does not end: a level without seats lets one request through while none is served."""
    path = f"/apis/batch/v1/namespaces/{cluster.namespace}/jobs"
    command = ["kubectl", "create", "--raw", path, "--filename=-", f"--as={account}"]
    # One of the operator's own may be served when the first of them arrives, which is then refused.
    requests = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(3)]
    try:
        complaint = "the API server served none of the requests that do not end"
        poll(lambda: _flow(cluster, flow), lambda counted: counted["executing"] >= 1, 20, complaint)
        yield
    finally:
        for request in requests:
            request.kill()
            request.wait()


def _flow(cluster: Cluster, name: str) -> dict[str, float]:
    """Count the requests of a FlowSchema that were dispatched, rejected, and are executing now."""
    counted = {
        "apiserver_flowcontrol_dispatched_requests_total": "dispatched",
        "apiserver_flowcontrol_rejected_requests_total": "rejected",
        "apiserver_flowcontrol_current_executing_requests": "executing",
    }
    found = dict.fromkeys(counted.values(), 0.0)
    for family in text_string_to_metric_families(cluster.kubectl("get", "--raw", "/metrics")):
        for sample in family.samples:
            if sample.name in counted and sample.labels["flow_schema"] == name:
                found[counted[sample.name]] += sample.value
    return found


@contextmanager
def internal_errors(cluster: Cluster) -> Generator[None]:
    """Have the API server answer 500 to whoever creates a Job, or a pod, in a namespace: a webhook that is not there."""
    name = f"e2e-broken-{cluster.namespace}"
    rules = [
        {"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"], "operations": ["CREATE"]},
        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]},
    ]
    webhook = {
        "name": "broken.e2e.cairn.dev",
        "clientConfig": {"service": {"name": "nobody", "namespace": cluster.namespace, "path": "/"}},
        "rules": rules,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "admissionReviewVersions": ["v1"],
    }
    body: Body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
    with _there(cluster, [body]):
        job = ("create", "job", "refused", "--image=none", "--dry-run=server", f"--namespace={cluster.namespace}")
        _wait_for_refusal("failed calling webhook", *job)
        yield


def _wait_for_refusal(words: str, *command: str) -> None:
    """Wait until the API server refuses a request of kubectl in these words: a fault that is not there proves nothing."""

    def said() -> str:
        return subprocess.run(["kubectl", *command], capture_output=True, text=True, check=False).stderr

    poll(said, lambda text: words in text.lower(), 60, f"kubectl {' '.join(command)} was not refused")


@contextmanager
def _there(cluster: Cluster, objects: list[Body]) -> Generator[None]:
    try:
        for body in objects:
            cluster.apply(body)
        yield
    finally:
        for body in reversed(objects):
            cluster.kubectl("delete", "--ignore-not-found", body["kind"], body["metadata"]["name"])
