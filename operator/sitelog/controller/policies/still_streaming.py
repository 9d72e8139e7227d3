"""Job pods that were running before a prohibition: named in status and Events, and removed where the policy wants it.

A prohibition cannot reach into a running process. What was started without the forbidding argument goes on streaming
until it ends.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from sitelog.core.jobpod.pod import JobPod
from sitelog.core.names import Reason
from sitelog.core.policy.effective import EffectivePolicy
from sitelog.core.policy.policy import Mode, Policy
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import Subject, record_event
from sitelog.kube.lists import pages
from sitelog.kube.lock import pod_may_stream
from sitelog.kube.pods import parse_pod
from sitelog.kube.policy_store import PolicyStore
from sitelog.telemetry.logs import fields

_PAGE: Final = 200
_UNENDED: Final = "status.phase!=Succeeded,status.phase!=Failed"

log = logging.getLogger(__name__)


class StillStreaming:
    """Finds job pods that still stream under a prohibition.

    Attributes
    ----------
    unstopped : their names, `namespace/name`, by the policy that forbids, at the last round.
    """

    def __init__(self, client: KubeClient, store: PolicyStore) -> None:
        self._client = client
        self._store = store
        self.unstopped: Mapping[str, list[str]] = {}

    async def reconcile(self) -> None:
        """Reconcile all job pods of the namespaces in which something is forbidden."""
        unstopped: dict[str, list[str]] = {}
        namespaces = self._store.governed.reached_by(filter(_forbids, self._store.policies))
        query = {"fieldSelector": _UNENDED}
        async for page in pages(self._client, namespaces, ("v1", "pods"), size=_PAGE, query=query):
            for body in page:
                await self._reconcile(body, unstopped)
        self.unstopped = unstopped

    async def _reconcile(self, body: Mapping[str, Any], unstopped: dict[str, list[str]]) -> None:
        pod = parse_pod(body)
        governed = self._store.governed  # no other pod ever gets the argument
        if not governed.has(pod.namespace) or not pod_may_stream(body):
            return
        effective = self._store.effective(pod.namespace, pod.labels)
        enforced, dry_run = effective.enforced, effective.dry_run
        if enforced.prohibits_streamer:
            unstopped.setdefault(enforced.key, []).append(f"{pod.namespace}/{pod.name}")
        if pod.deleted_at:
            return  # it streams on until it ends, and nothing is left to be done
        act, would = _action(enforced), _action(dry_run or enforced)
        if act is Reason.JOB_POD_REMOVED:
            await self._remove(pod, enforced)
        elif act:
            message = (
                f"{_started(pod, enforced)}, and may stream until it ends; delete it, or set spec.onRevoke: DeletePods"
            )
            await record_event(self._client, _subject(pod), act, message, warning=True)
        if dry_run and would is not act:
            by = next(p.key for p in dry_run.policies if p.mode is Mode.DRY_RUN and _forbids(p))
            then = "deleted (onRevoke)" if would is Reason.JOB_POD_REMOVED else "listed in status.unstoppedPods"
            message = f"DryRun of SiteLogPolicy {by}: {pod} would be {then}"
            await record_event(self._client, _subject(pod), Reason.DRY_RUN, message)

    async def _remove(self, pod: JobPod, effective: EffectivePolicy) -> None:
        message = f"{_started(pod, effective)}: deleted (onRevoke)"
        log.warning("%s", message, extra=fields(reason=Reason.JOB_POD_REMOVED.value, policy=effective.key))
        await record_event(self._client, _subject(pod), Reason.JOB_POD_REMOVED, message, warning=True)
        try:
            await self._client.delete(path("v1", "pods", pod.namespace, pod.name), uid=pod.uid)
        except (NotFoundError, ConflictError):
            log.debug("%s is gone already", pod)
        except ApiError as error:
            log.warning("%s cannot be deleted, trying again: %s", pod, error)  # the other pods do not wait for it


def _action(effective: EffectivePolicy) -> Reason | None:
    """Tell what becomes of a job pod that streams."""
    if not effective.prohibits_streamer:
        return None
    return Reason.JOB_POD_REMOVED if effective.deletes_pods else Reason.STREAMING_NOT_STOPPED


def _forbids(policy: Policy) -> bool:
    return policy.log_streaming.prohibits_streamer


def _started(pod: JobPod, effective: EffectivePolicy) -> str:
    return f"{pod} was started before SiteLogPolicy {effective.key} forbade log streaming"


def _subject(pod: JobPod) -> Subject:
    return Subject("Pod", pod.namespace, pod.name, pod.uid)
