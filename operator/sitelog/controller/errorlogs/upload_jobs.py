"""Upload Jobs: made suspended, given their captured log, resumed in turn, concluded when they are finished."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sitelog.core.errorlog.upload_plan import Captured, Skip, compose, forbidden
from sitelog.core.errorlog.upload_start import why_not_started
from sitelog.core.jobpod.identity import IdentityError, check_identity
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.names import ANNOTATION_CAPTURED, ANNOTATION_NOT_STARTED, LABEL_UPLOAD, Reason
from sitelog.core.policy.effective import EffectivePolicy
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import events_about
from sitelog.kube.jobs import UploadJob, parse_upload_job, secret_manifest
from sitelog.kube.lists import pages
from sitelog.kube.policy_store import PolicyStore
from sitelog.kube.times import seconds_since
from sitelog.kube.upload_pods import parse_upload_pod
from sitelog.telemetry.metrics import UPLOADS_ACTIVE

from .records import Records
from .upload_result import upload_result

_ORPHANED_SECONDS: Final = 60.0  # after which a Job without its Secret is taken to have lost whoever made it
_START_SECONDS: Final = 600.0  # for a new node and an image over a slow line; then the log counts as not sent
_BATCH: Final = "batch/v1"

log = logging.getLogger(__name__)


class UploadJobs:
    """Brings upload Jobs forward, one step at a time.

    Parameters
    ----------
    at_once : how many may run at the same time in a namespace: none waits for what holds up those of another.
    """

    def __init__(self, client: KubeClient, store: PolicyStore, records: Records, *, at_once: int) -> None:
        self._client = client
        self._records = records
        self._store = store
        self._at_once = at_once
        self._idle_since: dict[str, float] = {}  # by uid: from when on no pod of a resumed Job was seen to run
        self.unmarked: set[str] = set()  # uids of Jobs that carry no mark yet that they were counted, at the last round

    async def get(self, namespace: str, name: str) -> UploadJob | None:
        """Return a Job, or None."""
        try:
            return parse_upload_job(await self._client.get(path(_BATCH, "jobs", namespace, name)))
        except NotFoundError:
            return None

    async def create(self, manifest: Mapping[str, Any]) -> UploadJob:
        """Create a Job, or take the one that is there."""
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            return parse_upload_job(await self._client.create(path(_BATCH, "jobs", namespace), manifest))
        except ConflictError:
            return parse_upload_job(await self._client.get(path(_BATCH, "jobs", namespace, name)))

    async def attach(self, job: UploadJob, content: bytes) -> None:
        """Give a Job its error log; then it may run."""
        secret = secret_manifest(job.namespace, job.name, job.uid, content)
        try:
            await self._client.create(path("v1", "secrets", job.namespace), secret)
        except ConflictError:
            log.debug("Job %s/%s has its Secret already", job.namespace, job.name)
        await self._patch(job, {"metadata": {"annotations": {ANNOTATION_CAPTURED: "true"}}})

    async def withdraw(self, job: UploadJob, skip: Skip) -> None:
        """Remove a Job whose log is not to be sent, and say why."""
        await self._records.skip(job.pod, job.policy, job.uid, skip)
        try:
            await self._client.delete(path(_BATCH, "jobs", job.namespace, job.name), uid=job.uid)
        except (NotFoundError, ConflictError):
            log.debug("Job %s/%s is gone already", job.namespace, job.name)

    async def reconcile(self) -> None:
        """Reconcile all upload Jobs: conclude the finished ones, resume as many as may run."""
        unread: dict[str, ApiError] = {}
        namespaces, query = self._store.governed.objects, {"labelSelector": LABEL_UPLOAD}
        found = pages(self._client, namespaces, (_BATCH, "jobs"), unread, query=query)
        bodies = [body async for page in found for body in page]
        jobs = sorted(map(parse_upload_job, bodies), key=lambda job: (job.created_at, job.name))
        waiting: list[UploadJob] = []
        running = [job for job in jobs if not job.finished and not job.suspended]
        self.unmarked = {job.uid for job in jobs if not job.recorded} | (self.unmarked if unread else set())
        idle = {job.uid for job in running if not job.ready}
        self._idle_since = {uid: at for uid, at in self._idle_since.items() if uid in idle}
        for job in jobs:
            try:
                if await self._may_run(job):
                    waiting.append(job)
            except ApiError as error:  # the others' turn all the same
                log.warning("Job %s/%s: %s", job.namespace, job.name, error)
        await self._resume(waiting, running)

    async def _may_run(self, job: UploadJob) -> bool:
        """Bring a Job forward; whether it only waits to be resumed."""
        if job.finished:
            if not job.recorded:
                await self._conclude(job)
            return False
        if stopped := self._stopped(job):
            await self.withdraw(job, stopped)
            return False
        if not job.suspended:
            await self._end_if_not_started(job)
            return False
        return job.captured or await self._adopt(job)

    async def _resume(self, waiting: Iterable[UploadJob], running: list[UploadJob]) -> None:
        busy = {job.identity for job in running}  # the server's staging file is one for a job and client
        active = Counter(job.namespace for job in running if not job.not_started)
        for job in waiting:
            if active[job.namespace] >= self._at_once or job.identity in busy:
                continue
            try:
                await self._patch(job, {"spec": {"suspend": False}})
            except ApiError as error:  # the others' turn all the same
                log.warning("Job %s/%s: %s", job.namespace, job.name, error)
                continue
            busy.add(job.identity)
            active[job.namespace] += 1
        UPLOADS_ACTIVE.set(active.total())

    async def _end_if_not_started(self, job: UploadJob) -> None:
        """End a Job whose pod cannot be made or started: it would wait for ever, and others for it.

        The time is counted anew after each pod that ran, and by a controller that starts.
        """
        if job.ready or job.not_started:
            return
        now = time.monotonic()
        if now - self._idle_since.setdefault(job.uid, now) < _START_SECONDS:
            return
        message = f"no upload pod has started for {_START_SECONDS:g} s: {await self._why_not_started(job)}"
        change = {
            "metadata": {"annotations": {ANNOTATION_NOT_STARTED: message}},
            "spec": {"activeDeadlineSeconds": 1},  # which has passed: the Job fails, and its pods go
        }
        await self._patch(job, change)

    async def _why_not_started(self, job: UploadJob) -> str:
        pods = [parse_upload_pod(body) for body in await self._pods(job)]
        newest = max(pods, key=lambda pod: pod.created_at, default=None)
        pod = None if newest is None or newest.started else newest
        return why_not_started(pod, await events_about(self._client, job.namespace, pod.uid if pod else job.uid))

    def _stopped(self, job: UploadJob) -> Skip | None:
        """Return why an upload may not go on: the policies may have changed since it was started."""
        effective = self._effective(job)
        if effective.governing is None:
            return Skip(Reason.NO_POLICY, "no policy in force governs it any more")
        if not effective.governing.log_streaming.allows_error_log:
            return forbidden(effective.governing)
        if effective.error_log and not effective.error_log.upload:
            return Skip(Reason.UPLOAD_DISABLED, "errorLog.upload is no longer Enabled")
        try:
            check_identity(job.identity, effective)
        except IdentityError as error:
            return Skip(error.reason, str(error))
        return None

    async def _adopt(self, job: UploadJob) -> bool:
        """Give a Job whose pod is gone, and whose maker died before it wrote the Secret, what can still be told."""
        if seconds_since(job.created_at) < _ORPHANED_SECONDS or await self._pod_exists(job.pod):
            return False
        lost = "the controller was stopped before it had read it, and the pod is gone"
        await self.attach(job, compose(job.pod, job.end, Captured(lost=lost), max_bytes=1 << 20))
        return True

    async def _conclude(self, job: UploadJob) -> None:
        result, reason, message = upload_result(job, await self._pods(job))
        await self._records.write(job.pod, job.policy, job.uid, result, reason, message)
        settings = self._effective(job).error_log
        ttl = settings.ttl_seconds if settings else 3600
        await self._patch(job, {"spec": {"ttlSecondsAfterFinished": ttl}})

    async def _pods(self, job: UploadJob) -> list[Any]:
        selector = f"batch.kubernetes.io/job-name={job.name}"
        return await self._client.list_all(path("v1", "pods", job.namespace), labelSelector=selector)

    def _effective(self, job: UploadJob) -> EffectivePolicy:
        return self._store.effective(job.namespace, job.pod.labels).enforced

    async def _pod_exists(self, pod: JobPod) -> bool:
        try:
            body = await self._client.get(path("v1", "pods", pod.namespace, pod.name))
        except NotFoundError:
            return False
        return bool(body["metadata"]["uid"] == pod.uid)

    async def _patch(self, job: UploadJob, change: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(path(_BATCH, "jobs", job.namespace, job.name), change)
        except NotFoundError:
            log.debug("Job %s/%s is gone", job.namespace, job.name)
