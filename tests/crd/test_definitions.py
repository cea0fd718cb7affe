"""The CRDs themselves: that every tool can install them, and what kubectl shows of the kinds."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cairn.api.base import GROUP, VERSION, JsonObject
from cairn.api.crd import UNSEEN
from cairn.generate import LARGEST_CRD_BYTES

from .api_server import ApiServer
from .conftest import Kubectl, eventually, install, renamed_crds
from .manifests import CRDS, STATUSES, complete, crds
from .schema import nodes, spec_schema, status_schema

DEFAULTS: dict[str, Any] = {
    "PipelineRun spec.suspend": False,
    "PipelineRun spec.rerunOf.from": "Failed",
    "PipelineRun spec.tracking.disabled": False,
    "PipelineRun spec.steps[].interpreter": ["python", "-c"],
    "PipelineRun spec.steps[].outputs.artifacts[].type": "File",
    "PipelineRun spec.steps[].outputs.artifacts[].register.approval": "NotRequired",
    "PipelineRun spec.steps[].outputs.artifacts[].register.approvalTimeoutSeconds": 604800,
    "Pipeline spec.parameters[].type": "String",
    "Pipeline spec.runPolicy": "Manual",
    "PipelineSchedule spec.timeZone": "Etc/UTC",
    "PipelineSchedule spec.suspend": False,
    "PipelineSchedule spec.concurrencyPolicy": "Forbid",
    "PipelineSchedule spec.catchUp": "Latest",
    "PipelineSchedule spec.successfulRunsHistoryLimit": 10,
    "PipelineSchedule spec.failedRunsHistoryLimit": 10,
    "Pipeline spec.template.spec.failurePolicy": "ContinueOnFailure",
    "Pipeline spec.template.spec.tracking.disabled": False,
    "Pipeline spec.template.spec.steps[].interpreter": ["python", "-c"],
    "Pipeline spec.template.spec.steps[].outputs.artifacts[].type": "File",
    "Pipeline spec.template.spec.steps[].outputs.artifacts[].register.approval": "NotRequired",
    "Pipeline spec.template.spec.steps[].outputs.artifacts[].register.approvalTimeoutSeconds": 604800,
    "Pipeline spec.template.spec.steps[].retry.limit": 0,
    "Pipeline spec.template.spec.steps[].retry.on": "Failure",
    "Pipeline spec.template.spec.steps[].retry.backoffSeconds": 5,
    "Pipeline spec.template.spec.steps[].retry.backoffFactor": 2,
    "Pipeline spec.template.spec.steps[].retry.maxBackoffSeconds": 300,
    "Pipeline spec.template.spec.steps[].retry.disruptionLimit": 10,
    "Pipeline spec.template.spec.steps[].pendingTimeoutSeconds": 600,
    "Pipeline spec.template.spec.steps[].cache.enabled": True,
    "Pipeline spec.template.spec.steps[].cache.salt": "",
    "PipelineRun spec.steps[].retry.limit": 0,
    "PipelineRun spec.steps[].retry.on": "Failure",
    "PipelineRun spec.steps[].retry.backoffSeconds": 5,
    "PipelineRun spec.steps[].retry.backoffFactor": 2,
    "PipelineRun spec.steps[].retry.maxBackoffSeconds": 300,
    "PipelineRun spec.steps[].retry.disruptionLimit": 10,
    "PipelineRun spec.steps[].pendingTimeoutSeconds": 600,
    "PipelineRun spec.steps[].cache.enabled": True,
    "PipelineRun spec.steps[].cache.salt": "",
    "Stack spec.keepJobsSeconds": 3600,
    "StackComponent spec.orchestrator.kubernetes.maxParallelSteps": 50,
    "StackComponent spec.orchestrator.kubernetes.workload": "Job",
    "StackComponent spec.orchestrator.local.workspaceSize": "10Gi",
    "StackComponent spec.orchestrator.kubeflow.namespace": "kubeflow",
    "StackComponent spec.orchestrator.kubeflow.auth.serviceAccountToken.audience": "pipelines.kubeflow.org",
    "StackComponent spec.artifactStore.local.claim.size": "10Gi",
    "StackComponent spec.artifactStore.local.claim.accessMode": "ReadWriteOnce",
    "StackComponent spec.experimentTracker.mlflow.experimentPrefix": "",
    "StackComponent spec.experimentTracker.mlflow.server.backendStore.sqlite.size": "2Gi",
    "StackComponent spec.experimentTracker.mlflow.server.artifactAccess": "Proxied",
    "StackComponent spec.experimentTracker.mlflow.server.replicas": 1,
    "StackComponent spec.experimentTracker.mlflow.server.deletionPolicy": "Retain",
    "StackComponent spec.experimentTracker.mlflow.server.values": {},
    "StackComponent spec.artifactStore.s3.prefix": "",
    "StackComponent spec.artifactStore.s3.region": "us-east-1",
    "StackComponent spec.artifactStore.s3.addressingStyle": "Auto",
    "StackComponent spec.artifactStore.s3.createBucket": False,
}

TIME = "2030-01-02T03:04:05Z"
STATUS: dict[str, JsonObject] = {
    "StackComponent": {
        "conditions": [{"type": "Ready", "status": "False", "reason": "AccessDenied", "message": "Give it rights."}],
        "observedGeneration": 1,
        "type": "artifactStore",
        "flavor": "s3",
        "endpoint": "https://s3.storage.svc:9000",
        "lastCheckedTime": TIME,
        "usedBy": ["production"],
    },
    "Stack": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "ComponentsReady", "message": "All are ready."}],
        "observedGeneration": 1,
        "orchestrator": "kubernetes",
        "artifactStore": "s3",
        "components": [
            {"type": "artifactStore", "name": "bucket", "flavor": "s3", "ready": True, "reason": "Ok", "message": ""}
        ],
        "activeRuns": 3,
    },
    "Pipeline": {
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Valid", "message": "Runs can be made from it."},
            {"type": "LastRunSucceeded", "status": "True", "reason": "Completed", "message": "All steps succeeded."},
        ],
        "observedGeneration": 3,
        "revision": "5e1f0c2a",
        "lastRun": {"name": "example-3-5e1f0c2a", "revision": "5e1f0c2a", "generation": 3, "reason": "Completed"},
    },
    "PipelineSchedule": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Scheduled", "message": "A run is started."}],
        "observedGeneration": 2,
        "observedSchedule": "30 3 * * 1-5 Europe/Berlin",
        "activeSince": TIME,
        "lastScheduleTime": TIME,
        "nextScheduleTime": TIME,
        "activeRuns": 1,
        "lastRun": {"name": "example-29453333", "scheduledTime": TIME, "reason": "Running"},
    },
    "PipelineRun": {
        "conditions": [{"type": "Succeeded", "status": "False", "reason": "StepFailed", "message": "Read the log."}],
        "observedGeneration": 1,
        "startTime": TIME,
        "completionTime": TIME,
        "durationSeconds": 17,
        "pipelineRevision": "5e1f0c2a",
        "experiment": "baseline",
        "stack": {
            "name": "production",
            "builtIn": False,
            "digest": "sha256:0",
            "components": [{"type": "orchestrator", "name": "kubernetes", "flavor": "kubernetes"}],
        },
        "orchestratorRun": {"id": "0f8b", "url": "https://kubeflow.example.com/pipeline/#/runs/details/0f8b"},
        "registrations": [
            {
                "step": "train",
                "artifact": "model",
                "model": "wine",
                "state": "AwaitingApproval",
                "version": "3",
                "alias": "champion",
                "since": TIME,
                "message": "Approved by alice.",
            }
        ],
        "stepsSummary": "1/3",
        "stepCounts": {
            "pending": 0,
            "queued": 0,
            "running": 0,
            "retrying": 0,
            "succeeded": 1,
            "failed": 1,
            "skipped": 1,
            "cached": 0,
            "cancelled": 0,
        },
        "steps": [
            {
                "name": "prepare",
                "state": "Succeeded",
                "attempts": 1,
                "retriesUsed": 0,
                "disruptions": 0,
                "artifacts": [{"name": "train-data", "uri": "s3://b/k", "digest": "sha256:0", "sizeBytes": 5}],
                "results": [{"name": "rows", "value": "10"}],
            },
            {
                "name": "train",
                "state": "Failed",
                "attempts": 2,
                "retriesUsed": 1,
                "disruptions": 0,
                "reason": "OOMKilled",
                "exitCode": 137,
                "queuedTime": TIME,
                "previousAttempts": [{"number": 1, "reason": "ExitCode", "exitCode": 1, "charged": True}],
            },
        ],
    },
}
SHOWN = {
    "StackComponent": [
        "artifactStore",
        "s3",
        "False",
        "AccessDenied",
        "https://s3.storage.svc:9000",
        "Give it rights.",
    ],
    "Stack": ["True", "kubernetes", "s3", "3", "true", "ComponentsReady", "All are ready."],
    "Pipeline": ["True", "OnChange", "example-3-5e1f0c2a", "Completed", "Valid", "Runs can be made from it."],
    "PipelineSchedule": ["True", "wine", "30 3 * * 1-5", "Europe/Berlin", "1", "Running", TIME, "Scheduled"],
    "PipelineRun": ["StepFailed", "example", "production", "1/3", "17", "Read the log."],
}
COLUMNS = {
    "StackComponent": ["Type", "Flavor", "Ready", "Reason", "Age"],
    "Stack": ["Ready", "Orchestrator", "Artifacts", "Tracker", "Runs", "Reason", "Age"],
    "Pipeline": ["Ready", "Policy", "Run", "Status", "Age"],
    "PipelineSchedule": ["Ready", "Pipeline", "Schedule", "Zone", "Suspended", "Active", "Last", "Status", "Age"],
    "PipelineRun": ["Status", "Pipeline", "Stack", "Steps", "Seconds", "Age"],
}

each_crd = pytest.mark.parametrize("crd", crds(), ids=lambda crd: crd["spec"]["names"]["singular"])


@each_crd
def test_a_client_side_apply_can_carry_it(crd: JsonObject) -> None:
    assert len(json.dumps(crd)) < LARGEST_CRD_BYTES


@each_crd
def test_every_field_is_described(crd: JsonObject) -> None:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    of_itself = "metadata"  # kubectl knows what it is, and a CRD may say nothing of it
    fields = (
        (f"{name}.{field}", inner)
        for name, node in nodes(schema, crd["spec"]["names"]["kind"])
        for field, inner in node.get("properties", {}).items()
        if field != of_itself
    )

    assert [name for name, inner in fields if not inner.get("description", "").strip()] == []


@each_crd
def test_every_text_and_every_list_is_bounded(crd: JsonObject) -> None:
    unbounded: list[str] = []
    for part, schema in (("spec", spec_schema(crd)), ("status", status_schema(crd))):
        for name, node in nodes(schema, part):
            text = node.get("type") == "string" and "enum" not in node and "maxLength" not in node
            items = node.get("type") == "array" and "maxItems" not in node
            if text or items:
                unbounded.append(name)

    assert unbounded == []


def test_the_defaults_are_the_documented_ones() -> None:
    found = {
        f"{crd['spec']['names']['kind']} {name}": node["default"]
        for crd in crds()
        for name, node in nodes(spec_schema(crd), "spec")
        if "default" in node and "spec.finally[]." not in name  # those of any step
    }

    assert found == DEFAULTS


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_kubectl_takes_the_file(path: Path, kubectl: Kubectl) -> None:
    kubectl("apply", "--dry-run=client", "--validate=strict", "-f", str(path))


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_a_second_apply_changes_nothing(options: tuple[str, ...], kubectl: Kubectl, tmp_path: Path) -> None:
    folder = renamed_crds(f"crd-test-{secrets.token_hex(3)}.{GROUP}", tmp_path)
    try:
        install(kubectl, folder, *options)
        before = versions(kubectl, folder)
        kubectl("apply", *options, "-f", str(folder))

        assert versions(kubectl, folder) == before
        difference = kubectl("diff", *options, "-f", str(folder), check=False)
        assert difference.returncode == 0, difference.stdout or difference.stderr
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", str(folder))


@each_crd
def test_kubectl_explains_every_field(crd: JsonObject, kubectl: Kubectl, api_server: ApiServer) -> None:
    explain = ("explain", crd["spec"]["names"]["plural"], f"--api-version={api_server.group}/{VERSION}", "--recursive")
    # the API server takes a moment to publish the schema of a new CRD
    eventually(lambda: kubectl(*explain, check=False).returncode == 0)

    explained = kubectl(*explain).stdout

    words = set(explained.split())
    fields = {
        field
        for schema in (spec_schema(crd), status_schema(crd))
        for _, node in nodes(schema, "")
        for field in node.get("properties", {})
    }
    assert fields - words == set()
    assert crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"][:40] in explained


@pytest.fixture(scope="module")
def applied(kubectl: Kubectl, api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Complete objects, applied by kubectl."""
    folder = tmp_path_factory.mktemp("complete")
    for index, manifest in enumerate(complete()):
        own = api_server.own(manifest)
        own["metadata"]["name"] = f"example-{index}"
        (folder / f"{index}.json").write_text(json.dumps(own))
    try:
        kubectl("apply", "-f", str(folder))
        yield folder
    finally:
        kubectl("delete", "--ignore-not-found", "-f", str(folder))


def test_what_no_operator_has_seen_says_so(kubectl: Kubectl, api_server: ApiServer) -> None:
    created = [
        api_server.create({**manifest, "metadata": {"name": f"unseen-{index}"}})
        for index, manifest in enumerate(complete())
    ]
    try:
        found = [read(kubectl, body) for body in created]

        assert [body["status"] for body in found] == [UNSEEN] * len(created)
    finally:
        for body in created:
            api_server.delete(body)


def read(kubectl: Kubectl, body: JsonObject) -> JsonObject:
    """Return an object as kubectl shows it."""
    group, metadata = body["apiVersion"].split("/")[0], body["metadata"]
    resource = f"{body['kind'].lower()}.{group}/{metadata['name']}"
    return json.loads(kubectl("get", resource, "-n", metadata["namespace"], "-o", "json").stdout)


def test_applied_objects_show_no_difference(applied: Path, kubectl: Kubectl) -> None:
    difference = kubectl("diff", "-f", str(applied), check=False)

    assert difference.returncode == 0, difference.stdout or difference.stderr


def test_applied_objects_can_be_applied_server_side(applied: Path, kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--dry-run=server", "-f", str(applied))


@each_crd
def test_kubectl_shows_the_columns(crd: JsonObject, applied: Path, kubectl: Kubectl, api_server: ApiServer) -> None:
    kind = crd["spec"]["names"]["kind"]
    resource = f"{crd['spec']['names']['plural']}.{api_server.group}"
    example = next(
        found
        for found in json.loads(kubectl("get", "-f", str(applied), "-o", "json").stdout)["items"]
        if found["kind"] == kind
    )
    conditions = [
        {**condition, "lastTransitionTime": TIME, "observedGeneration": 1} for condition in STATUS[kind]["conditions"]
    ]
    status = {**STATUS[kind], "conditions": conditions}

    stored = api_server.set_status(example, status)

    STATUSES[kind].model_validate(status)
    assert stored["status"] == status
    assert stored["metadata"]["generation"] == example["metadata"]["generation"]
    name = example["metadata"]["name"]
    narrow = kubectl("get", resource, name, "-n", api_server.namespace).stdout.splitlines()
    wide = kubectl("get", resource, name, "-n", api_server.namespace, "-o", "wide").stdout
    assert narrow[0].split() == ["NAME", *(column.upper() for column in COLUMNS[kind])]
    assert [cell for cell in SHOWN[kind] if cell not in wide] == []


def test_the_category_and_the_short_names(kubectl: Kubectl, api_server: ApiServer) -> None:
    listed = kubectl("api-resources", f"--api-group={api_server.group}", "-o", "wide").stdout

    lines = {line.split()[0]: line for line in listed.splitlines()[1:]}
    for crd in crds():
        names = crd["spec"]["names"]
        line = lines[names["plural"]]
        assert f"{api_server.group}/{VERSION}" in line
        assert ",".join(names.get("shortNames", ())) in line
        assert line.rstrip().endswith("cairn")


@each_crd
def test_the_api_server_keeps_all_that_the_file_says(crd: JsonObject, kubectl: Kubectl, api_server: ApiServer) -> None:
    name = f"{crd['spec']['names']['plural']}.{api_server.group}"

    stored = json.loads(kubectl("get", "crd", name, "-o", "json").stdout)["spec"]

    assert list(dropped(crd["spec"] | {"group": api_server.group}, stored)) == []


def dropped(written: Any, stored: Any, path: str = "spec") -> Iterator[str]:
    """Yield where what is stored is not what was written: Argo CD shows that as OutOfSync for ever."""
    if isinstance(written, dict) and isinstance(stored, dict):
        for key, value in written.items():
            yield from dropped(value, stored[key], f"{path}.{key}") if key in stored else (f"{path}.{key}",)
    elif isinstance(written, list) and isinstance(stored, list) and len(written) == len(stored):
        for index, (one, other) in enumerate(zip(written, stored, strict=True)):
            yield from dropped(one, other, f"{path}[{index}]")
    elif written != stored:
        yield path


def versions(kubectl: Kubectl, folder: Path) -> list[tuple[str, int]]:
    """Return the generation of each CRD: it grows with every change of the spec."""
    found = json.loads(kubectl("get", "-f", str(folder), "-o", "json").stdout)["items"]
    return sorted((crd["metadata"]["name"], crd["metadata"]["generation"]) for crd in found)
