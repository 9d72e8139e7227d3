"""The error log that goes to the FL server: error records out of a container's log, a closing record, a bounded size.

NVFlare writes the same records to the container's output and to its `error_log.txt`; the latter has those of level
ERROR and above (`nvflare/fuel/utils/log_config.json`).
"""

import gzip
import re
from collections import deque
from typing import Final

from .outcome import PodEnd
from .pod import JobPod

FILE_NAME: Final = "error_log.txt"
_RECORD: Final = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - .+? - ([A-Z]+) - ")
_LEVELS: Final = (b"ERROR", b"CRITICAL")
_NOTICE_ROOM: Final = 200  # bytes kept free for the notice of what was cut


class ErrorRecords:
    """Takes a container's log piece by piece and keeps its error records, the last `max_bytes` of them.

    A record starts with NVFlare's time, logger and level; the lines up to the next one belong to it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._kept = 0
        self._lost = 0
        self._rest = b""
        self._in_error = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the log, cut wherever it may be."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._line(line + b"\n")

    def finish(self) -> bytes:
        """Return the error log: empty if there was no error record."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        notice = _cut_notice(self._lost) if self._lost else b""
        return notice + b"".join(self._lines)

    def _line(self, line: bytes) -> None:
        if record := _RECORD.match(line):
            self._in_error = record[1] in _LEVELS
        if not self._in_error:
            return
        self._lines.append(line)
        self._kept += len(line)
        while self._kept > self._max_bytes - _NOTICE_ROOM and len(self._lines) > 1:
            dropped = len(self._lines.popleft())
            self._kept -= dropped
            self._lost += dropped


def closing_record(pod: JobPod, end: PodEnd) -> bytes:
    """Write, in NVFlare's own form, the record that a job that died could not write itself."""
    time = (end.at or pod.deleted_at or pod.created_at).rstrip("Z").replace("T", " ")[:19]
    return f"{time},000 - sitelog - CRITICAL - {pod}: {end.end.value}: {end.message}\n".encode()


def lost_notice(pod: JobPod, end: PodEnd, why: str) -> bytes:
    """Write the record that stands where the job's own error log should be."""
    time = (end.at or pod.deleted_at or pod.created_at).rstrip("Z").replace("T", " ")[:19]
    return f"{time},000 - sitelog - ERROR - {pod}: the job's own error log is lost: {why}\n".encode()


def join(*parts: bytes) -> bytes:
    """Put parts together, each beginning on a line of its own."""
    return b"".join(part if part.endswith(b"\n") or not part else part + b"\n" for part in parts)


def cut(log: bytes, max_bytes: int) -> bytes:
    """Keep the end of a log that is too long, from the start of a line, and say how much is missing."""
    if len(log) <= max_bytes:
        return log
    end = log[-(max_bytes - _NOTICE_ROOM) :]
    start = end.find(b"\n") + 1
    if 0 < start < len(end):
        end = end[start:]
    return _cut_notice(len(log) - len(end)) + end


def pack(log: bytes) -> bytes:
    """Compress; the same log gives the same bytes."""
    return gzip.compress(log, mtime=0)


def _cut_notice(missing: int) -> bytes:
    return f"[sitelog: the first {missing} bytes of this log were cut, see errorLog.maxBytes of the policy]\n".encode()
