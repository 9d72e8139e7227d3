"""What a finished upload Job says about itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sitelog.core.names import Reason, UploadResult
from sitelog.kube.jobs import CONTAINER, UploadJob


def upload_result(job: UploadJob, pods: Sequence[Mapping[str, Any]]) -> tuple[UploadResult, Reason, str]:
    """Read the result off a finished Job and the termination messages of its pods."""
    if job.not_started and not job.succeeded:
        return UploadResult.FAILED, Reason.UPLOAD_NOT_STARTED, job.not_started
    said = _last_message(pods)
    reason, message = _parsed(said)
    if job.succeeded:
        return UploadResult.UPLOADED, reason or Reason.UPLOADED, message or "the FL server has the error log"
    if reason is None:
        return (
            UploadResult.FAILED,
            Reason.UPLOAD_GAVE_UP,
            f"Job {job.name} gave up; see `kubectl describe job {job.name}`",
        )
    return UploadResult.FAILED, reason, message


def _last_message(pods: Sequence[Mapping[str, Any]]) -> str:
    """Return the newest termination message of the upload containers."""
    messages: list[tuple[str, str]] = []
    for pod in pods:
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or {}
            if status.get("name") == CONTAINER and ended.get("message"):
                messages.append((ended.get("finishedAt") or "", ended["message"]))
    return max(messages)[1] if messages else ""


def _parsed(said: str) -> tuple[Reason | None, str]:
    try:
        value = json.loads(said)
        return Reason(value["reason"]), str(value["message"])
    except (ValueError, KeyError, TypeError):
        return None, ""
