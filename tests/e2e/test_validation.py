"""A run that cannot work ends before anything starts, and says where to look; one whose stack is missing waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster import Body, Cluster, condition
from manifests import ORCHESTRATORS, python, run, stack


@dataclass(frozen=True)
class Case:
    """Steps that are refused, and what the message must say."""

    steps: Iterable[Body]
    says: Iterable[str]
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])


def one(**fields: Any) -> list[Body]:
    """A step by the name of `train`."""
    return [python("train", "print('never')", **fields)]


def command(*words: str) -> list[Body]:
    """A step by the name of `train` that runs a command."""
    return [{"name": "train", "image": "python", "command": list(words)}]


def reading(source: str) -> list[Body]:
    """A step `load` with one output, and `train`, which names one of its."""
    load = python("load", "print('never')", outputs={"artifacts": [{"name": "data", "path": "/out/data"}]})
    return [load, *one(inputs={"artifacts": [{"name": "data", "from": source, "path": "/in/data"}]})]


def template(**fields: Any) -> list[Body]:
    """A step by the name of `train` with additions to its pod."""
    return one(podTemplate=fields)


AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Resembles", "values": ["ssd"]}]}]
        }
    }
}
DATA = {"name": "data", "path": "/out/data"}

CASES = {
    "steps that wait for each other": Case(
        [
            python("a", "print('never')", dependsOn=["c"]),
            python("b", "print('never')", dependsOn=["a"]),
            python("c", "print('never')", dependsOn=["b"]),
        ],
        ["spec.steps: these steps wait for each other: ", "a", "b", "c", "remove one of the dependencies"],
    ),
    "a step that is not there": Case(
        one(dependsOn=["load"]), ["spec.steps[train].dependsOn: there is no step load; the run has no other step"]
    ),
    "an artifact of a step that is not there": Case(
        reading("prepare.data"), ["spec.steps[train].inputs.artifacts[data].from: there is no step prepare"]
    ),
    "an artifact that is not there": Case(
        reading("load.model"),
        ["spec.steps[train].inputs.artifacts[data].from: step load has no output artifact model; it declares: data"],
    ),
    "a parameter that is not there": Case(
        command("train", "--alpha", "$(params.alpha)"),
        ["spec.steps[train].command[2]: $(params.alpha): the run has no parameter alpha"],
    ),
    "a parameter that is not there, in a variable": Case(
        one(env=[{"name": "ALPHA", "value": "$(params.alpha)"}]),
        ["spec.steps[train].env[ALPHA]: $(params.alpha): the run has no parameter alpha"],
    ),
    "a result of a step that is not there": Case(
        command("$(steps.load.results.rows)"),
        ["spec.steps[train].command[0]: $(steps.load.results.rows): there is no step load"],
    ),
    "a result that is not there": Case(
        [python("load", "print('never')", outputs={"results": ["rows"]}), *command("$(steps.load.results.lines)")],
        ["spec.steps[train].command[0]: $(steps.load.results.lines): step load declares no result lines"],
    ),
    "a path claimed twice": Case(
        one(outputs={"artifacts": [DATA, {"name": "model", "path": "/out/data/model"}]}),
        ["spec.steps[train].outputs.artifacts[model]: path /out/data/model is claimed twice"],
    ),
    "a step operator that the stack does not have": Case(
        one(stepOperatorRef={"name": "gpu"}), ["spec.steps[train].stepOperatorRef: ", "has no step operator gpu"]
    ),
    "a volume of two types": Case(
        template(volumes=[{"name": "scratch", "emptyDir": {}, "configMap": {"name": "settings"}}]),
        ["spec.steps[train]: ", "may not specify more than 1 volume type"],
    ),
    "a volume that Pod Security forbids": Case(
        template(volumes=[{"name": "host", "hostPath": {"path": "/"}}]),
        ["spec.steps[train]: ", "violates PodSecurity", 'volume "host" uses restricted volume type "hostPath"'],
    ),
    "a mount of a volume that is not there": Case(
        template(volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}]),
        ["spec.steps[train]: ", "volumeMounts[0].name", "scratch"],
    ),
    "an affinity that is not one": Case(
        template(affinity=AFFINITY), ["spec.steps[train]: ", 'operator: Invalid value: "Resembles"']
    ),
    "a field that Kubernetes does not know": Case(
        template(affinity={"nodeAfinity": {}}), ["spec.steps[train]: ", 'unknown field "spec.affinity.nodeAfinity"']
    ),
    "a text for a number": Case(
        template(tolerations=[{"key": "gpu", "tolerationSeconds": "soon"}]),
        ["spec.steps[train]: ", "tolerationSeconds"],
    ),
    "two parameters with one variable": Case(
        one(),
        ["spec.parameters[learning_rate]: ", "CAIRN_PARAM_LEARNING_RATE", "learning-rate"],
        {"parameters": [{"name": "learning-rate", "value": "1"}, {"name": "learning_rate", "value": "2"}]},
    ),
}
NAMES = {title: f"case-{number}" for number, title in enumerate(CASES)}


@pytest.fixture(scope="module")
def refused(shared_stacks: Cluster) -> Cluster:
    """A namespace in which every case is tried on both orchestrators."""
    for on in ORCHESTRATORS:
        for title, case in CASES.items():
            shared_stacks.create(run(f"{NAMES[title]}-{on}", list(case.steps), on=on, **case.spec))
    return shared_stacks


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
@pytest.mark.parametrize("title", CASES)
def test_refused(refused: Cluster, title: str, orchestrator: str) -> None:
    finished = refused.finished(f"{NAMES[title]}-{orchestrator}", timeout=60)

    succeeded = condition(finished, "Succeeded")
    assert (succeeded["status"], succeeded["reason"]) == ("False", "InvalidSpec")
    for words in CASES[title].says:
        assert words in succeeded["message"]
    assert finished["status"]["completionTime"]
    assert finished["status"].get("steps", []) == []


def test_nothing_was_started_for_a_run_that_was_refused(refused: Cluster) -> None:
    for name in NAMES.values():
        for orchestrator in ORCHESTRATORS:
            refused.finished(f"{name}-{orchestrator}")

    assert refused.list("Job") == []
    assert refused.list("Pod") == []
    assert {event["regarding"]["kind"] for event in refused.list("Event")} <= {"PipelineRun", "Stack", "StackComponent"}


def test_a_refusal_is_an_event(refused: Cluster) -> None:
    name = f"{NAMES['a step that is not there']}-kubernetes"
    refused.finished(name)

    events = refused.events("PipelineRun", name)

    assert [(event["type"], event["reason"]) for event in events] == [("Warning", "InvalidSpec")]
    assert "there is no step load" in events[0]["note"]


def test_several_problems_are_counted(shared_stacks: Cluster) -> None:
    shared_stacks.create(run("several", one(dependsOn=[f"step-{number}" for number in range(12)]), on="kubernetes"))

    message = condition(shared_stacks.finished("several"), "Succeeded")["message"]

    assert message.startswith(
        "spec.steps[train].dependsOn: there is no step step-0; the run has no other step; spec.steps"
    )
    assert message.endswith("(and 2 more problems)")


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_a_run_waits_for_its_stack_and_starts_when_that_appears(stacks: Cluster, orchestrator: str) -> None:
    steps = [python("greet", "print('Hello')")]
    stacks.create(run("early", steps, on="later"))

    waiting = stacks.wait_condition(
        "PipelineRun", "early", "Succeeded", status="Unknown", reason="StackNotReady", timeout=30
    )
    assert f"There is no Stack {stacks.namespace}/later" in waiting["message"]
    assert stacks.list("Job") == []

    stacks.apply(stack("later", orchestrator=orchestrator, store="missing"))
    stacks.wait(
        "PipelineRun",
        "early",
        lambda body: "artifactStore missing" in condition(body, "Succeeded")["message"],
        20,
        "a message about the component",
    )
    stacks.apply(stack("later", orchestrator=orchestrator, store="bucket"))
    stacks.wait("PipelineRun", "early", lambda body: "startTime" in body["status"], 5, "a start")

    assert condition(stacks.finished("early"), "Succeeded")["reason"] == "Completed"


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_a_run_waits_for_its_service_account_and_starts_when_that_appears(stacks: Cluster, orchestrator: str) -> None:
    steps = [python("greet", "print('Hello')", podTemplate={"serviceAccountName": "late"})]
    stacks.create(run("early", steps, on=orchestrator))

    waiting = stacks.wait_condition(
        "PipelineRun", "early", "Succeeded", status="Unknown", reason="PodsNotAdmitted", timeout=30
    )
    assert 'serviceaccount "late" not found' in waiting["message"]
    assert stacks.list("Job") == []

    stacks.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "late"}})

    assert condition(stacks.finished("early", timeout=60), "Succeeded")["reason"] == "Completed"
