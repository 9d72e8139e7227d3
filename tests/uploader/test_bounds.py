"""Nothing may hang the uploader, and it always leaves a result."""

import gzip
import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sitelog.core.durations import parse_duration
from sitelog.core.jobpod.identity import Identity
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import End, Termination
from sitelog.core.names import EXIT_DELIVERED, EXIT_RETRY, Reason
from sitelog.core.policy.policy import ErrorLog
from sitelog.kube.jobs import job_manifest
from sitelog.uploader import upload
from sitelog.uploader.delivery_attempt import DeliveryAttempt
from sitelog.uploader.failure import Failure
from sitelog.uploader.upload import MAX_RESULT, Outcome, UploadOptions


@pytest.fixture
def options(tmp_path: Path) -> Iterator[UploadOptions]:
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress(b"an error\n"))
    before = signal.getsignal(signal.SIGTERM)
    level = logging.getLogger("nvflare").level
    yield UploadOptions(log, tmp_path, "job", "site-1", retry_for=0.0)
    signal.signal(signal.SIGTERM, before)
    logging.getLogger("nvflare").setLevel(level)


def test_an_attempt_that_hangs_is_the_last(options: UploadOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    release = threading.Event()
    monkeypatch.setattr(upload, "_ATTEMPT_SECONDS", 0.05)
    monkeypatch.setattr(upload, "attempt", lambda *_: calls.append(1) or release.wait(30))
    outcome = upload._outcome(options)
    release.set()
    assert (outcome.exit_code, outcome.reason) == (EXIT_RETRY, Reason.SERVER_UNREACHABLE)
    assert calls == [1]


def test_a_fault_nobody_foresaw_is_a_result_too(options: UploadOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Outcome:
        raise LookupError("surprise")

    monkeypatch.setattr(upload, "attempt", broken)
    outcome = upload._outcome(options)
    assert (outcome.exit_code, outcome.reason) == (EXIT_RETRY, Reason.UPLOAD_GAVE_UP)
    assert "LookupError: surprise" in outcome.message


@pytest.mark.parametrize("message", ["x" * 10_000, "\N{SNOWMAN}" * 10_000, '"' * 4090])
def test_result_fits_into_a_termination_message(tmp_path: Path, message: str) -> None:
    path = tmp_path / "result"
    upload._write_result(path, Outcome(EXIT_RETRY, Reason.NOT_STORED, message, 7))
    assert path.stat().st_size <= MAX_RESULT
    result = json.loads(path.read_bytes())
    assert message.startswith(result.pop("message"))
    assert result == {"reason": "NotStored", "bytes": 7, "verified": False}


def test_result_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    upload._write_result(tmp_path / "nowhere" / "result", Outcome(EXIT_RETRY, Reason.NOT_STORED, "text"))
    assert "the result cannot be written" in caplog.text


@dataclass
class PlayedTime:
    """A clock that only goes on when somebody waits."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("attempt_seconds", [0.01, 20.0], ids=["refused at once", "no answer"])
def test_a_server_that_is_away_for_half_an_hour_gets_the_log_within_a_minute_of_its_return(
    options: UploadOptions, monkeypatch: pytest.MonkeyPatch, attempt_seconds: float
) -> None:
    """In one pod of the Job; an upload that gives up has three more."""
    clock = PlayedTime()
    back_at = clock.now + 30 * 60
    delivered_at: list[float] = []

    def attempt(_request: object) -> DeliveryAttempt:
        clock.sleep(attempt_seconds)
        if clock.now < back_at:
            raise Failure(Reason.SERVER_UNREACHABLE, "away")
        delivered_at.append(clock.now)
        return DeliveryAttempt("fl:1", "courier", sent=len(delivered_at) == 1, verified=True)

    monkeypatch.setattr(upload, "attempt", attempt)
    monkeypatch.setattr(upload, "_bounded", lambda attempt, _seconds: attempt())
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    (word,) = (word for word in upload_words() if word.startswith("--retry-for="))
    outcome = upload._outcome(replace(options, retry_for=parse_duration(word.removeprefix("--retry-for="))))
    assert (outcome.exit_code, outcome.reason, outcome.verified) == (EXIT_DELIVERED, Reason.UPLOADED, True)
    assert delivered_at[0] - back_at < 60


def upload_words() -> list[str]:
    """Give the command line that the controller's Job has."""
    pod = JobPod("fl", "pod", "uid", "main", ())
    manifest = job_manifest(
        pod,
        Termination(End.OOM_KILLED, "killed"),
        Identity("j", "c"),
        ErrorLog(courier_secret_name="k"),
        "fl/p",
        "image",
    )
    assert manifest["spec"]["backoffLimit"] == 3
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return list(container["args"])
