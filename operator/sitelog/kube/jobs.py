"""Upload Jobs and their Secrets: the manifests, and what a Job says about itself."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.errorlog.records import pack
from sitelog.core.jobpod.identity import Identity
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import End, Termination
from sitelog.core.labels import label_value, object_name
from sitelog.core.names import (
    ANNOTATION_CAPTURED,
    ANNOTATION_CLIENT_NAME,
    ANNOTATION_JOB_ID,
    ANNOTATION_NOT_STARTED,
    ANNOTATION_POD_END,
    ANNOTATION_POD_LABELS,
    ANNOTATION_POD_NAME,
    ANNOTATION_POD_UID,
    ANNOTATION_POLICY,
    ERROR_LOG_KEY,
    EXIT_GIVE_UP,
    LABEL_CLIENT,
    LABEL_JOB,
    LABEL_UPLOAD,
    UPLOAD_NAME_PREFIX,
)
from sitelog.core.policy.policy import ErrorLog

CONTAINER: Final = "upload"
_LOG_DIR: Final = "/var/run/sitelog/log"
_KIT_DIR: Final = "/var/run/sitelog/courier"
_RETRY_FOR: Final = "45m"  # of one pod; an FL server may be away for 30 minutes
_MORE_PODS: Final = 3  # after one that was evicted or gave up for now


@dataclass(frozen=True)
class UploadJob:
    """An upload Job as the controller sees it.

    Attributes
    ----------
    identity : whose log the uploader is told to send: not what the annotations say, which may be anybody's.
    pod : the job pod that it stands for, as far as its annotations tell: namespace, name, uid and labels.
    end : how that pod ended.
    captured : its Secret exists.
    succeeded, failed : it is finished, one way or the other.
    recorded : its result is written down everywhere; only then does it get a time to live.
    ready : a pod of it runs.
    not_started : why it was ended before a pod of it ran, or empty.
    """

    namespace: str
    name: str
    uid: str
    identity: Identity
    pod: JobPod
    end: Termination
    policy: str
    suspended: bool
    captured: bool
    succeeded: bool
    failed: bool
    recorded: bool
    created_at: str
    ready: bool
    not_started: str

    @property
    def finished(self) -> bool:
        """Whether no pod of it will run any more."""
        return self.succeeded or self.failed


def upload_name(pod_uid: str) -> str:
    """Return the name of the Job and the Secret for a job pod: the same in every process, at every time."""
    return object_name(UPLOAD_NAME_PREFIX, pod_uid)


def job_manifest(
    pod: JobPod, end: Termination, identity: Identity, settings: ErrorLog, policy: str, image: str
) -> dict[str, Any]:
    """Build the suspended Job that uploads a pod's error log."""
    name = upload_name(pod.uid)
    labels = {
        "app.kubernetes.io/managed-by": "sitelog",
        LABEL_UPLOAD: "true",
        LABEL_JOB: label_value(identity.job_id),
        LABEL_CLIENT: label_value(identity.client_name),
    }
    annotations = {
        ANNOTATION_JOB_ID: identity.job_id,
        ANNOTATION_CLIENT_NAME: identity.client_name,
        ANNOTATION_POLICY: policy,
        ANNOTATION_POD_UID: pod.uid,
        ANNOTATION_POD_NAME: pod.name,
        ANNOTATION_POD_LABELS: json.dumps(dict(pod.labels)),
        ANNOTATION_POD_END: json.dumps({"end": end.end.value, "message": end.message, "at": end.at}),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": pod.namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "suspend": True,
            "backoffLimit": _MORE_PODS,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_GIVE_UP]},
                    },
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": {"labels": labels, "annotations": {ANNOTATION_JOB_ID: identity.job_id}},
                "spec": _pod_spec(name, identity, settings, image),
            },
        },
    }


def _pod_spec(secret: str, identity: Identity, settings: ErrorLog, image: str) -> dict[str, Any]:
    args = [
        "upload",
        f"--log={_LOG_DIR}/{ERROR_LOG_KEY}",
        f"--kit={_KIT_DIR}",
        f"--job-id={identity.job_id}",
        f"--client-name={identity.client_name}",
        f"--retry-for={_RETRY_FOR}",
        "--result-file=/dev/termination-log",
    ]
    if settings.server:
        args.append(f"--server={settings.server.host}:{settings.server.port}")
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,  # it talks to the FL server only
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image or image,
                "args": args,
                "resources": {
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "log", "mountPath": _LOG_DIR, "readOnly": True},
                    {"name": "courier", "mountPath": _KIT_DIR, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
                ],
            }
        ],
        "volumes": [
            {"name": "log", "secret": {"secretName": secret, "defaultMode": 0o444}},
            # Optional: where it is missing, the uploader says so itself and waits for it.
            {
                "name": "courier",
                "secret": {"secretName": settings.courier_secret_name, "optional": True, "defaultMode": 0o444},
            },
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def secret_manifest(namespace: str, name: str, job_uid: str, log: bytes) -> dict[str, Any]:
    """Build the Secret with a captured error log; it goes with its Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid, "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "sitelog", LABEL_UPLOAD: "true"},
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {ERROR_LOG_KEY: base64.b64encode(pack(log)).decode()},
    }


def parse_upload_job(body: Mapping[str, Any]) -> UploadJob:
    """Read an upload Job."""
    metadata, spec, status = (body.get(key) or {} for key in ("metadata", "spec", "status"))
    annotations = metadata.get("annotations") or {}
    conditions = {c["type"] for c in status.get("conditions") or () if c.get("status") == "True"}
    pod = JobPod(
        namespace=metadata["namespace"],
        name=annotations.get(ANNOTATION_POD_NAME, ""),
        uid=annotations.get(ANNOTATION_POD_UID, ""),
        container="",
        argv=(),
        labels=_labels(annotations.get(ANNOTATION_POD_LABELS, "")),
    )
    return UploadJob(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        identity=_told(spec),
        pod=pod,
        end=_end(annotations.get(ANNOTATION_POD_END, "")),
        policy=annotations.get(ANNOTATION_POLICY, ""),
        suspended=bool(spec.get("suspend")),
        captured=ANNOTATION_CAPTURED in annotations,
        succeeded="Complete" in conditions,
        failed="Failed" in conditions,
        recorded="ttlSecondsAfterFinished" in spec,
        created_at=metadata.get("creationTimestamp") or "",
        ready=bool(status.get("ready")),
        not_started=annotations.get(ANNOTATION_NOT_STARTED, ""),
    )


def _told(spec: Mapping[str, Any]) -> Identity:
    """Read whose log the uploader will send; nobody's where the Job is not one of ours."""
    containers = spec["template"]["spec"]["containers"]
    argv = [*(containers[0].get("command") or ()), *(containers[0].get("args") or ())]

    def one(option: str) -> str:
        found = [one.removeprefix(f"{option}=") for one in argv if one.startswith(option)]
        return found[0] if len(found) == 1 else ""

    return Identity(one("--job-id"), one("--client-name")) if len(containers) == 1 else Identity("", "")


def _labels(text: str) -> dict[str, str]:
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, RecursionError):  # somebody wrote over the annotation
        return {}


def _end(text: str) -> Termination:
    try:
        value = json.loads(text)
        return Termination(End(value["end"]), str(value["message"]), str(value["at"]))
    except (ValueError, KeyError, TypeError, RecursionError):  # somebody wrote over the annotation
        return Termination(End.DELETED, "how it ended is not known")
