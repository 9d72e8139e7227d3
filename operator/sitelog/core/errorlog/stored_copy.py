"""What the FL server keeps of a job's error log, against the log that we have.

The site's own SiteLogStreamer sends the same file to the same place, earlier or later, whole or cut short. The server
keeps what came last, and mixes two that come at once: it writes both to one file, where each goes on at its own place.
"""

import re
from dataclasses import dataclass
from typing import Final

_NOTICE: Final = b"[sitelog: "  # begins a line of ours that is no record: so much was cut
_RECORD: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - sitelog - ([A-Z]+) - ")
_HOLE: Final = b"\0"  # what stands where one of two writers had not been


@dataclass(frozen=True)
class _Parts:
    """A log of ours, taken apart.

    Attributes
    ----------
    job : what the job wrote.
    said : our own records after it: how the pod died, what is lost.
    whole : whether nothing of ours says that some of the job's bytes are missing.
    """

    job: bytes
    said: bytes
    whole: bool


def to_keep(stored: bytes, ours: bytes) -> bytes:
    """Give what the server should keep: `stored` itself where it has our log already.

    - A copy that begins with ours has it: the site may have sent what was written after the capture.
    - Where ours lacks bytes (it was cut at `maxBytes`, or could not be read), a copy that holds all that ours has of
      the job is the fuller one. It stays, and our own records come after it.
    - Any other copy gives way to ours: one that was cut short, one of something else, one in which two were mixed.
    """
    if stored.startswith(ours) and _HOLE not in stored[len(ours) :]:
        return stored
    parts = _take_apart(ours)
    if parts.whole or not _is_fuller(stored, parts.job):
        return ours
    if stored.endswith(parts.said):
        return stored
    return stored + (b"" if stored.endswith(b"\n") else b"\n") + parts.said


def _is_fuller(stored: bytes, job: bytes) -> bool:
    """Whether a copy holds these bytes of the job's, and is neither cut at its beginning nor mixed."""
    if not stored or stored.startswith(_NOTICE):
        return False
    before, found, after = stored.partition(job) if job else (stored, b"", b"")
    if not found and job.endswith(b"\n"):  # which we put there, where the job's last line had no end
        before, after = stored.removesuffix(job[:-1]), b""
        found = stored[len(before) :]
    return bool(found or not job) and _HOLE not in before and _HOLE not in after


def _take_apart(ours: bytes) -> _Parts:
    begin, end, whole = 0, len(ours), True
    while end and (record := _RECORD.match(ours, start := ours.rfind(b"\n", 0, end - 1) + 1)):
        whole &= record[1] != b"ERROR"  # how a pod died is CRITICAL; what of the log is lost is an ERROR
        end = start
    while begin < end and ours.startswith(_NOTICE, begin):
        whole = False
        begin = ours.find(b"\n", begin, end) + 1 or end
    return _Parts(ours[begin:end], ours[end:], whole)
