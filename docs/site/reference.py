"""The pages of the reference that are made from the CRDs and from the metrics of the operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from cairn.clients import metrics

Schema = Mapping[str, Any]

CRDS = Path(__file__).parents[2] / "crds"
LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
}


def generated_pages() -> dict[str, str]:
    """Return the text of each page by where it is."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    pages = {
        f"reference/{crd['spec']['names']['singular']}.md": _page_of_kind(crd)
        for crd in crds
        if crd["kind"] != "Kustomization"
    }
    return {**pages, "reference/metrics.md": _page_of_metrics()}


def _page_of_kind(crd: Schema) -> str:
    names = crd["spec"]["names"]
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    properties = schema["properties"]
    shorts = ", ".join(f"`{name}`" for name in names.get("shortNames", ()))
    lines = [
        f"# {names['kind']}",
        "",
        _text(schema.get("description", "")),
        "",
        f"`apiVersion: {crd['spec']['group']}/{version['name']}`, `kind: {names['kind']}`; for kubectl `{names['plural']}`"
        f"{f' or {shorts}' if shorts else ''}. `kubectl explain {names['singular']} --recursive` shows the same.",
        "",
    ]
    for name in ("spec", "status"):
        lines += _sections(name, properties[name])
    return "\n".join(lines)


def _sections(path: str, schema: Schema) -> Iterator[str]:
    """Yield a section for an object, and one for each object within it."""
    yield from (f"## {path}", "", _text(schema.get("description", "")), "")
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    if rules:
        yield from ("The API server holds these:", "", *(f"- {_sentence(rule)}" for rule in rules), "")
    yield from ("| field | type | |", "|---|---|---|")
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        needed = " **required**" if name in required else ""
        yield f"| `{name}`{needed} | {_type(field)} | {_cell(_meaning(field))} |"
    yield ""
    for name, field in schema["properties"].items():
        suffix, inner = _inner(field)
        if "properties" in inner:
            yield from _sections(f"{path}.{name}{suffix}", inner)


def _inner(schema: Schema) -> tuple[str, Schema]:
    """Return what a list or a map consists of, and how its path goes on."""
    if isinstance(schema.get("items"), Mapping):
        return "[]", schema["items"]
    if isinstance(schema.get("additionalProperties"), Mapping):
        return ".*", schema["additionalProperties"]
    return "", schema


def _type(schema: Schema) -> str:
    suffix, inner = _inner(schema)
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if suffix:
        return f"{'list' if suffix == '[]' else 'map'} of {_type(inner)}"
    return str(schema.get("format") or schema.get("type") or "any")


def _meaning(schema: Schema) -> str:
    """Return a field's description, with what the API server makes of it."""
    _, inner = _inner(schema)
    facts = []
    if "enum" in inner:
        facts.append("One of " + ", ".join(f"`{value}`" for value in inner["enum"]) + ".")
    if "default" in schema:
        facts.append(f"Default: `{_value(schema['default'])}`.")
    limits = [template.format(schema[key]) for key, template in LIMITS.items() if key in schema]
    if limits:
        facts.append(f"{', '.join(limits).capitalize()}.")
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if "properties" not in inner]
    facts += [_sentence(rule) for rule in rules]
    if "pattern" in schema and not rules:
        facts.append(f"Pattern: `{schema['pattern']}`.")
    return " ".join([_text(schema.get("description", "")), *facts]).strip()


def _value(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def _text(text: str) -> str:
    """Return plain words for Markdown; what stands in backquotes stays as it is."""
    parts = text.split("`")
    parts[::2] = [
        part.replace("&", "&amp;").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_") for part in parts[::2]
    ]
    return "`".join(parts)


def _sentence(rule: str) -> str:
    """Return what the API server says where a rule is broken, as a sentence."""
    text = _text(f"it {rule}" if rule.startswith("must ") else rule)
    return f"{text[0].upper()}{text[1:]}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _page_of_metrics() -> str:
    lines = [
        "# Metrics",
        "",
        "The operator has them at `/metrics` of the Service `cairn`.",
        "[Looking after runs](../operating.md#the-operator) says which to look at.",
        "",
        "| metric | type | |",
        "|---|---|---|",
    ]
    for metric in _metrics():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        lines.append(f"| `{name}` | {metric.type} | {_cell(_text(metric.documentation))} |")
    return "\n".join([*lines, ""])


def _metrics() -> Iterator[Metric]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            yield from metric.describe()
    yield from metrics.ReadinessCollector((), ()).collect()
