"""Log lines, as text for a person or as JSON for a collector. None ever holds a configuration or a job's log."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]


def set_up(level: str, log_format: LogFormat) -> None:
    """Send all log lines to stderr.

    kopf's own lines start at WARNING: below that they show whole objects and patches.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s%(fields)s", defaults={"fields": ""})
    handler.setFormatter(_JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It repeats every refusal as an error; the webhook has said it, with its codes. Errors with a traceback stay.
    logging.getLogger("kopf.objects").addFilter(lambda record: bool(record.exc_info))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def fields(**values: str | float | None) -> dict[str, Any]:
    """Attach fields to a line, for `extra=`: a text line shows them at its end, a JSON line as keys."""
    given = {key: value for key, value in values.items() if value is not None}
    return {"values": given, "fields": "".join(f" {key}={value}" for key, value in given.items())}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "values", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
