"""The uploader as a process of its own."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.wait import wait_for

ERROR_LOG = b"2026-01-01 10:00:00,000 - Worker - ERROR - broken\nTraceback: \xff not UTF-8\n" * 3

_RUN = """
import json, logging, sys
from pathlib import Path
from sitelog.uploader.upload import UploadOptions, run
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
given = json.loads(sys.argv[1])
for name in ("log", "kit", "result_file"):
    given[name] = Path(given[name])
sys.exit(run(UploadOptions(**given)))
"""


@dataclass
class Upload:
    """One run of the uploader."""

    process: subprocess.Popen[bytes]
    output: Path
    result_file: Path

    def text(self) -> str:
        return self.output.read_text()

    def saw(self, words: str) -> None:
        """Wait until it has logged some words."""
        wait_for(lambda: re.search(words, self.text()), 60, f"the uploader to say {words!r}")

    def exit_code(self) -> int:
        return self.process.wait(timeout=60)

    @property
    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.result_file.read_bytes())
        return value

    @property
    def end(self) -> tuple[int, str, bool]:
        """Exit code, reason, verified."""
        code = self.exit_code()
        assert self.result_file.exists(), self.text()
        return code, self.result["reason"], self.result["verified"]


StartUpload = Callable[..., Upload]  # (kit, job_id, client_name, log, **options), see start_upload


def start_upload(
    directory: Path,
    kit: Path,
    job_id: str,
    client_name: str = "site-1",
    log: bytes | Path = ERROR_LOG,
    *,
    before: str = "",
    **options: Any,
) -> Upload:
    """Start it with its files in a fresh folder.

    Parameters
    ----------
    before
        Python that runs before the program: only failures may be played there.
    options
        Fields of UploadOptions.
    """
    compressed = log if isinstance(log, Path) else directory / "log.gz"
    if isinstance(log, bytes):
        compressed.write_bytes(gzip.compress(log))
    result_file, output = directory / "result", directory / "output"
    given = {
        "log": str(compressed),
        "kit": str(kit),
        "result_file": str(result_file),
        "job_id": job_id,
        "client_name": client_name,
        "retry_for": 5.0,
        "settling": 0.2,
        **options,
    }
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", before + _RUN, json.dumps(given)],
            stdout=sink,
            stderr=sink,
            env={**os.environ, "TMPDIR": str(directory)},
        )
    return Upload(process, output, result_file)
