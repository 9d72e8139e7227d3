"""Durations as Kubernetes writes them (`10s`, `500ms`, `1m30s`), to seconds."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Return the duration in seconds.

    Raises
    ------
    ValueError
        The text is no duration.
    """
    if not text or _PART.sub("", text):
        raise ValueError(f"'{text[:40]}' is no duration: write it like 10s, 500ms or 1m30s")
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), 6)
