"""The site's own SiteLogStreamer beside the uploader: every order of their steps, by NVFlare's own receiver."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from sitelog.core.errorlog import records
from sitelog.core.names import Reason
from sitelog.uploader import delivery_attempt, upload
from sitelog.uploader.delivery_attempt import UploadRequest
from sitelog.uploader.upload import Outcome, UploadOptions
from support.federation.receiver import Clock, Receiver

RECORDS = b"".join(b"2026-01-01 10:00:00,%03d - Worker - ERROR - broken\n" % number for number in range(120))
CLOSING = b"2026-01-01 10:00:01,000 - sitelog - CRITICAL - Pod fl/job: OOMKilled: out of memory\n"
LOST = CLOSING.replace(b"CRITICAL", b"ERROR")
MORE = RECORDS + RECORDS[:600]
CUT = records.cut(RECORDS + CLOSING, 4096)
CHUNK = 4096
MOMENTS = 12  # steps of ours before which one of theirs may come


class PlayedCourier:
    """The uploader's courier, with a step of time between any two of its own."""

    def __init__(self, receiver: Receiver, clock: Clock, did: list[str]) -> None:
        self._receiver = receiver
        self._clock = clock
        self._did = did

    def log_in(self) -> bool:
        return True

    def fetch(self, _job: str, _client: str, to: Path) -> bool:
        self._clock.tick()
        self._did.append("look")
        to.write_bytes(self._receiver.stored)
        return bool(self._receiver.stored)

    def send(self, log: Path, _job: str, _client: str) -> None:
        self._did.append("send")
        steps = self._receiver.upload(log.read_bytes(), CHUNK)
        self._clock.tick()
        while next(steps, self) is not self:
            self._clock.tick()


@contextmanager
def played(receiver: Receiver, clock: Clock) -> Iterator[list[str]]:
    """Let the uploader run without a network and without waiting; gives what it did."""
    did: list[str] = []

    def wait(seconds: float) -> None:
        clock.tick()
        did.append("settle" if seconds == upload.SETTLING else "back off")

    @contextmanager
    def courier(_kit: object) -> Iterator[PlayedCourier]:
        yield PlayedCourier(receiver, clock, did)

    with (
        mock.patch.object(delivery_attempt, "Courier", courier),
        mock.patch.object(delivery_attempt, "read_kit", return_value=mock.Mock(participant="courier")),
        mock.patch.object(delivery_attempt, "probe"),
        mock.patch.object(upload.time, "sleep", wait),
        mock.patch.object(upload, "_bounded", lambda attempt, _seconds: attempt()),
    ):
        yield did


# ours, theirs, and what the server may keep
CASES = {
    "they have it cut short": (RECORDS + CLOSING, RECORDS[:5000], [RECORDS + CLOSING]),
    "they have it without our record": (RECORDS + CLOSING, RECORDS, [RECORDS + CLOSING]),
    "they have the same": (RECORDS, RECORDS, [RECORDS]),
    "they have more": (RECORDS, MORE, [RECORDS, MORE]),
    "ours is cut": (CUT, RECORDS, [RECORDS + CLOSING, CUT]),
    "ours is lost": (LOST, RECORDS, [RECORDS + LOST, LOST]),
}


def deliver(directory: Path, ours: bytes, theirs: bytes, when: tuple[int, ...]) -> tuple[Outcome, bytes] | None:
    """Upload our log beside theirs; None where theirs ends after our last look."""
    receiver = Receiver(directory)
    clock = Clock(receiver.upload(theirs, CHUNK), when)
    log = directory / delivery_attempt.LOG_NAME
    log.write_bytes(ours)
    request = UploadRequest(log, "a-job", "site-1", directory)
    with played(receiver, clock) as did:
        outcome = upload._deliver(request, len(ours), UploadOptions(log, directory, "a-job", "site-1"))
    assert did[-2:] == ["settle", "look"]
    stored = receiver.stored
    assert [path.name for path in (directory / "jobs" / "a-job").iterdir()] == ["ERRORLOG_site-1"]
    return (outcome, stored) if clock.other_is_done() else None


def is_cut_by_ours(stored: bytes, ours: bytes, theirs: bytes) -> bool:
    """Whether ours, of a log that was lost, came into theirs and cut it short: what is lost is said after it."""
    return ours == LOST and theirs.startswith(stored.removesuffix(LOST)[:-1])


@pytest.mark.parametrize("case", CASES)
def test_the_server_has_our_log_in_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str) -> None:
    caplog.set_level(logging.ERROR)
    ours, theirs, expected = CASES[case]
    steps = -(-len(theirs) // CHUNK) + 1
    done = 0
    for number, when in enumerate(itertools.combinations_with_replacement(range(MOMENTS), steps)):
        if end := deliver(tmp_path / str(number), ours, theirs, when):
            outcome, stored = end
            assert (outcome.reason, outcome.verified) == (Reason.UPLOADED, True), when
            assert stored in expected or is_cut_by_ours(stored, ours, theirs), when
            done += 1
    assert done > 100
