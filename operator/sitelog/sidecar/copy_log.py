"""The sidecar `sitelog-error-log`: copies a job's error_log.txt to its own standard output as the file grows.

It is sent as text (`python -I -S -c TEXT PATH`) and runs with the job image's own Python, so: the standard library
only, Python 3.6, nothing else of Sitelog's. It ends when it is told to, after the job's container has ended, and never
by itself: a sidecar that fails would be started again and again.

Its output is the file's bytes, a line end of its own, and one line that says how many bytes there were
(`core/errorlog/sidecar_copy.py` reads it). A kubelet keeps 10 MiB of a container's log; so of a file beyond HEAD bytes
only the end follows, when the job has ended.
"""

import io
import os
import signal
import sys
import time
from typing import BinaryIO

HEAD = 4 << 20  # bytes that are copied as they come
TAIL = 1 << 20  # bytes of a longer file that are copied when it is complete: more than any policy's maxBytes
PIECE = 1 << 16
PAUSE_SECONDS = 0.2  # between looks at the file


class Copy:
    """What has been copied of a file, which may be replaced by another of the same name (log rotation)."""

    def __init__(self, path: str, out: BinaryIO) -> None:
        self.path = path
        self.out = out
        self.file: BinaryIO | None = None
        self.before = 0  # bytes of files that were rotated away
        self.copied = 0

    def look(self) -> None:
        """Copy what is there now."""
        while self.file or os.path.exists(self.path):
            file = self.file = self.file or open(self.path, "rb")
            self._read(file)
            if not self._replaced(file):
                return
            self._read(file)  # what was written between the last read and the rotation
            self.before += file.tell()
            file.close()
            self.file = None

    def _read(self, file: BinaryIO) -> None:
        if os.fstat(file.fileno()).st_size < file.tell():  # truncated
            self.before += file.tell()
            file.seek(0)
        while self.copied < HEAD:
            piece = file.read(PIECE)
            if not piece:
                return
            self._write(piece)
        file.seek(0, os.SEEK_END)

    def _replaced(self, file: BinaryIO) -> bool:
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        here = os.fstat(file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _write(self, piece: bytes) -> None:
        self.out.write(piece)
        self.out.flush()
        self.copied += len(piece)

    def finish(self) -> None:
        """Copy the end of what was left out, and say how many bytes there were."""
        file = self.file or io.BytesIO()
        here = file.tell()
        tail = min(TAIL, self.before + here - self.copied, here)
        if tail:
            file.seek(-tail, os.SEEK_CUR)
            for piece in iter(lambda: file.read(PIECE), b""):
                self._write(piece)
            tail += file.tell() - here  # it may still have grown
            here = file.tell()
        size = self.before + here
        line = (
            f"\n[sitelog: end of error_log.txt, {size} bytes, {size - self.copied} left out before the last {tail}]\n"
        )
        self.out.write(line.encode())
        self.out.flush()


def main(path: str, out: BinaryIO) -> None:
    """Copy until told to end."""
    stop: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    copy = Copy(path, out)
    try:
        while not stop:
            copy.look()
            time.sleep(PAUSE_SECONDS)
        copy.look()
        copy.finish()
    except OSError as error:
        out.write(f"\n[sitelog: error_log.txt cannot be read: {type(error).__name__}]\n".encode())
        out.flush()
        while not stop:
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.stdout.buffer)
