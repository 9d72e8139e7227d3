"""Job pods that were running before a prohibition: named in status and Events, and removed where the policy wants it.

A prohibition cannot reach into a running process. What was started without the forbidding word goes on streaming until
it ends.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from sitelog.core.names import Reason
from sitelog.core.pod import JobPod
from sitelog.core.policy import InForce, Mode, Policy, applicable, if_enforced, in_force
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import Subject, record_event
from sitelog.kube.lists import pages
from sitelog.kube.lock import pod_may_stream
from sitelog.kube.pods import parse_pod
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

    def __init__(self, client: KubeClient, book: PolicyBook) -> None:
        self._client = client
        self._book = book
        self.unstopped: Mapping[str, list[str]] = {}

    async def look(self) -> None:
        """Look at all job pods of the namespaces in which something is forbidden."""
        unstopped: dict[str, list[str]] = {}
        namespaces = self._book.governed.concerned(filter(_forbids, self._book.policies))
        query = {"fieldSelector": _UNENDED}
        async for page in pages(self._client, namespaces, ("v1", "pods"), size=_PAGE, query=query):
            for body in page:
                await self._look_at(body, unstopped)
        self.unstopped = unstopped

    async def _look_at(self, body: Mapping[str, Any], unstopped: dict[str, list[str]]) -> None:
        pod = parse_pod(body)
        governed = self._book.governed  # no other pod ever gets the word
        if not governed.has(pod.namespace) or not pod_may_stream(body):
            return
        concerned = applicable(
            self._book.policies, root_namespace=governed.root, namespace=pod.namespace, labels=pod.labels
        )
        force, rehearsed = in_force(concerned), if_enforced(concerned)
        if force.prohibits_streamer and force.governing:
            unstopped.setdefault(force.governing.key, []).append(f"{pod.namespace}/{pod.name}")
        if pod.deleted_at:
            return  # it streams on until it ends, and nothing is left to be done
        act, would = _action(force), _action(rehearsed)
        if act is Reason.JOB_POD_REMOVED:
            await self._remove(pod, force)
        elif act:
            message = (
                f"{_started(pod, force)}, and may stream until it ends; delete it, or set spec.onRevoke: DeletePods"
            )
            await record_event(self._client, _subject(pod), act, message, warning=True)
        if would is not act:
            rehearsing = next(p.key for p in concerned if p.mode is Mode.DRY_RUN and _forbids(p))
            then = "deleted (onRevoke)" if would is Reason.JOB_POD_REMOVED else "listed in status.unstoppedPods"
            message = f"DryRun of SiteLogPolicy {rehearsing}: {pod} would be {then}"
            await record_event(self._client, _subject(pod), Reason.DRY_RUN, message)

    async def _remove(self, pod: JobPod, force: InForce) -> None:
        message = f"{_started(pod, force)}: deleted (onRevoke)"
        log.warning("%s", message, extra=fields(reason=Reason.JOB_POD_REMOVED.value, policy=_key(force)))
        await record_event(self._client, _subject(pod), Reason.JOB_POD_REMOVED, message, warning=True)
        try:
            await self._client.delete(path("v1", "pods", pod.namespace, pod.name), uid=pod.uid)
        except (NotFoundError, ConflictError):
            log.debug("%s is gone already", pod)
        except ApiError as error:
            log.warning("%s cannot be deleted, trying again: %s", pod, error)  # the other pods do not wait for it


def _action(force: InForce) -> Reason | None:
    """Tell what becomes of a job pod that streams."""
    if not force.prohibits_streamer:
        return None
    return Reason.JOB_POD_REMOVED if force.deletes_pods else Reason.STREAMING_NOT_STOPPED


def _forbids(policy: Policy) -> bool:
    return policy.log_streaming.prohibits_streamer


def _started(pod: JobPod, force: InForce) -> str:
    return f"{pod} was started before SiteLogPolicy {_key(force)} forbade log streaming"


def _key(force: InForce) -> str:
    return force.governing.key if force.governing else ""


def _subject(pod: JobPod) -> Subject:
    return Subject("Pod", pod.namespace, pod.name, pod.uid)
