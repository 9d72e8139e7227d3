"""What became of a pod's error log, written where people look: pod, Event, metric, log, and the policy's status."""

import logging
import time
from typing import Final

from sitelog.controller.policies.totals import count
from sitelog.core.errorlog.upload_plan import Skip
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.names import ANNOTATION_UPLOAD, ANNOTATION_UPLOAD_REASON, FINALIZER_ERROR_LOG, Reason, UploadResult
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import Subject, record_event
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import ERROR_LOGS

_TRIES: Final = 10

log = logging.getLogger(__name__)


class Records:
    """Writes results, each once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._skipped: dict[str, float] = {}  # so that an older view of a pod does not say it twice

    async def write(self, pod: JobPod, policy: str, uid: str, result: UploadResult, reason: Reason, text: str) -> None:
        """Write a result everywhere, and count it once for this uid; what was written is not doubled by another try.

        Raises
        ------
        ApiError
            It cannot be written now.
        """
        if policy:
            await count(self._client, policy, result, uid)
        if await record_event(self._client, subject(pod), reason, text, warning=result is UploadResult.FAILED):
            self._tell(pod, result, reason, text)
        annotations = {ANNOTATION_UPLOAD: result.value, ANNOTATION_UPLOAD_REASON: f"{reason.value}: {text}"}
        try:
            change = {"metadata": {"uid": pod.uid, "annotations": annotations}}
            await self._client.patch(path("v1", "pods", pod.namespace, pod.name), change)
        except (NotFoundError, ConflictError):
            log.debug("%s is gone, its Event stays", pod)

    @staticmethod
    def _tell(pod: JobPod, result: UploadResult, reason: Reason, text: str) -> None:
        """Say it in the metric and the log: by one controller of all, the one that has written the Event."""
        ERROR_LOGS.labels(result.value, reason.value).inc()
        level = logging.WARNING if result is UploadResult.FAILED else logging.INFO
        log.log(level, "%s: error log %s: %s", pod, result.value, text, extra=fields(reason=reason.value))

    async def skip(self, pod: JobPod, policy: str, uid: str, skip: Skip) -> None:
        """Write that nothing is sent, and why."""
        await self.write(pod, policy, uid, UploadResult.SKIPPED, skip.reason, skip.message)
        self._skipped[pod.uid] = time.monotonic()

    def skipped(self, pod: JobPod) -> bool:
        """Whether it was written lately that nothing is sent for this pod."""
        return pod.uid in self._skipped

    def forget(self, seconds: float) -> None:
        """Forget what was written longer ago."""
        long_ago = time.monotonic() - seconds
        self._skipped = {uid: at for uid, at in self._skipped.items() if at > long_ago}


async def release(client: KubeClient, pod: JobPod) -> None:
    """Take the finalizer from a pod: its error log is safe, or not wanted.

    Raises
    ------
    ApiError
        It cannot be taken now.
    """
    resource = path("v1", "pods", pod.namespace, pod.name)
    for _ in range(_TRIES if pod.has_finalizer else 0):
        try:
            metadata = (await client.get(resource))["metadata"]
            finalizers = metadata.get("finalizers") or []
            if metadata["uid"] == pod.uid and FINALIZER_ERROR_LOG in finalizers:
                kept = [finalizer for finalizer in finalizers if finalizer != FINALIZER_ERROR_LOG]
                change = {"resourceVersion": metadata["resourceVersion"], "finalizers": kept}
                await client.patch(resource, {"metadata": change})
        except NotFoundError:
            return
        except ConflictError:  # the kubelet writes its status at the same time
            continue
        return


def subject(pod: JobPod) -> Subject:
    """Return a pod as Events name it."""
    return Subject("Pod", pod.namespace, pod.name, pod.uid)
