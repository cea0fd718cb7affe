"""Runs of all shapes, valid by how they are put together; a few of them are none for Kubeflow Pipelines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from cairn.api.pipelinerun import RunSpec
from cairn.api.step import Step
from cairn.runs.graph import outputs_of, results_of
from cairn.runs.validation import environment_name
from cairn.runs.when import identifier
from tests.unit.builders import run_spec, step

Fields = dict[str, Any]

TYPES = ("Dataset", "Model", "Metrics", "Report", "File")
TEXTS = st.text(max_size=12) | st.sampled_from(["$HOME", "$(HOSTNAME)", "$$(params.x)", "{{literal}}", "-", "ü 🍷"])
LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z])?", fullmatch=True)
RESULTS = st.from_regex(r"[a-zA-Z_][-_a-zA-Z0-9]{0,6}", fullmatch=True)
PARAMETERS = st.from_regex(r"[a-zA-Z][-_a-zA-Z0-9]{0,6}", fullmatch=True)
ITEMS = st.lists(TEXTS, max_size=3)
CPU = st.sampled_from(["1", "500m", "0.5", "2"])
MEMORY = st.sampled_from(["64Mi", "1Gi", "1000000", "1.5G"])


@dataclass(frozen=True)
class GeneratedRun:
    """A run, and which of its steps, and instances of steps, are left out as the same ones have succeeded before."""

    spec: RunSpec
    cached: frozenset[str]


def sometimes(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Return a strategy for a field that may be absent."""
    return st.none() | st.none() | strategy


def few(strategy: SearchStrategy[Any], most: int = 2, by: Callable[[Any], Any] | None = None) -> SearchStrategy[Any]:
    """Return a strategy for a short list without duplicates."""
    return st.lists(strategy, max_size=most, unique_by=by) if by is not None else st.lists(strategy, max_size=most)


def some_of(values: Sequence[Any], most: int = 2) -> SearchStrategy[list[Any]]:
    """Return a strategy for a short list of some of these, each once."""
    if not values:
        return st.just([])
    return few(st.sampled_from(range(len(values))), most, by=int).map(lambda found: [values[index] for index in found])


@st.composite
def runs(draw: DrawFn) -> GeneratedRun:
    """Draw a run."""
    parameters: Mapping[str, str] = {
        name: draw(TEXTS | ITEMS.map(json.dumps)) for name in draw(few(PARAMETERS, 3, by=environment_name))
    }
    names = draw(st.lists(LABELS, min_size=1, max_size=7, unique=True))
    count = draw(st.integers(1, len(names)))
    main, last = [], []
    for name in names[:count]:
        main.append(draw(_steps(name, main, parameters, runs_last=False)))
    for name in names[count:][:2]:
        last.append(draw(_steps(name, last, parameters, runs_last=True, main=main)))
    spec = run_spec(
        *draw(st.permutations(main)),
        parameters=[{"name": name, "value": value} for name, value in parameters.items()],
        podTemplate=draw(sometimes(_pod_templates())),
        failurePolicy=draw(st.sampled_from(["ContinueOnFailure", "FailFast"])),
        timeoutSeconds=draw(sometimes(st.integers(1, 1000))),
        **{"finally": last},
    )
    may_be_cached = [name for one in main if one.cache is not None for name in _instances(one, parameters)]
    return GeneratedRun(spec, frozenset(draw(some_of(may_be_cached, 3))))


def _instances(one: Step, parameters: Mapping[str, str]) -> Sequence[str]:
    if one.for_each is None:
        return [one.name]
    source = one.for_each.items_from
    items = json.loads(parameters[source.removeprefix("params.")]) if source is not None else one.for_each.items or ()
    return [f"{one.name}-{index}" for index, _ in enumerate(items)]


@st.composite
def _steps(
    draw: DrawFn,
    name: str,
    before: Sequence[Step],
    parameters: Mapping[str, str],
    *,
    runs_last: bool,
    main: Sequence[Step] = (),
) -> Step:
    """Draw a step that may use those before it."""
    for_each = draw(sometimes(_for_each(parameters)))
    texts = _texts(before, parameters, has_item=for_each is not None)
    after = draw(some_of(before))
    conditions = _conditions([*after, *main], parameters, has_item=for_each is not None, runs_last=runs_last)
    fields: Fields = {
        **draw(_programs(texts)),
        "env": draw(_environment(texts)),
        "dependsOn": [one.name for one in after],
        "inputs": {"artifacts": draw(_inputs(before))},
        "outputs": {"artifacts": draw(_outputs()), "results": draw(few(RESULTS, by=identifier))},
        "when": draw(sometimes(conditions)),
        "forEach": for_each,
        "retry": draw(sometimes(_retries())),
        "cache": None if runs_last else draw(sometimes(st.just({}))),
        "timeoutSeconds": draw(sometimes(st.integers(1, 31_536_000))),
        "resources": draw(sometimes(_resources())),
        "podTemplate": draw(sometimes(_pod_templates())),
    }
    return step(name, **{field: value for field, value in fields.items() if value is not None})


def _for_each(parameters: Mapping[str, str]) -> SearchStrategy[Fields]:
    lists = [name for name, value in parameters.items() if value.startswith("[")]
    written = ITEMS.map(lambda items: {"items": items})
    return written if not lists else written | st.sampled_from(lists).map(lambda name: {"itemsFrom": f"params.{name}"})


def _texts(before: Sequence[Step], parameters: Mapping[str, str], *, has_item: bool) -> SearchStrategy[str]:
    """Return a strategy for texts in which references are replaced."""
    references = [
        "$(run.name)",
        "$(run.uid)",
        *(f"$(params.{name})" for name in parameters),
        *(f"$(steps.{one.name}.results.{result})" for one in before for result in results_of(one)),
        *(("$(item.value)", "$(item.index)") if has_item else ()),
    ]
    return few(TEXTS | st.sampled_from(references), 3).map("".join)


def _programs(texts: SearchStrategy[str]) -> SearchStrategy[Fields]:
    commands = st.fixed_dictionaries(
        {"command": st.lists(texts, min_size=1, max_size=2)}, optional={"args": few(texts)}
    )
    return commands | st.fixed_dictionaries(
        {"script": TEXTS.filter(bool)}, optional={"interpreter": st.just(["sh", "-c"])}
    )


@st.composite
def _environment(draw: DrawFn, texts: SearchStrategy[str]) -> Sequence[Fields]:
    names = draw(few(st.sampled_from(["A", "TZ", "MODE", "a.b"]), 3, by=str))
    return [
        {"name": name, **draw(texts.map(lambda text: {"value": text}) | st.sampled_from(_SOURCES))} for name in names
    ]


_SOURCES: Sequence[Fields] = [
    {"valueFrom": {"secretKeyRef": {"name": "s3", "key": "key"}}},
    {"valueFrom": {"secretKeyRef": {"name": "s3", "key": "key", "optional": True}}},
    {"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
    {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
]


@st.composite
def _inputs(draw: DrawFn, before: Sequence[Step]) -> Sequence[Fields]:
    written = [f"{one.name}.{output.name}" for one in before for output in outputs_of(one)]
    sources = [{"from": source} for source in draw(some_of(written))]
    if draw(st.booleans()):
        sources.append({"uri": "s3://data/raw/"})
    return [{"name": f"in-{index}", "path": f"/in/{index}", **source} for index, source in enumerate(sources)]


@st.composite
def _outputs(draw: DrawFn) -> Sequence[Fields]:
    return [
        {"name": name, "path": f"/out/{name}/{name}", "type": draw(st.sampled_from(TYPES))}
        for name in draw(few(LABELS, by=str))
    ]


def _conditions(
    seen: Sequence[Step], parameters: Mapping[str, str], *, has_item: bool, runs_last: bool
) -> SearchStrategy[str]:
    """Return a strategy for what a step's `when` may say of those that come before it."""
    return st.sampled_from(
        [
            "true",
            *(f"params.{identifier(name)} == 'params.x'" for name in parameters),
            *(f"steps.{identifier(one.name)}.state == 'Succeeded'" for one in seen),
            *(
                f"size(steps.{identifier(one.name)} . results.{identifier(result)}) > 1"
                for one in seen
                for result in results_of(one)
            ),
            *(("item.index > 0", "item.value != ''") if has_item else ()),
            *(("run.state == 'Failed'", "run.state != 'Succeeded' && true") if runs_last else ()),
        ]
    )


def _retries() -> SearchStrategy[Fields]:
    return st.fixed_dictionaries(
        {"limit": st.integers(0, 3)},
        optional={"backoffSeconds": st.integers(0, 30), "backoffFactor": st.integers(1, 3)},
    )


def _resources() -> SearchStrategy[Fields]:
    return st.fixed_dictionaries(
        {},
        optional={
            "requests": st.fixed_dictionaries({}, optional={"cpu": CPU, "memory": MEMORY}),
            "limits": st.fixed_dictionaries(
                {}, optional={"cpu": CPU, "memory": MEMORY, "nvidia.com/gpu": st.sampled_from(["1", 2])}
            ),
        },
    )


MountKind = Literal["secret", "configMap", "persistentVolumeClaim", "emptyDir", "ephemeral"]
_VOLUMES: Mapping[MountKind, Sequence[Fields]] = {
    "secret": [{"secretName": "s3"}, {"secretName": "s3", "optional": True}],
    "configMap": [{"name": "settings"}],
    "persistentVolumeClaim": [{"claimName": "datasets"}],
    "emptyDir": [{}, {"medium": "Memory"}, {"sizeLimit": "1Gi"}],
    "ephemeral": [
        {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": requests}, **of}}}
        for requests in ({"storage": "1Gi"},)
        for of in ({}, {"storageClassName": "fast"})
    ],
}


@st.composite
def _pod_templates(draw: DrawFn) -> Fields:
    kinds = draw(some_of(list(_VOLUMES)))
    fields: Fields = {
        "volumes": [{"name": kind.lower(), kind: draw(st.sampled_from(_VOLUMES[kind]))} for kind in kinds],
        "volumeMounts": [{"name": kind.lower(), "mountPath": f"/mnt/{kind}"} for kind in kinds],
        "env": draw(sometimes(_environment(TEXTS))),
        "affinity": draw(sometimes(st.sampled_from(_AFFINITIES))),
        **draw(st.fixed_dictionaries({}, optional=_OTHER_SETTINGS)),
    }
    return {field: value for field, value in fields.items() if value is not None}


_TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
_POD_TERM = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone", "namespaces": ["ml"]}
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
_AFFINITIES: Sequence[Fields] = [
    {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [_TERM]}}},
    {"nodeAffinity": {_PREFERRED: [{"weight": 5, "preference": _TERM}]}},
    {"podAffinity": {_REQUIRED: [_POD_TERM]}, "podAntiAffinity": {_REQUIRED: [_POD_TERM]}},
    {"podAntiAffinity": {_PREFERRED: [{"weight": 5, "podAffinityTerm": _POD_TERM}]}},
]
_OTHER_SETTINGS: Mapping[str, SearchStrategy[Any]] = {
    "labels": st.just({"team": "vision"}),
    "annotations": TEXTS.map(lambda text: {"example.com/note": text}),
    "nodeSelector": st.just({"disk": "ssd"}),
    "tolerations": st.sampled_from(
        [
            [{"operator": "Exists"}],
            [{"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60}],
        ]
    ),
    "imagePullSecrets": st.just([{"name": "registry"}]),
    "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
    "securityContext": st.fixed_dictionaries(
        {}, optional={"runAsUser": st.integers(0, 1000), "runAsNonRoot": st.booleans()}
    ),
    "containerSecurityContext": st.fixed_dictionaries({}, optional={"runAsGroup": st.integers(0, 1000)}),
    "resources": _resources(),
}
