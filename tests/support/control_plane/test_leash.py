"""What the tests start does not outlive them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.wait import wait_for

LEASH = Path(__file__).with_name("leash.py")
STARTER = """
import os, subprocess, sys
subprocess.Popen([sys.executable, sys.argv[1], "sh", "-c", sys.argv[2]],
                 env={**os.environ, "LEASH_STARTER": str(os.getpid())}, start_new_session=True).wait()
"""


def gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True


def test_a_killed_starter_takes_even_detached_grandchildren_along(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"setsid sleep 300 & echo $! > {pids}.new; echo $$ >> {pids}.new; mv {pids}.new {pids}; exec sleep 300"
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(LEASH), script])
    wait_for(pids.exists, 60, "the command to run")
    below = [int(pid) for pid in pids.read_text().split()]
    assert not any(gone(pid) for pid in below)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_for(lambda: all(gone(pid) for pid in below), 60, "everything below it to end")


def test_exit_code_passes_through() -> None:
    environment = {**os.environ, "LEASH_STARTER": str(os.getpid())}
    done = subprocess.run([sys.executable, str(LEASH), "sh", "-c", "exit 7"], env=environment, check=False)
    assert done.returncode == 7


def test_a_command_that_crashes_is_started_again(tmp_path: Path) -> None:
    environment = {**os.environ, "LEASH_STARTER": str(os.getpid())}
    script = f"test -e {tmp_path}/second && exit 7; touch {tmp_path}/second; kill -SEGV $$"
    command = [sys.executable, str(LEASH), "sh", "-c", script]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "leash: signal 11 ended the command; starting it again\n")
