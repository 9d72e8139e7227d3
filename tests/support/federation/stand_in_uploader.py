"""A program in the place of `sitelog upload`, with a folder in the place of the FL server.

It runs in the upload Job's pod, as a process, with the very arguments and files that the real one gets. What it does
with a job's log, a test says by files: `hold/JOB` lets it wait, `fail/JOB` lets it give up.
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path

GIVE_UP = 78


class StandInUploader:
    """The test's side.

    Attributes
    ----------
    image
        To be named by a policy's `errorLog.image`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("hold", "fail", "running", "stored"):
            (directory / name).mkdir()
        program = directory / "uploader"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "{directory}" "$@"\n')
        program.chmod(0o755)
        self.image = f"file://{program}"

    def hold(self, job_id: str) -> None:
        """Let uploads for a job wait."""
        (self._directory / "hold" / job_id).touch()

    def release(self, job_id: str) -> None:
        """Let them go on."""
        (self._directory / "hold" / job_id).unlink()

    def fail(self, job_id: str) -> None:
        """Let uploads for a job give up."""
        (self._directory / "fail" / job_id).touch()

    def running(self) -> list[str]:
        """Jobs that an upload is under way for; twice where there are two."""
        return sorted(path.name.partition("@")[0] for path in (self._directory / "running").iterdir())

    def stored(self, job_id: str) -> list[tuple[str, bytes]]:
        """Client name and log of each upload that came to its end."""
        files = sorted((self._directory / "stored").glob(f"{job_id}@*"))
        return [(path.name.split("@")[1], path.read_bytes()) for path in files]


def main(directory: Path, arguments: list[str]) -> int:
    """Play the uploader."""
    options = dict(word.removeprefix("--").split("=", 1) for word in arguments[1:])
    job_id, client = options["job-id"], options["client-name"]
    mark = directory / "running" / f"{job_id}@{os.getpid()}"
    mark.touch()
    while (directory / "hold" / job_id).exists():
        time.sleep(0.02)
    log = gzip.decompress(Path(options["log"]).read_bytes())
    if failed := (directory / "fail" / job_id).exists():
        result = {"reason": "CertificateRefused", "message": "the FL server refuses the courier"}
    else:
        result = {"reason": "ErrorLogUploaded", "message": f"the FL server has {len(log)} bytes"}
        unfinished = directory / "running" / f"{job_id}@{os.getpid()}.log"
        unfinished.write_bytes(log)
        unfinished.rename(directory / "stored" / f"{job_id}@{client}@{time.time_ns()}")
    Path(options["result-file"]).write_text(json.dumps(result))
    mark.unlink()
    return GIVE_UP if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
