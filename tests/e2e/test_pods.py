"""What is asked for is really on the pods; what must not be there is not; limits hold."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import Body, Cluster, condition, results, step
from manifests import ORCHESTRATORS, PYTHON_IMAGE, component, python, run, stack
from s3 import S3Server

LEVELS = ("orchestrator", "stack", "run", "operator", "step")
"""From the one that gives way to the one that wins."""

ODD = "$HOME $(HOME) $$(HOME) $(params.word) $$ \"double\" 'single' `back` \\n \\\n\tline two: ünï ✓ {{x}} %s $"
NUMBERS = ("CAIRN_RUN", "CAIRN_RUN_UID", "CAIRN_PIPELINE", "CAIRN_STEP", "CAIRN_ATTEMPT", "CAIRN_RESULTS")
REPORT = """
import json, os, sys
seen = {
    'odd': os.environ['CAIRN_PARAM_ODD_ONE'],
    'arguments': json.dumps(sys.argv[1:]),
    'variable': os.environ.get('ODD', ''),
    'cairn': json.dumps({name: value for name, value in os.environ.items() if name.startswith('CAIRN_')}),
    'token': os.path.exists('/var/run/secrets/kubernetes.io'),
    'user': os.getuid(),
}
json.dump(seen, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
REPORTED = ["odd", "arguments", "variable", "cairn", "token", "user"]
LOOK = """
import json, os
seen = {
    'level': os.environ['LEVEL'],
    'from': ' '.join(sorted(name for name in os.environ if name.startswith('FROM_'))),
    'mounts': ' '.join(sorted(os.listdir('/mounts'))),
    'setting': os.environ['SETTING'],
    'user': f'{os.getuid()} {os.getgid()}',
    'token': os.path.exists('/var/run/secrets/kubernetes.io'),
}
json.dump(seen, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
SEEN = {"results": ["level", "from", "mounts", "setting", "user", "token"]}
CLOCK = """
import json, os, time
start = time.time()
time.sleep(1.5)
json.dump({'start': start, 'end': time.time()}, open(os.environ['CAIRN_RESULTS'], 'w'))
"""


def template(level: str, **fields: Any) -> Body:
    """Additions to a pod that tell by which level they were given."""
    return {
        "labels": {"example.com/level": level, f"example.com/{level}": "given"},
        "annotations": {"example.com/level": level, f"example.com/{level}": "given"},
        "env": [{"name": "LEVEL", "value": level}, {"name": f"FROM_{level.upper()}", "value": "given"}],
        "tolerations": [{"key": f"example.com/{level}", "operator": "Exists"}],
        "volumes": [{"name": level, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "volumeMounts": [{"name": level, "mountPath": f"/mounts/{level}"}],
        "resources": {"requests": {"cpu": f"{LEVELS.index(level) + 1}m"}},
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": [f"{level}.example.com"]}],
        "imagePullSecrets": [{"name": f"pull-{level}"}],
        **fields,
    }


@pytest.fixture(scope="module")
def priority(cluster: Cluster) -> Iterator[str]:
    """A PriorityClass that preempts nobody."""
    name = f"e2e-{secrets.token_hex(4)}"
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    cluster.apply({**kind, "metadata": {"name": name}, "value": 7, "preemptionPolicy": "Never"})
    yield name
    cluster.kubectl("delete", "priorityclass", name)


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster, priority: str) -> Cluster:
    """The runs of this module whose pods are looked at, started together."""
    cluster = shared_stacks
    core: Body = {"apiVersion": "v1"}
    cluster.apply({**core, "kind": "ServiceAccount", "metadata": {"name": "runner"}})
    cluster.apply({**core, "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"SETTING": "from a map"}})
    operator = {
        "resources": {"requests": {"cpu": "4m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "podTemplate": template("operator"),
    }
    del operator["podTemplate"]["resources"]
    cluster.apply(component("gpu", {"stepOperator": {"kubernetes": operator}}))
    for on in ORCHESTRATORS:
        own = template(
            "orchestrator", nodeSelector={"kubernetes.io/os": "linux"}, envFrom=[{"configMapRef": {"name": "settings"}}]
        )
        cluster.apply(component(f"{on}-with-template", {"orchestrator": {on: {"podTemplate": own}}}))
        cluster.apply(
            stack(
                f"merged-{on}",
                orchestrator=f"{on}-with-template",
                store="bucket",
                stepOperatorRefs=[{"name": "gpu"}],
                podTemplate=template("stack"),
                env=[{"name": "LEVEL", "value": "stack's env"}, {"name": "FROM_STACK_ENV", "value": "given"}],
            )
        )
    for on in ORCHESTRATORS:
        cluster.wait_condition("Stack", f"merged-{on}", "Ready", status="True", timeout=60)
        cluster.create(merged(on, priority))
        cluster.create(plain(on))
        cluster.create(run(f"parallel-{on}", parallel(), on=on, maxParallelSteps=2))
    return cluster


def merged(on: str, priority: str) -> Body:
    """A run whose step `special` has additions of all levels, and `usual` those that every step has."""
    affinity = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    special = python(
        "special",
        LOOK,
        outputs=SEEN,
        stepOperatorRef={"name": "gpu"},
        env=[{"name": "LEVEL", "value": "env"}, {"name": "FROM_ENV", "value": "given"}],
        resources={"requests": {"cpu": "6m"}},
        podTemplate=template(
            "step",
            automountServiceAccountToken=True,
            priorityClassName=priority,
            imagePullPolicy="Never",
            schedulerName="default-scheduler",
            securityContext={"runAsUser": 1001},
            containerSecurityContext={"readOnlyRootFilesystem": True},
            topologySpreadConstraints=[
                {
                    "maxSkew": 5,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"example.com/level": "step"}},
                }
            ],
        ),
    )
    everywhere = template(
        "run", serviceAccountName="runner", securityContext={"runAsUser": 1000, "runAsGroup": 1000}, affinity=affinity
    )
    return run(
        f"merged-{on}", [special, python("usual", LOOK, outputs=SEEN)], on=f"merged-{on}", podTemplate=everywhere
    )


def plain(on: str) -> Body:
    """A run with artifacts and parameters, and labels and annotations that are the owner's own."""
    body = run(
        f"plain-{on}",
        [
            python(
                "script", REPORT, outputs={"results": REPORTED, "artifacts": [{"name": "data", "path": "/out/data"}]}
            ),
            {
                "name": "command",
                "image": PYTHON_IMAGE,
                "command": ["python", "-c", REPORT, "$(params.odd-one)", "<$(params.odd-one)>", "$$(params.odd-one)"],
                "args": ["$(run.name)", "$(run.uid)", "$(params.word)"],
                "env": [{"name": "ODD", "value": "$(params.odd-one)"}],
                "inputs": {"artifacts": [{"name": "data", "from": "script.data", "path": "/in/data"}]},
                "outputs": {"results": REPORTED},
                "podTemplate": {"labels": {"example.com/pod": "another"}},
            },
        ],
        on=on,
        parameters=[{"name": "odd-one", "value": ODD}, {"name": "word", "value": "seven"}],
    )
    body["spec"]["steps"][0]["script"] += "open('/out/data', 'w').write('x')\n"
    body["metadata"]["labels"] = {"argocd.argoproj.io/instance": "app", "example.com/owner": "team"}
    body["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "app", "example.com/note": "mine"}
    return body


def parallel() -> list[Body]:
    """Five steps that do not need each other."""
    return [python(f"clock-{number}", CLOCK, outputs={"results": ["start", "end"]}) for number in range(5)]


def completed(cluster: Cluster, name: str) -> Body:
    """Wait for the end of a run that must have worked."""
    finished = cluster.finished(name, timeout=420)
    assert condition(finished, "Succeeded")["reason"] == "Completed", finished["status"]
    return finished


def pod_of(cluster: Cluster, finished: Body, name: str) -> Body:
    """Return the pod of a step."""
    pod = cluster.get("Pod", step(finished, name)["podName"])
    assert pod is not None
    return pod


def containers(pod: Body) -> dict[str, Body]:
    """Return all containers of a pod by their names."""
    return {item["name"]: item for item in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])}


@pytest.fixture(scope="module")
def of_merged(runs: Cluster, orchestrator: str) -> Body:
    return completed(runs, f"merged-{orchestrator}")


@pytest.fixture(scope="module")
def of_plain(runs: Cluster, orchestrator: str) -> Body:
    return completed(runs, f"plain-{orchestrator}")


def given(keys: dict[str, str]) -> set[str]:
    """Return the levels that gave a key of their own."""
    return {key.removeprefix("example.com/") for key, value in keys.items() if value == "given"}


class TestPodTemplates:
    def test_labels_and_annotations_of_all_levels(self, of_merged: Body, runs: Cluster) -> None:
        special = pod_of(runs, of_merged, "special")["metadata"]
        usual = pod_of(runs, of_merged, "usual")["metadata"]

        for field in ("labels", "annotations"):
            assert given(special[field]) == set(LEVELS)
            assert special[field]["example.com/level"] == "step"
            assert given(usual[field]) == {"orchestrator", "stack", "run"}
            assert usual[field]["example.com/level"] == "run"

    def test_the_environment_as_the_step_sees_it(self, of_merged: Body) -> None:
        special, usual = results(of_merged, "special"), results(of_merged, "usual")

        assert (special["level"], usual["level"]) == ("env", "run")
        assert (
            special["from"] == "FROM_ENV FROM_OPERATOR FROM_ORCHESTRATOR FROM_RUN FROM_STACK FROM_STACK_ENV FROM_STEP"
        )
        assert usual["from"] == "FROM_ORCHESTRATOR FROM_RUN FROM_STACK FROM_STACK_ENV"
        assert special["setting"] == usual["setting"] == "from a map"

    def test_volumes_as_the_step_sees_them(self, of_merged: Body) -> None:
        assert results(of_merged, "special")["mounts"] == "operator orchestrator run stack step"
        assert results(of_merged, "usual")["mounts"] == "orchestrator run stack"

    def test_the_lists_are_joined(self, of_merged: Body, runs: Cluster) -> None:
        spec = pod_of(runs, of_merged, "special")["spec"]

        tolerated = {item.get("key", "").removeprefix("example.com/") for item in spec["tolerations"]}
        assert set(LEVELS) <= tolerated
        assert {item["name"] for item in spec["imagePullSecrets"]} == {f"pull-{level}" for level in LEVELS}
        assert [name for item in spec["hostAliases"] for name in item["hostnames"]] == [
            f"{level}.example.com" for level in LEVELS
        ]

    def test_resources(self, of_merged: Body, runs: Cluster) -> None:
        special = containers(pod_of(runs, of_merged, "special"))["special"]
        usual = containers(pod_of(runs, of_merged, "usual"))["usual"]

        assert special["resources"] == {"requests": {"cpu": "6m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
        assert usual["resources"] == {"requests": {"cpu": "3m"}}

    def test_where_the_pod_may_run(self, of_merged: Body, runs: Cluster, priority: str) -> None:
        special = pod_of(runs, of_merged, "special")["spec"]
        usual = pod_of(runs, of_merged, "usual")["spec"]

        assert (special["nodeSelector"], usual["nodeSelector"]) == ({"kubernetes.io/os": "linux"},) * 2
        assert "podAntiAffinity" in special["affinity"]
        assert "podAntiAffinity" in usual["affinity"]
        assert special["topologySpreadConstraints"][0]["maxSkew"] == 5
        assert (special["priorityClassName"], special["priority"]) == (priority, 7)
        assert usual.get("priority", 0) == 0

    def test_who_the_step_is(self, of_merged: Body, runs: Cluster) -> None:
        special = pod_of(runs, of_merged, "special")
        usual = pod_of(runs, of_merged, "usual")

        assert special["spec"]["serviceAccountName"] == usual["spec"]["serviceAccountName"] == "runner"
        assert (results(of_merged, "special")["user"], results(of_merged, "usual")["user"]) == (
            "1001 1000",
            "1000 1000",
        )
        assert (results(of_merged, "special")["token"], results(of_merged, "usual")["token"]) == ("true", "false")
        assert containers(special)["special"]["securityContext"]["readOnlyRootFilesystem"] is True
        assert containers(special)["special"]["imagePullPolicy"] == "Never"
        assert "readOnlyRootFilesystem" not in containers(usual)["usual"]["securityContext"]


class TestOfEveryPod:
    def test_cairn_s_labels(self, of_plain: Body, runs: Cluster, orchestrator: str) -> None:
        for name in ("script", "command"):
            pod = pod_of(runs, of_plain, name)
            job = runs.get("Job", step(of_plain, name)["jobName"])
            assert job is not None
            wanted = {
                "app.kubernetes.io/managed-by": "cairn",
                "cairn.dev/run": f"plain-{orchestrator}",
                "cairn.dev/pipeline": "test",
                "cairn.dev/stack": orchestrator,
                "cairn.dev/step": name,
                "cairn.dev/attempt": "1",
            }
            assert wanted.items() <= pod["metadata"]["labels"].items()
            assert wanted.items() <= job["metadata"]["labels"].items()
            assert job["metadata"]["ownerReferences"][0]["uid"] == of_plain["metadata"]["uid"]

    def test_nothing_of_the_run_s_own_labels_and_annotations(self, of_plain: Body, runs: Cluster) -> None:
        selector = f"cairn.dev/run={of_plain['metadata']['name']}"
        children = [*runs.list("Job", selector), *runs.list("Pod", selector)]

        assert len(children) == 4
        for child in children:
            text = json.dumps([child["metadata"].get("labels"), child["metadata"].get("annotations")])
            assert "argocd" not in text
            assert "example.com/owner" not in text
            assert "example.com/note" not in text

    def test_no_token_of_kubernetes(self, of_plain: Body, runs: Cluster) -> None:
        for name in ("script", "command"):
            assert results(of_plain, name)["token"] == "false"  # noqa: S105 - whether there is one
            assert "kube-api-access" not in json.dumps(pod_of(runs, of_plain, name)["spec"])

    def test_a_user_of_its_own(self, of_plain: Body) -> None:
        assert results(of_plain, "script")["user"] == results(of_plain, "command")["user"] == "65532"

    def test_credentials_only_where_artifacts_are_moved(
        self, of_plain: Body, runs: Cluster, s3_service: S3Server
    ) -> None:
        movers = 0
        for name in ("script", "command"):
            pod = pod_of(runs, of_plain, name)
            job = runs.get("Job", step(of_plain, name)["jobName"])
            assert not any(secret in json.dumps([pod, job]) for secret in s3_service.credentials.values())
            for container in containers(pod).values():
                if not container["name"].startswith("cairn-"):
                    assert "AWS_" not in json.dumps(container)
                    assert "s3-credentials" not in json.dumps(container)
                    continue
                movers += 1
                secrets_used = {item["name"]: item["valueFrom"] for item in container["env"] if "valueFrom" in item}
                assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(secrets_used)
                assert all(source["secretKeyRef"]["name"] == "s3-credentials" for source in secrets_used.values())
        assert movers >= 2

    def test_pod_security_restricted_without_a_warning(self, of_plain: Body, runs: Cluster) -> None:
        levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("audit", "warn")}
        runs.kubectl("label", "namespace", runs.namespace, "--overwrite", *(f"{k}={v}" for k, v in levels.items()))
        jobs = runs.list("Job", f"cairn.dev/run={of_plain['metadata']['name']}")

        said = runs.kubectl("create", "--dry-run=server", "-f", "-", feed=json.dumps(_copies(jobs)))

        assert said.count("created (server dry run)") == len(jobs) == 2
        assert "Warning" not in said


def _copies(jobs: list[Body]) -> Body:
    """Return Jobs like those, without what the API server has added."""
    items: list[Body] = []
    for job in jobs:
        template = job["spec"]["template"]
        labels = {
            k: v for k, v in template["metadata"]["labels"].items() if not k.endswith(("controller-uid", "job-name"))
        }
        template["metadata"]["labels"] = labels
        name = f"copy-of-{job['metadata']['name']}"
        spec = {"backoffLimit": 0, "template": template}
        items.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
    return {"apiVersion": "v1", "kind": "List", "items": items}


class TestParametersAndVariables:
    def test_a_parameter_reaches_a_script_unchanged(self, of_plain: Body) -> None:
        assert results(of_plain, "script")["odd"] == ODD

    def test_a_parameter_reaches_a_command_unchanged(self, of_plain: Body) -> None:
        assert json.loads(results(of_plain, "command")["arguments"]) == [
            ODD,
            f"<{ODD}>",
            "$(params.odd-one)",
            of_plain["metadata"]["name"],
            of_plain["metadata"]["uid"],
            "seven",
        ]

    def test_a_parameter_reaches_a_variable_unchanged(self, of_plain: Body) -> None:
        assert results(of_plain, "command")["variable"] == ODD

    def test_cairn_s_variables(self, of_plain: Body) -> None:
        for name in ("script", "command"):
            seen = json.loads(results(of_plain, name)["cairn"])
            assert seen.pop("CAIRN_RESULTS").startswith("/")
            assert seen == {
                "CAIRN_RUN": of_plain["metadata"]["name"],
                "CAIRN_RUN_UID": of_plain["metadata"]["uid"],
                "CAIRN_PIPELINE": "test",
                "CAIRN_STEP": name,
                "CAIRN_ATTEMPT": "1",
                "CAIRN_PARAM_ODD_ONE": ODD,
                "CAIRN_PARAM_WORD": "seven",
            }


def test_no_more_steps_at_once_than_allowed(runs: Cluster, orchestrator: str) -> None:
    finished = completed(runs, f"parallel-{orchestrator}")

    times = [results(finished, item["name"]) for item in finished["status"]["steps"]]
    spans = [(float(item["start"]), float(item["end"])) for item in times]
    assert max(sum(start <= at <= end for start, end in spans) for at, _ in spans) <= (
        2 if orchestrator == "kubernetes" else 1
    )
