"""Job pods that were made while no webhook pod answered: found, and marked as the webhook would have done.

In the API server the chart's MutatingAdmissionPolicy has marked them already as unseen, and holds them; an older API
server has not, and they are found when all pods are reconciled.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from sitelog.core.errorlog.upload_plan import Plan, plan_upload
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.names import FINALIZER_ERROR_LOG, LABEL_CLIENT, Reason
from sitelog.core.policy.policy import Mode, Policy
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import record_event
from sitelog.kube.lists import pages
from sitelog.kube.pods import identity_marks, parse_job_pod
from sitelog.kube.policy_store import PolicyStore
from sitelog.telemetry.logs import fields

from .records import subject

_PAGE: Final = 200

log = logging.getLogger(__name__)


class UnlabelledPods:
    """Marks job pods that carry no client's name."""

    def __init__(self, client: KubeClient, store: PolicyStore) -> None:
        self._client = client
        self._store = store

    async def reconcile(self) -> None:
        """Reconcile all pods without the label, where error logs are wanted."""
        namespaces = self._store.governed.reached_by(filter(_wants, self._store.policies))
        query = {"labelSelector": f"!{LABEL_CLIENT}"}
        async for page in pages(self._client, namespaces, ("v1", "pods"), size=_PAGE, query=query):
            for body in page:
                await self._reconcile(body)

    async def _reconcile(self, body: Mapping[str, Any]) -> None:
        pod = parse_job_pod(body)
        if pod is None or not self._store.governed.has(pod.namespace):
            return
        effective = self._store.effective(pod.namespace, pod.labels).enforced
        plan = plan_upload(pod, effective)
        if not isinstance(plan, Plan) or not effective.governing or _is_history(pod, effective.governing):
            return
        marks = identity_marks(plan.identity)
        if not pod.deleted_at:  # the API server takes no new finalizer then
            marks["finalizers"] = sorted({*(body["metadata"].get("finalizers") or ()), FINALIZER_ERROR_LOG})
        marks["resourceVersion"] = body["metadata"]["resourceVersion"]
        try:
            await self._client.patch(path("v1", "pods", pod.namespace, pod.name), {"metadata": marks})
        except (ConflictError, NotFoundError):
            return  # the next round sees it as it is then
        message = "the webhook did not see this job pod when it was made: labelled, and its error log is looked after"
        log.info("%s: %s", pod, message, extra=fields(reason=Reason.JOB_POD_LABELLED.value))
        await record_event(self._client, subject(pod), Reason.JOB_POD_LABELLED, message)


def _wants(policy: Policy) -> bool:
    enabled = policy.error_log is not None and policy.error_log.upload
    return enabled and policy.mode is Mode.ENFORCE and policy.log_streaming.allows_error_log


def _is_history(pod: JobPod, policy: Policy) -> bool:
    """Whether the pod had ended before anybody asked for error logs, as far as its age tells."""
    return pod.finished and pod.created_at < policy.created
