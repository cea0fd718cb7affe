"""What the outputs of a step depend on, as one digest: steps with the same one are the same. Pure.

Not part of it are the run's name and UID, as variables, and what of the pod does not concern what the step does: resources,
nodes, times, retries. What a step reads from elsewhere, Cairn does not see; that is what the salt is for.
"""

from __future__ import annotations

import hashlib
import json

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.runs.graph import inputs_of, outputs_of, results_of
from cairn.runs.pod import Attempt, PodContext, step_container, step_template
from cairn.runs.references import TextsTooLargeError

VERSION = 1
OF_THE_RUN = frozenset({"CAIRN_RUN", "CAIRN_RUN_UID", "CAIRN_ATTEMPT"})
"""Variables that differ from run to run."""


def cache_key(context: PodContext, step: Step, image_digest: str) -> str | None:
    """Return the digest of all that a step's outputs depend on; its inputs must be there. None where it cannot run at all."""
    attempt = Attempt(step, 1)
    try:
        container = step_container(context, attempt, step_template(context, step), attempts=[attempt], plain=True)
    except TextsTooLargeError:
        return None
    variables = [variable for variable in container.get("env", ()) if variable["name"] not in OF_THE_RUN]
    document: JsonObject = {
        "version": VERSION,
        "image": image_digest,
        "command": container.get("command"),
        "args": container.get("args"),
        "env": variables,
        "envFrom": list(container.get("envFrom", ())),
        "inputs": [
            {"path": source.path, "digests": _digests(context, source.from_ or "")} for source in inputs_of(step)
        ],
        "outputs": [{"name": output.name, "path": output.path} for output in outputs_of(step)],
        "results": sorted(results_of(step)),
        "salt": step.cache.salt if step.cache is not None else "",
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def not_cacheable(step: Step) -> str | None:
    """Return why a step cannot be cached, or None."""
    of_uris = [source.name for source in inputs_of(step) if source.from_ is None]
    if of_uris:
        return f"Its input {of_uris[0]} is a URI, whose content may change without a notice; it is not cached."
    return None


def _digests(context: PodContext, source: str) -> JsonObject:
    """Return the digests of an input, by where they lie within it."""
    producer, _, artifact = source.partition(".")
    return {within: kept.digest for within, kept in context.artifacts[producer, artifact].items()}
