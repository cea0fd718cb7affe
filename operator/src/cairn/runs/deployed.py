"""Whether a tool that deploys what is in Git keeps a run in the cluster. Pure."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.api.ownership import controller_of
from cairn.runs.creator import argo_cd_application_of

LABELS = (
    "app.kubernetes.io/instance",  # Argo CD that tracks by label, unless told otherwise; Helm's charts
    "argocd.argoproj.io/instance",  # what Argo CD's documentation tells to set instead
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
HELM_ANNOTATION = "meta.helm.sh/release-name"


def is_deployed(run: JsonObject) -> bool:
    """Return whether a tool would make the run anew if it were deleted here, and so have it run again.

    Such tools label what they apply, not what follows from it: a run that a Pipeline or a schedule has started is never one.
    """
    if controller_of(run) is not None:
        return False
    metadata = run["metadata"]
    if argo_cd_application_of(run) is not None or HELM_ANNOTATION in (metadata.get("annotations") or {}):
        return True
    return any(label in (metadata.get("labels") or {}) for label in LABELS)
