"""From a step's pod template to the Kubernetes part of a pipeline: KubernetesExecutorConfig of kfp-kubernetes 2.17.

See https://github.com/kubeflow/pipelines/blob/2.17.0/kubernetes_platform/proto/kubernetes_executor_config.proto. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pod_template import PodTemplate
from cairn.runs.problem import Problem

_CANNOT = "Kubeflow Pipelines has no such setting; leave it out, or run on the orchestrator kubernetes"
_UNSUPPORTED = (
    "envFrom",
    "topologySpreadConstraints",
    "terminationGracePeriodSeconds",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "hostAliases",
)
_SECURITY = ("runAsUser", "runAsGroup", "runAsNonRoot")


def platform_of(template: PodTemplate, directories: Iterable[str], timeout_seconds: int | None) -> JsonObject:
    """Return what a step's pod is to have; `directories` are those that have to be there and can be written to."""
    fields = template.to_json()
    volumes = {volume["name"]: volume for volume in fields.get("volumes", ())}
    config: JsonObject = {
        **_metadata(fields),
        **_environment(fields.get("env", ())),
        **_mounts(fields.get("volumeMounts", ()), volumes, directories),
        **_affinity(fields.get("affinity") or {}),
        "nodeSelector": {"labels": fields["nodeSelector"]} if fields.get("nodeSelector") else None,
        "tolerations": [_toleration(item) for item in fields.get("tolerations", ())],
        "imagePullSecret": [
            {"secretNameParameter": constant(item["name"])} for item in fields.get("imagePullSecrets", ())
        ],
        "imagePullPolicy": fields.get("imagePullPolicy"),
        "activeDeadlineSeconds": str(timeout_seconds) if timeout_seconds is not None else None,
        "securityContext": _security(fields),
    }
    return {name: value for name, value in config.items() if value}


def constant(value: str) -> JsonObject:
    """Return a parameter whose value is known."""
    return {"runtimeValue": {"constant": value}}


def platform_problems(template: PodTemplate, at: str) -> Iterator[Problem]:
    """Yield what of a pod template Kubeflow Pipelines cannot express."""
    fields = template.to_json()
    for name in _UNSUPPORTED:
        if fields.get(name) not in (None, [], {}):
            yield Problem(f"{at}.{name}", _CANNOT)
    if fields.get("automountServiceAccountToken") is False:
        yield Problem(
            f"{at}.automountServiceAccountToken", "the launcher of Kubeflow Pipelines needs a token; leave it out"
        )
    for field in ("securityContext", "containerSecurityContext"):
        for name in sorted(fields.get(field) or {}):
            if name not in _SECURITY:
                yield Problem(f"{at}.{field}.{name}", _CANNOT)
    for variable in fields.get("env", ()):
        if "resourceFieldRef" in (variable.get("valueFrom") or {}):
            yield Problem(f"{at}.env[{variable['name']}].valueFrom.resourceFieldRef", _CANNOT)
    volumes = {volume["name"]: volume for volume in fields.get("volumes", ())}
    for mount in fields.get("volumeMounts", ()):
        yield from _mount_problems(mount, volumes.get(mount.get("name"), {}), f"{at}.volumeMounts[{mount.get('name')}]")


def _metadata(fields: JsonObject) -> JsonObject:
    found = {name: fields[name] for name in ("labels", "annotations") if fields.get(name)}
    return {"podMetadata": found} if found else {}


def _environment(variables: Sequence[JsonObject]) -> JsonObject:
    """Return the variables that come from elsewhere; those with a value are the container's."""
    sources = [(variable["name"], variable["valueFrom"]) for variable in variables if variable.get("valueFrom")]
    return {
        "secretAsEnv": [
            {
                "secretNameParameter": constant(source["secretKeyRef"]["name"]),
                "keyToEnv": [{"secretKey": source["secretKeyRef"]["key"], "envVar": name}],
                **_optional(source["secretKeyRef"]),
            }
            for name, source in sources
            if "secretKeyRef" in source
        ],
        "configMapAsEnv": [
            {
                "configMapNameParameter": constant(source["configMapKeyRef"]["name"]),
                "keyToEnv": [{"configMapKey": source["configMapKeyRef"]["key"], "envVar": name}],
                **_optional(source["configMapKeyRef"]),
            }
            for name, source in sources
            if "configMapKeyRef" in source
        ],
        "fieldPathAsEnv": [
            {"name": name, "fieldPath": source["fieldRef"]["fieldPath"]}
            for name, source in sources
            if "fieldRef" in source
        ],
    }


def _optional(source: Mapping[str, Any]) -> JsonObject:
    return {"optional": True} if source.get("optional") else {}


def _mounts(mounts: Sequence[JsonObject], volumes: Mapping[str, JsonObject], directories: Iterable[str]) -> JsonObject:
    found: dict[str, list[JsonObject]] = {
        "secretAsVolume": [],
        "configMapAsVolume": [],
        "pvcMount": [],
        "emptyDirMounts": [],
        "genericEphemeralVolume": [],
    }
    for mount in mounts:
        kind, entry = _mount(mount, volumes[mount["name"]])
        found[kind].append(entry)
    for index, directory in enumerate(sorted(set(directories))):
        found["emptyDirMounts"].append({"volumeName": f"cairn-{index}", "mountPath": directory})
    return dict(found)


def _mount(mount: JsonObject, volume: JsonObject) -> tuple[str, JsonObject]:
    """Return in which list a mount is, and what it is there."""
    path = {"mountPath": mount["mountPath"]}
    if "secret" in volume:
        source = volume["secret"]
        return "secretAsVolume", {"secretNameParameter": constant(source["secretName"]), **path, **_optional(source)}
    if "configMap" in volume:
        source = volume["configMap"]
        return "configMapAsVolume", {"configMapNameParameter": constant(source["name"]), **path, **_optional(source)}
    if "persistentVolumeClaim" in volume:
        sub_path = {"subPath": mount["subPath"]} if mount.get("subPath") else {}
        claim = volume["persistentVolumeClaim"]["claimName"]
        return "pvcMount", {"pvcNameParameter": constant(claim), **path, **sub_path}
    if "ephemeral" in volume:
        claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
        return "genericEphemeralVolume", {
            "volumeName": volume["name"],
            **path,
            "accessModes": claim.get("accessModes", []),
            "size": claim.get("resources", {}).get("requests", {}).get("storage", ""),
            **(
                {"storageClassName": claim["storageClassName"]}
                if claim.get("storageClassName")
                else {"defaultStorageClass": True}
            ),
        }
    source = volume.get("emptyDir") or {}
    settings = {name: source[name] for name in ("medium", "sizeLimit") if source.get(name)}
    return "emptyDirMounts", {"volumeName": volume["name"], **path, **settings}


def _mount_problems(mount: JsonObject, volume: JsonObject, at: str) -> Iterator[Problem]:
    kinds = {"secret", "configMap", "persistentVolumeClaim", "ephemeral", "emptyDir"}
    if not kinds & volume.keys():
        yield Problem(
            at, f"Kubeflow Pipelines mounts volumes of the kinds {', '.join(sorted(kinds))} only; use one of these"
        )
        return
    if mount.get("subPath") and "persistentVolumeClaim" not in volume:
        yield Problem(
            f"{at}.subPath", "Kubeflow Pipelines has it for a persistentVolumeClaim only; mount the whole volume"
        )
    for name in ("subPathExpr", "mountPropagation", "readOnly"):
        if mount.get(name) and not (name == "readOnly" and {"secret", "configMap"} & volume.keys()):
            yield Problem(f"{at}.{name}", _CANNOT)
    for kind in ("secret", "configMap"):
        for name in ("items", "defaultMode"):
            if volume.get(kind, {}).get(name):
                yield Problem(f"{at.replace('volumeMounts', 'volumes')}.{kind}.{name}", _CANNOT)


def _toleration(toleration: JsonObject) -> JsonObject:
    """Return a toleration; protobuf has seconds as text."""
    seconds = toleration.get("tolerationSeconds")
    return {**toleration, **({"tolerationSeconds": str(seconds)} if seconds is not None else {})}


def _affinity(affinity: JsonObject) -> JsonObject:
    node = affinity.get("nodeAffinity") or {}
    required = (node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms", ())
    preferred = node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return {
        "nodeAffinity": [
            *map(_term, required),
            *({**_term(item["preference"]), "weight": item["weight"]} for item in preferred),
        ],
        "podAffinity": [
            *_pod_terms(affinity.get("podAffinity") or {}, anti=False),
            *_pod_terms(affinity.get("podAntiAffinity") or {}, anti=True),
        ],
    }


def _term(term: JsonObject) -> JsonObject:
    return {name: term[name] for name in ("matchExpressions", "matchFields") if term.get(name)}


def _pod_terms(affinity: JsonObject, *, anti: bool) -> Iterator[JsonObject]:
    for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
        yield _pod_term(term, anti=anti)
    for item in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        yield {**_pod_term(item["podAffinityTerm"], anti=anti), "weight": item["weight"]}


def _pod_term(term: JsonObject, *, anti: bool) -> JsonObject:
    pods, namespaces = term.get("labelSelector") or {}, term.get("namespaceSelector") or {}
    found: JsonObject = {
        "matchPodExpressions": pods.get("matchExpressions"),
        "matchPodLabels": pods.get("matchLabels"),
        "topologyKey": term["topologyKey"],
        "namespaces": term.get("namespaces"),
        "matchNamespaceExpressions": namespaces.get("matchExpressions"),
        "matchNamespaceLabels": namespaces.get("matchLabels"),
        "anti": True if anti else None,
    }
    return {name: value for name, value in found.items() if value}


def _security(fields: JsonObject) -> JsonObject:
    """Return as whom the container runs: what is said of it counts more than what is said of its pod."""
    contexts = {**(fields.get("securityContext") or {}), **(fields.get("containerSecurityContext") or {})}
    found = {name: contexts[name] for name in _SECURITY if name in contexts}
    return {name: str(value) if name != "runAsNonRoot" else value for name, value in found.items()}
