"""What of a run Kubeflow Pipelines cannot express, found before it is submitted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cairn.api.step import Retry, Step
from cairn.runs.flow_validation import place_of
from cairn.runs.graph import StepGraph, inputs_of, items_source, results_used_by
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.conditions import asked_by
from cairn.runs.kubeflow.group import steps_used_by
from cairn.runs.kubeflow.platform import platform_problems
from cairn.runs.kubeflow.run_details import DRIVER_SUFFIX, NAMES
from cairn.runs.kubeflow.texts import PLACEHOLDER
from cairn.runs.pod import PodContext, step_template
from cairn.runs.problem import Problem

NO_COUNTERPART = "Kubeflow Pipelines has no counterpart; leave it out, or run on the orchestrator kubernetes"
CPU_AND_MEMORY = frozenset({"cpu", "memory"})


def objections(context: PodContext, steps: RunSteps) -> tuple[Problem, ...]:
    """Return all that speaks against a run, in the order of the spec."""
    return tuple(_objections(context, steps))


def _objections(context: PodContext, steps: RunSteps) -> Iterator[Problem]:
    spec, graph = steps.spec, steps.graph
    uses = {name: steps_used_by(graph, name) for name in graph.steps}
    left_out = _may_be_left_out(graph, uses)
    if spec.failure_policy == "StopOnFailure":
        yield Problem("spec.failurePolicy", f"StopOnFailure: {NO_COUNTERPART}")
    if spec.failure_policy == "FailFast" and spec.finally_:
        yield Problem(
            "spec.failurePolicy", "FailFast ends the run in Kubeflow Pipelines, which then runs no step of finally"
        )
    if spec.max_parallel_steps is not None:
        yield Problem("spec.maxParallelSteps", NO_COUNTERPART)
    for step in graph.steps.values():
        at = place_of(spec, step)
        yield from _name(step.name, at)
        yield from _command(step, at)
        yield from _items(graph, step, at)
        yield from _retry(step.retry, at)
        yield from _resources(context, step, at)
        yield from platform_problems(step_template(context, step), f"{at}.podTemplate")
        if step.name in graph.finally_steps:
            yield from _of_finally(graph, step, at)
        if step.when is not None:
            yield from _condition(graph, step, left_out, at)
    yield from _left_out(steps, uses, left_out)
    yield from _service_accounts(context, graph)


def _name(name: str, at: str) -> Iterator[Problem]:
    if name in NAMES or name.endswith(DRIVER_SUFFIX):
        yield Problem(f"{at}.name", f"Kubeflow Pipelines calls a task of its own {name}; choose another name")


def _command(step: Step, at: str) -> Iterator[Problem]:
    if step.script is None and not step.command:
        yield Problem(f"{at}.command", "Kubeflow Pipelines does not run the image's entrypoint; write the program")
    texts = [("script", step.script or ""), *_texts("command", step.command), *_texts("args", step.args)]
    for field, text in texts:
        if PLACEHOLDER in text:
            yield Problem(
                f"{at}.{field}", f"Kubeflow Pipelines takes {PLACEHOLDER} for its own; read it from a file or variable"
            )


def _texts(field: str, texts: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    return ((f"{field}[{index}]", text) for index, text in enumerate(texts or ()))


def _items(graph: StepGraph, step: Step, at: str) -> Iterator[Problem]:
    source = items_source(step)
    if source is not None and source.result is not None:
        yield Problem(
            f"{at}.forEach.itemsFrom", "the items must be known when the run starts: name a parameter, or write items"
        )
    for producer in sorted(results_used_by(step)):
        if graph.steps[producer].for_each is not None and producer in graph.uses[step.name]:
            yield Problem(
                at, f"Kubeflow Pipelines does not hand on the results of all instances of {producer}; keep artifacts"
            )


def _retry(retry: Retry | None, at: str) -> Iterator[Problem]:
    if retry is None or retry.limit == 0:
        return
    if retry.on == "Always":
        yield Problem(f"{at}.retry.on", f"Always: {NO_COUNTERPART}")
    longest = retry.backoff_seconds * retry.backoff_factor ** (retry.limit - 1)
    if longest > retry.max_backoff_seconds:
        yield Problem(
            f"{at}.retry.maxBackoffSeconds",
            f"Kubeflow Pipelines knows no longest pause, and the last one would be {longest} s; raise it to that, or lower "
            "backoffFactor",
        )


def _resources(context: PodContext, step: Step, at: str) -> Iterator[Problem]:
    resources = step_template(context, step).resources
    limits, requests = (resources.limits or {}, resources.requests or {}) if resources is not None else ({}, {})
    devices = sorted(limits.keys() - CPU_AND_MEMORY)
    if len(devices) > 1:
        yield Problem(f"{at}.resources.limits", f"one kind of device besides cpu and memory, not {', '.join(devices)}")
    for name in sorted(requests.keys() - CPU_AND_MEMORY):
        if requests[name] != limits.get(name):
            yield Problem(f"{at}.resources.requests[{name}]", "of cpu and memory only; write the same into limits")


def _of_finally(graph: StepGraph, step: Step, at: str) -> Iterator[Problem]:
    """Yield what steps of `finally` use of the others: where one has failed, none of them would run."""
    for producer in sorted(graph.uses[step.name] - graph.finally_steps):
        what = "artifacts" if any(_is_from(producer, source.from_) for source in inputs_of(step)) else "results"
        yield Problem(at, f"on Kubeflow Pipelines, steps of finally cannot use the {what} of {producer}")


def _is_from(producer: str, source: str | None) -> bool:
    return source is not None and source.split(".")[0] == producer


def _left_out(steps: RunSteps, uses: Mapping[str, frozenset[str]], left_out: frozenset[str]) -> Iterator[Problem]:
    """Yield the steps that may be left out, others only coming after them, and that no group can be put around.

    A group is no help where others use what the step writes, or where what the step uses is left out itself.
    """
    graph = steps.graph
    used = frozenset[str]().union(*uses.values())
    for name in graph.order:
        if name not in left_out or not (name in used or uses[name] & left_out):
            continue
        only_after = sorted(
            other for other, needed in graph.needs.items() if name in needed and name not in uses[other]
        )
        if only_after:
            yield Problem(
                place_of(steps.spec, graph.steps[name]) + (".when" if graph.steps[name].when is not None else ""),
                f"it may be left out, and {', '.join(only_after)} only come after it; Kubeflow Pipelines then runs none of "
                "them: have these use an output, too, or leave out dependsOn",
            )


def _may_be_left_out(graph: StepGraph, uses: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the steps with a `when`, and those that use what such a step writes."""
    found: set[str] = set()
    for name in graph.order:
        if graph.steps[name].when is not None or uses[name] & found:
            found.add(name)
    return frozenset(found)


def _condition(graph: StepGraph, step: Step, left_out: frozenset[str], at: str) -> Iterator[Problem]:
    """Yield what `when` asks for and Kubeflow Pipelines does not tell."""
    runs_last = step.name in graph.finally_steps
    for other, result in sorted(asked_by(graph, step.name), key=str):
        if runs_last and other not in graph.finally_steps:
            yield Problem(
                f"{at}.when", f"Kubeflow Pipelines tells run.state, and nothing of {other}; ask for that only"
            )
        elif result is not None and graph.steps[other].for_each is not None:
            yield Problem(
                f"{at}.when",
                f"Kubeflow Pipelines does not hand on the results of all instances of {other}; leave it out",
            )
        elif result is None and other in left_out:
            yield Problem(f"{at}.when", f"Kubeflow Pipelines does not tell whether {other} was left out; leave it out")


def _service_accounts(context: PodContext, graph: StepGraph) -> Iterator[Problem]:
    names = {step.name: step_template(context, step).service_account_name for step in graph.steps.values()}
    if len(set(names.values())) > 1:
        yield Problem(
            "spec.podTemplate.serviceAccountName", "all steps of a run have the same one on Kubeflow Pipelines"
        )
