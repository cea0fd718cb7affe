"""Why something that a component needs cannot be used: the reason that a condition tells, and a message."""

from __future__ import annotations


class ComponentError(Exception):
    """A component, or what it needs, does not do what it is asked for; the message ends with what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
