"""Flow 2: from a job pod's end to its error log on the FL server.

Each step leaves something in the API from which the next one can be told, and every name follows from the pod's uid:

    pod ended -> suspended Job -> Secret -> Job marked captured -> Job resumed -> Job finished
              -> result on the pod, in an Event and in the policy's totals -> Job gets a time to live

So a process may be killed anywhere and another one goes on; two at once do the same thing twice, which is once.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from sitelog.core.identity import IdentityError, check_identity
from sitelog.core.labels import label_value
from sitelog.core.names import (
    ANNOTATION_CAPTURED,
    ANNOTATION_UPLOAD,
    ANNOTATION_UPLOAD_REASON,
    LABEL_CLIENT,
    LABEL_JOB,
    LABEL_UPLOAD,
    Reason,
    UploadResult,
)
from sitelog.core.outcome import End, PodEnd, pod_end
from sitelog.core.pod import JobPod
from sitelog.core.policy import InForce, LogStreaming, applicable, in_force
from sitelog.core.upload import Plan, Skip, compose, plan_upload
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import Subject, record_event
from sitelog.kube.jobs import UploadJob, job_manifest, parse_upload_job, secret_manifest, upload_name
from sitelog.kube.pods import parse_event, parse_job_pod
from sitelog.kube.policies import PolicyBook
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import ERROR_LOGS, UPLOADS_ACTIVE

from .capture import capture, seconds_since
from .ledger import count
from .results import upload_result

_REMEMBERED: Final = 600.0  # seconds in which what was last seen or said of a pod is kept
_ORPHANED: Final = 60.0  # seconds after which a Job without its Secret is taken to have lost whoever made it
BATCH: Final = "batch/v1"

log = logging.getLogger(__name__)


class ErrorLogs:
    """Brings pods' ends and upload Jobs forward, one step at a time."""

    def __init__(
        self, client: KubeClient, book: PolicyBook, *, root_namespace: str, image: str, max_uploads: int
    ) -> None:
        self._client = client
        self._book = book
        self._root_namespace = root_namespace
        self._image = image
        self._max_uploads = max_uploads
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._gone: dict[str, tuple[float, Mapping[str, Any]]] = {}  # to be tried again
        self._told: dict[str, float] = {}  # so that an older view of a pod does not say it twice
        self._unmarked_pods: set[str] = set()
        self._unmarked_jobs: set[str] = set()

    @property
    def unmarked(self) -> set[str]:
        """Uids of what carries no mark yet that it was counted, at the last look."""
        return self._unmarked_pods | self._unmarked_jobs

    async def look_at_pods(self) -> None:
        """Look at all job pods that exist, and again at those that are gone and left something undone."""
        bodies = await self._client.list_all(path("v1", "pods"), labelSelector=LABEL_JOB)
        self._unmarked_pods = {
            body["metadata"]["uid"]
            for body in bodies
            if ANNOTATION_UPLOAD not in (body["metadata"].get("annotations") or {})
        }
        for body in bodies:
            await self.look_at_pod(body, gone=False)
        long_ago = time.monotonic() - _REMEMBERED
        self._told = {uid: at for uid, at in self._told.items() if at > long_ago}
        self._gone = {uid: (at, last_seen) for uid, (at, last_seen) in self._gone.items() if at > long_ago}
        for _, last_seen in list(self._gone.values()):
            await self.look_at_pod(last_seen, gone=True)

    async def look_at_pod(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """Start the upload for a pod that has ended, or write down why there is none; a failure is tried again."""
        uid = body["metadata"]["uid"]
        if gone:
            self._gone.setdefault(uid, (time.monotonic(), body))
        try:
            await self._look_at_pod(body, gone=gone)
        except ApiError as error:
            # A namespace that is gone has no place for a Job any more.
            if not isinstance(error, NotFoundError):
                log.warning("Pod %s/%s: %s", body["metadata"]["namespace"], body["metadata"]["name"], error)
                return
        self._gone.pop(uid, None)

    async def _look_at_pod(self, body: Mapping[str, Any], *, gone: bool) -> None:
        pod = parse_job_pod(body)
        if pod is None or ANNOTATION_UPLOAD in pod.annotations:
            return
        async with self._locks.setdefault(pod.uid, asyncio.Lock()):
            end = pod_end(pod) or (pod_end(pod, gone=True, events=await self._events(pod)) if gone else None)
            if end is None or pod.uid in self._told or (not gone and _reason_to_come(pod, end)):
                return
            force = self._force(pod.namespace, pod.labels)
            plan = plan_upload(pod, force)
            if isinstance(plan, Skip):
                if await self._job(pod.namespace, upload_name(pod.uid)) is None:  # else it is the Job that is withdrawn
                    await self._skip(pod, force, plan)
            elif isinstance(plan, Plan):
                await self._start(pod, end, force, plan)

    async def _start(self, pod: JobPod, end: PodEnd, force: InForce, plan: Plan) -> None:
        policy = force.governing.key if force.governing else ""
        job = await self._job(pod.namespace, upload_name(pod.uid))
        if job and (job.captured or not job.suspended):
            return
        content = await capture(self._client, pod, end, plan.error_log.max_bytes)
        if not content:
            nothing = Skip(Reason.NOTHING_TO_UPLOAD, "the job came to its own end and its error log is empty")
            await (self._withdraw(job, nothing) if job else self._skip(pod, force, nothing))
            return
        if job is None:
            manifest = job_manifest(pod, end, plan.identity, plan.error_log, policy, self._image)
            job = await self._create_job(manifest)
        await self._attach(job, content)
        message = f"{end.message}; {len(content)} bytes of error log go to the FL server (Job {job.name})"
        log.info("%s: %s", pod, message, extra=fields(reason=Reason.UPLOAD_STARTED.value, policy=policy))
        await record_event(self._client, _subject(pod), Reason.UPLOAD_STARTED, message)

    async def _create_job(self, manifest: Mapping[str, Any]) -> UploadJob:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            return parse_upload_job(await self._client.create(path(BATCH, "jobs", namespace), manifest))
        except ConflictError:
            return parse_upload_job(await self._client.get(path(BATCH, "jobs", namespace, name)))

    async def _attach(self, job: UploadJob, content: bytes) -> None:
        secret = secret_manifest(job.namespace, job.name, job.uid, content)
        try:
            await self._client.create(path("v1", "secrets", job.namespace), secret)
        except ConflictError:
            log.debug("Job %s/%s has its Secret already", job.namespace, job.name)
        await self._patch_job(job, {"metadata": {"annotations": {ANNOTATION_CAPTURED: "true"}}})

    async def look_at_jobs(self) -> None:
        """Look at all upload Jobs: conclude the finished ones, resume as many as may run."""
        bodies = await self._client.list_all(path(BATCH, "jobs"), labelSelector=LABEL_UPLOAD)
        jobs = sorted(map(parse_upload_job, bodies), key=lambda job: (job.created_at, job.name))
        waiting: list[UploadJob] = []
        running = [job for job in jobs if not job.finished and not job.suspended]
        self._unmarked_jobs = {job.uid for job in jobs if not job.recorded}
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
            await self._withdraw(job, stopped)
            return False
        return job.suspended and (job.captured or await self._adopt(job))

    async def _resume(self, waiting: Iterable[UploadJob], running: list[UploadJob]) -> None:
        busy = {job.identity for job in running}  # the server's staging file is one for a job and client
        free = self._max_uploads - len(running)
        for job in waiting:
            if free > 0 and job.identity not in busy:
                await self._patch_job(job, {"spec": {"suspend": False}})
                busy.add(job.identity)
                free -= 1
        UPLOADS_ACTIVE.set(self._max_uploads - free)

    def _stopped(self, job: UploadJob) -> Skip | None:
        """Return why an upload may not go on: the policies may have changed since it was started."""
        force = self._force_of(job)
        if force.log_streaming is LogStreaming.FORBIDDEN and force.governing:
            return Skip(Reason.UPLOAD_FORBIDDEN, f"SiteLogPolicy {force.governing.key} forbids log streaming")
        if force.error_log and not force.error_log.upload:
            return Skip(Reason.UPLOAD_DISABLED, "errorLog.upload is no longer Enabled")
        try:
            if force.governing:
                check_identity(job.identity, force)
        except IdentityError as error:
            return Skip(error.reason, str(error))
        return None

    async def _withdraw(self, job: UploadJob, skip: Skip) -> None:
        self._told[job.pod.uid] = time.monotonic()
        await self._record(job.pod, UploadResult.SKIPPED, skip.reason, skip.message)
        await count(self._client, job.policy, UploadResult.SKIPPED, job.uid)
        try:
            await self._client.delete(path(BATCH, "jobs", job.namespace, job.name), uid=job.uid)
        except (NotFoundError, ConflictError):
            log.debug("Job %s/%s is gone already", job.namespace, job.name)

    async def _adopt(self, job: UploadJob) -> bool:
        """Give a Job whose pod is gone, and whose maker died before it wrote the Secret, what can still be told."""
        if seconds_since(job.created_at) < _ORPHANED or await self._pod_exists(job.pod):
            return False
        lost = "the controller was stopped before it had read it, and the pod is gone"
        await self._attach(job, compose(job.pod, job.end, b"", lost, max_bytes=1 << 20))
        return True

    async def _conclude(self, job: UploadJob) -> None:
        pods = await self._client.list_all(
            path("v1", "pods", job.namespace), labelSelector=f"batch.kubernetes.io/job-name={job.name}"
        )
        result, reason, message = upload_result(job, pods)
        await self._record(job.pod, result, reason, message)
        await count(self._client, job.policy, result, job.uid)
        await self._patch_job(job, {"spec": {"ttlSecondsAfterFinished": self._ttl(job)}})

    async def _record(self, pod: JobPod, result: UploadResult, reason: Reason, message: str) -> None:
        """Write a result where people look: on the pod, as an Event, in metric and log."""
        ERROR_LOGS.labels(result.value, reason.value).inc()
        level = logging.WARNING if result is UploadResult.FAILED else logging.INFO
        log.log(level, "%s: error log %s: %s", pod, result.value, message, extra=fields(reason=reason.value))
        await record_event(self._client, _subject(pod), reason, message, warning=result is UploadResult.FAILED)
        annotations = {ANNOTATION_UPLOAD: result.value, ANNOTATION_UPLOAD_REASON: f"{reason.value}: {message}"}
        try:
            change = {"metadata": {"uid": pod.uid, "annotations": annotations}}
            await self._client.patch(path("v1", "pods", pod.namespace, pod.name), change)
        except (NotFoundError, ConflictError):
            log.debug("%s is gone, its Event stays", pod)

    async def _skip(self, pod: JobPod, force: InForce, skip: Skip) -> None:
        self._unmarked_pods.add(pod.uid)
        if force.governing:
            await count(self._client, force.governing.key, UploadResult.SKIPPED, pod.uid)
        await self._record(pod, UploadResult.SKIPPED, skip.reason, skip.message)
        self._told[pod.uid] = time.monotonic()

    def _ttl(self, job: UploadJob) -> int:
        settings = self._force_of(job).error_log
        return settings.ttl_seconds if settings else 3600

    def _force_of(self, job: UploadJob) -> InForce:
        labels = {LABEL_JOB: label_value(job.identity.job_id), LABEL_CLIENT: label_value(job.identity.client_name)}
        return self._force(job.namespace, labels)

    def _force(self, namespace: str, labels: Mapping[str, str]) -> InForce:
        policies = self._book.policies
        return in_force(applicable(policies, root_namespace=self._root_namespace, namespace=namespace, labels=labels))

    async def _job(self, namespace: str, name: str) -> UploadJob | None:
        try:
            return parse_upload_job(await self._client.get(path(BATCH, "jobs", namespace, name)))
        except NotFoundError:
            return None

    async def _pod_exists(self, pod: JobPod) -> bool:
        try:
            body = await self._client.get(path("v1", "pods", pod.namespace, pod.name))
        except NotFoundError:
            return False
        return bool(body["metadata"]["uid"] == pod.uid)

    async def _patch_job(self, job: UploadJob, change: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(path(BATCH, "jobs", job.namespace, job.name), change)
        except NotFoundError:
            log.debug("Job %s/%s is gone", job.namespace, job.name)

    async def _events(self, pod: JobPod) -> list[Any]:
        bodies = await self._client.list_all(
            path("v1", "events", pod.namespace), fieldSelector=f"involvedObject.uid={pod.uid}"
        )
        return [parse_event(body) for body in bodies]


def _reason_to_come(pod: JobPod, end: PodEnd) -> bool:
    """Whether the kubelet will soon say why it killed the container: an eviction stands in the pod's status only."""
    return end.end is End.SIGNALLED and pod.phase == "Running" and not pod.deleted_at


def _subject(pod: JobPod) -> Subject:
    return Subject("Pod", pod.namespace, pod.name, pod.uid)
