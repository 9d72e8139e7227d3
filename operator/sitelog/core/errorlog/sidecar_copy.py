"""What the sidecar's output says about the copy of error_log.txt in it: whole, or what is missing."""

import re
from typing import Final

from .upload_plan import Captured

TRAILER_ROOM: Final = 256  # bytes that the sidecar's last line may take
_TRAILER: Final = re.compile(
    rb"\n\[sitelog: end of error_log\.txt, (\d{1,15}) bytes, (\d{1,15}) left out before the last (\d{1,15})\]\n?\Z"
)
_UNREADABLE: Final = re.compile(rb"\n?\[sitelog: error_log\.txt cannot be read: (\w{1,60})\]\n?\Z")


def is_finished(end: bytes) -> bool:
    """Whether the sidecar has written its trailer; `end`: the last bytes of its output."""
    return bool(_TRAILER.search(end[-TRAILER_ROOM:]) or _UNREADABLE.search(end[-TRAILER_ROOM:]))


def read_copy(end: bytes, received: int) -> Captured:
    """Tell what a sidecar's output has of the job's error_log.txt.

    Parameters
    ----------
    end : the last bytes of the output.
    received : bytes of the whole output.
    """
    trailer = _TRAILER.search(end[-TRAILER_ROOM:])
    if trailer is None:
        return _without_trailer(end, received)
    line = len(trailer[0])
    content, copied = end[:-line], received - line
    size, left_out, tail = (int(number) for number in trailer.groups())
    if left_out:  # what stands before it is not what stood there in the file
        content = content[max(0, len(content) - tail) :]
    missing = max(0, size - len(content))
    if copied == size - left_out:
        return Captured(content, missing)
    return Captured(content, missing, f"the node kept only {copied} of the {size - left_out} bytes that were copied")


def _without_trailer(end: bytes, received: int) -> Captured:
    missing = received - len(end)
    if unreadable := _UNREADABLE.search(end[-TRAILER_ROOM:]):
        why = f"the file could not be read ({unreadable[1].decode()})"
        return Captured(end[: -len(unreadable[0])], missing, why)
    return Captured(end, missing, "its copying was cut off, so its last records may be missing")
