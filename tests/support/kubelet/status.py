"""The shapes a kubelet writes to a pod's status, as recorded from Kubernetes 1.37.2. Values in, values out."""

import datetime as dt
import secrets

from support.control_plane.api import Json

HOST = "127.0.0.1"
SIGKILLED = 137


def now() -> str:
    """Return the time as the API writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def waiting(reason: str, message: str | None = None) -> Json:
    """Return the state of a container that does not run (yet)."""
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running() -> Json:
    """Return the state of a container that begins now."""
    return {"running": {"startedAt": now()}}


def terminated(exit_code: int, reason: str | None, before: Json, message: str | None = None) -> Json:
    """Return the state of a container that ends now.

    Parameters
    ----------
    reason
        None: the runtime's own word, Completed or Error.
    before
        Its status until now.
    """
    state = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": before.get("state", {}).get("running", {}).get("startedAt") or now(),
        "finishedAt": now(),
    }
    if "containerID" in before:
        state["containerID"] = before["containerID"]
    return {"terminated": state | ({"message": message} if message else {})}


def container_status(spec: Json, state: Json, before: Json | None = None, *, ready: bool | None = None) -> Json:
    """Return one entry of containerStatuses.

    Parameters
    ----------
    before
        The entry until now: its id, restarts and last state stay.
    ready
        None: ready while it runs.
    """
    runs = "running" in state
    status: Json = {
        "name": spec["name"],
        "state": state,
        "lastState": {},
        "ready": runs if ready is None else ready,
        "restartCount": 0,
        "image": spec.get("image", ""),
        "imageID": "",
        "started": runs,
    }
    kept = ("containerID", "imageID", "lastState", "restartCount")
    status |= {key: before[key] for key in kept if before and key in before}
    if runs and "containerID" not in status:
        status["containerID"] = f"containerd://{secrets.token_hex(32)}"
        status["imageID"] = f"played/{status['image']}@sha256:{'0' * 64}"
    return status


def pod_status(pod: Json, phase: str, containers: list[Json], init_containers: list[Json] | None = None) -> Json:
    """Return a pod's whole status for a strategic merge patch.

    Parameters
    ----------
    pod
        The pod as it is; the times of unchanged conditions are taken from it.
    """
    init = init_containers or []
    everything = [*init, *containers]
    begun = any("waiting" not in status["state"] for status in everything)
    over = all("terminated" in status["state"] for status in everything)
    sandbox = begun and phase not in {"Succeeded", "Failed"} and not (init and over)
    status: Json = {
        "phase": phase,
        "conditions": _conditions(pod, _condition_values(containers, init, sandbox=sandbox, begun=begun, over=over)),
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "startTime": pod.get("status", {}).get("startTime") or now(),
        "containerStatuses": containers,
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    if init:
        status["initContainerStatuses"] = init
    if begun:
        status |= {"podIP": HOST, "podIPs": [{"ip": HOST}]}
    return status


def _condition_values(
    containers: list[Json], init: list[Json], *, sandbox: bool, begun: bool, over: bool
) -> dict[str, tuple[str, str | None, str | None]]:
    """Type of condition -> status, reason, message."""
    true = ("True", None, None)
    initialized = all("waiting" not in status["state"] for status in init)
    unready = [status["name"] for status in containers if not status["ready"]]
    succeeded = over and all(status["state"]["terminated"]["exitCode"] == 0 for status in containers)
    if over:
        ready: tuple[str, str | None, str | None] = ("False", "PodCompleted" if succeeded else "PodFailed", None)
    elif unready:
        ready = ("False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = true
    no_sandbox = ("False", "PodSandboxNotReady", "pod sandbox is not ready" if begun else "no pod sandbox exists")
    incomplete = " ".join(status["name"] for status in init if "waiting" in status["state"])
    not_initialized = ("False", "ContainersNotInitialized", f"containers with incomplete status: [{incomplete}]")
    return {
        "PodReadyToStartContainers": true if sandbox else no_sandbox,
        "Initialized": ("True", "PodCompleted" if succeeded else None, None) if initialized else not_initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": true,
    }


def _conditions(pod: Json, values: dict[str, tuple[str, str | None, str | None]]) -> list[Json]:
    before = {condition["type"]: condition for condition in pod.get("status", {}).get("conditions", [])}
    result = []
    for kind, (value, reason, message) in values.items():
        old = before.get(kind, {})
        result.append(
            {
                "type": kind,
                "status": value,
                "observedGeneration": pod["metadata"].get("generation", 1),
                "lastProbeTime": None,
                "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == value else now(),
                "reason": reason,  # null removes what stood there
                "message": message,
            }
        )
    return result
