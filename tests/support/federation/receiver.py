"""NVFlare's own JobLogReceiver and job store, without a network: uploads go on step by step, as a test has it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode
from nvflare.apis.storage import StorageException
from nvflare.apis.streaming import StreamContextKey
from nvflare.app_common.logging.job_log_receiver import JobLogReceiver
from nvflare.app_common.storages.filesystem_storage import FilesystemStorage
from nvflare.app_common.streamers.streamer_base import KEY_FILE_NAME

JOB = "a-job"
CLIENT = "site-1"


class Receiver:
    """One server, one job, one client."""

    def __init__(self, directory: Path) -> None:
        (directory / "jobs" / JOB).mkdir(parents=True)
        self._stored = directory / "jobs" / JOB / f"ERRORLOG_{CLIENT}"
        storage = FilesystemStorage(str(directory / "jobs"))
        jobs = mock.Mock()
        jobs.set_client_data = lambda job, data, client, kind, _: storage.update_object(job, data, f"{kind}_{client}")
        self._engine = mock.Mock(**{"get_component.return_value": jobs, "get_client_from_name.return_value": None})
        self._receiver = JobLogReceiver(str(directory / "staging"))

    @property
    def stored(self) -> bytes:
        """What the server keeps; empty where there is nothing."""
        return self._stored.read_bytes() if self._stored.exists() else b""

    def upload(self, log: bytes, chunk: int) -> Iterator[None]:
        """Receive an upload: its steps are the chunks and the end."""
        peer, context = FLContext(), FLContext()
        peer.set_prop(ReservedKey.IDENTITY_NAME, CLIENT, private=False, sticky=False)
        peer.set_prop(ReservedKey.RUN_NUM, JOB, private=False, sticky=False)
        context.set_peer_context(peer)
        context.set_prop(ReservedKey.ENGINE, self._engine, private=True, sticky=False)
        stream = {KEY_FILE_NAME: "error_log.txt", StreamContextKey.RC: ReturnCode.OK}
        for start in range(0, len(log), chunk):
            self._receiver._on_chunk_received(log[start : start + chunk], stream, context)
            yield
        # Another upload may have taken the file away; NVFlare logs it, and the sender hears OK.
        with contextlib.suppress(StorageException):
            self._receiver._on_stream_done(stream, context)
        yield


class Clock:
    """Lets something else go on between one's own steps.

    Parameters
    ----------
    other
        What goes on.
    when
        Before which of one's own steps, in order; the same one may stand there more than once.
    """

    def __init__(self, other: Iterator[None], when: tuple[int, ...]) -> None:
        self._other = other
        self._when = list(when)
        self.now = 0

    def tick(self) -> None:
        """One's own next step is about to come."""
        while self._when and self._when[0] <= self.now:
            self._when.pop(0)
            next(self._other, None)
        self.now += 1

    def other_is_done(self) -> bool:
        """Whether the other one has come to its end; lets it come there."""
        done = not self._when
        for _ in self._other:
            pass
        return done
