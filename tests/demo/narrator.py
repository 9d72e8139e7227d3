"""What the demo says to a person, and the shell in which it types."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDTH = 100
_COMMAND_DEADLINE = 60.0


class ClaimError(AssertionError):
    """Something that the demo shows is not as it should be."""


class Narrator:
    """Prints headings, sentences, commands with their output, and what was checked.

    Parameters
    ----------
    environment
        Of the commands. They run in the project's root, so that paths are those that a person would type there.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._started = time.monotonic()
        self._environment = dict(environment or {})
        self._bold, self._dim, self._plain = _styles()

    # --- for the reader ---------------------------------------------------------------------------------------------

    def heading(self, text: str) -> None:
        """Begin a step."""
        _print("", f"{self._bold}=== {text} {'=' * (WIDTH - len(text) - 5)}{self._plain}")

    def say(self, text: str) -> None:
        """Explain, in a few sentences."""
        _print("", textwrap.fill(" ".join(text.split()), WIDTH))

    def progress(self, text: str) -> None:
        """Say what happens now, with the seconds since the start."""
        _print(f"{self._dim}[{time.monotonic() - self._started:.0f} s]{self._plain} {text}")

    def check(self, claim: str, *, holds: bool, seen: object = None) -> None:
        """State something that was looked at.

        Raises
        ------
        ClaimError
            It does not hold.
        """
        if not holds:
            what = "" if seen is None else f"\n  what was seen instead: {seen}"
            raise ClaimError(f"this should hold and does not: {claim}{what}")
        _print(textwrap.fill(f"checked: {claim}", WIDTH, subsequent_indent=" " * 9))

    # --- the shell --------------------------------------------------------------------------------------------------

    def enter(self, environment: Mapping[str, str]) -> None:
        """Type the following commands in this environment."""
        self._environment = dict(environment)

    def let(self, name: str, value: str) -> None:
        """Set a variable of the shell, and say so."""
        self._environment[name] = value
        _print("", f"{self._bold}$ {name}={value}{self._plain}")

    def type(self, command: str, *, fails: bool = False) -> str:
        """Print a command, run exactly that, and print what it wrote.

        Parameters
        ----------
        fails
            It has to end with exit code 1, as `diff` does where it finds differences.
        """
        _print("", f"{self._bold}$ {command}{self._plain}")
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment or None,
            cwd=ROOT,
            timeout=_COMMAND_DEADLINE,
            check=False,
        )
        _print(*map(_folded, done.stdout.splitlines()))
        if done.returncode != int(fails):
            raise ClaimError(f"exit code {done.returncode} of: {command}")
        return done.stdout


def _folded(line: str) -> str:
    """Break a line that is too wide, at a space where there is one, so that it can still be read as one."""
    if len(line) <= WIDTH:
        return line.rstrip()
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(
        line, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False, replace_whitespace=False
    )


def _styles() -> tuple[str, str, str]:
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ and shutil.get_terminal_size().columns:
        return "\033[1m", "\033[2m", "\033[0m"
    return "", "", ""


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
