"""Values over a pipe: each as its pickled length and itself. Both ends are Sitelog's own processes."""

import os
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

_LENGTH: Final = struct.Struct("!Q")
_CHUNK: Final = 1 << 20  # bytes


def write_frame(fd: int, value: Any) -> None:
    """Write a value. Raises OSError where nobody reads any more."""
    payload = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    for part in (_LENGTH.pack(len(payload)), payload):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view[:_CHUNK]) :]


def read_frame(fd: int, wait: Callable[[], object] = lambda: None) -> Any:
    """Read a value; `wait` is called before each read. Raises EOFError where nobody writes any more."""
    (length,) = _LENGTH.unpack(_read(fd, _LENGTH.size, wait))
    return pickle.loads(_read(fd, length, wait))  # noqa: S301 - our own process wrote it


def _read(fd: int, size: int, wait: Callable[[], object]) -> bytearray:
    content = bytearray()
    while len(content) < size:
        wait()
        chunk = os.read(fd, min(size - len(content), _CHUNK))
        if not chunk:
            raise EOFError
        content += chunk
    return content
