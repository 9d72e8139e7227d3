"""Stands where NVFlare's job process would, in a pod that no launcher started: writes an error_log.txt and ends.

What it does stands in its environment: ENDING, ERRORS (records) and END_AT (Unix time).
"""

import os
import signal
import sys
import time
from pathlib import Path

STEP = 4 << 20  # bytes


def main() -> None:
    """Write the records, wait, end."""
    workspace, job_id = (sys.argv[sys.argv.index(option) + 1] for option in ("-m", "-n"))
    folder = Path(workspace) / job_id
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "error_log.txt").open("a") as log:
        for number in range(1, int(os.environ["ERRORS"]) + 1):
            log.write(f"2026-01-01 00:00:00,000 - Worker - ERROR - record {number} of job {job_id}\n")
            log.flush()
        print("written", flush=True)
        time.sleep(max(0.0, float(os.environ["END_AT"]) - time.time()))
        globals()[f"end_{os.environ['ENDING']}"](log)


def end_well(_log: object) -> None:
    """Exit code 0."""


def end_code(_log: object) -> None:
    """An exit code."""
    os._exit(3)


def end_killed(log: "object") -> None:
    """As a signal ends it, in the middle of a line: the first process of a container heeds none of its own."""
    log.write("half a li")  # type: ignore[attr-defined]
    log.flush()  # type: ignore[attr-defined]
    os._exit(128 + signal.SIGSEGV)


def end_oom(_log: object) -> None:
    """More memory than there is."""
    hoard = []
    while True:
        hoard.append(b"x" * STEP)


def end_never(_log: object) -> None:
    """Until somebody ends it."""
    time.sleep(3600)


main()
