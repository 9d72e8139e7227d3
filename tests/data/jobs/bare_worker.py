"""Stands where NVFlare's job process would, in a pod that no launcher started: writes an error_log.txt and ends.

As NVFlare's own logging does, it writes to its output what it writes to the file, and what is no error too.
What it does stands in its environment: ENDING, ERRORS (records) and END_AT (Unix time).
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

STEP = 4 << 20  # bytes
HALF = "half a li"  # the last record of one that is killed


def main() -> None:
    """Write the records, wait, end."""
    workspace, job_id = (sys.argv[sys.argv.index(option) + 1] for option in ("-m", "-n"))
    print("2026-01-01 00:00:00,000 - Worker - INFO - started", flush=True)
    folder = Path(workspace) / job_id
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "error_log.txt").open("a") as log:
        for number in range(1, int(os.environ["ERRORS"]) + 1):
            write(log, record(number, job_id))
        time.sleep(max(0.0, float(os.environ["END_AT"]) - time.time()))
        globals()[f"end_{os.environ['ENDING']}"](log)


def record(number: int, job_id: str) -> str:
    """Give one error record."""
    return f"2026-01-01 00:00:00,000 - Worker - ERROR - record {number} of job {job_id}\n"


def write(log: TextIO, text: str) -> None:
    """Write to the file, then to the output, each at once."""
    for to in (log, sys.stdout):
        to.write(text)
        to.flush()


def end_well(_log: TextIO) -> None:
    """Exit code 0."""


def end_code(_log: TextIO) -> None:
    """An exit code."""
    os._exit(3)


def end_killed(log: TextIO) -> None:
    """As a signal ends it, in the middle of a line: the first process of a container heeds none of its own."""
    write(log, HALF)
    os._exit(128 + signal.SIGSEGV)


def end_oom(_log: TextIO) -> None:
    """More memory than there is."""
    hoard = []
    while True:
        hoard.append(b"x" * STEP)


def end_never(_log: TextIO) -> None:
    """Until somebody ends it."""
    time.sleep(3600)


if __name__ == "__main__":
    main()
