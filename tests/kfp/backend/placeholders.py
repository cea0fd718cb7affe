"""Placeholders in a container's command and arguments, as KFP's launcher resolves them. It resolves none in `env`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from .outputs import local_path, output_file
from .state import Artifact, Values
from .values import to_text

_PLACEHOLDER = re.compile(
    r"\{\{\$\.(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\[(?P<quote>['\"])(?P<name>.*?)(?P=quote)\]"
    r"(?P<field>\.\w+)?(?:\[(?P<key_quote>['\"])(?P<key>.*?)(?P=key_quote)\])?\}\}"
)

Quote = Callable[[str], str]


def kubelet_quoted(value: str) -> str:
    """Return a value that the kubelet leaves alone: it replaces `$(NAME)` in commands before the launcher sees them."""
    return value.replace("$(", "$$(")


def resolve(texts: Iterable[str], inputs: Values, outputs: Values, quote: Quote = str) -> list[str]:
    """Return texts with values in place of placeholders; one that is not known stays as it is."""

    def value(match: re.Match[str]) -> str:
        found = _value(match, inputs, outputs)
        return match[0] if found is None else quote(found)

    return [_PLACEHOLDER.sub(value, text) for text in texts]


def _value(match: re.Match[str], inputs: Values, outputs: Values) -> str | None:
    name, field = match["name"], (match["field"] or "").removeprefix(".")
    if match["kind"] == "parameters":
        if match["side"] == "outputs":
            return output_file(name) if field == "output_file" else None
        return to_text(inputs.parameters[name]) if name in inputs.parameters and not field else None
    artifacts = (inputs if match["side"] == "inputs" else outputs).artifacts.get(name)
    return _artifact_field(artifacts[0], field, match["key"]) if artifacts else None


def _artifact_field(artifact: Artifact, field: str, key: str | None) -> str | None:
    match field:
        case "path":
            return local_path(artifact.uri)
        case "uri":
            return artifact.uri
        case "name":
            return artifact.name
        case "metadata":
            return json.dumps(artifact.metadata) if key is None else to_text(artifact.metadata.get(key))
        case _:
            return None
