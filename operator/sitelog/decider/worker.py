"""The process that decides beside the others: `python -m sitelog.decider.worker MODULE...`.

It has everything imported, and makes a copy of itself for each decision. The copy lives on 250 ms of processor time and
64 MiB of memory: the kernel ends it where that does not do, whatever library it is in, and nothing of a decision is
left behind.
"""

import gc
import importlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from .frames import read_frame, write_frame

PROCESSOR_SECONDS: Final = 0.25
MEMORY: Final = 64 * 1024 * 1024  # bytes, beside what a copy begins with
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1


def main() -> None:
    """Answer requests until nobody asks any more.

    A request is a function and its arguments. An answer is a pair of what the function returned and what it raised,
    or None where it did not end within its bounds.
    """
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a copy that looks for garbage must not have all pages copied
    write_frame(_STANDARD_OUTPUT, None)  # ready
    while True:
        try:
            request = read_frame(_STANDARD_INPUT)
        except EOFError:
            return
        child = os.fork()
        if not child:
            _answer(*request)
        del request
        if os.waitpid(child, 0)[1]:
            write_frame(_STANDARD_OUTPUT, None)


def _answer(function: Any, arguments: tuple[Any, ...]) -> NoReturn:
    """Answer in a copy of the process, and end it."""
    status = 1
    try:
        _bound()
        answer = _call(function, arguments)
        signal.setitimer(signal.ITIMER_PROF, 0)  # half an answer would be worse than one that is late
        write_frame(_STANDARD_OUTPUT, answer)
        status = 0
    finally:
        os._exit(status)


def _call(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - it goes to whoever asked
        return None, error


def _bound() -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
    size = Path("/proc/self/statm")
    if size.exists():  # a Mac has none, and runs no webhook
        limit = int(size.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
