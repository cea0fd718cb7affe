"""What `make images CLUSTER_VARIANT=argocd` has made."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
STATE = CHECKOUT / ".cluster/argocd"
ARGOCD = STATE / "argocd"
"""Argo CD's program."""
MANIFESTS = STATE / "core-install.yaml"
"""Argo CD's manifests."""


def image(variable: str) -> str:
    """Return the reference of an image by its name in images.env."""
    return dict(line.split("=", 1) for line in (STATE / "images.env").read_text().splitlines())[variable]
