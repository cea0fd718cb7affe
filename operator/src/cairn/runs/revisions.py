"""What each run is to do: what it says itself, and what the Pipeline says that it names.

A Pipeline may change while its runs are under way. So what it says when a run starts is kept in a ControllerRevision, as
StatefulSets and DaemonSets keep theirs (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/):
one for each run, which goes with it. See docs/decisions/0010.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from cairn.api.base import API_VERSION, JsonObject, first_problem
from cairn.api.deletion import is_being_deleted
from cairn.api.labels import MANAGED_BY, MANAGED_BY_CAIRN, RUN_LABEL, shortened
from cairn.api.ownership import controller_of, controller_reference
from cairn.api.pipeline import PipelineSpec
from cairn.api.pipelinerun import RunSpec, pipeline_of
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import CONTROLLER_REVISIONS, PIPELINES, AlreadyExistsError, NotFoundError
from cairn.clients.store import Key, key_of
from cairn.runs.naming import PIPELINE_LABEL, revision_name
from cairn.runs.pipeline_parameters import parameter_problems
from cairn.runs.pipeline_runs import completed, given_in, revision_of
from cairn.runs.pipeline_validation import InvalidPipelineError, valid_pipeline
from cairn.runs.problem import all_told


class InvalidSpecError(ValueError):
    """A run says something that it cannot mean; the message says what."""


class PipelineNotReadyError(Exception):
    """A run cannot go on for want of its Pipeline; the message says why."""


@dataclass(frozen=True)
class _Known:
    """What a Pipeline says to a run."""

    uid: str
    """Of the run."""
    spec: PipelineSpec
    written: JsonObject
    """The same as the API server has it."""


class RunSpecs:
    """Completes the specs of runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pipelines: dict[Key, _Known] = {}
        """Of each run that names one, its Pipeline as it goes for that run."""

    async def of(self, run: JsonObject, status: PipelineRunStatus) -> RunSpec:
        """Return what a run is to do.

        Raises:
            InvalidSpecError: the run is not valid.
            PipelineNotReadyError: its Pipeline is not there, or not valid.
        """
        try:
            if "pipelineRef" not in run["spec"]:
                return RunSpec.model_validate(run["spec"])
            pipeline = await self._pipeline(run, status)
            if status.start_time is None:
                declared, given = pipeline.parameters or (), given_in(run["spec"])
                problem = all_told([*parameter_problems(declared, given, pipeline_of(run))])
                if problem is not None:
                    raise InvalidSpecError(problem)
            return RunSpec.model_validate(completed(run["spec"], pipeline))
        except ValidationError as error:
            raise InvalidSpecError(first_problem(error)) from error

    async def keep(self, run: JsonObject) -> str | None:
        """Keep what the Pipeline says that a run names, as `of` has found it, before the run starts; return which version it is.

        Raises:
            PipelineNotReadyError: something else has the name under which it is to be kept.
        """
        if "pipelineRef" not in run["spec"]:
            return None
        known = self._pipelines[key_of(run)]
        version = revision_of(known.spec)
        revision = _revision(run, version, known.written)
        try:
            await self._cluster.kubernetes.create(CONTROLLER_REVISIONS, key_of(run)[0], revision)
        except AlreadyExistsError:
            await self._see_that_it_is_of(run, revision["metadata"]["name"])
        return version

    def forget(self, key: Key) -> None:
        """Forget a run."""
        self._pipelines.pop(key, None)

    async def _see_that_it_is_of(self, run: JsonObject, name: str) -> None:
        """See that a revision is one that an operator has kept for the run before it died."""
        found = await self._cluster.kubernetes.get(CONTROLLER_REVISIONS, key_of(run)[0], name)
        if not _is_of(found, run):
            message = f"ControllerRevision {name} is there already, of an earlier run or of something else; it has to go first."
            raise PipelineNotReadyError(message)

    async def _pipeline(self, run: JsonObject, status: PipelineRunStatus) -> PipelineSpec:
        if status.start_time is not None:
            return await self._kept(run, status.pipeline_revision or "")
        namespace, name = key_of(run)[0], pipeline_of(run)
        try:
            # not what the watch has told of: a Pipeline that was applied before the run must be the one that is run
            body = await self._cluster.kubernetes.get(PIPELINES, namespace, name)
        except NotFoundError:
            message = f"There is no Pipeline {namespace}/{name}; create it, or start a run of another one."
            raise PipelineNotReadyError(message) from None
        if is_being_deleted(body):
            raise PipelineNotReadyError(f"Pipeline {namespace}/{name} is being deleted; start a run of another one.")
        try:
            spec = valid_pipeline(body)
        except InvalidPipelineError as error:
            raise PipelineNotReadyError(f"Pipeline {namespace}/{name} is not valid; mend it: {error}") from error
        self._pipelines[key_of(run)] = _Known(run["metadata"]["uid"], spec, body["spec"])
        return spec

    async def _kept(self, run: JsonObject, version: str) -> PipelineSpec:
        key, uid = key_of(run), run["metadata"]["uid"]
        known = self._pipelines.get(key)
        if known is not None and known.uid == uid:
            return known.spec
        name = revision_name(key[1], version)
        try:
            revision = await self._cluster.kubernetes.get(CONTROLLER_REVISIONS, key[0], name)
        except NotFoundError:
            revision = None
        if revision is None or not _is_of(revision, run):
            message = (
                f"ControllerRevision {name} is gone, which kept what this run does; delete the run and start another."
            )
            raise PipelineNotReadyError(message)
        written = revision["data"]["spec"]
        self._pipelines[key] = _Known(uid, PipelineSpec.model_validate(written), written)
        return self._pipelines[key].spec


def _revision(run: JsonObject, version: str, pipeline: JsonObject) -> JsonObject:
    namespace, name = key_of(run)
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": revision_name(name, version),
            "namespace": namespace,
            "labels": {
                MANAGED_BY: MANAGED_BY_CAIRN,
                RUN_LABEL: shortened(name),
                PIPELINE_LABEL: pipeline_of(run),
            },
            "ownerReferences": [controller_reference("PipelineRun", name, run["metadata"]["uid"])],
        },
        "revision": 1,
        "data": {
            "apiVersion": API_VERSION,
            "kind": "Pipeline",
            "metadata": {"name": pipeline_of(run)},
            "spec": pipeline,
        },
    }


def _is_of(revision: JsonObject, run: JsonObject) -> bool:
    owner = controller_of(revision)
    return owner is not None and owner["uid"] == run["metadata"]["uid"]
