"""Reads what a step has written on Kubeflow Pipelines, whose API does not tell it, from the pipeline root.

It is `<root>/<pipeline>/<run>/<task>/<execution>/<output>`, as was recorded; a directory is all that is below that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cairn.api.step import Step
from cairn.components.base import StoreClient
from cairn.components.errors import ComponentError
from cairn.runs.graph import outputs_of, results_of
from cairn.runs.kubeflow.task import RESULTS_ARTIFACT
from cairn.runs.observation import KeptArtifact
from cairn.runs.results import MOST_BYTES, RESULTS_INVALID, parse_results
from cairn.step.errors import OUTPUT_MISSING
from cairn.step.manifest import SUFFIX, FileEntry, Manifest


@dataclass(frozen=True)
class StepOutputs:
    """What a step has written, as it lies in the pipeline root."""

    artifacts: Mapping[str, KeptArtifact]
    results: Mapping[str, str]


NOTHING = StepOutputs({}, {})


class OutputsInvalidError(ComponentError):
    """What a step has written is not what it declares: another try finds the same."""


def writes_nothing(step: Step) -> bool:
    """Return whether a step declares neither artifacts nor results."""
    return not outputs_of(step) and not results_of(step)


async def read_outputs(client: StoreClient, place: str, step: Step, uri_of: Callable[[str], str]) -> StepOutputs:
    """Return what a task has written below a place, the key of the task; `uri_of` makes keys URIs.

    The manifest of a directory is written beside it, as whoever fetches it elsewhere needs it.

    Raises:
        StoreUnavailableError: the store does not tell.
        OutputsInvalidError: something is missing, or not as it ought to be.
    """
    if writes_nothing(step):
        return NOTHING
    wanted = [output.name for output in outputs_of(step)]
    keys = sorted(await client.entity_tags_below(place))
    execution = _execution(keys, [*wanted, *([RESULTS_ARTIFACT] if results_of(step) else [])])
    artifacts = {
        name: await _artifact(client, f"{place}/{execution}/{name}", name, uri_of, _below(keys, f"{execution}/{name}"))
        for name in wanted
    }
    if not results_of(step):
        return StepOutputs(artifacts, {})
    content = await client.get(f"{place}/{execution}/{RESULTS_ARTIFACT}", MOST_BYTES + 1)
    results = parse_results(step, (content or b"").decode(errors="replace"))
    if isinstance(results, str):
        raise OutputsInvalidError(RESULTS_INVALID, results)
    return StepOutputs(artifacts, results)


def _execution(keys: Iterable[str], outputs: Sequence[str]) -> str:
    """Return the execution that has written something of all outputs: a task that was driven again has several."""
    by_execution: dict[str, set[str]] = {}
    for key in keys:
        execution, _, rest = key.partition("/")
        by_execution.setdefault(execution, set()).add(rest.partition("/")[0])
    missing = list(outputs)
    for execution, written in sorted(by_execution.items()):
        lacks = [output for output in outputs if output not in written]
        if not lacks:
            return execution
        missing = min(missing, lacks, key=len)
    names = ", ".join(missing)
    raise OutputsInvalidError(
        OUTPUT_MISSING, f"Kubeflow Pipelines has not kept {names} in the pipeline root; look at its log."
    )


async def _artifact(
    client: StoreClient, place: str, name: str, uri_of: Callable[[str], str], below: Iterable[str]
) -> KeptArtifact:
    digest = await client.digest(place)
    if digest is not None:
        return KeptArtifact(uri_of(place), f"sha256:{digest.sha256}", digest.size)
    files: list[FileEntry] = []
    for path in below:
        found = await client.digest(f"{place}/{path}")
        if found is None:
            raise OutputsInvalidError(OUTPUT_MISSING, f"Somebody has deleted {path} of the output {name}.")
        files.append(FileEntry(path, found.size, found.sha256))
    manifest = Manifest.of(files, ())
    await client.put(f"{place}{SUFFIX}", manifest.encode(), "application/json")
    return KeptArtifact(uri_of(place), manifest.digest, manifest.size)


def _below(keys: Iterable[str], place: str) -> Iterator[str]:
    return (key.removeprefix(f"{place}/") for key in keys if key.startswith(f"{place}/"))
