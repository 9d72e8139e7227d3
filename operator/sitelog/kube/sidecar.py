"""The sidecar that copies a job's error log: built from the job's own container, so that it starts where that does."""

import importlib.resources
import posixpath
from collections.abc import Mapping
from typing import Any, Final

from sitelog.core.errorlog.records import FILE_NAME
from sitelog.core.jobpod.command_line import CommandError, is_job_command, worker_options
from sitelog.core.names import SIDECAR

_PROGRAM: Final = importlib.resources.files("sitelog.sidecar").joinpath("copy_log.py").read_text(encoding="utf-8")
# Requests equal limits: a pod of the class Guaranteed stays one.
_CPU: Final = "10m"
_MEMORY: Final = "32Mi"  # it takes 10
_STORAGE: Final = "10Mi"  # its own log, which the kubelet rotates


def has_sidecar(body: Mapping[str, Any]) -> bool:
    """Whether a pod has a container of the sidecar's name already, of whatever kind."""
    spec = body.get("spec") or {}
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return any(container.get("name") == SIDECAR for kind in kinds for container in spec.get(kind) or ())


def sidecar(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Build the sidecar for a job pod; None where its error log cannot be reached from another container."""
    spec = body.get("spec") or {}
    job = next((c for c in spec.get("containers") or () if is_job_command(_argv(c))), None)
    if job is None or not (file := _file(_argv(job))) or not (mount := _mount(job, file)):
        return None
    container: dict[str, Any] = {
        "name": SIDECAR,
        "image": job["image"],
        "command": [_argv(job)[0]],
        # Isolated from what the job brings: no site-packages, no PYTHONPATH, nothing written.
        "args": ["-I", "-S", "-B", "-c", _PROGRAM, file],
        "restartPolicy": "Always",
        "resources": _resources(job.get("resources") or {}),
        "volumeMounts": [mount],
    }
    for key in ("imagePullPolicy", "securityContext"):
        if key in job:
            container[key] = job[key]
    return container


def _argv(container: Mapping[str, Any]) -> list[str]:
    return [*(container.get("command") or ()), *(container.get("args") or ())]


def _file(argv: list[str]) -> str:
    """Return where NVFlare's job process writes its error log; empty where the command line does not tell."""
    try:
        options = worker_options(argv)
    except CommandError:
        return ""
    plain = options.job_id not in ("", ".", "..") and "/" not in options.job_id
    if (
        not plain
        or not posixpath.isabs(options.workspace)
        or any("$" in argument for argument in (argv[0], options.workspace))
    ):
        return ""
    return posixpath.join(posixpath.normpath(options.workspace), options.job_id, FILE_NAME)


def _mount(job: Mapping[str, Any], file: str) -> dict[str, Any] | None:
    """Return the job's mount that the file lies on, to be mounted read-only."""
    mounts = [m for m in job.get("volumeMounts") or () if file.startswith(m["mountPath"].rstrip("/") + "/")]
    if not mounts:
        return None
    mount = max(mounts, key=lambda m: len(m["mountPath"]))
    if mount.get("subPathExpr"):  # speaks of variables that the sidecar does not have
        return None
    kept = {key: mount[key] for key in ("name", "mountPath", "subPath") if mount.get(key)}
    return {**kept, "readOnly": True}


def _resources(job: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for little, and name each resource that the job's container names: a quota may want all to do so.

    The storage limit is the job's own: the pod's is the sum, so that the copied log never gets the pod evicted.
    """
    amounts = {"cpu": _CPU, "memory": _MEMORY}
    limits, requests = job.get("limits") or {}, job.get("requests") or {}
    resources = {
        "limits": {"memory": _MEMORY, **({"cpu": _CPU} if "cpu" in limits else {})},
        "requests": amounts,
    }
    if "ephemeral-storage" in limits:
        resources["limits"]["ephemeral-storage"] = limits["ephemeral-storage"]
    if "ephemeral-storage" in requests or "ephemeral-storage" in limits:
        resources["requests"] = {**amounts, "ephemeral-storage": _STORAGE}
    return resources
