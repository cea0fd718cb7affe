"""Checks of what a run is to register, done before anything starts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.registration import APPROVE_ANNOTATION, MOST_REGISTRATIONS, PENDING_ALIAS, REFUSE_ANNOTATION
from cairn.api.step import OutputArtifact, Step
from cairn.runs.cel import CelError
from cairn.runs.flow_validation import place_of
from cairn.runs.graph import StepGraph, outputs_of
from cairn.runs.problem import Problem
from cairn.runs.registration import declared, registers
from cairn.runs.when import check_register, declared_for_register
from cairn.stacks.resolution import UsableStack

RESERVED_ALIAS = re.compile(rf"v[0-9]+|latest|{PENDING_ALIAS}", re.IGNORECASE)
"""What MLflow takes for something else than an alias (mlflow/utils/validation.py), and Cairn's own."""


def registered_models(spec: RunSpec, stack: UsableStack | None) -> Iterator[Problem]:
    """Yield what keeps artifacts of a run from being registered on a stack; without one, on any."""
    if not registers(spec):
        return
    places = [item for step in spec.all_steps for item in _places(spec, step)]
    if len(places) > MOST_REGISTRATIONS:
        message = (
            f"{len(places)} artifacts are to be registered; a run may register {MOST_REGISTRATIONS}: register them in "
            "another run"
        )
        yield Problem("spec.steps", message)
    for step, output, at in places:
        yield from _words(output, at)
        if step.for_each is not None:
            message = (
                "a step with forEach registers nothing; choose among its models in a step after it, and register there"
            )
            yield Problem(at, message)
        if stack is None:
            continue
        if stack.model_registry is None:
            message = f"stack {stack.name} has no model registry; name one in its modelRegistryRef, or remove this"
            yield Problem(at, message)
        elif not stack.artifact_store.serves_uris:
            message = f"nobody can fetch {output.name} from artifact store {stack.artifact_store.name} by its URI; use a bucket"
            yield Problem(at, message)


def _words(output: OutputArtifact, at: str) -> Iterator[Problem]:
    """Yield the words that have a meaning of their own in a registry."""
    register = output.register_
    if register is None:
        return
    if register.name.strip(" ") in {"", ".", ".."}:
        yield Problem(f"{at}.name", "has neither a letter nor a digit; name the model, such as wine-quality")
    if register.alias is not None and RESERVED_ALIAS.fullmatch(register.alias):
        yield Problem(f"{at}.alias", f"{register.alias} has a meaning of its own; choose another, such as champion")
    for tag in register.tags or ():
        if _is_odd_path(tag.name):
            yield Problem(
                f"{at}.tags[{tag.name}]", "the registry takes it for a path that is not the shortest; leave / and . out"
            )
        if tag.name.startswith(("mlflow.", "cairn.")):
            yield Problem(
                f"{at}.tags[{tag.name}]", "begins with mlflow. or cairn., which are theirs; choose another name"
            )


def _is_odd_path(name: str) -> bool:
    """Return whether MLflow refuses a name (path_not_unique in mlflow/utils/validation.py)."""
    return posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/"))


def decided_before_start(body: JsonObject, spec: RunSpec) -> Problem | None:
    """Return what is wrong with a run whose models somebody has decided about before there are any."""
    needs_approval = any(register.approval == "Required" for register in declared(spec))
    annotations = body["metadata"].get("annotations") or {}
    for annotation in (APPROVE_ANNOTATION, REFUSE_ANNOTATION):
        if needs_approval and annotation in annotations:
            return Problem(
                f"metadata.annotations[{annotation}]", "no model waits for approval yet; create the run without it"
            )
    return None


def expressions_of_registrations(graph: StepGraph) -> Iterator[Problem]:
    """Yield what is wrong with the expressions that say whether something is registered."""
    for name, step in graph.steps.items():
        for _, output, at in _places(graph.spec, step):
            if output.register_ is None or output.register_.when is None:
                continue
            try:
                check_register(graph, name, output.register_.when)
            except CelError as error:
                seen = ", ".join(sorted(variable for variable, _ in declared_for_register(graph, name))[:20])
                hint = f"it sees {seen}; all are strings: write double(…) for a number" if seen else "it sees nothing"
                yield Problem(f"{at}.when", f"{error}; {hint}")


def _places(spec: RunSpec, step: Step) -> Iterator[tuple[Step, OutputArtifact, str]]:
    for output in outputs_of(step):
        if output.register_ is not None:
            yield step, output, f"{place_of(spec, step)}.outputs.artifacts[{output.name}].register"
