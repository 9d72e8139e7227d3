"""Flow 2: from a job pod's end to its error log on the FL server.

Each step leaves something in the API from which the next one can be told, and every name follows from the pod's uid:

    pod made with a finalizer -> its log followed while it runs -> pod ended -> suspended Job -> Secret -> Job marked
    captured -> finalizer removed -> Job resumed -> Job finished -> result on the pod, in an Event and in the policy's
    totals -> Job gets a time to live

So a process may be killed anywhere and another one goes on; two at once do the same thing twice, which is once.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from sitelog.core.errorlog.upload_plan import Captured, Plan, Skip, compose, plan_upload
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import End, Termination, never_ran, termination_of
from sitelog.core.names import ANNOTATION_UPLOAD, LABEL_JOB, Reason
from sitelog.core.policy.effective import EffectivePolicy
from sitelog.kube.client import NAMESPACE_TERMINATING, ApiError, KubeClient, NotFoundError
from sitelog.kube.events import events_about, record_event
from sitelog.kube.jobs import job_manifest, upload_name
from sitelog.kube.lists import pages
from sitelog.kube.pods import parse_job_pod
from sitelog.kube.policy_store import PolicyStore
from sitelog.kube.times import seconds_since
from sitelog.telemetry.logs import fields

from .log_follower import LogFollower
from .records import Records, release, subject
from .upload_jobs import UploadJobs

_PAGE: Final = 200  # pods in memory at a time
_REMEMBERED_SECONDS: Final = 600.0  # in which what was last seen or said of a pod is kept
_SILENT_SECONDS: Final = 60.0  # after a deletion took effect in which a kubelet says that a pod has ended

log = logging.getLogger(__name__)


class ErrorLogReconciler:
    """Follows job pods to their end, and starts the uploads."""

    def __init__(
        self,
        client: KubeClient,
        store: PolicyStore,
        uploads: UploadJobs,
        records: Records,
        image: str,
    ) -> None:
        self._client = client
        self._records = records
        self._store = store
        self._uploads = uploads
        self._image = image
        self._follower = LogFollower(client, self._log_complete)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._gone: dict[str, tuple[float, Mapping[str, Any]]] = {}  # to be tried again
        self._reconciling: set[asyncio.Task[None]] = set()
        self.unmarked: set[str] = set()  # uids of pods that carry no mark yet that they were counted, at the last round

    async def reconcile_pods(self) -> None:
        """Reconcile all job pods that exist, and again those that are gone and left something undone."""
        unmarked = set[str]()
        unread: dict[str, ApiError] = {}
        namespaces, query = self._store.governed.objects, {"labelSelector": LABEL_JOB}
        async for page in pages(self._client, namespaces, ("v1", "pods"), unread, size=_PAGE, query=query):
            for body in page:
                if ANNOTATION_UPLOAD not in (body["metadata"].get("annotations") or {}):
                    unmarked.add(body["metadata"]["uid"])
                await self.reconcile_pod(body, deleted=False)
        self.unmarked = unmarked | (self.unmarked if unread else set())
        long_ago = time.monotonic() - _REMEMBERED_SECONDS
        self._records.forget(_REMEMBERED_SECONDS)
        self._follower.forget(_REMEMBERED_SECONDS)
        self._gone = {uid: (at, last_seen) for uid, (at, last_seen) in self._gone.items() if at > long_ago}
        for _, last_seen in list(self._gone.values()):
            await self.reconcile_pod(last_seen, deleted=True)

    async def reconcile_pod(self, body: Mapping[str, Any], *, deleted: bool) -> None:
        """Follow a pod's log, and start the upload when it has ended, or write down why there is none."""
        uid = body["metadata"]["uid"]
        if deleted:
            self._gone.setdefault(uid, (time.monotonic(), body))
        pod = parse_job_pod(body)
        try:
            finished = pod is None or await self._reconcile(pod, body, deleted=deleted)
        except ApiError as error:
            # A namespace that is gone, or going, has no place for a Job any more.
            finished = error.reason == NAMESPACE_TERMINATING or (deleted and isinstance(error, NotFoundError))
            log.log(logging.INFO if finished else logging.WARNING, "%s: %s", pod, error)
            if finished:
                await self._release(pod)
        if finished:
            self._follower.stop(uid)
            self._gone.pop(uid, None)

    async def _release(self, pod: JobPod | None) -> None:
        try:
            if pod:
                await release(self._client, pod)
        except ApiError as error:
            log.warning("%s: %s", pod, error)

    async def _reconcile(self, pod: JobPod, body: Mapping[str, Any], *, deleted: bool) -> bool:
        """Take a pod one step on; whether nothing is left to do for it."""
        async with self._locks.setdefault(pod.uid, asyncio.Lock()):
            effective = self._store.effective(pod.namespace, pod.labels).enforced
            plan = plan_upload(pod, effective)
            known = ANNOTATION_UPLOAD in pod.annotations or self._records.skipped(pod)
            if known or plan is None or not self._store.governed.has(pod.namespace):
                await release(self._client, pod)
                return True
            end = await self._end(pod, deleted=deleted)
            if end is None or (not deleted and _reason_to_come(pod, end)):
                if isinstance(plan, Plan):
                    self._follower.see(pod, body, plan.error_log)
                return False
            if isinstance(plan, Skip):
                if await self._uploads.get(pod.namespace, upload_name(pod.uid)) is None:  # else the Job is withdrawn
                    await self._skip(pod, effective, plan)
            elif await self._start(pod, body, end, effective, plan, deleted=deleted):
                self._follower.settle(pod.uid)
            else:
                return False
            await release(self._client, pod)
            return True

    async def _end(self, pod: JobPod, *, deleted: bool) -> Termination | None:
        node_silent = bool(pod.deleted_at) and not pod.finished and seconds_since(pod.deleted_at) > _SILENT_SECONDS
        deleted = deleted or pod.never_starts
        events = await events_about(self._client, pod.namespace, pod.uid) if deleted or pod.deleted_at else ()
        return termination_of(pod, deleted=deleted, node_silent=node_silent and not deleted, events=events)

    async def _start(
        self,
        pod: JobPod,
        body: Mapping[str, Any],
        end: Termination,
        effective: EffectivePolicy,
        plan: Plan,
        *,
        deleted: bool,
    ) -> bool:
        """Capture the error log for an upload Job; whether that is done, or there is nothing to send."""
        job = await self._uploads.get(pod.namespace, upload_name(pod.uid))
        if job and (job.captured or not job.suspended):
            return True
        captured: Captured | None = Captured()
        if not never_ran(pod, end.end):
            captured = self._follower.captured(pod, body, plan.error_log, deleted=deleted)
        if captured is None:
            return False
        content = compose(pod, end, captured, plan.error_log.max_bytes)
        if not content:
            nothing = Skip(Reason.NOTHING_TO_UPLOAD, "the job came to its own end and its error log is empty")
            await (self._uploads.withdraw(job, nothing) if job else self._skip(pod, effective, nothing))
            return True
        policy = effective.key
        if job is None:
            manifest = job_manifest(pod, end, plan.identity, plan.error_log, policy, self._image)
            job = await self._uploads.create(manifest)
        await self._uploads.attach(job, content)
        message = f"{end.message}; {len(content)} bytes of error log go to the FL server (Job {job.name})"
        log.info("%s: %s", pod, message, extra=fields(reason=Reason.UPLOAD_STARTED.value, policy=policy))
        await record_event(self._client, subject(pod), Reason.UPLOAD_STARTED, message)
        return True

    async def _skip(self, pod: JobPod, effective: EffectivePolicy, skip: Skip) -> None:
        self.unmarked.add(pod.uid)
        await self._records.skip(pod, effective.key, pod.uid, skip)

    def _log_complete(self, body: Mapping[str, Any]) -> None:
        task = asyncio.create_task(self.reconcile_pod(body, deleted=body["metadata"]["uid"] in self._gone))
        self._reconciling.add(task)
        task.add_done_callback(self._reconciling.discard)


def _reason_to_come(pod: JobPod, end: Termination) -> bool:
    """Whether the kubelet will soon say why it killed the container: an eviction stands in the pod's status only."""
    return end.end is End.SIGNALLED and pod.phase == "Running" and not pod.deleted_at
