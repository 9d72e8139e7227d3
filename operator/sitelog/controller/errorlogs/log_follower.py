"""Job pods' error logs, read while the jobs run: NVFlare's launcher deletes many a pod within a second of its end."""

import asyncio
import contextlib
import contextvars
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from sitelog.core.errorlog.records import ErrorRecords
from sitelog.core.errorlog.sidecar_copy import TRAILER_ROOM, is_finished, read_copy
from sitelog.core.errorlog.upload_plan import Captured
from sitelog.core.jobpod.pod import JobPod, Sidecar
from sitelog.core.names import SIDECAR
from sitelog.core.policy.policy import Capture, ErrorLog
from sitelog.kube.client import ApiError, KubeClient, NotFoundError
from sitelog.telemetry.metrics import FOLLOWED

from .spool import Spool

_PAUSE_SECONDS: Final = 0.5  # until a log that broke off is asked for again; more each time
_MAX_PAUSE_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 300.0  # after the end of a pod, in which its log may still come in: its node may start again
_SHORT_PATIENCE_SECONDS: Final = 20.0  # the same of one that is gone, or was not seen to run: its node may say so late
_OTHER_CONTROLLER_SECONDS: Final = (
    3.0  # in which another controller, that has read what this one came too late for, may be first
)
# What a kubelet answers, with status 200, when it has the pod but not the log, or no longer.
_NO_LOG: Final = (
    b"unable to retrieve container logs for ",  # the container is gone
    b'failed to try resolving symlinks in path "/',  # its file is gone
    b'failed to open log file "/',
)

log = logging.getLogger(__name__)


class LogFollower:
    """Follows the error logs of running job pods, each from its beginning, until it is fetched.

    A connection that breaks off, and a controller that starts anew, read the log from its beginning again: then it is
    the same, or what was there before is kept.

    Parameters
    ----------
    complete : told when a log has been read to its end, with the pod as last seen.
    """

    def __init__(self, client: KubeClient, complete: Callable[[Mapping[str, Any]], None]) -> None:
        self._client = client
        self._complete = complete
        self._follows: dict[str, _Follow] = {}
        self._settled: dict[str, float] = {}  # so that an older view of a pod does not begin anew
        FOLLOWED.set_function(lambda: len(self._follows))

    def see(self, pod: JobPod, body: Mapping[str, Any], settings: ErrorLog) -> None:
        """Take a pod's newest state; follow its log from the moment that there may be one."""
        if follow := self._follows.get(pod.uid):
            follow.pod, follow.body = pod, body
        elif pod.uid not in self._settled and (source := _source(pod, settings)):
            self._follow(pod, body, source, settings)

    def _follow(self, pod: JobPod, body: Mapping[str, Any], source: str, settings: ErrorLog) -> "_Follow":
        follow = self._follows[pod.uid] = _Follow(self._client, pod, body, source, settings.max_bytes)
        follow.start(self._complete)
        return follow

    def captured(self, pod: JobPod, body: Mapping[str, Any], settings: ErrorLog, *, deleted: bool) -> Captured | None:
        """Return the error log of a pod that has ended; None while it is still coming in."""
        follow = self._follows.get(pod.uid)
        if follow is None:
            follow = self._follow(pod, body, _source(pod, settings) or pod.container, settings)
        follow.pod, follow.body = pod, body
        waited = follow.waited()
        may_come_back = pod.started and not deleted and not (pod.finished and follow.refused)
        if not follow.done and waited < (_PATIENCE_SECONDS if may_come_back else _SHORT_PATIENCE_SECONDS):
            return None
        captured = follow.result()
        return None if captured.lost and waited < _OTHER_CONTROLLER_SECONDS else captured

    def settle(self, uid: str) -> None:
        """Let go of a pod whose error log is safe."""
        self._settled[uid] = time.monotonic()
        self.stop(uid)

    def stop(self, uid: str) -> None:
        """Follow a pod's log no further."""
        if follow := self._follows.pop(uid, None):
            follow.close()

    def forget(self, seconds: float) -> None:
        """Forget which error logs became safe longer ago."""
        long_ago = time.monotonic() - seconds
        self._settled = {uid: at for uid, at in self._settled.items() if at > long_ago}


def _source(pod: JobPod, settings: ErrorLog) -> str | None:
    """Return the container whose log tells now; None where there is none yet.

    Of a pod that is being ended there may be one before its node has said so, and soon after there is none.
    """
    unsure = bool((pod.deleted_at or pod.finished) and pod.node) and not pod.started
    copied = pod.sidecar in (Sidecar.RUNNING, Sidecar.ENDED) or (pod.sidecar is Sidecar.WAITING and unsure)
    if settings.capture is Capture.SIDECAR and copied:
        return SIDECAR
    return pod.container if pod.started or unsure else None


class _Follow:
    """One pod's log, on its way."""

    def __init__(self, client: KubeClient, pod: JobPod, body: Mapping[str, Any], source: str, max_bytes: int) -> None:
        self.pod, self.body = pod, body
        self.done = False
        self._client = client
        self._source = source
        self._size = max_bytes + (TRAILER_ROOM if source == SIDECAR else 0)
        self._best = Spool(self._size)
        self._read_to_end = False  # as far as it went at that time
        self._last_read: bytes | None = None  # digest of what the last reading to an end gave
        self._confirmed = False  # whether it was read again after the container's end, and was the same
        self._forgotten = False  # whether its node has it no more
        self._heard = False  # whether the container has printed anything, an error or not
        self._trouble: str | None = None  # why nothing was read, or not all
        self.refused = False  # whether its node answers, and knows nothing of the container any more, or yet
        self._waiting_since: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, complete: Callable[[Mapping[str, Any]], None]) -> None:
        # In an empty context: kopf's holds the event that it was called for, and the pod's whole body with it.
        self._task = asyncio.create_task(
            self._read_all(complete), name=f"following {self.pod}", context=contextvars.Context()
        )

    def close(self) -> None:
        if self._task:
            self._task.cancel()
        self._best.close()

    def waited(self) -> float:
        """Return the seconds since it was first asked for."""
        self._waiting_since = self._waiting_since or time.monotonic()
        return time.monotonic() - self._waiting_since

    def result(self) -> Captured:
        received, kept = self._best.received, self._best.end()
        if self._trouble and not received:
            return Captured(lost=self._trouble)
        if self._source == SIDECAR:
            return read_copy(kept, received)
        if self.done and not self._heard:  # NVFlare's job process prints something as soon as it runs
            return Captured(lost="its node had an empty log of it")
        return Captured(kept, received - len(kept), partial=self._missing())

    def _missing(self) -> str | None:
        """Return why records may be missing of a log without a sidecar's trailer, or None.

        A stream that ends is not yet a log that has ended.
        """
        if self._trouble or not self.done:
            return "its reading was cut off, so its last records may be missing"
        return None if self._confirmed else "it was not there to be read again, so its last records may be missing"

    async def _read_all(self, complete: Callable[[Mapping[str, Any]], None]) -> None:
        pause = _PAUSE_SECONDS
        while not self.done:
            try:
                ended, before = self._has_ended(), self._last_read
                self._last_read = None
                await self._read()
                self._confirmed = ended and self._last_read is not None and self._last_read == before
                self.done = self._at_its_end(ended=ended)
            except NotFoundError:
                if not self._read_to_end:
                    self._trouble = "the pod was gone before it could be read"
                self.done = True
            except (ApiError, OSError) as error:  # OSError: the disk is full
                self.refused = isinstance(error, ApiError) and error.status == HTTPStatus.BAD_REQUEST
                self._trouble = _trouble(error)
                log.debug("%s: its log breaks off: %s", self.pod, error)
            if not self.done:
                await asyncio.sleep(pause)
                if self.pod.started:  # else it is being ended, and its log is there for a moment
                    pause = min(2 * pause, _MAX_PAUSE_SECONDS)
        complete(self.body)

    async def _read(self) -> None:
        """Read the log from its beginning as far as it goes; what is longer is better."""
        records = ErrorRecords() if self._source != SIDECAR else None
        fresh = Spool(self._size)
        self._forgotten = False
        first = True
        async with contextlib.aclosing(
            self._client.follow_log(self.pod.namespace, self.pod.name, self._source)
        ) as pieces:
            async for piece in pieces:
                if first and piece.startswith(_NO_LOG):
                    self._trouble = None if self._read_to_end else "its node no longer had it"
                    self._forgotten = True
                    return
                first, self._heard = False, True
                fresh.write(records.feed(piece) if records else piece)
                if self._best is not fresh and fresh.received >= self._best.received:
                    self._best.close()
                    self._best = fresh
        self._trouble = None
        self._read_to_end = True
        if records:
            fresh.write(records.finish())
        self._last_read = hashlib.sha256(b"%d\n" % fresh.received + fresh.end()).digest()

    def _at_its_end(self, *, ended: bool) -> bool:
        """Tell whether nothing more comes.

        `ended`: it had ended before it was read; else an answer that there is no log may mean that there is none yet.
        """
        gone = self._forgotten and ended
        if self._source == SIDECAR:
            return is_finished(self._best.end(TRAILER_ROOM)) or (self._has_ended() and (gone or not self._forgotten))
        return self._has_ended() and (self._confirmed or gone)

    def _has_ended(self) -> bool:
        ended = self.pod.sidecar is Sidecar.ENDED if self._source == SIDECAR else not self.pod.running
        return ended or self.pod.finished


def _trouble(error: ApiError | OSError) -> str:
    if isinstance(error, OSError):
        return f"it could not be kept ({error.strerror})"
    if error.status == HTTPStatus.BAD_REQUEST:
        return "its container had not started"
    return f"it could not be read ({error.reason})"
