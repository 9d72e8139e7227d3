"""The error log: exactly NVFlare's own where its records tell, whole at its end, closed where the job could not."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.errorlog.records import ErrorRecords, closing_record, cut, join, lost_notice, pack
from sitelog.core.errorlog.upload_plan import Captured, compose
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import End, Termination, termination_of
from support.pods import recorded

ENOUGH = 10**6
COPIES = [
    ("fail.sf", "log_sitelog-error-log.txt"),
    ("fail.sf", "parent_copy.txt"),
    ("fail.sf", "server_copy.txt"),
    ("slow.sf", "log_sitelog-error-log.txt"),
    ("slow.sf", "parent_copy.txt"),
    ("slow.sf", "server_copy.txt"),
]
POD = JobPod("fl", "job-1", "uid", "worker", (), created_at="2026-11-24T07:57:15Z")
OOM = Termination(End.OOM_KILLED, "the container ran out of memory", "2026-11-24T07:58:01Z")
RECORD = b"2026-01-01 10:00:00,000 - Worker - ERROR - [identity=site-1] broken\n"

# A container's log as NVFlare's jobs write it: records of all levels, with lines that belong to them.
lines = st.lists(
    st.one_of(
        st.sampled_from([b"INFO", b"WARNING", b"ERROR", b"CRITICAL"]).map(
            lambda level: b"2026-01-01 10:00:00,000 - Worker - " + level + b" - text\n"
        ),
        st.sampled_from([b"Traceback (most recent call last):\n", b"  File x\n", b"\n", b"\xff\x00\n", b"epoch 1\r\n"]),
    ),
    max_size=30,
).map(b"".join)


def records(*pieces: bytes) -> bytes:
    keeper = ErrorRecords()
    return b"".join([keeper.feed(piece) for piece in pieces] + [keeper.finish()])


@pytest.mark.parametrize(("case", "copy"), COPIES)
def test_a_recorded_log_gives_the_error_log_byte_for_byte(case: str, copy: str) -> None:
    assert records(recorded.file(case, "stdout_f.txt")) == recorded.file(case, copy)


def test_what_a_job_prints_after_an_error_is_kept_with_it() -> None:
    found = records(recorded.file("cfgerr.sfz", "stdout_f.txt"))
    exact = recorded.file("cfgerr.sfz", "log_sitelog-error-log.txt")
    assert set(exact.splitlines()) <= set(found.splitlines())
    assert exact.startswith(recorded.file("cfgerr.sfz", "server_copy.txt")), "the server's own copy is cut short"


def test_a_job_without_errors_has_an_empty_error_log() -> None:
    assert records(recorded.file("ok", "stdout_f.txt")) == b""


@given(st.data())
def test_it_does_not_matter_how_the_log_is_cut_into_pieces(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["fail.sf", "slow.sf", "cfgerr", "oom", ""]))
    log = recorded.file(name, "stdout_f.txt") if name else data.draw(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=20)))
    pieces = [log[start:end] for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    assert records(*pieces) == records(log)


@given(lines)
def test_every_error_record_is_kept_and_no_other(log: bytes) -> None:
    found = records(log)
    assert found.count(b" - ERROR - ") == log.count(b" - ERROR - ")
    assert found.count(b" - CRITICAL - ") == log.count(b" - CRITICAL - ")
    assert b" - INFO - " not in found
    assert records(found) == found


def test_nobody_waits_for_the_end_of_an_endless_line() -> None:
    keeper = ErrorRecords()
    assert keeper.feed(RECORD[:-1]) == b""
    piece = b"x" * 10_000
    assert keeper.feed(piece) == RECORD[:-1] + piece
    assert keeper.feed(piece) == piece
    assert keeper.feed(b"\n2026-01-01 10:00:00,000 - Worker - INFO - on" + piece + piece) == b"\n"
    assert keeper.feed(piece + b"\n" + RECORD) == RECORD


@given(st.binary(max_size=3000), st.integers(300, 2000), st.integers(0, 10**9))
def test_cut_keeps_the_end_and_says_what_is_missing(log: bytes, limit: int, missing: int) -> None:
    found = cut(log, limit, missing)
    assert len(found) <= limit
    if len(log) <= limit and not missing:
        assert found == log
    else:
        notice, _, rest = found.partition(b"\n")
        assert log.endswith(rest)
        assert rest or not log
        assert f"first {missing + len(log) - len(rest)} bytes".encode() in notice


def test_the_closing_record_is_one_of_nvflares_form() -> None:
    closing = closing_record(POD, OOM)
    assert closing == (
        b"2026-11-24 07:58:01,000 - sitelog - CRITICAL - Pod fl/job-1: OOMKilled: the container ran out of memory\n"
    )
    assert records(closing) == closing
    assert records(lost_notice(POD, OOM, "gone")) == lost_notice(POD, OOM, "gone")


def test_a_record_without_a_time_of_its_own_takes_the_pods() -> None:
    assert closing_record(POD, Termination(End.DELETED, "gone")).startswith(b"2026-11-24 07:57:15,000 - sitelog")


@pytest.mark.parametrize("case", recorded.CASES)
def test_every_death_is_told_in_the_log_and_no_success(case: str) -> None:
    pod = recorded.pods(case)[-1][1]
    end = termination_of(pod, deleted=True, events=recorded.events(case))
    assert end is not None
    log = compose(pod, end, Captured(), ENOUGH)
    assert (log == b"") is (end.end is End.COMPLETED)
    assert (f": {end.end.value}: ".encode() in log) is end.died
    assert records(log) == log


def test_a_lost_log_is_told_before_the_end() -> None:
    log = compose(POD, OOM, Captured(RECORD.rstrip(b"\n"), lost="the container is gone"), ENOUGH)
    first, lost, closing = log.splitlines(keepends=True)
    assert first == RECORD
    assert b"the job's own error log is lost: the container is gone" in lost
    assert closing == closing_record(POD, OOM)


def test_the_closing_record_survives_the_limit() -> None:
    log = compose(POD, OOM, Captured(RECORD * 1000), 4096)
    assert len(log) <= 4096
    assert log.endswith(closing_record(POD, OOM))


def test_parts_begin_on_lines_of_their_own() -> None:
    assert join(b"", b"a", b"b\n", b"", b"c") == b"a\nb\nc\n"


@given(st.binary(max_size=500))
def test_packing_the_same_log_gives_the_same_bytes(log: bytes) -> None:
    assert pack(log) == pack(log)
    assert gzip.decompress(pack(log)) == log
