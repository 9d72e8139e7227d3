"""Programs that the tests on real nodes run, and what they tell a person meanwhile."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.control_plane.control_plane import CommandError


def run(
    *command: str,
    input: str | None = None,  # noqa: A002 - called as subprocess.run's
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    deadline: float = 900,
) -> str:
    """Run a program to its end and return its stdout; unless `check`, stdout and stderr, whatever happened.

    Raises
    ------
    CommandError
        It failed; the message has what it wrote.
    """
    done = subprocess.run(
        command,
        input=input,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=deadline,
        check=False,
    )
    if not check:
        return done.stdout + done.stderr
    if done.returncode != 0:
        raise CommandError(f"{' '.join(command)[:2000]}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tell that something long begins, and how long it took."""
    say(f"{what} ...")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.0f} s")


def say(message: str) -> None:
    """Tell a person how far the set-up is; pytest shows it at once under `--capture=no`."""
    print(f"==> {message}", flush=True)
