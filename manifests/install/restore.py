#!/usr/bin/env python3
"""Make Cairn's objects anew from what `kubectl get --output=yaml` has written, with their statuses and owners.

Runs that have ended are then not run again. The CRDs, the namespaces and the Secrets are there by then; the operator is not, as it
would begin the runs. Needs kubectl, and nothing but Python's standard library.

Usage: restore.py FILE
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

KINDS = {
    "StackComponent": "stackcomponents.cairn.dev",
    "Stack": "stacks.cairn.dev",
    "Pipeline": "pipelines.cairn.dev",
    "PipelineSchedule": "pipelineschedules.cairn.dev",
    "PipelineRun": "pipelineruns.cairn.dev",
    "ControllerRevision": "controllerrevisions.apps",
}
"""What is restored, and how kubectl calls it: owners before what they own."""
OF_THE_OTHER_CLUSTER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
OPERATOR = "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator"

Body = dict[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""


def main() -> None:
    """Run the command."""
    if len(sys.argv) != 2:
        sys.exit("usage: restore.py FILE")
    if kubectl("get", "pods", "--all-namespaces", f"--selector={OPERATOR}", "--output=name"):
        sys.exit("error: the operator is running; uninstall it, restore, and install it again.")
    objects = [body for body in read(sys.argv[1]) if "deletionTimestamp" not in body["metadata"]]
    others = sorted({body["kind"] for body in objects} - set(KINDS))
    if others:
        sys.exit(f"error: {sys.argv[1]} has objects of other kinds: {', '.join(others)}")
    uids: dict[Key, str] = {}
    for kind, resource in KINDS.items():
        bodies = [made_anew(body, uids) for body in objects if body["kind"] == kind]
        if bodies:
            uids |= restore(bodies, resource)
            print(f"{kind}: {len(bodies)} restored")


def restore(bodies: list[Body], resource: str) -> dict[Key, str]:
    """Make objects of a kind, with their statuses, and return the UIDs of all that there are.

    Those that are there already get their statuses only, so that the program can be run again.
    """
    there = documents(kubectl("get", resource, "--all-namespaces", "--output=json"))
    known = {key(body) for body in there}
    if missing := [body for body in bodies if key(body) not in known]:
        there += documents(kubectl("create", "--filename=-", "--output=json", feed=listed(missing)))
    if told := [body for body in bodies if body.get("status")]:
        kubectl("replace", "--subresource=status", "--filename=-", feed=listed(told))
    return {key(body): body["metadata"]["uid"] for body in there}


def read(file: str) -> list[Body]:
    """Return the objects of a backup, be it YAML or JSON."""
    return documents(kubectl("create", "--dry-run=client", "--validate=false", "--output=json", f"--filename={file}"))


def made_anew(body: Body, uids: dict[Key, str]) -> Body:
    """Return an object without what the other cluster has given it; its owners have the UIDs that they have here.

    An owner that is not among the restored ones is left out: Kubernetes would delete what belongs to nothing.
    """
    metadata = {key: value for key, value in body["metadata"].items() if key not in OF_THE_OTHER_CLUSTER}
    owners = [
        {**owner, "uid": uids[owner["kind"], metadata["namespace"], owner["name"]]}
        for owner in metadata.pop("ownerReferences", ())
        if (owner["kind"], metadata["namespace"], owner["name"]) in uids
    ]
    return {**body, "metadata": {**metadata, **({"ownerReferences": owners} if owners else {})}}


def key(body: Body) -> Key:
    """Return what an object is known by in both clusters."""
    return body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]


def listed(bodies: list[Body]) -> str:
    """Return objects as kubectl takes them, many at once."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})


def documents(text: str) -> list[Body]:
    """Return the objects that kubectl has printed, one after the other or as a list."""
    decoder, found = json.JSONDecoder(), list[Body]()
    while text := text.lstrip():
        body, end = decoder.raw_decode(text)
        found += body["items"] if body["kind"] == "List" else [body]
        text = text[end:]
    return found


def kubectl(*arguments: str, feed: str | None = None) -> str:
    """Run kubectl and return what it prints; ends the program where it fails."""
    done = subprocess.run(["kubectl", *arguments], input=feed, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        sys.exit(
            "error: not all is restored. Mend what kubectl says and run this again, before the operator is installed."
        )
    return done.stdout


if __name__ == "__main__":
    main()
