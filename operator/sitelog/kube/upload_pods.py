"""The pods of upload Jobs, from JSON to values."""

from collections.abc import Mapping
from typing import Any

from sitelog.core.errorlog.upload_start import UploadPod
from sitelog.core.jobpod.pod import Terminated, Waiting

from .jobs import CONTAINER
from .pods import condition, container_state


def parse_upload_pod(body: Mapping[str, Any]) -> UploadPod:
    """Read a pod of an upload Job."""
    metadata, status = body["metadata"], body.get("status") or {}
    state, running = container_state(status, CONTAINER)
    return UploadPod(
        uid=metadata["uid"],
        created_at=metadata.get("creationTimestamp") or "",
        started=running or isinstance(state, Terminated),
        waits_for=_waits_for(status, state),
    )


def _waits_for(status: Mapping[str, Any], state: Terminated | Waiting | None) -> str:
    scheduled = condition(status, "PodScheduled")
    if isinstance(state, Waiting) and state.message:
        reason, message = state.reason, state.message
    elif scheduled.get("status") == "False":
        reason, message = scheduled.get("reason") or "", scheduled.get("message") or ""
    else:
        return ""
    return f"{reason or 'Waiting'}: {message}" if message else ""
