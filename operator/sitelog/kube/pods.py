"""Pods and their Events, from JSON to `core.pod` values."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sitelog.core.pod import JobPod, PodEvent, Terminated, Waiting
from sitelog.core.worker_command import forbid_streaming, is_job_command, may_stream

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")


def parse_job_pod(body: Mapping[str, Any]) -> JobPod | None:
    """Read a pod; None if none of its containers, of whatever kind, runs NVFlare's job process."""
    metadata, status = (body.get(key) or {} for key in ("metadata", "status"))
    name, argv = next(_job_commands(body), ("", ()))
    if not argv:
        return None
    state, running = _state(status, name)
    return JobPod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or metadata.get("generateName") or ""),
        uid=str(metadata.get("uid") or ""),
        container=name,
        argv=argv,
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        phase=status.get("phase") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        state=state,
        running=running,
        unschedulable=_unschedulable(status),
        deleted_at=metadata.get("deletionTimestamp") or "",
        created_at=metadata.get("creationTimestamp") or "",
    )


def pod_may_stream(body: Mapping[str, Any]) -> bool:
    """Whether nothing keeps some job process of this pod from streaming."""
    return any(may_stream(argv) for _, argv in _job_commands(body))


def _job_commands(body: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give name and whole command line of each container that runs NVFlare's job process."""
    spec = body.get("spec") or {}
    for container in (container for kind in _CONTAINERS for container in spec.get(kind) or ()):
        argv = (*(container.get("command") or ()), *(container.get("args") or ()))
        if is_job_command(argv):
            yield container["name"], argv


def forbid_in_pod(body: Mapping[str, Any]) -> dict[str, Any]:
    """Build the merge patch that gives each job process of a pod the forbidding word; empty if all have it.

    Raises
    ------
    CommandError
        A command line that cannot have it.
    """
    spec: dict[str, Any] = {}
    for kind in ("containers", "initContainers"):
        before = body["spec"].get(kind) or []
        after = [_forbidden(container) for container in before]
        if after != before:
            spec[kind] = after
    return {"spec": spec} if spec else {}


def _forbidden(container: Mapping[str, Any]) -> dict[str, Any]:
    command, args = container.get("command") or [], container.get("args") or []
    if not is_job_command([*command, *args]):
        return dict(container)
    command, args = forbid_streaming(command, args)
    return {**container, **({"command": command} if command else {}), **({"args": args} if args else {})}


def parse_event(body: Mapping[str, Any]) -> PodEvent:
    """Read a Kubernetes Event."""
    return PodEvent(body.get("type") or "", body.get("reason") or "", body.get("message") or body.get("note") or "")


def _state(status: Mapping[str, Any], container: str) -> tuple[Terminated | Waiting | None, bool]:
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


def _unschedulable(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message") or "no node fits")
    return ""
