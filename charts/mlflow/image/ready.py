"""Exits with 0 if the server here gets answers from its database, which it does without at /health and server-info.

Usage: ready.py [PREFIX]
"""

from __future__ import annotations

import base64
import http.client
import sys

# Where users log in, looking for one that is not there asks the database, and costs no hash of a password.
NOBODY = base64.b64encode(b"readiness-probe:").decode()
KNOWS = (http.HTTPStatus.OK, http.HTTPStatus.UNAUTHORIZED)


def main() -> int:
    """Return the exit code."""
    prefix = "".join(sys.argv[1:])
    server = http.client.HTTPConnection("localhost", 5000)
    server.request(
        "GET", f"{prefix}/api/2.0/mlflow/experiments/search?max_results=1", headers={"Authorization": f"Basic {NOBODY}"}
    )
    answer = server.getresponse()
    print(answer.status, answer.read(500).decode(errors="replace"))
    return 0 if answer.status in KNOWS else 1


if __name__ == "__main__":
    sys.exit(main())
