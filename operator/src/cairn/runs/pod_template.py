"""Several levels of additions to a pod, merged into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pod_template import PodTemplate


def merge(templates: Iterable[PodTemplate | None]) -> PodTemplate:
    """Return the templates merged, later ones over earlier ones.

    Maps are merged by key; env, volumes and pull secrets by name, volume mounts by path; the other lists are joined,
    without repetitions; anything else is replaced.
    """
    merged: JsonObject = {}
    for template in templates:
        if template is None:
            continue
        for field, value in template.to_json().items():
            merged[field] = _combine(field, merged.get(field), value)
    return PodTemplate.model_validate(merged)


_KEYS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "env": lambda item: item["name"],
    "volumes": lambda item: repr(item.get("name")),
    "volumeMounts": lambda item: repr(item.get("mountPath")),
    "imagePullSecrets": lambda item: item["name"],
}
_REPLACED = frozenset({"affinity", "topologySpreadConstraints"})


def _combine(field: str, old: Any, new: Any) -> Any:
    if old is None or field in _REPLACED:
        return new
    if field in _KEYS:
        return _joined_by_key(old, new, _KEYS[field])
    if isinstance(old, Mapping):
        return merge_maps(old, new)
    if isinstance(old, Sequence) and not isinstance(old, str):
        return [*(item for item in old if item not in new), *new]
    return new


def _joined_by_key(
    old: Sequence[JsonObject], new: Sequence[JsonObject], key: Callable[[Mapping[str, Any]], object]
) -> list[JsonObject]:
    replaced = {key(item) for item in new}
    return [*(item for item in old if key(item) not in replaced), *new]


def merge_maps(old: Mapping[str, Any], new: Mapping[str, Any]) -> JsonObject:
    """Return the maps merged by key at every depth, the new one over the old one."""
    merged = dict(old)
    for key, value in new.items():
        both_maps = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = merge_maps(merged[key], value) if both_maps else value
    return merged
