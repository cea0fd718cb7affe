"""Checks of a whole run that the API server cannot make, done before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from posixpath import dirname

from cairn.api.pipelinerun import RunSpec
from cairn.api.pod_template import EnvVar, PodTemplate
from cairn.api.step import Step
from cairn.runs.flow_validation import cached_at_the_end, expressions, items_of_steps, names_of_steps, place_of
from cairn.runs.graph import (
    StepCycleError,
    StepGraph,
    inputs_of,
    items_source,
    outputs_of,
    references_of,
    results_of,
    topological_order,
)
from cairn.runs.naming import RESERVED_PREFIX
from cairn.runs.problem import Problem
from cairn.runs.references import ITEM_REFERENCES, Reference, references_in
from cairn.runs.registration_validation import expressions_of_registrations, registered_models
from cairn.stacks.resolution import UsableStack

CAIRN_DIRECTORY = "/cairn"
"""Holds all that Cairn mounts in a step's pod."""


def environment_name(parameter: str) -> str:
    """Return the environment variable that carries a parameter."""
    return f"CAIRN_PARAM_{parameter.upper().replace('-', '_')}"


def problems_of(spec: RunSpec, stack: UsableStack | None) -> tuple[Problem, ...]:
    """Return everything that is wrong with the run on that stack, in the order of the spec; without one, what is on any."""
    problems = (
        *_parameters(spec),
        *_shared_environment(spec, stack),
        *_volumes(spec.pod_template, "spec.podTemplate"),
        *names_of_steps(spec),
        *cached_at_the_end(spec),
        *_steps(spec, stack),
        *items_of_steps(spec),
        *registered_models(spec, stack),
        *_cycle(spec.steps, "spec.steps"),
        *_cycle(spec.finally_ or (), "spec.finally"),
    )
    if problems:
        return problems
    graph = StepGraph(spec)
    return (*expressions(graph), *expressions_of_registrations(graph))


def _parameters(spec: RunSpec) -> Iterator[Problem]:
    names: dict[str, str] = {}
    for parameter in spec.parameters or ():
        variable = environment_name(parameter.name)
        if variable in names:
            yield Problem(
                f"spec.parameters[{parameter.name}]",
                f"has the same environment variable, {variable}, as {names[variable]}; rename one of them",
            )
        names[variable] = parameter.name


def _shared_environment(spec: RunSpec, stack: UsableStack | None) -> Iterator[Problem]:
    """Yield what is wrong with variables that steps share. They cannot use results: not every step waits for those."""
    parameters = {parameter.name for parameter in spec.parameters or ()}
    for at, variables in (*_environments(spec, stack), ("spec.podTemplate", _env(spec.pod_template))):
        yield from _variables(variables, at)
        for variable in variables:
            for reference in references_in(variable.value or ""):
                problem = _reference(reference, {}, (), parameters) if reference.result is None else _NOT_SHARED
                if problem:
                    yield Problem(f"{at}.env[{variable.name}]", _of_reference(reference, problem))


def _environments(spec: RunSpec, stack: UsableStack | None) -> Iterator[tuple[str, Sequence[EnvVar]]]:
    """Yield the variables that a stack gives to the steps, and where it does."""
    if stack is None:
        return
    yield f"orchestrator {stack.orchestrator.name} podTemplate", _env(stack.orchestrator.pod_template)
    yield f"stack {stack.name}", stack.env
    yield f"stack {stack.name} podTemplate", _env(stack.pod_template)
    asked = {step.step_operator_ref.name for step in spec.all_steps if step.step_operator_ref}
    for name in sorted(asked & set(stack.step_operators)):
        yield f"step operator {name} podTemplate", _env(stack.step_operators[name].pod_template)


_RUNS_LAST = "step {} is one of finally, which run when all others have ended; leave it out"
_NOT_SHARED = "only a step's own env can use a result, since the step then waits for it"


def _volumes(template: PodTemplate | None, at: str) -> Iterator[Problem]:
    for volume in (template.volumes if template else None) or ():
        name = str(volume.get("name", ""))
        if name.startswith(RESERVED_PREFIX):
            message = f"names that begin with {RESERVED_PREFIX} are Cairn's own; choose another"
            yield Problem(f"{at}.volumes[{name}]", message)


def _env(template: PodTemplate | None) -> Sequence[EnvVar]:
    return (template.env if template else None) or ()


def _of_reference(reference: Reference, problem: str) -> str:
    return f"$({reference.text}): {problem}; write $$( for a literal $("


def _steps(spec: RunSpec, stack: UsableStack | None) -> Iterator[Problem]:
    main = {step.name: step for step in spec.steps}
    last = {step.name: step for step in spec.finally_ or ()}
    parameters = {parameter.name for parameter in spec.parameters or ()}
    for step in (*main.values(), *last.values()):
        at = place_of(spec, step)
        beside, usable = (main, main) if step.name in main else (last, {**main, **last})
        for dependency in step.depends_on or ():
            if dependency not in beside:
                yield Problem(f"{at}.dependsOn", _not_beside(dependency, main, last, _others(beside, step)))
        unusable = frozenset(last if step.name in main else ())
        yield from _inputs(step, usable, unusable, at)
        yield from _references(step, usable, unusable, parameters, at)
        yield from _items_source(step, usable, unusable, parameters, at)
        yield from _paths(step, at)
        yield from _variables((*(step.env or ()), *_env(step.pod_template)), at)
        yield from _volumes(step.pod_template, f"{at}.podTemplate")
        if stack is not None:
            yield from _step_operator(step, stack, at)
            yield from _service_account(step, spec, stack, at)


def _not_beside(name: str, main: Mapping[str, Step], last: Mapping[str, Step], others: str) -> str:
    if name in last:
        return _RUNS_LAST.format(name)
    if name in main:
        return f"finally runs when all steps have ended anyway; leave {name} out, and use when to ask how it ended"
    return f"there is no step {name}; {others}"


def _items_source(
    step: Step, steps: dict[str, Step], last: Collection[str], parameters: set[str], at: str
) -> Iterator[Problem]:
    source = items_source(step)
    problem = _reference(source, steps, last, parameters) if source is not None else None
    if source is not None and problem:
        yield Problem(f"{at}.forEach.itemsFrom", f"{source.text}: {problem}")


def _inputs(step: Step, steps: dict[str, Step], last: Collection[str], at: str) -> Iterator[Problem]:
    for source in inputs_of(step):
        if source.from_ is None:
            continue
        field = f"{at}.inputs.artifacts[{source.name}].from"
        producer, artifact = source.from_.split(".")
        if producer in last:
            yield Problem(field, _RUNS_LAST.format(producer))
        elif producer not in steps:
            yield Problem(field, f"there is no step {producer}; {_others(steps, step)}")
        elif artifact not in (names := [output.name for output in outputs_of(steps[producer])]):
            declared = f"it declares: {', '.join(names)}" if names else "it declares none"
            yield Problem(field, f"step {producer} has no output artifact {artifact}; {declared}")


def _others(steps: dict[str, Step], step: Step) -> str:
    names = [name for name in steps if name != step.name]
    return f"name one of: {', '.join(names)}" if names else "the run has no other step"


def _references(
    step: Step, steps: dict[str, Step], last: Collection[str], parameters: set[str], at: str
) -> Iterator[Problem]:
    for field, reference in references_of(step):
        problem = _reference(reference, steps, last, parameters)
        if reference.text in ITEM_REFERENCES:
            problem = None if step.for_each is not None else "only a step with forEach has an item"
        if problem:
            yield Problem(f"{at}.{field}", _of_reference(reference, problem))


def _reference(reference: Reference, steps: dict[str, Step], last: Collection[str], parameters: set[str]) -> str | None:
    if reference.parameter is not None:
        return None if reference.parameter in parameters else f"the run has no parameter {reference.parameter}"
    if reference.result is not None:
        producer, result = reference.result
        if producer in last:
            return _RUNS_LAST.format(producer)
        if producer not in steps:
            return f"there is no step {producer}"
        return None if result in results_of(steps[producer]) else f"step {producer} declares no result {result}"
    if reference.text in {"run.name", "run.uid"}:
        return None
    return "known are params.<name>, run.name, run.uid, steps.<step>.results.<result>, item.value and item.index"


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


def _service_account(step: Step, spec: RunSpec, stack: UsableStack, at: str) -> Iterator[Problem]:
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


def _cycle(steps: Sequence[Step], at: str) -> Iterator[Problem]:
    try:
        topological_order(steps)
    except StepCycleError as error:
        yield Problem(at, f"these steps wait for each other: {error}; remove one of the dependencies")
