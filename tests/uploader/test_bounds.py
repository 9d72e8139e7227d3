"""Nothing may hang the uploader, and it always leaves a result."""

import gzip
import json
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sitelog.core.names import EXIT_RETRY, Reason
from sitelog.uploader import upload
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
    let_go = threading.Event()
    monkeypatch.setattr(upload, "_ATTEMPT_SECONDS", 0.05)
    monkeypatch.setattr(upload, "visit", lambda *_: calls.append(1) or let_go.wait(30))
    outcome = upload._outcome(options)
    let_go.set()
    assert (outcome.exit_code, outcome.reason) == (EXIT_RETRY, Reason.SERVER_UNREACHABLE)
    assert calls == [1]


def test_a_fault_nobody_foresaw_is_a_result_too(options: UploadOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Outcome:
        raise LookupError("surprise")

    monkeypatch.setattr(upload, "visit", broken)
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
