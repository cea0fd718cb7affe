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
        """Add kind, namespace and name; let every record through."""
        current = current_object.get()
        record.kind, (record.namespace, record.name_of_object) = current or (None, (None, None))
        return True


def set_up(settings: Settings) -> None:
    """Send the log to stdout as the settings say."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(ObjectFilter())
    if settings.log_format == "json":
        handler.setFormatter(
            JsonFormatter(
                "{asctime}{levelname}{name}{message}{kind}{namespace}{name_of_object}",
                style="{",
                rename_fields={
                    "asctime": "time",
                    "levelname": "level",
                    "name": "logger",
                    "name_of_object": "name",
                },
            )
        )
    else:
        text = "{asctime} {levelname} {kind} {namespace}/{name_of_object} {message}"
        handler.setFormatter(logging.Formatter(text, style="{"))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # kopf's own line for every event
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
