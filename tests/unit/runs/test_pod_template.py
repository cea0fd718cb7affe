from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.pod_template import PodTemplate
from cairn.runs.pod_template import merge, merge_maps
from tests.unit.builders import template

keys = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["1", "2"])
string_maps = st.dictionaries(keys, values)


def named(**fields: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, str]]]:
    items = st.fixed_dictionaries({"name": keys, **fields})
    return st.lists(items, max_size=3, unique_by=lambda item: item["name"])


templates = st.builds(
    template,
    labels=st.none() | string_maps,
    nodeSelector=st.none() | string_maps,
    env=st.none() | named(value=values),
    volumes=st.none() | named(hostPath=values),
    tolerations=st.none()
    | st.lists(st.fixed_dictionaries({"key": keys}), max_size=3, unique_by=lambda item: item["key"]),
    securityContext=st.none()
    | st.fixed_dictionaries({}, optional={"runAsUser": values, "seccompProfile": string_maps}),
    serviceAccountName=st.none() | keys,
)


def test_nothing_merged_is_an_empty_template():
    assert merge([]) == merge([None, PodTemplate()]) == PodTemplate()


@given(templates)
def test_an_empty_template_changes_nothing(one: PodTemplate):
    assert merge([one]) == merge([PodTemplate(), one]) == merge([one, PodTemplate(), None])


@given(templates)
def test_a_template_over_itself_is_itself(one: PodTemplate):
    assert merge([one, one]) == merge([one])


@given(templates, templates, templates)
def test_levels_may_be_merged_in_any_grouping(one: PodTemplate, two: PodTemplate, three: PodTemplate):
    assert merge([merge([one, two]), three]) == merge([one, merge([two, three])]) == merge([one, two, three])


@given(templates, templates)
def test_the_later_level_wins_and_nothing_of_the_earlier_is_lost(low: PodTemplate, high: PodTemplate):
    merged = merge([low, high])

    assert (merged.labels or {}) == {**(low.labels or {}), **(high.labels or {})}
    assert merged.service_account_name == (high.service_account_name or low.service_account_name)
    by_name = {item.name: item.value for level in (low, high) for item in level.env or ()}
    assert {item.name: item.value for item in merged.env or ()} == by_name


@pytest.mark.parametrize(
    ("field", "low", "high", "merged"),
    [
        ("imagePullSecrets", [{"name": "a"}], [{"name": "b"}], [{"name": "a"}, {"name": "b"}]),
        (
            "volumeMounts",
            [{"name": "a", "mountPath": "/data"}],
            [{"name": "b", "mountPath": "/data"}],
            [{"name": "b", "mountPath": "/data"}],
        ),
        ("envFrom", [{"secretRef": {"name": "a"}}], [{"secretRef": {"name": "b"}}], None),
        ("tolerations", [{"key": "gpu"}], [{"key": "spot"}], None),
        ("affinity", {"nodeAffinity": {"x": 1}}, {"podAffinity": {}}, {"podAffinity": {}}),
        (
            "resources",
            {"limits": {"cpu": "1"}},
            {"limits": {"memory": "1Gi"}},
            {"limits": {"cpu": "1", "memory": "1Gi"}},
        ),
        ("automountServiceAccountToken", True, False, False),
        ("runtimeClassName", "gvisor", "kata", "kata"),
        (
            "securityContext",
            {"seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 1},
            {"seccompProfile": {"type": "Unconfined"}},
            {"seccompProfile": {"type": "Unconfined"}, "runAsUser": 1},
        ),
    ],
)
def test_each_field_is_merged_as_its_meaning_asks(field: str, low: Any, high: Any, merged: Any):
    result = merge([template(**{field: low}), template(**{field: high})]).to_json()[field]

    assert result == (merged if merged is not None else [*low, *high])


def test_maps_are_merged_at_every_depth():
    assert merge_maps({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "d": {}}) == {"a": {"b": 1, "c": 4}, "d": {}}
