"""How addresses of servers are written (RFC 3986, with host names of RFC 1123)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.base import Rule, rules

_LABEL = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
ORIGIN = rf"https?://({_LABEL}([.]{_LABEL})*|\[[0-9a-fA-F:.]+\])(:{_PORT})?"
"""Scheme, host and port, such as `https://s3.example.com:9000`."""
_URL = f"^{ORIGIN}(/[-._~a-zA-Z0-9]+)*$"

ServerURL = Annotated[
    str,
    Field(
        max_length=300,
        pattern=_URL,
        json_schema_extra=rules(
            Rule(
                f"self.matches(r'{_URL}')",
                "must be http(s)://host[:port][/path] without a slash at its end, a query or a user, such as "
                "http://mlflow.ml.svc:5000; log-ins have a field of their own",
            )
        ),
    ),
]
