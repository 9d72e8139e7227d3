"""Times as the Kubernetes API writes them."""

from datetime import UTC, datetime


def seconds_since(timestamp: str) -> float:
    """Return the seconds since an RFC 3339 time; 0 for an empty one."""
    if not timestamp:
        return 0.0
    return (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
