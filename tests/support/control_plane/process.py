"""Processes that end with the one that started them, however that ends."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Asks the kernel for SIGKILL at the parent's death, then becomes the program. (A preexec_fn would do the same, but is
# unsafe beside threads.) The parent's *thread* counts: whoever starts a Process keeps that thread alive.
_END_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""
TAIL_LINES = 25


class ProcessError(RuntimeError):
    """A program that should run has ended; the message carries the end of its log."""


class Process:
    """One program, its output appended to a file.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File for stdout and stderr.
    environment
        The whole environment; None: this process's own.
    directory
        Working directory; None: the log's folder.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.log = log
        launcher = [sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, str(os.getpid())]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=directory or log.parent,
                start_new_session=True,  # Ctrl-C reaches only the starter, which stops things in their order
            )

    @property
    def pid(self) -> int:
        """Process id of the program itself."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code as a container runtime tells it (128 + signal), None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, seconds: float | None = None) -> int | None:
        """Exit code, or None when it still runs after `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return self.exit_code

    def stop(self, grace: float = 5.0) -> int:
        """End the program: SIGTERM, and SIGKILL to its whole process group after `grace` seconds."""
        if self._process.poll() is None and grace > 0:
            self._process.terminate()
            self.wait(grace)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        code = self.exit_code
        assert code is not None
        return code

    def require_running(self) -> None:
        """Raise with the end of the log when the program has ended."""
        if (code := self.exit_code) is not None:
            raise ProcessError(f"{self.name} ended with {code}. The end of {self.log}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


def free_port() -> int:
    """Port of 127.0.0.1 that nobody listens on.

    It lies below the range that the kernel gives to outgoing connections, so that it is still free when a server
    is started on it again.
    """
    for port in random.sample(range(20_000, 32_000), 200):
        if port_is_free(port):
            return port
    raise ProcessError("no free port between 20000 and 32000 on 127.0.0.1")


def port_is_free(port: int) -> bool:
    """Whether a server could listen on `port` of every address of this host."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
