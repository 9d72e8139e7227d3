"""What a test has the decider's process do, beside decisions."""

import os
import resource
import signal
import time
from pathlib import Path


def spin() -> None:
    while True:
        pass


def spin_in_a_library() -> int:
    return pow(7, 10**9) % 3  # no bytecode in which a handler of signals could run


def take(size: int) -> int:
    return len(bytearray(size))


def limits() -> tuple[float, int]:
    return signal.getitimer(signal.ITIMER_PROF)[0], resource.getrlimit(resource.RLIMIT_AS)[0] - address_space()


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def swallow_what_can_be() -> str:
    try:
        spin()
    except BaseException:  # noqa: BLE001 - what a library may do
        return "swallowed"
    return ""


def die() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    os._exit(0)


def hang() -> None:
    while True:
        time.sleep(3600)


def fail() -> None:
    raise LookupError("something")


def environment() -> dict[str, str]:
    return dict(os.environ)
