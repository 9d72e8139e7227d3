"""The other end of the worker: one request at a time, an answer or none."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from sitelog.core.jobconfig.budget import OverBudgetError

from . import worker
from .frames import read_frame, write_frame

_START_SECONDS: Final = 30.0  # for its imports, on a node that has little time to spare
_ANSWER_SECONDS: Final = 10.0  # for 250 ms of processor time, on such a node; then it is stuck

T = TypeVar("T")


class NoAnswerError(Exception):
    """Nobody was there to run a function, or it was stuck."""


class Worker:
    """Runs functions within bounds, one after another, in a process that is replaced where it fails.

    Parameters
    ----------
    modules : where the functions are defined, to be imported beforehand.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process if there is none, and wait until it is ready.

        Raises
        ------
        NoAnswerError
            It does not become ready.
        """
        if self._process is not None:
            return
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", worker.__name__, *self._modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
            start_new_session=True,
        )
        self._exchange(None, _START_SECONDS)

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of one of the modules; what it raises is raised here.

        Raises
        ------
        OverBudgetError
            It took more processor time or memory than it may.
        NoAnswerError
            The process failed; the next call gets another one.
        """
        self.start()
        answer = self._exchange((function, arguments), _ANSWER_SECONDS)
        if answer is None:
            raise OverBudgetError
        value, error = answer
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process, and what it is at."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def _exchange(self, request: Any, patience: float) -> Any:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise NoAnswerError("there is no process that could decide")
        answers, deadline = process.stdout.fileno(), time.monotonic() + patience
        poll = select.poll()
        poll.register(answers, select.POLLIN)

        def wait() -> None:
            if not poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
                raise TimeoutError

        try:
            if request is not None:
                write_frame(process.stdin.fileno(), request)
            return read_frame(answers, wait)
        except (OSError, EOFError):  # it is gone, or stuck: TimeoutError is an OSError
            self.close()
            raise NoAnswerError("the process that decides has failed") from None
