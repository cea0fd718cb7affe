"""A Stack is Ready while its components are, and says what keeps it from that; runs find the Stack that is meant."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest

from cluster import Body, Cluster, condition, states
from manifests import HOLD, claim, component, python, run, stack

WITHIN = 10.0
"""Seconds after which a Stack shows what became of its components."""
MANY = 30
DEFAULT = {"cairn.dev/default-stack": "true"}

LOCAL = {"orchestrator": {"local": {}}}
KUBERNETES = {"orchestrator": {"kubernetes": {}}}
STORE = {"artifactStore": {"local": {}}}


@pytest.fixture
def components(namespace: Cluster) -> Cluster:
    """A namespace with an orchestrator `local` and a store `store`, and no Stack."""
    namespace.apply(component("local", LOCAL))
    namespace.apply(component("store", STORE))
    return namespace


def test_ready_follows_a_component(namespace: Cluster) -> None:
    namespace.apply(claim("there"))
    namespace.apply(component("local", LOCAL))
    namespace.apply(component("store", existing("there")))
    namespace.apply(stack("stack", orchestrator="local", store="store"))
    is_ready(namespace)

    namespace.apply(component("store", existing("gone")))

    broken = is_not_ready(namespace, "ComponentsNotReady", about="store", because="ClaimNotFound")
    assert f"artifactStore store: PersistentVolumeClaim {namespace.namespace}/gone does not exist; create it" in broken

    namespace.apply(component("store", existing("there")))
    is_ready(namespace)


def test_component_that_comes_after_the_stack(namespace: Cluster) -> None:
    namespace.apply(component("local", LOCAL))
    namespace.apply(stack("stack", orchestrator="local", store="store"))

    message = is_not_ready(namespace, "ComponentsNotReady", about="store", because="NotFound")
    assert "artifactStore store: there is no StackComponent store in this namespace; create it" in message
    namespace.create(suspended("early", on="stack"))
    namespace.wait_condition(
        "PipelineRun", "early", "Succeeded", status="Unknown", reason="StackNotReady", timeout=WITHIN
    )

    namespace.apply(component("store", STORE))
    is_ready(namespace)
    namespace.wait_condition("PipelineRun", "early", "Succeeded", status="Unknown", reason="Suspended", timeout=WITHIN)


def test_component_of_the_wrong_type(components: Cluster) -> None:
    components.apply(stack("stack", orchestrator="store", store="store"))

    message = is_not_ready(components, "ComponentsNotReady", about="store", because="WrongType")
    assert "orchestrator store: it is of type artifactStore; name one of type orchestrator" in message

    components.apply(stack("stack", orchestrator="local", store="store"))
    is_ready(components)


def test_components_that_do_not_fit_together(components: Cluster) -> None:
    components.apply(component("kubernetes", KUBERNETES))
    components.apply(stack("stack", orchestrator="kubernetes", store="store"))

    message = is_not_ready(components, "ComponentsIncompatible")
    assert "orchestrator kubernetes runs steps on several nodes" in message
    assert "use an s3 store, a claim with accessMode ReadWriteMany, or the local orchestrator" in message

    components.apply(stack("stack", orchestrator="local", store="store"))
    is_ready(components)


def test_printed_columns(components: Cluster) -> None:
    components.apply(stack("stack", orchestrator="local", store="store"))
    is_ready(components)

    header, row = components.kubectl("get", "stacks").splitlines()

    starts = [match.start() for match in re.finditer(r"\S+", header)]
    columns = {header[a:b].strip(): row[a:b].strip() for a, b in pairwise([*starts, None])}
    expected = {"NAME": "stack", "READY": "True", "ORCHESTRATOR": "local", "ARTIFACTS": "local", "TRACKER": ""}
    assert expected.items() <= columns.items()


def test_newest_of_two_default_stacks_wins_and_both_say_so(components: Cluster) -> None:
    components.apply(stack("a-older", orchestrator="local", store="store", annotations=DEFAULT))
    only = is_default(components, "a-older", reason="OnlyDefault")
    assert only["message"] == "Runs without a stackRef use this Stack."
    assert stack_of(components, "first") == "a-older"

    time.sleep(1)  # creation times are whole seconds
    components.apply(stack("b-newer", orchestrator="local", store="store", annotations=DEFAULT))

    newer = is_default(components, "b-newer", reason="SeveralDefaults")
    older = is_default(components, "a-older", reason="SeveralDefaults", status="False")
    assert newer["message"] == older["message"]
    assert "a-older, b-newer. The newest, b-newer, is the default; take the annotation off" in newer["message"]
    assert stack_of(components, "second") == "b-newer"

    components.patch("Stack", "b-newer", {"metadata": {"annotations": {"cairn.dev/default-stack": None}}})
    is_default(components, "a-older", reason="OnlyDefault")
    components.wait("Stack", "b-newer", lambda body: not condition(body, "Default"), WITHIN, "no Default")
    assert stack_of(components, "third") == "a-older"


def test_run_in_an_empty_namespace_uses_the_built_in_stack(namespace: Cluster) -> None:
    outputs = {"artifacts": [{"name": "greeting", "path": "/out/greeting"}]}
    namespace.create(run("hello", [python("greet", "open('/out/greeting', 'w').write('hello')", outputs=outputs)]))

    finished = namespace.finished("hello")

    assert states(finished) == {"greet": "Succeeded"}, finished["status"]
    assert finished["status"]["stack"]["name"] == "default"
    made = namespace.get("PersistentVolumeClaim", "cairn-default")
    assert made is not None
    assert made["status"]["phase"] == "Bound"
    assert finished["status"]["steps"][0]["artifacts"][0]["uri"].startswith("pvc://cairn-default/")


def test_active_runs_are_counted(components: Cluster) -> None:
    components.apply(stack("stack", orchestrator="local", store="store"))
    is_ready(components)
    for name in ("one", "two", "three"):
        components.create(suspended(name, on="stack"))
    counts(components, 3)

    components.delete("PipelineRun", "two")
    counts(components, 2)

    components.delete("PipelineRun", "one")
    components.delete("PipelineRun", "three")
    counts(components, 0)


def test_everything_is_deleted_while_a_run_is_on_its_way(namespace: Cluster) -> None:
    """The run goes on to its end, further steps included; then the Stack goes, then the components."""
    namespace.apply(component("kubernetes", KUBERNETES))
    namespace.apply(component("store", {"artifactStore": {"local": {"claim": {"accessMode": "ReadWriteMany"}}}}))
    namespace.apply(stack("stack", orchestrator="kubernetes", store="store"))
    is_ready(namespace)
    namespace.create(run("long", [python("first", HOLD), python("second", "pass", dependsOn=["first"])], on="stack"))
    namespace.wait("PipelineRun", "long", lambda body: states(body).get("first") == "Running", 120, "first runs")
    counts(namespace, 1)

    for name in ("kubernetes", "store"):
        namespace.delete("StackComponent", name)
    namespace.delete("Stack", "stack")

    message = is_not_ready(namespace, "Deleting")
    assert message == "Deletion waits for the runs that use it: long; let them end, or delete them."
    for name in ("kubernetes", "store"):
        held = namespace.wait_condition("StackComponent", name, "InUse", status="True", timeout=WITHIN)
        assert held["message"] == "Deletion waits for the Stacks that use it: stack; change or delete them."
    late = namespace.create(suspended("late", on="stack"))["metadata"]["name"]
    waiting = namespace.wait_condition("PipelineRun", late, "Succeeded", status="Unknown", timeout=WITHIN)
    assert waiting["reason"] == "StackNotReady"
    assert f"Stack {namespace.namespace}/stack is being deleted" in waiting["message"]

    namespace.release("long", "first")

    finished = namespace.finished("long")
    assert states(finished) == {"first": "Succeeded", "second": "Succeeded"}, finished["status"]
    namespace.wait_gone("Stack", "stack", WITHIN)
    for name in ("kubernetes", "store"):
        namespace.wait_gone("StackComponent", name, WITHIN)


def test_many_are_deleted_at_once(components: Cluster) -> None:
    """Deletions that overtake the answers to the requests that led to them leave nothing behind."""
    for number in range(MANY):
        components.apply(stack(f"stack-{number}", orchestrator="local", store="store"))
    for number in range(MANY):
        components.wait_condition("Stack", f"stack-{number}", "Ready", status="True", timeout=WITHIN)

    components.kubectl("delete", "stackcomponents,stacks", "--all", "--timeout", "30s")


def is_ready(namespace: Cluster) -> None:
    namespace.wait_condition("Stack", "stack", "Ready", status="True", timeout=WITHIN)


def is_not_ready(namespace: Cluster, reason: str, *, about: str = "", because: str = "") -> str:
    """Wait until the Stack says that, and that of one of its components, and return the message."""

    def holds(body: Body) -> bool:
        ready = condition(body, "Ready")
        said = [
            item["reason"]
            for item in (body.get("status") or {}).get("components", ())
            if item["name"] == about and not item["ready"]
        ]
        return (ready.get("status"), ready.get("reason")) == ("False", reason) and (not about or because in said)

    what = f"not Ready, {reason} {because}"
    return condition(namespace.wait("Stack", "stack", holds, WITHIN, what), "Ready")["message"]


def is_default(namespace: Cluster, name: str, *, reason: str, status: str = "True") -> Body:
    return namespace.wait_condition("Stack", name, "Default", status=status, reason=reason, timeout=WITHIN)


def counts(namespace: Cluster, runs: int) -> None:
    namespace.wait(
        "Stack", "stack", lambda body: body["status"].get("activeRuns") == runs, WITHIN, f"{runs} active runs"
    )


def stack_of(namespace: Cluster, name: str) -> str:
    """Return the Stack that a new run without a stackRef uses."""
    namespace.create(suspended(name))
    chosen = namespace.wait("PipelineRun", name, lambda body: "stack" in (body.get("status") or {}), WITHIN, "a stack")
    return chosen["status"]["stack"]["name"]


def suspended(name: str, on: str | None = None) -> Body:
    """Return a run that starts nothing."""
    return run(name, [python("hello", "pass")], on=on, suspend=True)


def existing(name: str) -> Body:
    """Return the spec of a store in a claim that is there."""
    return {"artifactStore": {"local": {"existingClaimName": name}}}
