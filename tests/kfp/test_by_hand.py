"""Compiled runs beside the same pipelines written by hand, as the SDK compiles those.

What Cairn adds is left out of the comparison: the variables that every step has, and the shell around the command of a step that
moves artifacts (`prelude.py`), since nobody writes that by hand. Names that the SDK makes up are replaced by Cairn's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.runs.kubeflow.prelude import SCRIPT
from tests.kfp.compiling import compiled
from tests.kfp.sdk_process import Sdk
from tests.unit.builders import inputs, outputs, run_spec, step

SHELL_AROUND_IT = ["sh", "-c", SCRIPT, "cairn"]
OLD_FIELDS = {
    "secretNameParameter": "secretName",
    "configMapNameParameter": "configMapName",
    "pvcNameParameter": "constant",
}


def only(**fields: Any) -> RunSpec:
    """The run of one step."""
    return run_spec(step("only", command=["train"], args=["--fast"], **fields))


def of_run(sdk: Sdk, spec: RunSpec) -> JsonObject:
    """A run as the SDK understands it, without what Cairn adds."""
    found = sdk.understood(compiled(spec))
    for executor in found["spec"]["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})
        container["env"] = [one for one in container.get("env", []) if not one["name"].startswith("CAIRN_")]
        if container.get("command") == SHELL_AROUND_IT:
            del container["command"], container["args"]
    return found


def by_hand(sdk: Sdk, name: str) -> JsonObject:
    """A pipeline written by hand, with the command of a step that moves artifacts left out, too."""
    found = sdk.by_hand(name)
    for executor in found["spec"]["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})
        container["env"] = container.get("env", [])
        if any("artifacts" in text or "outputs" in text for text in container.get("command", [])):
            del container["command"]
    return {**found, "platform": without_old_fields(found["platform"])}


def without_old_fields(value: Any) -> Any:
    """Settings without names that servers before 2.5 read, and without `optional` where that is false, as it is unless given."""
    if isinstance(value, list):
        return [without_old_fields(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if (key, item) != ("optional", False)}
    for new, old in OLD_FIELDS.items():
        if new in kept:
            kept.pop(old, None)
    return {key: without_old_fields(item) for key, item in kept.items()}


def renamed(document: JsonObject, names: Mapping[str, str]) -> JsonObject:
    """A document with other names."""
    text = json.dumps(document)
    for old, new in names.items():
        text = text.replace(old, new)
    return json.loads(text)


def tasks(document: JsonObject, component: str | None = None) -> JsonObject:
    spec = document["spec"]
    return (spec["root"] if component is None else spec["components"][component])["dag"]["tasks"]


def container(document: JsonObject, name: str = "only") -> JsonObject:
    return document["spec"]["deploymentSpec"]["executors"][f"exec-{name}"]["container"]


def test_artifacts_of_all_types(sdk: Sdk):
    types = {"model": "Model", "scores": "Metrics", "report": "Report", "log": "File"}
    written = [{"name": name, "path": f"/out/{name}", "type": type_} for name, type_ in types.items()]
    data = {"name": "data", "path": "/out/data", "type": "Dataset"}
    spec = run_spec(
        step("load", command=["load"], outputs={"artifacts": [data]}),
        step("train", command=["train"], inputs=inputs(data="load.data"), outputs={"artifacts": written}),
    )

    assert of_run(sdk, spec) == by_hand(sdk, "two_steps")


def test_parameters(sdk: Sdk):
    spec = run_spec(
        step(
            "with-alpha",
            command=["train"],
            args=["--alpha=$(params.alpha)"],
            env=[{"name": "TZ", "value": "Europe/Berlin"}],
        ),
        parameters=[{"name": "alpha", "value": "0.5"}, {"name": "mode", "value": "full"}],
    )

    assert of_run(sdk, spec) == by_hand(sdk, "parameters")


def test_results(sdk: Sdk):
    spec = run_spec(
        step("measure", command=["measure"], outputs=outputs(results=["rows"])),
        step("announce", command=["announce"], args=["$(steps.measure.results.rows)"]),
    )

    run, written = renamed(of_run(sdk, spec), {"results.json": "results_json"}), by_hand(sdk, "results")

    assert run["spec"]["components"]["comp-measure"] == written["spec"]["components"]["comp-measure"]
    ours = tasks(run)["announce"]["inputs"]["parameters"]["measure.rows"]
    handed_on = tasks(written)["keep"]["inputs"]["parameters"]["results"]
    taken_out = tasks(written, "comp-for-loop-2")["announce"]["inputs"]["parameters"]["rows"]
    assert ours == {**handed_on, "parameterExpressionSelector": taken_out["parameterExpressionSelector"]}


def test_a_condition(sdk: Sdk):
    """The SDK puts a group around what is under a condition; Cairn's tasks carry it themselves."""
    spec = run_spec(
        step("only", command=["train"], args=["--fast"], when="params.publish == 'yes'"),
        parameters=[{"name": "publish", "value": "no"}],
    )

    run, written = of_run(sdk, spec), renamed(by_hand(sdk, "condition"), {"pipelinechannel--": ""})

    task, group = tasks(run)["only"], tasks(written)["condition-1"]
    assert task["triggerPolicy"]["condition"].replace('"', "'") == group["triggerPolicy"]["condition"]
    assert task["inputs"] == group["inputs"]
    definitions = written["spec"]["components"]["comp-condition-1"]["inputDefinitions"]
    assert run["spec"]["components"]["comp-only"]["inputDefinitions"] == definitions
    assert container(run) == container(written)
    assert run["spec"]["root"]["inputDefinitions"] == written["spec"]["root"]["inputDefinitions"]


def test_what_comes_after_a_condition_waits_for_a_group_around_it(sdk: Sdk):
    spec = run_spec(
        step("only", command=["train"], args=["--fast"], when="params.publish == 'yes'"),
        step("tell", command=["tell"], dependsOn=["only"]),
        parameters=[{"name": "publish", "value": "no"}],
    )

    run, written = of_run(sdk, spec), renamed(by_hand(sdk, "condition"), {"pipelinechannel--": ""})

    groups = [found["spec"]["components"] for found in (run, written)]
    ours, theirs = groups[0]["dag-cairn-when-only"], groups[1]["comp-condition-1"]
    assert ours["inputDefinitions"] == theirs["inputDefinitions"]
    assert ours["dag"]["tasks"].keys() == theirs["dag"]["tasks"].keys() == {"only"}
    assert tasks(run)["cairn-when-only"]["inputs"] == tasks(written)["condition-1"]["inputs"]


def test_an_exit_handler(sdk: Sdk):
    spec = run_spec(
        step("only", command=["train"], args=["--fast"]),
        parameters=[{"name": "alpha", "value": "0.5"}],
        **{"finally": [step("tell", command=["tell"])]},
    )
    names = {
        "dag-cairn-main": "comp-exit-handler-1",
        '"cairn-main"': '"exit-handler-1"',
        "dag-cairn-finally": "comp-last",
        '"cairn-finally"': '"last"',
        "cairn.status": "status",
    }

    run, written = renamed(of_run(sdk, spec), names), by_hand(sdk, "exit_handler")

    assert tasks(run)["last"] == tasks(written)["last"]
    ours, theirs = run["spec"]["components"], written["spec"]["components"]
    assert ours["comp-last"] == theirs["comp-last"]
    assert ours["comp-exit-handler-1"]["dag"] == theirs["comp-exit-handler-1"]["dag"]


def test_an_importer(sdk: Sdk):
    """Written by hand, the address is a parameter of the pipeline; Cairn knows it."""
    spec = run_spec(step("use", command=["use"], inputs=inputs(raw="s3://data/raw.csv")))

    run, written = renamed(of_run(sdk, spec), {"cairn-import-use-1": "importer"}), by_hand(sdk, "importer")

    importers = [tasks(found)["importer"] for found in (run, written)]
    assert importers[0].pop("inputs") == {"parameters": {"uri": {"runtimeValue": {"constant": "s3://data/raw.csv"}}}}
    assert importers[1].pop("inputs") == {"parameters": {"uri": {"componentInputParameter": "uri"}}}
    del written["spec"]["root"]["inputDefinitions"]
    assert run == written


def test_retries(sdk: Sdk):
    retry = {"limit": 2, "backoffSeconds": 10, "backoffFactor": 3}

    assert of_run(sdk, only(retry=retry)) == by_hand(sdk, "retry")


def test_resources(sdk: Sdk):
    """The SDK also writes them as numbers, for servers before 2.4."""
    amounts = {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "2"},
    }

    run, written = of_run(sdk, only(resources=amounts)), by_hand(sdk, "resources")

    theirs = container(written)["resources"]
    for name in ("cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit"):
        del theirs[name]
    for name in ("type", "count"):
        del theirs["accelerator"][name]
    assert run == written


def test_variables_from_elsewhere(sdk: Sdk):
    env = [
        {"name": "S3_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "key"}}},
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]

    assert of_run(sdk, only(env=env)) == by_hand(sdk, "environment")


def test_volumes(sdk: Sdk):
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "100Gi"}},
        "storageClassName": "fast",
    }
    template = {
        "volumes": [
            {"name": "certificates", "secret": {"secretName": "certificates"}},
            {"name": "settings", "configMap": {"name": "settings", "optional": True}},
            {"name": "datasets", "persistentVolumeClaim": {"claimName": "datasets"}},
            {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "big", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}},
        ],
        "volumeMounts": [
            {"name": "certificates", "mountPath": "/certificates"},
            {"name": "settings", "mountPath": "/settings"},
            {"name": "datasets", "mountPath": "/datasets", "subPath": "2026"},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "big", "mountPath": "/big"},
        ],
    }

    assert of_run(sdk, only(podTemplate=template)) == by_hand(sdk, "volumes")


def test_where_a_pod_runs(sdk: Sdk):
    zones = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
    old = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["old"]}]}
    template = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [
            {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [zones]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": old}],
            }
        },
    }

    assert of_run(sdk, only(podTemplate=template)) == by_hand(sdk, "placement")


def test_a_pod_s_other_settings(sdk: Sdk):
    template = {
        "labels": {"team": "vision"},
        "annotations": {"example.com/note": "by hand"},
        "imagePullSecrets": [{"name": "registry"}, {"name": "mirror"}],
        "imagePullPolicy": "Always",
        "securityContext": {"runAsUser": 1000, "runAsGroup": 2000},
        "containerSecurityContext": {"runAsNonRoot": True},
    }

    assert of_run(sdk, only(podTemplate=template, timeoutSeconds=600)) == by_hand(sdk, "pod")
