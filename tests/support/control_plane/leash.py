"""Run a command so that nothing of it outlives the one who started it: `python leash.py COMMAND...`.

An FL server and its client start each job as a process of its own, in a session of its own. The leash adopts
every orphan below it, ends when its starter does, and takes all of them along. Linux only; standard library only.

It starts a command that a signal ended again, as the kubelet and systemd do: NVFlare's tcp driver reads and writes one
TLS socket from two threads, and CPython lets that end in a segmentation fault now and then (its issue 143756).
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class _LetGo(Exception):  # noqa: N818 - no error: somebody asked us to end
    pass


def _let_go(_signal: int, _frame: FrameType | None) -> None:
    raise _LetGo


def _children() -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # gone since
            continue
        # pid (command, which may hold anything) state ppid ...
        if int(text.rpartition(")")[2].split()[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def _end_all() -> None:
    """Kill children until none is left: each one's own children become ours when it ends."""
    while children := _children():
        for pid in children:
            os.kill(pid, signal.SIGKILL)  # a zombie takes it without complaint, and we have not reaped it yet
        for pid in children:
            os.waitpid(pid, 0)


def _run() -> int:
    while (code := subprocess.Popen(sys.argv[1:]).wait()) < 0:
        print(f"leash: signal {-code} ended the command; starting it again", flush=True)
    return code


def main() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    starter = int(os.environ.pop("LEASH_STARTER"))
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _let_go)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != starter:  # it died before the line above
            return 1
        return _run()
    except _LetGo:
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _end_all()


if __name__ == "__main__":
    sys.exit(main())
