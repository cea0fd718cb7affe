"""The reasons that the code can give, and those that docs/reasons.md has.

A reason may come a long way before it is written into a status or an Event, through tuples and errors of several modules. So
nothing is followed: every word in the code that could be a reason counts as one, but for the words below, of which it is said what
else they are. A word that is given as `reason=` is one in any case.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = ROOT / "operator" / "src" / "cairn"
PAGE = ROOT / "docs" / "reasons.md"

_REASON = re.compile(r"(?=.*[a-z])[A-Z][A-Za-z0-9]*")
"""As the API server demands it of a condition, but that abbreviations alone, such as POST, are none."""
_QUOTED = re.compile(r"`([^`]*)`")

OTHER_WORDS = {
    word: what
    for what, words in {
        "a kind, or another word of Kubernetes' API": """
            ConfigMap ContainerCreating ControllerRevision CronJob CustomResourceDefinition Deployment Event FallbackToLogsOnError
            HTTPRoute IfNotPresent Ingress Job Kustomization Lease List Namespaced NetworkPolicy Never OnRootMismatch
            PersistentVolumeClaim Pipeline PipelineRun PipelineSchedule Pod PodDisruptionBudget PodInitializing PodScheduled
            ReadOnlyMany ReadWriteOnce RuntimeDefault Secret Service ServiceAccount ServiceMonitor Stack StackComponent
            StorageClass""",
        "an argument for Kubernetes' client": "Accept All Authorization Background BearerToken Strict TokenRequest",
        "what kubectl shows above a column": """
            Age Artifacts Endpoint Flavor Last Message Metrics Next Orchestrator Policy Reason Record Revision Run Runs Schedule
            Seconds Status Step Steps Tracker Type Zone""",
        "the status of a condition, or the type of an Event": "False Normal True Warning",
        "what the operator did, in an Event": "Check Delete KeepLogs Reconcile Register Resolve Start Stop Suspend Track Validate",
        "the state of a step, an attempt or a registration": "Approved Failed Queued Refused Retrying Skipped Waiting",
        "whose fault an end is": "Disruption Stopped Surroundings",
        "a value of a field of Cairn's kinds": """
            Auto Boolean ContinueOnFailure Dataset Failure File Forbid Graceful Immediate Integer Latest Manual Model None
            NotRequired Number Path Proxied Report Required Retain String Virtual""",
        "a type in Python": "Attempt Client Config IndexKey Item Result StackComponentSpec",
        "an operation or a parameter of S3": """
            Connect ContinuationToken CreateBucket CreateBucketConfiguration DeleteObject GetObject HeadBucket HeadObject
            ListObjectsV2 LocationConstraint PutObject VersionId""",
        "the code of an error of S3": """
            AuthorizationHeaderMalformed BucketAlreadyExists ConnectionRefused EntityStorageLimitExceeded ExpiredToken
            IllegalLocationConstraintException IncompleteMessage InvalidAccessKeyId InvalidLocationConstraint InvalidSecurity
            InvalidToken NoSuchBucket NoSuchKey NoSuchVersion PermanentRedirect QuotaExceeded RequestExpired RequestTimeTooSkewed
            SignatureDoesNotMatch TokenRefreshRequired XAdminUserNotFound XMinioStorageFull""",
        "a key, or the code of an error, of Kubeflow Pipelines": "InvalidInputError Overrides",
        "what a Job's condition says of its end": "Complete",
        "what stands for a reason in a metric": "NotSeenYet",
        "what MLflow is told of a run that somebody has deleted": "Deleted",
        "what is told of a container of which the kubelet gives no cause, within a message": "Error",
    }.items()
    for word in words.split()
}

OF_KUBERNETES = frozenset(
    {
        "CreateContainerConfigError",
        "DeletionByPodGC",
        "DeletionByTaintManager",
        "ErrImagePull",
        "EvictionByEvictionAPI",
        "Forbidden",
        "ImagePullBackOff",
        "PreemptionByScheduler",
    }
)
"""Those of which the page tells that come from Kubernetes, word for word."""


@functools.cache
def words_of_the_code() -> dict[str, str]:
    """Return every word of the operator that could be a reason, each with a place where it stands."""
    return dict(_in_all_modules(_words))


def given_reasons() -> dict[str, str]:
    """Return every word that is given as `reason=`, or under the key "reason", each with a place where it stands."""
    return dict(_in_all_modules(_given))


def possible_reasons() -> dict[str, str]:
    """Return every word of the code that is, for all that can be told, a reason."""
    return {word: at for word, at in words_of_the_code().items() if word not in OTHER_WORDS} | given_reasons()


def entries(page: str) -> frozenset[str]:
    """Return the words of a page that have an entry: in the first cell of a table's row, or in text outside of tables."""
    quoted = (_QUOTED.findall(line.split("|")[1] if line.startswith("|") else line) for line in page.splitlines())
    return frozenset(word for words in quoted for word in words if _REASON.fullmatch(word))


def _in_all_modules(find: Callable[[ast.AST], Iterable[ast.Constant]]) -> Iterator[tuple[str, str]]:
    for path in sorted(CODE.rglob("*.py")):
        for node in find(ast.parse(path.read_text())):
            if isinstance(node.value, str) and _REASON.fullmatch(node.value):
                yield node.value, f"{path.relative_to(ROOT)}:{node.lineno}"


def _words(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the constants whose value may go on from there: not what is only compared with, is a type, or names a key."""
    for child in ast.iter_child_nodes(tree):
        if not _is_only_asked_for(tree, child):
            if isinstance(child, ast.Constant):
                yield child
            yield from _words(child)


def _is_only_asked_for(tree: ast.AST, child: ast.AST) -> bool:
    match tree:
        case ast.Compare():
            return isinstance(child, ast.Constant | ast.Set | ast.Tuple)
        case ast.Subscript(slice=key):
            return child is key
        case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
            return child is key
        case _:
            return False


def _given(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the constants that are given as a reason themselves, or as one of two."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="reason"):
                yield from _words(node)
            case ast.Dict():
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "reason":
                        yield from _words(ast.Expr(value))
            case _:
                pass
