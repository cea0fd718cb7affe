"""Who has created a run, as far as its annotations tell: Kubernetes keeps it in the API server's audit log only. Pure."""

from __future__ import annotations

from cairn.api.base import GROUP, JsonObject

CREATED_BY_ANNOTATION = f"{GROUP}/created-by"
ARGO_CD_ANNOTATION = "argocd.argoproj.io/tracking-id"
"""`<application>:<group>/<kind>:<namespace>/<name>`; see https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/."""


def creator_of(run: JsonObject) -> str | None:
    """Return who has created a run: whom the annotation names, else the Argo CD application that it belongs to."""
    if named := (run["metadata"].get("annotations") or {}).get(CREATED_BY_ANNOTATION):
        return str(named)
    application = argo_cd_application_of(run)
    return None if application is None else f"Argo CD application {application}"


def argo_cd_application_of(run: JsonObject) -> str | None:
    """Return the Argo CD application that a run belongs to, where that tracks by annotation, as it does unless told otherwise."""
    metadata = run["metadata"]
    application, _, tracked = (metadata.get("annotations") or {}).get(ARGO_CD_ANNOTATION, "").partition(":")
    # a copy of a run has the annotation of the run that it was copied from
    is_its_own = tracked == f"{GROUP}/PipelineRun:{metadata['namespace']}/{metadata['name']}"
    return str(application) if is_its_own else None
