"""Checks of which steps run, and how often: `when`, `forEach` and `finally`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from cairn.api.for_each import MOST_INSTANCES
from cairn.api.pipelinerun import RunSpec
from cairn.api.step import Step
from cairn.runs.allowance import MOST_ARTIFACTS, artifacts_kept
from cairn.runs.cache_record import may_be_cached
from cairn.runs.cel import CelError
from cairn.runs.graph import StepGraph, items_source, results_of
from cairn.runs.instances import Items
from cairn.runs.items import parse_items
from cairn.runs.problem import Problem
from cairn.runs.when import check, identifier

_INDEX = re.compile(r"-(0|[1-9][0-9]*)$")


def place_of(spec: RunSpec, step: Step) -> str:
    """Return where in the spec a step is written."""
    section = "finally" if any(step is one for one in spec.finally_ or ()) else "steps"
    return f"spec.{section}[{step.name}]"


def names_of_steps(spec: RunSpec) -> Iterator[Problem]:
    """Yield names that two steps, or instances of steps, would have."""
    main = {step.name for step in spec.steps}
    for step in spec.finally_ or ():
        if step.name in main:
            yield Problem(place_of(spec, step), "there is a step of that name in spec.steps; rename one of them")
    repeated = {step.name for step in spec.all_steps if step.for_each is not None}
    for step in spec.all_steps:
        stem = _INDEX.sub("", step.name)
        if stem != step.name and stem in repeated:
            yield Problem(
                place_of(spec, step), f"has the name of an instance of {stem}, which has forEach; rename one of them"
            )


def cached_at_the_end(spec: RunSpec) -> Iterator[Problem]:
    """Yield the steps of `finally` that might be left out."""
    for step in spec.finally_ or ():
        if may_be_cached(step):
            yield Problem(f"{place_of(spec, step)}.cache", "steps of finally always run; remove it")


def items_of_steps(spec: RunSpec) -> Iterator[Problem]:
    """Yield what is wrong with the items of steps with forEach, as far as they are known before the run starts."""
    parameters = spec.parameter_values
    items: dict[str, Items] = {}
    for step in spec.all_steps:
        if step.for_each is None:
            continue
        items[step.name] = step.for_each.items or ()
        source = items_source(step)
        if source is not None and source.parameter is not None and source.parameter in parameters:
            parsed = parse_items(source.text, parameters[source.parameter])
            if isinstance(parsed, str):
                yield Problem(f"{place_of(spec, step)}.forEach.itemsFrom", parsed)
            else:
                items[step.name] = parsed
    count, artifacts = sum(map(len, items.values())), artifacts_kept(spec.all_steps, items)
    if artifacts > MOST_ARTIFACTS:
        yield Problem(
            "spec.steps", f"{artifacts} artifacts are declared; a run may keep {MOST_ARTIFACTS}: keep directories"
        )
    if count > MOST_INSTANCES:
        yield Problem(
            "spec.steps",
            f"forEach makes {count} instances of steps; a run may have {MOST_INSTANCES}: make several runs",
        )


def expressions(graph: StepGraph) -> Iterator[Problem]:
    """Yield what is wrong with the expressions of `when`."""
    if all(step.when is None for step in graph.steps.values()):
        return
    yield from _names_alike(graph)
    for name, step in graph.steps.items():
        try:
            check(graph, name)
        except CelError as error:
            at = place_of(graph.spec, step)
            yield Problem(f"{at}.when", f"{error}; {_hint(graph, name, str(error))}")


def _names_alike(graph: StepGraph) -> Iterator[Problem]:
    """Yield results that an expression could not tell apart."""
    for step in graph.steps.values():
        seen: dict[str, str] = {}
        for result in results_of(step):
            other = seen.setdefault(identifier(result), result)
            if other != result:
                at = f"{place_of(graph.spec, step)}.outputs.results"
                yield Problem(at, f"{other} and {result} are both {identifier(result)} to when; rename one of them")


def _hint(graph: StepGraph, name: str, error: str) -> str:
    """Return the next action for an expression that is not valid."""
    undeclared = re.search(r"undeclared reference to '([a-z]+)(?:\.([A-Za-z0-9_]+))?", error)
    return _hint_of_words(graph, name, error) or _hint_of_names(graph, name, undeclared)


def _hint_of_words(graph: StepGraph, name: str, error: str) -> str | None:
    expression = graph.steps[name].when or ""
    if any(
        "-" in other and re.search(rf"(steps|params)\s*\.\s*{re.escape(other)}\b", expression)
        for other in _names(graph)
    ):
        return "write _ for - in names"
    if "no matching overload" in error:
        return "parameters and results are strings: write double(…) for a number, and quotes around a text"
    return None


def _hint_of_names(graph: StepGraph, name: str, undeclared: re.Match[str] | None) -> str:
    if undeclared is None:
        return "it is a CEL expression, such as params.mode == 'full'"
    if undeclared[1] == "params":
        names = [identifier(parameter.name) for parameter in graph.spec.parameters or ()]
        return (
            f"the run's parameters are: {_some(f'params.{one}' for one in names)}"
            if names
            else "the run has no parameters"
        )
    if undeclared[1] == "item":
        return "only a step with forEach has an item: item.value and item.index"
    if undeclared[1] == "run":
        return "only steps of finally see how the run went, as run.state"
    by_identifier: Mapping[str, str] = {identifier(other): other for other in graph.steps}
    named = by_identifier.get(undeclared[2] or "") if undeclared[1] == "steps" else None
    if named is not None and named not in graph.before(name):
        return _why_not_seen(graph, name, named)
    seen = sorted(identifier(other) for other in graph.before(name))
    declares = f"; {named} declares: {', '.join(results_of(graph.steps[named])) or 'no results'}" if named else ""
    if not seen:
        return "it sees params.<name> and no step, since none comes before it"
    return f"it sees params.<name> and, of steps, {_some(seen)}{declares}"


def _names(graph: StepGraph) -> Iterator[str]:
    yield from graph.steps
    yield from (parameter.name for parameter in graph.spec.parameters or ())


def _some(names: Iterable[str]) -> str:
    told = list(names)
    return ", ".join(told[:10]) + (f" and {len(told) - 10} more" if len(told) > 10 else "")


def _why_not_seen(graph: StepGraph, name: str, named: str) -> str:
    if named == name:
        return "a step does not see itself"
    if named in graph.finally_steps and name not in graph.finally_steps:
        return f"{named} is one of finally, which run when all others have ended"
    if name in graph.before(named):
        return f"{named} comes after it, since it needs {name}"
    return f"it sees only steps that come before it: add {named} to dependsOn"
