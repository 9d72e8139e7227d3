"""`sitelog webhook` and `sitelog controller` as processes of a test's own, beside the installed ones."""

import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from support.control_plane.process import Process, free_port
from support.wait import wait_for

_MAIN = "from sitelog.cli import main; main()"


class SitelogProcess:
    """Context manager: one process, killed at the end if it still runs.

    Parameters
    ----------
    command
        The command and its options; the health port is added.
    directory
        For its log, which a second process of the same name goes on writing.
    kubeconfig
        Its identity and its way to the API server.
    before
        Python that runs before the program: only time may be changed there.
    """

    def __init__(self, *command: str, directory: Path, kubeconfig: Path, before: str = "") -> None:
        self.health_port = free_port()
        self.log_file = directory / f"{command[0]}.log"
        environment = {
            "PATH": os.defpath,
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "KUBECONFIG": str(kubeconfig),
            "PYTHONUNBUFFERED": "1",
        }
        program = [sys.executable, "-c", f"{before}\n{_MAIN}", *command, f"--health-port={self.health_port}"]
        self._process = Process(program, self.log_file, environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.stop(grace=0)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        os.kill(self._process.pid, signal.SIGTERM)

    def pause(self) -> None:
        """Let it do nothing at all until it is resumed."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def wait(self, seconds: float = 20) -> int | None:
        return self._process.wait(seconds)

    def ask(self, target: str) -> tuple[int, str]:
        """Status and text of a health endpoint; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{target}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> Self:
        """Wait until it says that it is ready."""

        def answers() -> bool:
            self._process.require_running()
            return self.ask("/readyz")[0] == 200

        wait_for(answers, 60, f"{self.log_file.stem} to be ready")
        return self
