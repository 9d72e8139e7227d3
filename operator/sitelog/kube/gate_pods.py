"""FL clients' pods: told by their command line, and the merge patch that puts Sitelog's gate into one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sitelog.core.client_command import ClientCommandError, is_client_command, through_gate
from sitelog.core.names import (
    ANNOTATION_POLICY,
    ANNOTATION_REASON,
    CLIENT_MODULE,
    GATE,
    GATE_FAILURE_POLICY,
    GATE_FOLDER,
    GATE_INJECTED,
    GATE_NAMESPACE,
    LABEL_GATE,
    Reason,
)
from sitelog.core.policy.policy import Policy

DEFAULT_ACCOUNT: Final = "default"  # NVFlare's job pods, and the foreign code in them, run under it
_ROOT: Final = 0
_NOBODY: Final = 65532  # the user of Sitelog's image
# Equal, so that a pod with guaranteed resources stays one. They count only where the pod's own are smaller.
_RESOURCES: Final = {"cpu": "250m", "memory": "128Mi"}
_SIZE: Final = "4Mi"  # of the volume; the gate has a tenth of it


@dataclass(frozen=True)
class ClientPod:
    """A pod that runs NVFlare's client, with or without the gate.

    Attributes
    ----------
    account : its ServiceAccount.
    bare : whether some container runs NVFlare's module directly.
    replaced : whether a controller makes it again when it is deleted.
    over : whether it has ended, or is being deleted.
    """

    namespace: str
    name: str
    uid: str
    account: str
    bare: bool
    replaced: bool
    finished: bool
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"Pod {self.namespace}/{self.name}"


def parse_client_pod(body: Mapping[str, Any]) -> ClientPod | None:
    """Read a pod; None if it neither runs NVFlare's client nor carries the mark of an injected gate."""
    metadata, spec, status = (body.get(key) or {} for key in ("metadata", "spec", "status"))
    labels = metadata.get("labels") or {}
    bare = any(_is_client(container) for container in spec.get("containers") or ())
    if not bare and labels.get(LABEL_GATE) != GATE_INJECTED:
        return None
    return ClientPod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or metadata.get("generateName") or ""),
        uid=str(metadata.get("uid") or ""),
        account=str(spec.get("serviceAccountName") or DEFAULT_ACCOUNT),
        bare=bare,
        replaced=any(owner.get("controller") for owner in metadata.get("ownerReferences") or ()),
        finished=bool(metadata.get("deletionTimestamp")) or status.get("phase") in ("Succeeded", "Failed"),
        labels=labels,
    )


def put_gate_in(body: Mapping[str, Any], *, image: str, policy: str, fail_closed: bool) -> dict[str, Any]:
    """Build the merge patch that puts the gate into a client's pod, before everything else in it.

    Parameters
    ----------
    image : Sitelog's own.
    policy : the one that asks for the gate, `namespace/name`.
    fail_closed : whether jobs must not run while the gate cannot ask; a container's own setting of that stays.

    Raises
    ------
    ClientCommandError
        It cannot be put in.
    """
    spec = body["spec"]
    containers = [_gated(c, fail_closed=fail_closed) if _is_client(c) else dict(c) for c in spec["containers"]]
    return {
        "metadata": {
            "labels": {LABEL_GATE: GATE_INJECTED},
            "annotations": {ANNOTATION_POLICY: policy, ANNOTATION_REASON: Reason.GATE_INJECTED.value},
        },
        "spec": {
            "containers": containers,
            "initContainers": [_installer(spec, image), *_others(spec.get("initContainers"))],
            "volumes": [*_others(spec.get("volumes")), {"name": GATE, "emptyDir": {"sizeLimit": _SIZE}}],
        },
    }


def shared_account(pod: ClientPod) -> str:
    """Say what is wrong with a gate that runs under the account of everybody."""
    return (
        f"{pod} runs under the ServiceAccount {DEFAULT_ACCOUNT}, which job pods use too, so its gate gets no right to"
        " publish job configurations; give the FL client a ServiceAccount of its own"
    )


def unsupported(pod: ClientPod, policy: Policy, error: ClientCommandError) -> str:
    """Say why a pod does not get the gate, and what to do."""
    return (
        f"{pod}: SiteLogPolicy {policy.key} asks for the gate, and it cannot be put in, because {error}; start the"
        f" client as NVFlare's chart does, by -m {CLIENT_MODULE}, or with the gate by -m sitelog.gate"
    )


def _is_client(container: Mapping[str, Any]) -> bool:
    return is_client_command([*(container.get("command") or ()), *(container.get("args") or ())])


def _gated(container: Mapping[str, Any], *, fail_closed: bool) -> dict[str, Any]:
    command, args = through_gate(container.get("command") or (), container.get("args") or (), GATE_FOLDER)
    mounts = _others(container.get("volumeMounts"))
    if any(mount["mountPath"] == GATE_FOLDER for mount in mounts):
        raise ClientCommandError(f"its container {container['name']} mounts something else at {GATE_FOLDER}")
    return {
        **container,
        **({"command": command} if command else {}),
        **({"args": args} if args else {}),
        "env": _environment(container.get("env") or (), fail_closed=fail_closed),
        "volumeMounts": [*mounts, {"name": GATE, "mountPath": GATE_FOLDER, "readOnly": True}],
    }


def _environment(given: Any, *, fail_closed: bool) -> list[Any]:
    # The namespace: the gate would look for it beside a token, and a pod need not have one.
    ours = (
        {"name": GATE_FAILURE_POLICY, "value": "Fail" if fail_closed else "Ignore"},
        {"name": GATE_NAMESPACE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}},
    )
    names = {variable["name"] for variable in given}
    return [*given, *(variable for variable in ours if variable["name"] not in names)]


def _installer(spec: Mapping[str, Any], image: str) -> dict[str, Any]:
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    # Without a user of the pod's own the image's counts, or the one that the cluster chooses (OpenShift).
    if (spec.get("securityContext") or {}).get("runAsUser") == _ROOT:
        security["runAsUser"] = _NOBODY
    return {
        "name": GATE,
        "image": image,
        "args": ["install-gate", GATE_FOLDER],
        "resources": {"requests": dict(_RESOURCES), "limits": dict(_RESOURCES)},
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": GATE, "mountPath": GATE_FOLDER}],
    }


def _others(items: Any) -> list[Any]:
    """Leave out what has our name: two of one name are refused by the API server."""
    return [item for item in items or () if item["name"] != GATE]
