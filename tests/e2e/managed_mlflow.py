"""MLflow servers that StackComponents ask for, and Stacks whose runs they record."""

from __future__ import annotations

from typing import Any

from cluster import Body, Cluster
from manifests import component, secret, stack

INSTALL_SECONDS = 180
FAIL_SECONDS = 240
PASSWORD = "a-password-of-some-length"  # noqa: S105 - of these tests


def server(name: str, **fields: Any) -> Body:
    """Return a StackComponent with a server."""
    return component(name, {"experimentTracker": {"mlflow": {"server": fields}}})


def with_log_in(namespace: Cluster, tracker: Body) -> Body:
    """Return a tracker whose server has users log in, the first one with `PASSWORD`."""
    login = {"username": "cairn", "password": PASSWORD, "flask-secret-key": "any-random-text"}
    namespace.apply(secret("mlflow-login", **login))
    tracker["spec"]["experimentTracker"]["mlflow"]["auth"] = {"basic": {"secretRef": {"name": "mlflow-login"}}}
    return tracker


def ready(namespace: Cluster, name: str, *, timeout: float = INSTALL_SECONDS) -> Body:
    """Wait until a component is Ready, and return the condition."""
    return namespace.wait_condition("StackComponent", name, "Ready", status="True", timeout=timeout)


def failed(namespace: Cluster, name: str, reason: str) -> str:
    """Wait until a tracker is not Ready for a reason, and return the message."""
    found = namespace.wait_condition(
        "StackComponent", name, "Ready", status="False", reason=reason, timeout=FAIL_SECONDS
    )
    return str(found["message"])


def tracked_stack(namespace: Cluster, name: str, *, tracker: str, **references: Any) -> None:
    """Have a Stack whose runs are recorded, once it is Ready."""
    references["experimentTrackerRef"] = {"name": tracker}
    namespace.apply(stack(name, orchestrator="kubernetes", store="bucket", **references))
    namespace.wait_condition("Stack", name, "Ready", status="True", timeout=30)
