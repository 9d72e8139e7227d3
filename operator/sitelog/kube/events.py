"""Kubernetes Events about other people's objects."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from sitelog.core.jobpod.pod import PodEvent
from sitelog.core.labels import short_hash
from sitelog.core.names import FIELD_MANAGER, Reason

from .client import NAMESPACE_TERMINATING, ApiError, ConflictError, KubeClient, path
from .pods import parse_event

_MAX_MESSAGE = 1000  # the API takes 1024


@dataclass(frozen=True)
class Subject:
    """The object that an Event is about."""

    kind: Literal["Pod", "ConfigMap"]
    namespace: str
    name: str
    uid: str


async def record_event(
    client: KubeClient, subject: Subject, reason: Reason, message: str, *, warning: bool = False
) -> bool:
    """Write an Event. The same one about the same object is written once, whoever writes it again.

    Returns
    -------
    bool
        Whether it was not there before, and is now: a namespace that is being deleted takes none.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{subject.name[:200]}.{short_hash(subject.uid, reason.value, message)}",
            "namespace": subject.namespace,
        },
        "involvedObject": {"apiVersion": "v1", **asdict(subject)},
        "reason": reason.value,
        "message": message[:_MAX_MESSAGE],
        "type": "Warning" if warning else "Normal",
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await client.create(path("v1", "events", subject.namespace), event)
    except ConflictError:
        return False  # written before
    except ApiError as error:
        if error.reason != NAMESPACE_TERMINATING:
            raise
        return False
    return True


async def events_about(client: KubeClient, namespace: str, uid: str) -> list[PodEvent]:
    """List the Events about an object.

    Raises
    ------
    ApiError
        They cannot be listed now.
    """
    bodies = await client.list_all(path("v1", "events", namespace), fieldSelector=f"involvedObject.uid={uid}")
    return [parse_event(body) for body in bodies]
