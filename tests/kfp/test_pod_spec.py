"""The pod of an attempt."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from kubernetes.client import ApiClient

from tests.kfp.backend.launcher import ASSIGNMENT
from tests.kfp.backend.pod_spec import make_pod
from tests.kfp.test_pods import HELPERS, attempt

Json = dict[str, Any]
INPUT = {"name": "data", "uri": "s3://b/run/make/data"}
OUTPUT = {"name": "model", "uri": "s3://b/run/train/model"}


def pod(**fields: Any) -> Json:
    return make_pod(attempt(**fields), HELPERS, "ml")


def main(**container: Any) -> Json:
    return pod(container={"image": "i", **container})["spec"]["containers"][0]


def with_platform(**platform: Any) -> Json:
    return pod(platform=platform)


def test_the_users_container_is_between_the_backends() -> None:
    spec = pod()["spec"]

    assert [one["name"] for one in spec["initContainers"]] == ["kfp-launcher"]
    assert [(one["name"], one["image"]) for one in spec["containers"]] == [("main", "i"), ("wait", "operator")]
    assert (spec["restartPolicy"], spec["serviceAccountName"]) == ("Never", "pipeline-runner")


def test_labels_and_annotations_are_argos() -> None:
    metadata = pod()["metadata"]

    assert metadata["labels"]["pipeline/runid"] == "r"
    assert metadata["labels"]["workflows.argoproj.io/workflow"] == "p-x"
    assert metadata["annotations"]["workflows.argoproj.io/node-id"] == "p-x-1"


def test_placeholders_are_resolved_in_the_command_but_not_in_the_environment() -> None:
    placeholder = "{{$.inputs.parameters['x']}}"
    container = {
        "image": "i",
        "command": [placeholder],
        "args": [placeholder],
        "env": [{"name": "X", "value": placeholder}],
    }

    found = pod(container=container, inputs={"parameters": {"x": "v"}})["spec"]["containers"][0]

    assert (found["command"], found["args"], found["env"][0]["value"]) == (["v"], ["v"], placeholder)


def test_an_image_with_its_own_command_keeps_it() -> None:
    assert not {"command", "args"} & main().keys()


def test_artifacts_are_shared_between_the_containers() -> None:
    spec = pod(inputs={"artifacts": {"data": [INPUT]}}, outputs={"artifacts": {"model": [OUTPUT]}})["spec"]

    containers = [*spec["initContainers"], *spec["containers"]]
    assert all({"name": "artifacts-s3", "mountPath": "/s3"} in one["volumeMounts"] for one in containers)
    assert {"name": "artifacts-s3", "emptyDir": {}} in spec["volumes"]


def test_an_artifact_of_no_object_store_has_no_path() -> None:
    spec = pod(inputs={"artifacts": {"data": [{"name": "data", "uri": "https://example.org/data"}]}})["spec"]

    assert [one["name"] for one in spec["volumes"]] == ["outputs"]


def test_helpers_are_told_what_to_move() -> None:
    spec = pod(
        inputs={"artifacts": {"data": [INPUT]}}, outputs={"artifacts": {"model": [OUTPUT]}}, output_parameters=["n"]
    )["spec"]

    assignment = json.loads({one["name"]: one for one in spec["containers"][1]["env"]}[ASSIGNMENT]["value"])
    assert (assignment["inputs"], assignment["outputs"]) == ([INPUT["uri"]], {"model": OUTPUT["uri"]})
    assert (assignment["parameters"], assignment["pod"]) == (["n"], "p-x-system-container-impl-1")


def test_only_helpers_see_the_stores_credentials() -> None:
    spec = make_pod(attempt(), replace(HELPERS, secret="s3"), "ml")["spec"]  # noqa: S106 - the name of a Secret

    names = {one["name"]: {variable["name"] for variable in one["env"]} for one in spec["containers"]}
    assert "AWS_SECRET_ACCESS_KEY" in names["wait"]
    assert "AWS_SECRET_ACCESS_KEY" not in names["main"]


def test_helpers_may_run_from_a_config_map() -> None:
    helper = make_pod(attempt(), replace(HELPERS, code="kfp-backend"), "ml")["spec"]["initContainers"][0]

    assert helper["command"] == ["python", "-m", "backend.launcher", "fetch"]
    assert {"name": "code", "mountPath": "/opt/kfp-backend/backend"} in helper["volumeMounts"]


def test_helpers_are_restricted_and_users_containers_only_where_wanted() -> None:
    spec = pod()["spec"]
    restricted = make_pod(attempt(), replace(HELPERS, restrict_main=True), "ml")["spec"]

    assert all(one["securityContext"]["runAsNonRoot"] for one in [*spec["initContainers"], spec["containers"][1]])
    assert "securityContext" not in spec["containers"][0]
    assert restricted["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            {"resourceCpuLimit": "500m", "resourceMemoryRequest": "1Gi"},
            {"limits": {"cpu": "500m"}, "requests": {"memory": "1Gi"}},
        ),
        ({"cpuLimit": 0.5, "memoryLimit": 0.25}, {"limits": {"cpu": "500m", "memory": "250M"}}),
        (
            {"accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "1"}},
            {"limits": {"nvidia.com/gpu": "1"}},
        ),
        ({"accelerator": {"type": "nvidia.com/gpu", "count": 2}}, {"limits": {"nvidia.com/gpu": "2"}}),
    ],
)
def test_resources(asked: Json, expected: Json) -> None:
    assert main(resources=asked)["resources"] == expected


@pytest.mark.parametrize(
    ("platform", "variable"),
    [
        (
            {
                "secretAsEnv": [
                    {"secretNameParameter": "s", "keyToEnv": [{"secretKey": "k", "envVar": "V"}], "optional": True}
                ]
            },
            {"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        ),
        (
            {"configMapAsEnv": [{"configMapName": "c", "keyToEnv": [{"configMapKey": "k", "envVar": "V"}]}]},
            {"name": "V", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ),
        (
            {"fieldPathAsEnv": [{"name": "V", "fieldPath": "spec.nodeName"}]},
            {"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ),
    ],
)
def test_variables_of_the_platform(platform: Json, variable: Json) -> None:
    assert variable in with_platform(**platform)["spec"]["containers"][0]["env"]


@pytest.mark.parametrize(
    ("platform", "volume", "mount"),
    [
        (
            {"secretAsVolume": [{"secretNameParameter": "s", "mountPath": "/m"}]},
            {"name": "secret-0", "secret": {"secretName": "s", "optional": False}},
            {"name": "secret-0", "mountPath": "/m"},
        ),
        (
            {"pvcMount": [{"pvcNameParameter": "p", "mountPath": "/m", "subPath": "d"}]},
            {"name": "pvc-0", "persistentVolumeClaim": {"claimName": "p"}},
            {"name": "pvc-0", "mountPath": "/m", "subPath": "d"},
        ),
        (
            {"emptyDirMounts": [{"volumeName": "e", "mountPath": "/m", "medium": "Memory"}]},
            {"name": "e", "emptyDir": {"medium": "Memory"}},
            {"name": "e", "mountPath": "/m"},
        ),
        (
            {"enabledSharedMemory": {"size": "1Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ),
    ],
)
def test_volumes_of_the_platform(platform: Json, volume: Json, mount: Json) -> None:
    spec = with_platform(**platform)["spec"]

    assert volume in spec["volumes"]
    assert mount in spec["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("platform", "field", "expected"),
    [
        ({"nodeSelector": {"labels": {"disk": "ssd"}}}, "nodeSelector", {"disk": "ssd"}),
        ({"nodeSelector": {"nodeSelectorJson": {"disk": "hdd"}}}, "nodeSelector", {"disk": "hdd"}),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": "5"}]},
            "tolerations",
            [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
        ),
        ({"imagePullSecret": [{"secretNameParameter": "r"}]}, "imagePullSecrets", [{"name": "r"}]),
        ({"activeDeadlineSeconds": "600"}, "activeDeadlineSeconds", 600),
        (
            {"nodeAffinity": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]},
            "affinity",
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]
                    }
                }
            },
        ),
    ],
)
def test_fields_of_the_platform(platform: Json, field: str, expected: Any) -> None:
    assert with_platform(**platform)["spec"][field] == expected


def test_labels_of_the_platform_come_beside_argos() -> None:
    metadata = with_platform(podMetadata={"labels": {"team": "a", "pipeline/runid": "x"}})["metadata"]

    assert (metadata["labels"]["team"], metadata["labels"]["pipeline/runid"]) == ("a", "r")


def test_the_users_container_runs_as_the_platform_says() -> None:
    container = with_platform(securityContext={"runAsUser": "1000", "runAsNonRoot": True}, imagePullPolicy="Always")

    found = container["spec"]["containers"][0]
    assert found["securityContext"] == {"runAsUser": 1000, "runAsNonRoot": True}
    assert found["imagePullPolicy"] == "Always"


EVERYTHING = {
    "secretAsEnv": [{"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "V"}], "optional": True}],
    "configMapAsEnv": [{"configMapName": "c", "keyToEnv": [{"configMapKey": "k", "envVar": "V"}]}],
    "fieldPathAsEnv": [{"name": "N", "fieldPath": "spec.nodeName"}],
    "secretAsVolume": [{"secretName": "s", "mountPath": "/1"}],
    "configMapAsVolume": [{"configMapName": "c", "mountPath": "/2"}],
    "pvcMount": [{"constant": "p", "mountPath": "/3", "subPath": "d"}],
    "emptyDirMounts": [{"volumeName": "e", "mountPath": "/4", "sizeLimit": "1Gi"}],
    "genericEphemeralVolume": [
        {"volumeName": "g", "mountPath": "/5", "accessModes": ["ReadWriteOnce"], "size": "1Gi", "storageClassName": "c"}
    ],
    "enabledSharedMemory": {"size": "1Gi"},
    "nodeSelector": {"labels": {"disk": "ssd"}},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": "5"}],
    "nodeAffinity": [
        {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}], "weight": 5},
        {"matchFields": [{"key": "k", "operator": "Exists"}]},
    ],
    "podAffinity": [
        {"matchPodLabels": {"a": "b"}, "topologyKey": "t", "anti": True},
        {"matchPodLabels": {"a": "b"}, "topologyKey": "t", "weight": 3, "matchNamespaceLabels": {"x": "y"}},
    ],
    "securityContext": {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True},
    "imagePullSecret": [{"secretName": "r"}],
    "imagePullPolicy": "Always",
    "activeDeadlineSeconds": "5",
    "podMetadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
}


def test_kubernetes_knows_every_field() -> None:
    made = make_pod(
        attempt(
            platform=EVERYTHING,
            inputs={"artifacts": {"data": [INPUT]}},
            outputs={"artifacts": {"model": [OUTPUT]}},
            container={"image": "i", "command": ["a"], "args": ["b"], "resources": {"resourceCpuLimit": "1"}},
        ),
        replace(HELPERS, secret="s", code="c", restrict_main=True),  # noqa: S106 - the name of a Secret
        "ml",
    )

    # The client's models drop what they do not know.
    client = ApiClient()
    known = client.sanitize_for_serialization(client.deserialize(json.dumps(made), "V1Pod", "application/json"))

    assert known == made
