"""The pods of upload Jobs, from JSON to values."""

from collections.abc import Mapping
from typing import Any

from sitelog.core.errorlog.upload_start import UploadPod

from .jobs import CONTAINER


def parse_upload_pod(body: Mapping[str, Any]) -> UploadPod:
    """Read a pod of an upload Job."""
    metadata, status = body["metadata"], body.get("status") or {}
    statuses = status.get("containerStatuses") or ()
    states = [entry.get("state") or {} for entry in statuses if entry.get("name") == CONTAINER]
    return UploadPod(
        uid=metadata["uid"],
        created_at=metadata.get("creationTimestamp") or "",
        started=any("running" in state or "terminated" in state for state in states),
        waits_for=_waits_for(status, states),
    )


def _waits_for(status: Mapping[str, Any], states: list[Mapping[str, Any]]) -> str:
    waiting = [state["waiting"] for state in states if state.get("waiting")]
    unscheduled = [
        condition
        for condition in status.get("conditions") or ()
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    said = [
        f"{each.get('reason') or 'Waiting'}: {each['message']}"
        for each in (*waiting, *unscheduled)
        if each.get("message")
    ]
    return said[0] if said else ""
