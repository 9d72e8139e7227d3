"""What is left of a job's error log when its pod has ended."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from sitelog.core.error_log import ErrorRecords
from sitelog.core.outcome import End, PodEnd
from sitelog.core.pod import JobPod
from sitelog.core.upload import compose
from sitelog.kube.client import ApiError, KubeClient, NotFoundError

_NEVER_RAN: Final = (End.IMAGE_PULL, End.UNSCHEDULABLE, End.START_ERROR)
_PATIENCE: Final = 600.0  # seconds after a pod's end in which its log is asked for again
# What a kubelet answers, with status 200, when it has the pod but no longer the log.
_NO_LOG: Final = b"unable to retrieve container logs for "


async def capture(client: KubeClient, pod: JobPod, end: PodEnd, max_bytes: int) -> bytes:
    """Read a pod's error log and put it together; empty if there is nothing to send.

    Raises
    ------
    ApiError
        The log cannot be read now, and may be later.
    """
    records, lost = b"", None
    if end.end not in _NEVER_RAN:
        try:
            records, lost = await _read(client, pod, max_bytes)
        except NotFoundError:
            lost = "the pod was gone before it could be read"
        except ApiError as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                lost = "its container never ran"
            elif seconds_since(end.at or pod.created_at) < _PATIENCE:
                raise
            else:
                lost = f"it could not be read ({error.reason})"
    return compose(pod, end, records, lost, max_bytes)


async def _read(client: KubeClient, pod: JobPod, max_bytes: int) -> tuple[bytes, str | None]:
    records, first = ErrorRecords(max_bytes), True
    async for piece in client.log(pod.namespace, pod.name, pod.container):
        if first and piece.startswith(_NO_LOG):
            return b"", "its node no longer had it"
        first = False
        records.feed(piece)
    return records.finish(), None


def seconds_since(timestamp: str) -> float:
    """Return the seconds since an RFC 3339 time as the API writes it; 0 for an empty one."""
    if not timestamp:
        return 0.0
    return (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
