"""What the sidecar prints: its own program over a file."""

import io
import tempfile
from pathlib import Path

from sitelog.sidecar.copy_log import Copy


def sidecar_output(error_log: bytes) -> bytes:
    """Return the whole output of a sidecar whose job has written this and ended."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "error_log.txt"), io.BytesIO()
        file.write_bytes(error_log)
        copy = Copy(str(file), out)
        copy.look()
        copy.finish()
        if copy.file:
            copy.file.close()
        return out.getvalue()
