"""The platform part of an executor, `kubernetes_executor_config.proto` in JSON, applied to a pod.

References to inputs have been resolved by the driver: `secretNameParameter` and the like hold plain values here.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


def apply(pod: Json, main: Json, platform: Json) -> None:
    """Add what the platform part says to a pod and its main container."""
    _environment(main, platform)
    _volumes(pod["spec"], main, platform)
    _scheduling(pod["spec"], platform)
    spec, metadata = pod["spec"], pod["metadata"]
    more = platform.get("podMetadata", {})
    # What the labels and annotations of Argo say is not for a pipeline to change.
    metadata["labels"] = {**more.get("labels", {}), **metadata["labels"]}
    metadata["annotations"] = {**more.get("annotations", {}), **metadata["annotations"]}
    if secrets := [{"name": _name(one, "secretName")} for one in platform.get("imagePullSecret", [])]:
        spec["imagePullSecrets"] = secrets
    if policy := platform.get("imagePullPolicy"):
        main["imagePullPolicy"] = policy
    if seconds := int(platform.get("activeDeadlineSeconds", 0)):
        spec["activeDeadlineSeconds"] = seconds
    if context := platform.get("securityContext"):
        whole = {name: int(context[name]) for name in ("runAsUser", "runAsGroup") if name in context}
        others = {name: context[name] for name in ("runAsNonRoot",) if name in context}
        main["securityContext"] = {**main.get("securityContext", {}), **whole, **others}


def _name(item: Json, field: str) -> str:
    """Return a name that may be given as such, or as what was a parameter."""
    return item.get(f"{field}Parameter") or item.get(field) or item.get("constant", "")


def _environment(main: Json, platform: Json) -> None:
    env: list[Json] = main.setdefault("env", [])
    for kind, name_field, key_field, source in (
        ("secretAsEnv", "secretName", "secretKey", "secretKeyRef"),
        ("configMapAsEnv", "configMapName", "configMapKey", "configMapKeyRef"),
    ):
        for item in platform.get(kind, []):
            for one in item.get("keyToEnv", []):
                reference: Json = {"name": _name(item, name_field), "key": one[key_field]}
                if "optional" in item:
                    reference["optional"] = item["optional"]
                env.append({"name": one["envVar"], "valueFrom": {source: reference}})
    env.extend(
        {"name": item["name"], "valueFrom": {"fieldRef": {"fieldPath": item["fieldPath"]}}}
        for item in platform.get("fieldPathAsEnv", [])
    )


def _volumes(spec: Json, main: Json, platform: Json) -> None:
    mounts: list[Json] = main.setdefault("volumeMounts", [])

    def mount(name: str, path: str, source: Json, **options: Any) -> None:
        spec["volumes"].append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path, **options})

    for index, item in enumerate(platform.get("secretAsVolume", [])):
        source = {"secretName": _name(item, "secretName"), "optional": item.get("optional", False)}
        mount(f"secret-{index}", item["mountPath"], {"secret": source})
    for index, item in enumerate(platform.get("configMapAsVolume", [])):
        source = {"name": _name(item, "configMapName"), "optional": item.get("optional", False)}
        mount(f"config-map-{index}", item["mountPath"], {"configMap": source})
    for index, item in enumerate(platform.get("pvcMount", [])):
        options = {"subPath": item["subPath"]} if item.get("subPath") else {}
        claim = {"persistentVolumeClaim": {"claimName": _name(item, "pvcName")}}
        mount(f"pvc-{index}", item["mountPath"], claim, **options)
    for item in platform.get("emptyDirMounts", []):
        fields = {"medium": item.get("medium"), "sizeLimit": item.get("sizeLimit")}
        empty = {name: value for name, value in fields.items() if value}
        mount(item["volumeName"], item["mountPath"], {"emptyDir": empty})
    for item in platform.get("genericEphemeralVolume", []):
        mount(item["volumeName"], item["mountPath"], {"ephemeral": {"volumeClaimTemplate": _claim(item)}})
    if shared := platform.get("enabledSharedMemory"):
        size = {"sizeLimit": shared["size"]} if shared.get("size") else {}
        mount(shared.get("volumeName") or "shm", "/dev/shm", {"emptyDir": {"medium": "Memory", **size}})  # noqa: S108


def _claim(item: Json) -> Json:
    claim: Json = {
        "accessModes": item.get("accessModes", []),
        "resources": {"requests": {"storage": item["size"]}},
    }
    if item.get("storageClassName"):
        claim["storageClassName"] = item["storageClassName"]
    return {"metadata": item.get("metadata", {}), "spec": claim}


def _scheduling(spec: Json, platform: Json) -> None:
    selector = platform.get("nodeSelector", {})
    if labels := _parsed(selector.get("nodeSelectorJson")) or selector.get("labels"):
        spec["nodeSelector"] = labels
    tolerations: list[Json] = []
    for item in platform.get("tolerations", []):
        found = _parsed(item.get("tolerationJson"))
        plain = {name: value for name, value in item.items() if name != "tolerationJson"}
        if "tolerationSeconds" in plain:
            plain["tolerationSeconds"] = int(plain["tolerationSeconds"])
        tolerations.extend(found if isinstance(found, list) else [found or plain])
    if tolerations:
        spec["tolerations"] = tolerations
    affinity: Json = {}
    for item in platform.get("nodeAffinity", []):
        _add_node_affinity(affinity, item)
    for item in platform.get("podAffinity", []):
        _add_pod_affinity(affinity, item)
    if affinity:
        spec["affinity"] = affinity


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _add_node_affinity(affinity: Json, item: Json) -> None:
    node = affinity.setdefault("nodeAffinity", {})
    if whole := _parsed(item.get("nodeAffinityJson")):
        node.update(whole)
        return
    term = {name: item[name] for name in ("matchExpressions", "matchFields") if item.get(name)}
    if item.get("weight"):
        preferred = node.setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
        preferred.append({"weight": item["weight"], "preference": term})
    else:
        required = node.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": []})
        required["nodeSelectorTerms"].append(term)


def _add_pod_affinity(affinity: Json, item: Json) -> None:
    pod = affinity.setdefault("podAntiAffinity" if item.get("anti") else "podAffinity", {})
    term: Json = {
        "labelSelector": {
            "matchLabels": item.get("matchPodLabels", {}),
            "matchExpressions": item.get("matchPodExpressions", []),
        },
        "topologyKey": item["topologyKey"],
    }
    if item.get("namespaces"):
        term["namespaces"] = item["namespaces"]
    if item.get("matchNamespaceLabels") or item.get("matchNamespaceExpressions"):
        term["namespaceSelector"] = {
            "matchLabels": item.get("matchNamespaceLabels", {}),
            "matchExpressions": item.get("matchNamespaceExpressions", []),
        }
    if item.get("weight"):
        preferred = pod.setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
        preferred.append({"weight": item["weight"], "podAffinityTerm": term})
    else:
        pod.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
