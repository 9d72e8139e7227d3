"""Dry runs by which the API server shows whether it holds a prohibition: what it would refuse, and in whose name.

Neither object is ever stored. They hold nothing of a user's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.names import (
    ANNOTATION_LOG_STREAMING,
    CONFIG_BASENAME,
    LABEL_DECISION,
    PROBE,
    WORKER_MODULE,
    AdmissionPolicy,
    Decision,
)
from sitelog.core.policy.policy import LogStreaming

from .client import ApiError, KubeClient, path

_REFUSED: Final = re.compile(r"ValidatingAdmissionPolicy '[^']+' with binding '([^']+)' denied request")


@dataclass(frozen=True)
class Answer:
    """What the API server says to a dry run.

    Attributes
    ----------
    refused_by : the name of the binding by which it refuses; empty where it lets the object in.
    problem : why it says neither; empty where it does.
    """

    refused_by: str = ""
    problem: str = ""


async def probe(
    client: KubeClient, bound: AdmissionPolicy, namespace: str, labels: Mapping[str, str], *, forged: bool
) -> Answer:
    """Ask for an object that no prohibition lets in. `forged`: with the provenance of one that it would let in.

    One answer speaks for the one API server that gave it: where several run, the others follow within seconds.

    Raises
    ------
    ApiError
        The API server cannot be reached.
    """
    plural, body = _OBJECTS[bound]
    metadata: dict[str, Any] = {"generateName": PROBE, "namespace": namespace, "labels": dict(labels)}
    if forged:
        metadata["labels"][LABEL_DECISION] = Decision.CLEAN.value
        metadata["annotations"] = {ANNOTATION_LOG_STREAMING: LogStreaming.FORBIDDEN.value}
    try:
        await client.create(path("v1", plural, namespace), {**body, "metadata": metadata}, dry_run=True)
    except ApiError as error:
        if not error.status:
            raise
        refusal = _REFUSED.search(str(error))
        return Answer(refused_by=refusal[1]) if refusal else Answer(problem=str(error))
    return Answer()


# As restricted as any namespace may ask for. Nothing of it ever runs.
_POD: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "probe",
                "image": "sitelog.invalid/probe",
                "command": ["python3", "-m", WORKER_MODULE],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}
_CONFIGMAP: Final[dict[str, Any]] = {"apiVersion": "v1", "kind": "ConfigMap", "data": {f"{CONFIG_BASENAME}.json": "{}"}}
_OBJECTS: Final = {AdmissionPolicy.CONFIGMAPS: ("configmaps", _CONFIGMAP), AdmissionPolicy.PODS: ("pods", _POD)}
