"""Job pods that were running before a prohibition: named in status and Events, and removed where the policy wants it.

A prohibition cannot reach into a running process. What was started without the forbidding word goes on streaming until
it ends.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from sitelog.core.names import Reason
from sitelog.core.pod import JobPod
from sitelog.core.policy import InForce, LogStreaming, applicable, in_force
from sitelog.core.worker_command import has_forbidding_word
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import Subject, record_event
from sitelog.kube.pods import parse_job_pod
from sitelog.kube.policies import PolicyBook
from sitelog.telemetry.logs import fields

_PAGE: Final = 200
_UNENDED: Final = "status.phase!=Succeeded,status.phase!=Failed"

log = logging.getLogger(__name__)


class Revocation:
    """Finds job pods that still stream under a prohibition.

    Attributes
    ----------
    unstopped : their names, `namespace/name`, by the policy that forbids, at the last look.
    """

    def __init__(self, client: KubeClient, book: PolicyBook, *, root_namespace: str) -> None:
        self._client = client
        self._book = book
        self._root_namespace = root_namespace
        self.unstopped: Mapping[str, list[str]] = {}

    async def look(self) -> None:
        """Look at all job pods of the namespaces in which something is forbidden."""
        unstopped: dict[str, list[str]] = {}
        for namespace in self._namespaces():
            query = {"fieldSelector": _UNENDED}
            async for page in self._client.pages(path("v1", "pods", namespace), size=_PAGE, query=query):
                for body in page:
                    await self._look_at(body, unstopped)
        self.unstopped = unstopped

    def _namespaces(self) -> list[str]:
        """Return the namespaces concerned; the empty one stands for all."""
        forbidding = {p.namespace for p in self._book.policies if p.log_streaming is LogStreaming.FORBIDDEN}
        return [""] if self._root_namespace in forbidding else sorted(forbidding)

    async def _look_at(self, body: Mapping[str, Any], unstopped: dict[str, list[str]]) -> None:
        pod = parse_job_pod(body)
        if pod is None or has_forbidding_word(pod.argv) or pod.deleted_at:
            return
        policies = self._book.policies
        force = in_force(
            applicable(policies, root_namespace=self._root_namespace, namespace=pod.namespace, labels=pod.labels)
        )
        if force.governing is None or force.log_streaming is not LogStreaming.FORBIDDEN:
            return
        if force.deletes_pods and await self._remove(pod, force):
            return
        unstopped.setdefault(force.governing.key, []).append(f"{pod.namespace}/{pod.name}")
        message = (
            f"{pod} was started before SiteLogPolicy {force.governing.key} forbade log streaming, and may stream"
            " until it ends; delete it, or set spec.onRevoke: DeletePods"
        )
        await record_event(self._client, _subject(pod), Reason.STREAMING_NOT_STOPPED, message, warning=True)

    async def _remove(self, pod: JobPod, force: InForce) -> bool:
        policy = force.governing.key if force.governing else ""
        message = f"{pod} was started before SiteLogPolicy {policy} forbade log streaming: deleted (onRevoke)"
        log.warning("%s", message, extra=fields(reason=Reason.JOB_POD_REMOVED.value, policy=policy))
        await record_event(self._client, _subject(pod), Reason.JOB_POD_REMOVED, message, warning=True)
        try:
            await self._client.delete(path("v1", "pods", pod.namespace, pod.name), uid=pod.uid)
        except (NotFoundError, ConflictError):
            log.debug("%s is gone already", pod)
        return True


def _subject(pod: JobPod) -> Subject:
    return Subject("Pod", pod.namespace, pod.name, pod.uid)
