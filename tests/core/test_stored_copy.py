"""What stays on the server, whatever is there already."""

from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.errorlog import records
from sitelog.core.errorlog.stored_copy import to_keep
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import End, Termination

POD = JobPod("fl", "job", "uid", "main", ())
END = Termination(End.OOM_KILLED, "the container ran out of memory", "2026-01-01T10:00:00Z")
CLOSING = records.closing_record(POD, END)
LOST = records.lost_notice(POD, END, "the pod was gone")
JOB = b"".join(b"2026-01-01 10:00:00,%03d - Worker - ERROR - broken\n" % number for number in range(200))
MAX_BYTES = 4096
CUT = records.cut(JOB + CLOSING, MAX_BYTES)

lines = st.binary(max_size=30).map(lambda line: line.replace(b"\0", b""))
logs = st.lists(lines, max_size=12).map(b"\n".join)
ends = st.sampled_from([b"", CLOSING, LOST + CLOSING, LOST])
ROOM = 200 + len(LOST + CLOSING)  # for what is said of the log: a policy has room for it, its smallest maxBytes is 4096
sizes = st.integers(ROOM, ROOM + 250)


def ours_of(job: bytes, end: bytes, max_bytes: int) -> bytes:
    return records.cut(records.join(job, end), max_bytes)


@given(st.one_of(logs, st.binary()), logs, ends, sizes)
def test_to_keep_it_twice_is_to_keep_it_once(stored: bytes, job: bytes, end: bytes, max_bytes: int) -> None:
    ours = ours_of(job, end, max_bytes)
    kept = to_keep(stored, ours)
    assert to_keep(kept, ours) == kept


@given(st.one_of(logs, st.binary()), logs, ends, sizes)
def test_all_that_ours_has_is_kept(stored: bytes, job: bytes, end: bytes, max_bytes: int) -> None:
    ours = ours_of(job, end, max_bytes)
    kept = to_keep(stored, ours)
    if kept.startswith(ours):
        return
    # Nothing but the notice about what was cut may be missing.
    said = ours.endswith(end) * len(end)
    assert kept.endswith(ours[len(ours) - said :])
    begin = ours.index(b"\n") + 1 if ours.startswith(b"[sitelog: ") else 0
    assert ours[begin : len(ours) - said].removesuffix(b"\n") in kept


@given(logs, logs, ends, sizes)
def test_a_whole_copy_never_gives_way_to_one_that_lacks_bytes(job: bytes, more: bytes, end: bytes, size: int) -> None:
    ours = ours_of(job, end, size)
    if ours.startswith(b"[sitelog: ") and not job.startswith(b"[sitelog: "):
        assert to_keep(job + more, ours).startswith(job)


def test_ours_replaces_what_is_less() -> None:
    whole = JOB + CLOSING
    for stored in (b"", JOB, JOB[:2970], whole[:-1], b"something else\n", CUT, JOB[:100] + bytes(50) + JOB[150:]):
        assert to_keep(stored, whole) == whole


def test_what_goes_on_after_ours_stays() -> None:
    for ours in (JOB, JOB + CLOSING, CUT):
        assert to_keep(ours, ours) == ours
        assert to_keep(ours + b"and more\n", ours) == ours + b"and more\n"


def test_a_log_of_the_jobs_own_zeros_is_no_mixture() -> None:
    ours = b"zeros: \0\0\0\n" + CLOSING
    assert to_keep(ours, ours) == ours


def test_a_copy_in_which_two_were_mixed_gives_way() -> None:
    assert to_keep(JOB + bytes(100) + JOB[:100], JOB) == JOB
    assert to_keep(bytes(100) + JOB, CUT) == CUT
    assert to_keep(CUT[:100] + JOB[100:], CUT) == CUT


def test_the_whole_log_gets_the_records_of_one_that_was_cut() -> None:
    assert CUT.startswith(b"[sitelog: the first ")
    assert to_keep(JOB, CUT) == JOB + CLOSING
    assert to_keep(JOB + CLOSING, CUT) == JOB + CLOSING
    assert to_keep(JOB + b"and more\n", CUT) == JOB + b"and more\n" + CLOSING


def test_a_log_without_an_end_of_line_is_recognised() -> None:
    job = JOB + b"the end"
    ours = records.cut(records.join(job, CLOSING), MAX_BYTES)
    assert to_keep(job, ours) == job + b"\n" + CLOSING


def test_what_the_server_lacks_of_a_cut_log_is_not_made_up() -> None:
    assert to_keep(JOB[:-60], CUT) == CUT
    assert to_keep(JOB[-1000:], CUT) == CUT


def test_a_notice_of_loss_does_not_take_the_place_of_the_log() -> None:
    assert to_keep(b"", LOST + CLOSING) == LOST + CLOSING
    assert to_keep(JOB, LOST + CLOSING) == JOB + LOST + CLOSING
    partial = JOB[:5100] + records.lost_notice(POD, END, "the rest") + CLOSING
    assert to_keep(JOB, partial) == JOB + partial[5100:]
    assert to_keep(JOB[:4000], partial) == partial
