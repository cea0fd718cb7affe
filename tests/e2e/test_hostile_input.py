"""Nothing that someone puts into a namespace ends the operator, keeps it busy, or makes it tell a secret."""

from __future__ import annotations

import base64
import json
import random
import time
from itertools import pairwise

from cluster import Body, Cluster, condition, step
from faults import ready_operator
from manifests import PYTHON_IMAGE, python, run, secret

DEEP = 9000
"""The API server takes 10,000 levels."""
A_RETRY_AND_MORE_SECONDS = 15.0
"""That nothing is written in this time, there is no event to wait for."""
REASON = '{.status.conditions[?(@.type=="Succeeded")].reason}'
STEPS = [python("only", "print('Hello')")]


def test_a_deeply_nested_object_is_refused_and_others_go_on(namespace: Cluster) -> None:
    deep = run("deep", STEPS, podTemplate={"affinity": "DEEP"})
    text = json.dumps(deep).replace('"DEEP"', '{"a":' * DEEP + "{}" + "}" * DEEP)

    namespace.kubectl("create", "--validate=false", "--filename", "-", feed=text)
    namespace.create(run("ordinary", STEPS))

    assert condition(namespace.finished("ordinary"), "Succeeded")["reason"] == "Completed"
    namespace.kubectl("wait", "--for=condition=Finished", "pipelinerun/deep", "--timeout=60s")
    assert namespace.kubectl("get", "pipelinerun", "deep", "--output", f"jsonpath={REASON}") == "InvalidSpec"


def test_a_secret_that_a_container_runtime_tells_is_not_told_on(namespace: Cluster) -> None:
    namespace.apply({**secret("binary"), "data": {"key": base64.b64encode(b"SECRET\0tail").decode()}})
    variable = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "binary", "key": "key"}}}

    namespace.create(run("tells", [python("only", "print('never')", env=[variable])]))

    finished = namespace.finished("tells")
    assert step(finished, "only")["reason"] == "StartError"
    assert "TOKEN" in step(finished, "only")["message"]
    assert "SECRET" not in json.dumps([finished["status"], namespace.events("PipelineRun", "tells")])


def test_what_costs_too_much_to_evaluate_or_fill_in_ends_its_own_run_only(namespace: Cluster, cluster: Cluster) -> None:
    operator = containers_of(cluster, ready_operator(cluster))
    text = [{"name": "x", "value": "".join(random.Random(1).choices("ab", k=4000))}]  # noqa: S311 - no secret
    names = ["params.x", *"abcdefghijkl"]
    grows = "".join(f"[{'+'.join([one] * 4)}].exists({bound}," for one, bound in pairwise(names)) + "l != ''" + ")" * 12
    zeros = f"[{','.join('0' * 90)}]"
    goes_on = f"{zeros}.all(v, {zeros}.all(w, !params.x.matches('(a|b)*a(a|b){{14}}c')))"

    namespace.create(run("grows", [python("only", "print('never')", when=grows)], parameters=text))
    namespace.create(run("goes-on", [python("only", "print('never')", when=goes_on)], parameters=text))
    many = {"name": "only", "image": PYTHON_IMAGE, "args": ["$(params.x)" * 2900] * 8}
    namespace.create(run("large", [many], parameters=text))
    namespace.create(run("ordinary", STEPS))

    assert condition(namespace.finished("ordinary"), "Succeeded")["reason"] == "Completed"
    for name in ("grows", "goes-on"):
        told = step(namespace.finished(name), "only")
        assert (told["state"], told["reason"]) == ("Failed", "WhenInvalid")
        assert "make it simpler" in told["message"]
    assert condition(namespace.finished("large"), "Succeeded")["reason"] == "InvalidSpec"
    assert containers_of(cluster, ready_operator(cluster)) == operator


def containers_of(cluster: Cluster, pod: str) -> Body:
    """The statuses of a pod's containers, which also tell how often they were started."""
    return (cluster.get("Pod", pod) or {})["status"]["containerStatuses"]


def test_pods_that_a_limit_range_refuses_are_asked_for_at_intervals_only(namespace: Cluster) -> None:
    limits = [{"type": "Container", "min": {"memory": "48Mi"}, "max": {"memory": "64Mi"}}]
    namespace.apply(named("LimitRange", "narrow", spec={"limits": limits}))
    outputs = {"artifacts": [{"name": "data", "path": "/out/data"}]}
    namespace.create(run("narrow", [python("only", "print('never')", outputs=outputs)]))
    waiting = namespace.wait_condition(
        "PipelineRun", "narrow", "Succeeded", status="Unknown", reason="PodsNotAdmitted", timeout=30
    )
    before = namespace.get("PipelineRun", "narrow")

    time.sleep(A_RETRY_AND_MORE_SECONDS)

    assert "minimum memory usage per Container is 48Mi" in waiting["message"]
    assert namespace.get("PipelineRun", "narrow") == before


def test_a_job_whose_pod_a_quota_refuses_says_so_and_goes_on_when_there_is_room(namespace: Cluster) -> None:
    namespace.apply(named("ResourceQuota", "none", spec={"hard": {"pods": "0"}}))
    namespace.wait(
        "ResourceQuota", "none", lambda body: bool(body.get("status", {}).get("hard")), 30, "the quota counts"
    )
    namespace.create(run("waits", STEPS))

    waiting = namespace.wait_condition(
        "PipelineRun", "waits", "Succeeded", status="Unknown", reason="Pending", timeout=60
    )
    assert "Step only waits: FailedCreate: " in waiting["message"]
    assert "exceeded quota: none" in waiting["message"]
    namespace.delete("ResourceQuota", "none")

    assert condition(namespace.finished("waits"), "Succeeded")["reason"] == "Completed"


def named(kind: str, name: str, **fields: object) -> Body:
    """Return an object of Kubernetes' core."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
