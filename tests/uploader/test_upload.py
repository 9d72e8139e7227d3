"""One error log to a real FL server, as the controller's Job runs it."""

import gzip
import re
from pathlib import Path

import pytest

from sitelog.core.names import EXIT_DELIVERED, EXIT_GIVE_UP, EXIT_RETRY
from support.federation.federation import COURIER, LEAD, MEMBER, SITE, Federation
from support.federation.uploader_process import ERROR_LOG, StartUpload

MEBIBYTES = b"0123456789abcde\n" * (3 << 16)  # several chunks


def stored(federation: Federation, job: str, client: str) -> bytes | None:
    return federation.stored(job).get(f"ERRORLOG_{client}")


def test_log_is_stored_byte_for_byte_under_its_job_and_client(
    federation: Federation, job: str, upload: StartUpload
) -> None:
    before = len(federation.log("localhost"))
    done = upload(federation.kit(MEMBER), job, SITE, MEBIBYTES)
    assert done.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)
    assert done.result["bytes"] == len(MEBIBYTES)
    assert federation.stored(job)["ERRORLOG_site-1"] == MEBIBYTES
    assert "Re-login" not in federation.log("localhost")[before:], "the live client was evicted"


def test_second_run_finds_the_log_and_sends_nothing(federation: Federation, job: str, upload: StartUpload) -> None:
    first = upload(federation.kit(MEMBER), job, "twice")
    assert first.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)
    file = federation.job_store / job / "ERRORLOG_twice"
    before = file.stat().st_ino
    second = upload(federation.kit(MEMBER), job, "twice")
    assert second.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)
    assert "already" in second.result["message"]
    assert file.stat().st_ino == before


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        pytest.param(b"first line\n", b"first line\nlast words\n", id="cut-short-is-replaced"),
        pytest.param(b"first line\nlast words\nand more\n", b"first line\nlast words\nand more\n", id="longer-stays"),
    ],
)
def test_what_the_site_itself_had_uploaded(
    federation: Federation, job: str, upload: StartUpload, there: bytes, expected: bytes
) -> None:
    (federation.job_store / job / "ERRORLOG_early").write_bytes(there)
    done = upload(federation.kit(MEMBER), job, "early", b"first line\nlast words\n")
    assert done.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)
    assert stored(federation, job, "early") == expected


@pytest.mark.parametrize("participant", [COURIER, LEAD])
def test_a_kit_that_may_not_look_delivers_and_says_so(
    federation: Federation, job: str, upload: StartUpload, participant: str
) -> None:
    client = f"unseen-by-{participant.partition('@')[0]}"
    done = upload(federation.kit(participant), job, client)
    assert done.end == (EXIT_DELIVERED, "ErrorLogUploadedUnverified", False)
    assert repr(participant) in done.result["message"]
    assert stored(federation, job, client) == ERROR_LOG


def test_unknown_job_is_never_called_delivered(federation: Federation, job: str, upload: StartUpload) -> None:
    done = upload(federation.kit(MEMBER), "no-such-job")
    assert done.end == (EXIT_GIVE_UP, "NotStored", False)
    assert "no-such-job" in done.result["message"]
    assert not (federation.staging / "no-such-job").exists()


def test_the_sites_own_kit_is_refused(federation: Federation, job: str, upload: StartUpload) -> None:
    done = upload(federation.kit(SITE), job, SITE)
    assert done.end == (EXIT_GIVE_UP, "KitIsTheSite", False)


def test_empty_log_needs_no_upload(federation: Federation, job: str, upload: StartUpload) -> None:
    assert upload(federation.kit(MEMBER), job, "empty", b"").end == (EXIT_DELIVERED, "NothingToUpload", False)
    assert stored(federation, job, "empty") is None


def test_one_line_an_attempt_and_never_content(federation: Federation, job: str, upload: StartUpload) -> None:
    done = upload(federation.kit(MEMBER), job, "quiet", b"secret of the patient\n")
    assert done.end[0] == EXIT_DELIVERED
    (line,) = done.text().splitlines()
    assert line.startswith("ErrorLogUploaded: ")


def test_kit_that_appears_later(federation: Federation, job: str, upload: StartUpload, tmp_path: Path) -> None:
    kit = tmp_path / "secret"
    kit.mkdir()
    waiting = upload(kit, job, "late", retry_for=30.0)
    waiting.saw(r"attempt 1: KitIncomplete: .* lacks fed_client.json, rootCA.pem, client.crt, client.key")
    for file in federation.kit(MEMBER).iterdir():
        (kit / file.name).write_bytes(file.read_bytes())
    assert waiting.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)


def test_termination_ends_it_with_a_result(upload: StartUpload, tmp_path: Path) -> None:
    waiting = upload(tmp_path, "some-job", retry_for=300.0)
    waiting.saw("attempt 1")
    waiting.process.terminate()
    assert waiting.end == (EXIT_RETRY, "UploadGaveUp", False)


def test_retries_end(upload: StartUpload, tmp_path: Path) -> None:
    done = upload(tmp_path, "some-job", retry_for=0.5)
    assert done.end == (EXIT_RETRY, "KitIncomplete", False)


def test_unreadable_logs(upload: StartUpload, tmp_path: Path) -> None:
    plain, cut, huge, missing = (tmp_path / name for name in ("plain.gz", "cut.gz", "huge.gz", "missing.gz"))
    plain.write_bytes(b"not gzip")
    cut.write_bytes(gzip.compress(MEBIBYTES)[:-20])
    huge.write_bytes(gzip.compress(bytes((64 << 20) + 1), compresslevel=1))
    started = [upload(tmp_path, "some-job", log=path) for path in (plain, cut, huge, missing)]
    assert {one.end for one in started} == {(EXIT_GIVE_UP, "LogUnreadable", False)}
    assert all(re.search("gzip|64 MiB", one.result["message"]) for one in started)
