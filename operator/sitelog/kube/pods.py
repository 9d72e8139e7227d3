"""Pods and their Events, from JSON to `core.jobpod` values."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sitelog.core.jobpod.command_line import is_job_command
from sitelog.core.jobpod.identity import Identity
from sitelog.core.jobpod.pod import JobPod, PodEvent, Sidecar, Terminated, Waiting
from sitelog.core.labels import label_value
from sitelog.core.names import (
    ANNOTATION_CLIENT_NAME,
    ANNOTATION_JOB_ID,
    FINALIZER_ERROR_LOG,
    LABEL_CLIENT,
    LABEL_JOB,
    SIDECAR,
)

_INITIALIZING: Final = ("PodInitializing", "ContainerCreating", "")
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")


def parse_job_pod(body: Mapping[str, Any]) -> JobPod | None:
    """Read a pod; None if none of its containers, of whatever kind, runs NVFlare's job process."""
    pod = parse_pod(body)
    return pod if pod.argv else None


def parse_pod(body: Mapping[str, Any]) -> JobPod:
    """Read any pod; container and argv are empty where none of its containers runs NVFlare's job process."""
    metadata, status = (body.get(key) or {} for key in ("metadata", "status"))
    name, argv = _job_command(body)
    state, running = container_state(status, name)
    if isinstance(state, Waiting) and state.reason in _INITIALIZING:
        state = _why_not_initialized(status) or state
    return JobPod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or metadata.get("generateName") or ""),
        uid=str(metadata.get("uid") or ""),
        container=name,
        argv=argv,
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        node=(body.get("spec") or {}).get("nodeName") or "",
        phase=status.get("phase") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        state=state,
        running=running,
        unschedulable=_unschedulable(status),
        disruption=condition(status, "DisruptionTarget").get("reason") or "",
        deleted_at=metadata.get("deletionTimestamp") or "",
        deletion_asked_at=_deletion_asked_at(metadata),
        created_at=metadata.get("creationTimestamp") or "",
        sidecar=_sidecar(body, status),
        has_finalizer=FINALIZER_ERROR_LOG in (metadata.get("finalizers") or ()),
    )


def identity_marks(identity: Identity) -> dict[str, Any]:
    """Build the labels and annotations by which people and the controller find a job's pod."""
    return {
        "labels": {LABEL_JOB: label_value(identity.job_id), LABEL_CLIENT: label_value(identity.client_name)},
        "annotations": {ANNOTATION_JOB_ID: identity.job_id, ANNOTATION_CLIENT_NAME: identity.client_name},
    }


def _job_command(body: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Give name and whole command line of the first container that runs NVFlare's job process; empty if none does."""
    spec = body.get("spec") or {}
    for container in (container for kind in _CONTAINERS for container in spec.get(kind) or ()):
        argv = (*(container.get("command") or ()), *(container.get("args") or ()))
        if is_job_command(argv):
            return container["name"], argv
    return "", ()


def parse_event(body: Mapping[str, Any]) -> PodEvent:
    """Read a Kubernetes Event."""
    return PodEvent(body.get("type") or "", body.get("reason") or "", body.get("message") or body.get("note") or "")


def container_state(status: Mapping[str, Any], container: str) -> tuple[Terminated | Waiting | None, bool]:
    """Read how a container ended or what it waits for, and whether it runs, from a pod's status."""
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    for entry in (entry for kind in kinds for entry in status.get(kind) or ()):
        if entry.get("name") != container:
            continue
        state = entry.get("state") or {}
        if ended := state.get("terminated"):
            exit_code = int(ended.get("exitCode") or 0)
            return Terminated(exit_code, ended.get("reason") or "", ended.get("finishedAt") or ""), False
        if waiting := state.get("waiting"):
            return Waiting(waiting.get("reason") or "", waiting.get("message") or ""), False
        return None, "running" in state
    return None, False


def _why_not_initialized(status: Mapping[str, Any]) -> Waiting | None:
    """Return what the job's container waits for, where that is another one that cannot start."""
    for entry in status.get("initContainerStatuses") or ():
        waiting = (entry.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", "") not in _INITIALIZING:
            return Waiting(waiting["reason"], waiting.get("message") or "")
    return None


def condition(status: Mapping[str, Any], kind: str, reason: str = "") -> Mapping[str, Any]:
    """Return a pod's condition, empty if there is none of this kind (and reason)."""
    for found in status.get("conditions") or ():
        if found.get("type") == kind and (not reason or found.get("reason") == reason):
            return dict(found)
    return {}


def _unschedulable(status: Mapping[str, Any]) -> str:
    found = condition(status, "PodScheduled", "Unschedulable")
    return str(found.get("message") or "no node fits") if found else ""


def _deletion_asked_at(metadata: Mapping[str, Any]) -> str:
    """Return when a deletion was asked for: the API server adds the grace period to it."""
    if not (takes_effect := metadata.get("deletionTimestamp")):
        return ""
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return (datetime.fromisoformat(takes_effect) - grace).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sidecar(body: Mapping[str, Any], status: Mapping[str, Any]) -> Sidecar | None:
    containers = (body.get("spec") or {}).get("initContainers") or ()
    if not any(c.get("name") == SIDECAR and c.get("restartPolicy") == "Always" for c in containers):
        return None
    state, running = container_state(status, SIDECAR)
    if isinstance(state, Terminated):
        return Sidecar.ENDED
    return Sidecar.RUNNING if running else Sidecar.WAITING
