"""One JSON object a line, with the kind, namespace and name of what it is about."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from cairn.handlers.work_queue import current_object
from cairn.settings import Settings


class ObjectFilter(logging.Filter):
    """Adds what is being reconciled to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add kind, namespace and name where something is; let every record through."""
        current = current_object.get()
        if current is not None:
            record.kind, (record.namespace, record.name_of_object) = current
        return True


def set_up(settings: Settings) -> None:
    """Send the log to stdout as the settings say."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(ObjectFilter())
    if settings.log_format == "json":
        handler.setFormatter(
            JsonFormatter(
                "{levelname}{name}{message}",
                style="{",
                timestamp="time",
                json_ensure_ascii=False,
                rename_fields={
                    "levelname": "level",
                    "name": "logger",
                    "name_of_object": "name",
                },
            )
        )
    else:
        text = "{asctime} {levelname} {kind} {namespace}/{name_of_object} {message}"
        nothing = {"kind": "-", "namespace": "-", "name_of_object": "-"}
        handler.setFormatter(logging.Formatter(text, style="{", defaults=nothing))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # kopf's own line for every event
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
