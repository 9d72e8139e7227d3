"""The error log that goes to the FL server: error records out of a container's log, a closing record, a bounded size.

NVFlare writes the same records to the container's output and to its `error_log.txt`; the latter has those of level
ERROR and above (`nvflare/fuel/utils/log_config.json`).
"""

import gzip
import re
from typing import Final

from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import Termination

FILE_NAME: Final = "error_log.txt"
_RECORD: Final = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - .+? - ([A-Z]+) - ")
_LEVELS: Final = (b"ERROR", b"CRITICAL")
_LONGEST_HEAD: Final = 4096  # bytes of a line after which nobody waits for its end to tell what it is
_NOTICE_ROOM: Final = 200  # bytes kept free for the notice of what was cut


class ErrorRecords:
    """Picks the error records out of a container's log, piece by piece.

    A record starts with NVFlare's time, logger and level; the lines up to the next one belong to it.
    """

    def __init__(self) -> None:
        self._start = b""  # of a line, as long as it may still be a record's
        self._within_line = False
        self._in_error = False

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece of the log, cut wherever it may be; return what of it belongs to error records."""
        lines = (self._start + piece).split(b"\n")
        self._start = b""
        last = lines.pop()
        kept = [self._line(line + b"\n") for line in lines]
        if last and (self._within_line or len(last) > _LONGEST_HEAD):
            kept.append(self._line(last))
            self._within_line = True
        else:
            self._start = last
        return b"".join(kept)

    def finish(self) -> bytes:
        """Return what is left: the log may end without a new line."""
        last, self._start = self._start, b""
        return self._line(last) if last else b""

    def _line(self, line: bytes) -> bytes:
        if not self._within_line and (record := _RECORD.match(line)):
            self._in_error = record[1] in _LEVELS
        self._within_line = False
        return line if self._in_error else b""


def closing_record(pod: JobPod, end: Termination) -> bytes:
    """Write, in NVFlare's own form, the record that a job that died could not write itself."""
    return f"{_time(pod, end)},000 - sitelog - CRITICAL - {pod}: {end.end.value}: {end.message}\n".encode()


def lost_notice(pod: JobPod, end: Termination, why: str) -> bytes:
    """Write the record that stands where the job's own error log should be."""
    return _notice(pod, end, f"the job's own error log is lost: {why}")


def partial_notice(pod: JobPod, end: Termination, why: str) -> bytes:
    """Write the record that follows what could be had of the job's own error log."""
    return _notice(pod, end, f"the job's own error log is partial: {why}")


def _notice(pod: JobPod, end: Termination, text: str) -> bytes:
    return f"{_time(pod, end)},000 - sitelog - ERROR - {pod}: {text}\n".encode()


def _time(pod: JobPod, end: Termination) -> str:
    return (end.at or pod.deleted_at or pod.created_at).rstrip("Z").replace("T", " ")[:19]


def join(*parts: bytes) -> bytes:
    """Put parts together, each beginning on a line of its own."""
    return b"".join(part if part.endswith(b"\n") or not part else part + b"\n" for part in parts)


def cut(log: bytes, max_bytes: int, missing: int = 0) -> bytes:
    """Keep the end of a log that is too long, from the start of a line, and say how much is missing.

    `missing`: bytes that stood before it and are gone already.
    """
    if not missing and len(log) <= max_bytes:
        return log
    end = log[max(0, len(log) - (max_bytes - _NOTICE_ROOM)) :]
    start = end.find(b"\n") + 1
    if 0 < start < len(end):
        end = end[start:]
    return _cut_notice(missing + len(log) - len(end)) + end


def pack(log: bytes) -> bytes:
    """Compress; the same log gives the same bytes."""
    return gzip.compress(log, mtime=0)


def _cut_notice(missing: int) -> bytes:
    return f"[sitelog: the first {missing} bytes of this log were cut, see errorLog.maxBytes of the policy]\n".encode()
