"""What is told of a release while Helm is at work on it, and when it cannot do what it is asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from cairn.components.base import Verdict

Doing = Literal["HelmInstalling", "HelmUpgrading", "HelmRollingBack", "HelmUninstalling"]
"""What Helm does, as the reason of a condition."""
UPGRADE_FAILED = "HelmUpgradeFailed"
HELM_FAILED = "HelmFailed"
"""Reason of a component of whose release nothing is known."""
DOES: Mapping[Doing, str] = {
    "HelmInstalling": "installs release {}",
    "HelmUpgrading": "upgrades release {}",
    "HelmRollingBack": "rolls release {} back to what worked",
    "HelmUninstalling": "uninstalls release {}",
}


def at_work(doing: Doing, release: str, *, waits: bool, so_far: str | None, failure: str | None) -> Verdict:
    """Return the verdict while Helm does something, or `waits` for its turn.

    `so_far` is what it waits for as far as is known, `failure` what made Helm go back.
    """
    when = ", once it is done with others" if waits else ""
    told = f" So far, {so_far}." if so_far is not None else ""
    if doing == "HelmRollingBack" and failure is not None:
        told = f" It failed before: {failure}."
    return Verdict.unknown(doing, f"Helm {DOES[doing].format(release)}{when}.{told}")


def failed(release: str, words: str, *, install: bool) -> Verdict:
    """Return the verdict on an install or an upgrade that has failed, and is tried again later."""
    if install:
        message = f"Helm could not install release {release}, and tries again; mend what it says: {words}"
        return Verdict.failed("HelmInstallFailed", message)
    message = (
        f"Helm could not upgrade release {release}, which stays as it was; mend what it says: {words}. It is tried again later, "
        "and at once when the spec is changed."
    )
    return Verdict.failed(UPGRADE_FAILED, message)


def not_rolled_back(release: str, revision: int, words: str) -> Verdict:
    """Return the verdict on an upgrade that has failed, and from which Helm could not go back."""
    message = f"Helm could not go back to revision {revision} of release {release}; mend what it says: {words}"
    return Verdict.failed(UPGRADE_FAILED, message)


def not_uninstalled(release: str, words: str) -> Verdict:
    """Return the verdict on an uninstall that has failed, and is tried again later."""
    message = f"Helm could not uninstall release {release}, and tries again; mend what it says: {words}"
    return Verdict.failed("HelmUninstallFailed", message)


def name_taken(release: str) -> Verdict:
    """Return the verdict where somebody else's release has the name."""
    message = (
        f"Helm release {release} is not one of this StackComponent; uninstall that release, or give the StackComponent another "
        "name."
    )
    return Verdict.failed("HelmReleaseNameTaken", message)


def not_told(release: str, words: str) -> Verdict:
    """Return the verdict where Helm does not tell how a release is."""
    message = f"Helm does not tell how release {release} is, and is asked again; mend what it says: {words}"
    return Verdict.unknown(HELM_FAILED, message)


def claim_terminating(claim: str) -> Verdict:
    """Return the verdict on a release whose data goes as soon as its pods end, which is left alone therefore."""
    message = (
        f"PersistentVolumeClaim {claim} is being deleted, and all that is on it with it, as soon as no pod uses it: copy it "
        "while the server runs. Until then nothing is changed here; when its pods are deleted, a new server begins with an "
        "empty volume."
    )
    return Verdict.failed("ClaimTerminating", message)
