"""The images that `make images` has given to the cluster."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def image(variable: str) -> str:
    """Return the reference of an image by its name in .cluster/images.env."""
    found = dict(line.split("=", 1) for line in (CHECKOUT / ".cluster/images.env").read_text().splitlines())
    assert variable in found, f"{variable} is not there; run `make images ALL_IMAGES=yes`"
    return found[variable]
