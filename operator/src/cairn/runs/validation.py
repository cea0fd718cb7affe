"""Checks of a whole run that the API server cannot make, done before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from posixpath import dirname

from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pod_template import EnvVar, PodTemplate
from cairn.api.step import Step
from cairn.runs.graph import (
    StepCycleError,
    dependencies_of,
    inputs_of,
    outputs_of,
    references_of,
    results_of,
    topological_order,
)
from cairn.runs.references import Reference, references_in
from cairn.stacks.resolution import UsableStack

CAIRN_DIRECTORY = "/cairn"
"""Holds all that Cairn mounts in a step's pod."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a run's spec."""

    field: str
    message: str

    def __str__(self) -> str:
        """Return the field and what to do about it."""
        return f"{self.field}: {self.message}"


def environment_name(parameter: str) -> str:
    """Return the environment variable that carries a parameter."""
    return f"CAIRN_PARAM_{parameter.upper().replace('-', '_')}"


def problems_of(spec: PipelineRunSpec, stack: UsableStack) -> tuple[Problem, ...]:
    """Return everything that is wrong with the run on that stack, in the order of the spec."""
    return (
        *_parameters(spec),
        *_shared_environment(spec, stack),
        *_volumes(spec.pod_template, "spec.podTemplate"),
        *_steps(spec, stack),
        *_cycle(spec.steps),
    )


def _parameters(spec: PipelineRunSpec) -> Iterator[Problem]:
    names: dict[str, str] = {}
    for parameter in spec.parameters or ():
        variable = environment_name(parameter.name)
        if variable in names:
            yield Problem(
                f"spec.parameters[{parameter.name}]",
                f"has the same environment variable, {variable}, as {names[variable]}; rename one of them",
            )
        names[variable] = parameter.name


def _shared_environment(spec: PipelineRunSpec, stack: UsableStack) -> Iterator[Problem]:
    """Yield what is wrong with variables that steps share. They cannot use results: not every step waits for those."""
    parameters = {parameter.name for parameter in spec.parameters or ()}
    asked = {step.step_operator_ref.name for step in spec.steps if step.step_operator_ref}
    sources: list[tuple[str, Sequence[EnvVar]]] = [
        (f"orchestrator {stack.orchestrator.name} podTemplate", _env(stack.orchestrator.pod_template)),
        (f"stack {stack.name}", stack.env),
        (f"stack {stack.name} podTemplate", _env(stack.pod_template)),
        ("spec.podTemplate", _env(spec.pod_template)),
        *(
            (f"step operator {name} podTemplate", _env(stack.step_operators[name].pod_template))
            for name in sorted(asked & set(stack.step_operators))
        ),
    ]
    for at, variables in sources:
        yield from _variables(variables, at)
        for variable in variables:
            for reference in references_in(variable.value or ""):
                problem = _reference(reference, {}, parameters) if reference.result is None else _NOT_SHARED
                if problem:
                    yield Problem(f"{at}.env[{variable.name}]", _of_reference(reference, problem))


_NOT_SHARED = "only a step's own env can use a result, since the step then waits for it"


def _volumes(template: PodTemplate | None, at: str) -> Iterator[Problem]:
    for volume in (template.volumes if template else None) or ():
        name = str(volume.get("name", ""))
        if name.startswith("cairn-"):
            yield Problem(f"{at}.volumes[{name}]", "names that begin with cairn- are Cairn's own; choose another")


def _env(template: PodTemplate | None) -> Sequence[EnvVar]:
    return (template.env if template else None) or ()


def _of_reference(reference: Reference, problem: str) -> str:
    return f"$({reference.text}): {problem}; write $$( for a literal $("


def _steps(spec: PipelineRunSpec, stack: UsableStack) -> Iterator[Problem]:
    steps = {step.name: step for step in spec.steps}
    parameters = {parameter.name for parameter in spec.parameters or ()}
    for step in spec.steps:
        at = f"spec.steps[{step.name}]"
        for dependency in step.depends_on or ():
            if dependency not in steps:
                yield Problem(f"{at}.dependsOn", f"there is no step {dependency}; {_others(steps, step)}")
        yield from _inputs(step, steps, at)
        yield from _references(step, steps, parameters, at)
        yield from _paths(step, at)
        yield from _variables((*(step.env or ()), *_env(step.pod_template)), at)
        yield from _volumes(step.pod_template, f"{at}.podTemplate")
        yield from _step_operator(step, stack, at)
        yield from _service_account(step, spec, stack, at)


def _inputs(step: Step, steps: dict[str, Step], at: str) -> Iterator[Problem]:
    for source in inputs_of(step):
        if source.from_ is None:
            continue
        field = f"{at}.inputs.artifacts[{source.name}].from"
        producer, artifact = source.from_.split(".")
        if producer not in steps:
            yield Problem(field, f"there is no step {producer}; {_others(steps, step)}")
        elif artifact not in (names := [output.name for output in outputs_of(steps[producer])]):
            declared = f"it declares: {', '.join(names)}" if names else "it declares none"
            yield Problem(field, f"step {producer} has no output artifact {artifact}; {declared}")


def _others(steps: dict[str, Step], step: Step) -> str:
    names = [name for name in steps if name != step.name]
    return f"name one of: {', '.join(names)}" if names else "the run has no other step"


def _references(step: Step, steps: dict[str, Step], parameters: set[str], at: str) -> Iterator[Problem]:
    for field, reference in references_of(step):
        problem = _reference(reference, steps, parameters)
        if problem:
            yield Problem(f"{at}.{field}", _of_reference(reference, problem))


def _reference(reference: Reference, steps: dict[str, Step], parameters: set[str]) -> str | None:
    if reference.parameter is not None:
        return None if reference.parameter in parameters else f"the run has no parameter {reference.parameter}"
    if reference.result is not None:
        producer, result = reference.result
        if producer not in steps:
            return f"there is no step {producer}"
        return None if result in results_of(steps[producer]) else f"step {producer} declares no result {result}"
    if reference.text in {"run.name", "run.uid"}:
        return None
    return "known are params.<name>, run.name, run.uid and steps.<step>.results.<result>"


def _paths(step: Step, at: str) -> Iterator[Problem]:
    claims = [
        *((f"inputs.artifacts[{source.name}]", source.path) for source in inputs_of(step)),
        *((f"outputs.artifacts[{output.name}]", output.path) for output in outputs_of(step)),
    ]
    mounts = ((step.pod_template and step.pod_template.volume_mounts) or ()) if step.pod_template else ()
    directories = {dirname(output.path): output.name for output in outputs_of(step)}
    for mount in mounts:
        path = str(mount.get("mountPath", "")).rstrip("/")
        if path in directories:
            yield Problem(
                f"{at}.podTemplate.volumeMounts[{mount.get('name')}]",
                f"{path} holds the output {directories[path]}, for which Cairn mounts a volume there; use another directory",
            )
        claims.append((f"podTemplate.volumeMounts[{mount.get('name')}]", path))
    for field, path in claims:
        if _overlaps(path, CAIRN_DIRECTORY):
            yield Problem(f"{at}.{field}", f"{path} lies in {CAIRN_DIRECTORY}, which is Cairn's own; use another path")
    for index, (field, path) in enumerate(claims):
        for other_field, other in claims[:index]:
            if _overlaps(path, other):
                yield Problem(
                    f"{at}.{field}", f"path {path} is claimed twice, also by {other_field}; give each its own"
                )
                break


def _overlaps(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def _variables(variables: Sequence[EnvVar], at: str) -> Iterator[Problem]:
    for variable in variables:
        if variable.name.startswith("CAIRN_"):
            yield Problem(f"{at}.env[{variable.name}]", "names that begin with CAIRN_ are Cairn's own; choose another")
        if variable.value is not None and variable.value_from is not None:
            yield Problem(f"{at}.env[{variable.name}]", "has both value and valueFrom; keep one of them")


def _step_operator(step: Step, stack: UsableStack, at: str) -> Iterator[Problem]:
    if step.step_operator_ref is not None and step.step_operator_ref.name not in stack.step_operators:
        known = ", ".join(stack.step_operators) or "none"
        yield Problem(
            f"{at}.stepOperatorRef",
            f"stack {stack.name} has no step operator {step.step_operator_ref.name}; it has: {known}",
        )


def _service_account(step: Step, spec: PipelineRunSpec, stack: UsableStack, at: str) -> Iterator[Problem]:
    opens_store = stack.artifact_store.access.service_account_name
    operator = stack.step_operators.get(step.step_operator_ref.name) if step.step_operator_ref else None
    templates = [
        stack.orchestrator.pod_template,
        stack.pod_template,
        spec.pod_template,
        operator.pod_template if operator else None,
        step.pod_template,
    ]
    names = [template.service_account_name for template in templates if template and template.service_account_name]
    if opens_store and names and names[-1] != opens_store and (inputs_of(step) or outputs_of(step)):
        yield Problem(
            f"{at}.podTemplate.serviceAccountName",
            f"its pod is to run as {names[-1]}, but it is ServiceAccount {opens_store} whose identity opens artifact store "
            f"{stack.artifact_store.name}; leave it out, or give the store credentialsSecretRef",
        )


def _cycle(steps: Sequence[Step]) -> Iterator[Problem]:
    known = {step.name for step in steps}
    if any(not dependencies_of(step) <= known for step in steps):
        return
    try:
        topological_order(steps)
    except StepCycleError as error:
        yield Problem("spec.steps", f"these steps wait for each other: {error}; remove one of the dependencies")
