"""The end of a stream of bytes: a little of it in memory, more of it on disk."""

import tempfile
from typing import Final

_IN_MEMORY: Final = 16 << 10  # bytes; few error logs are longer


class Spool:
    """Keeps the last `size` bytes of what is written to it, and counts all of them.

    A thousand job pods may all write their errors at the same time; so what is more than a little goes to an unnamed
    file, of at most twice the size.

    Attributes
    ----------
    received : bytes written in all.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by close()
        self._held = 0
        self.received = 0

    def write(self, piece: bytes) -> None:
        """Add bytes."""
        self._file.write(piece)
        self._held += len(piece)
        self.received += len(piece)
        if self._held > 2 * self._size:
            kept = self.end()
            self._file.seek(0)
            self._file.write(kept)
            self._file.truncate()
            self._held = len(kept)

    def end(self, size: int | None = None) -> bytes:
        """Return the last bytes, all that are kept if no size is given."""
        self._file.seek(max(0, self._held - (self._size if size is None else size)))
        kept = self._file.read()
        self._file.seek(0, 2)
        return kept

    def close(self) -> None:
        """Let go of what is kept."""
        self._file.close()
