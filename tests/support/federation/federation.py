"""A real federation on loopback: an mTLS FL server, one site, and couriers, provisioned by `nvflare provision`."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.control_plane import leash
from support.federation.jobs import write_job
from support.federation.provisioning import ADMIN, COURIER, LEAD, MEMBER, SITE, edit, kit_files, provision
from support.wait import wait_for

CLIENT_TRAIN = "nvflare.private.fed.app.client.client_train"

__all__ = ["ADMIN", "COURIER", "LEAD", "MEMBER", "SITE", "Federation", "write_job"]

_LEASH = Path(leash.__file__)
_SUBMIT = Path(__file__).with_name("submit.py")
_START_TIMEOUT = 60.0
_JOB_TIMEOUT = 120.0
_END = "FINISHED"


class Federation:
    """Provisions at once; server and site run between their `start_` and `stop_`.

    Parameters
    ----------
    directory
        A fresh folder: kits, workspaces, logs, the server's job store. Everything stays there for a look.

    Attributes
    ----------
    directory, port, job_store, staging
        `port` is the FL server's, on localhost. `job_store` has a folder per job; `staging/JOB_ID/CLIENT/FILE` is
        where a log is while it streams in.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self.job_store = directory / "jobs-storage"
        self.staging = directory / "staging"
        self._logs = directory / "logs"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for folder in (self._logs, self.staging):
            folder.mkdir(parents=True)
        # One port for sites and admins: the default.
        self._kits = provision(directory, "localhost", fed_learn_port=self.port, host_names=["127.0.0.1"])
        self.edit("localhost", self._server_resources)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that still runs, jobs included."""
        for name in list(self._running):
            self._stop(name)

    @property
    def target(self) -> str:
        """The FL server's HOST:PORT."""
        return f"localhost:{self.port}"

    def workspace(self, participant: str = SITE) -> Path:
        """Give the folder that `nvflare provision` made for a participant (`localhost` is the server)."""
        return self._kits / participant

    def kit(self, participant: str = COURIER) -> Path:
        """Make a flat copy of a participant's kit, as a mounted Secret has it."""
        flat = self.directory / "kits" / participant
        if not flat.exists():
            flat.mkdir(parents=True)
            for file in kit_files(self.workspace(participant)):
                shutil.copy(file, flat)
        return flat

    def edit(self, participant: str, change: Callable[[dict[str, Any]], None], file: str = "resources.json") -> None:
        """Change a JSON file of a participant's `local` folder; it counts from the next start."""
        edit(self.workspace(participant), change, file)

    # --- processes ----------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the FL server; called again after `stop_server`: same ports, same job store."""
        module = "nvflare.private.fed.app.server.server_train"
        self._start("localhost", module, ["-s", "fed_server.json"], {}, ready="Server started", words=[])

    def stop_server(self) -> None:
        """End the FL server and its jobs at once, as a power cut would."""
        self._stop("localhost")

    def start_site(self, module: str = CLIENT_TRAIN, env: Mapping[str, str] | None = None) -> None:
        """Start the site's FL client through `module` and wait until the server knows it."""
        ready = f"Successfully registered client:{SITE}"
        self._start(SITE, module, ["-s", "fed_client.json"], env or {}, ready=ready, words=[f"uid={SITE}"])

    def stop_site(self) -> None:
        """End the site's FL client and its jobs at once."""
        self._stop(SITE)

    def log(self, participant: str) -> str:
        """Give what a participant's process wrote since its last start."""
        path = self._logs / f"{participant}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- jobs ---------------------------------------------------------------------------------------------------

    def submit(self, job_folder: Path) -> str:
        """Submit a job as the project's admin and give its id."""
        command = [sys.executable, str(_SUBMIT), ADMIN, str(self.workspace(ADMIN)), str(job_folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.directory, check=False)
        ids = [line.removeprefix("JOB ") for line in done.stdout.splitlines() if line.startswith("JOB ")]
        if len(ids) != 1:
            raise RuntimeError(f"job {job_folder.name} was not accepted:\n{done.stdout}\n{done.stderr}")
        return ids[0]

    def wait(self, job_id: str, timeout: float = _JOB_TIMEOUT) -> str:
        """Wait for a job's end and give its status, such as `FINISHED:COMPLETED`."""
        deadline = time.monotonic() + timeout
        while not (status := self.status(job_id)).startswith(_END):
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is {status!r} after {timeout:.0f} s\n{self._tails()}")
            time.sleep(0.1)
        return status

    def status(self, job_id: str) -> str:
        """Give a job's status now."""
        return str(self._meta(job_id).get("status", ""))

    def deploy_detail(self, job_id: str) -> list[str]:
        """Give what each participant said to the job's deployment: `NAME: OK` or `NAME: reason`.

        NVFlare writes it after the status, so it is waited for.
        """
        detail = wait_for(lambda: self._meta(job_id).get("job_deploy_detail"), 60, f"job {job_id}'s deploy detail")
        return [str(line) for line in detail or []]

    def stored(self, job_id: str) -> dict[str, bytes]:
        """Give what the server keeps of a job's logs: `ERRORLOG_site-1`, `LOG_log.txt_site-1` ..., whole."""
        found = {}
        for path in (self.job_store / job_id).iterdir():
            if path.name.startswith(("ERRORLOG_", "LOG_")):
                with contextlib.suppress(FileNotFoundError):  # NVFlare writes NAME_<uuid> and renames it
                    found[path.name] = path.read_bytes()
        return found

    # --- inside -------------------------------------------------------------------------------------------------

    def _meta(self, job_id: str) -> dict[str, Any]:
        path = self.job_store / job_id / "meta"
        value: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return value

    def _server_resources(self, resources: dict[str, Any]) -> None:
        """Keep everything below our folder, and start jobs quickly."""
        storage = resources["snapshot_persistor"]["args"]["storage"]
        storage["args"]["root_dir"] = str(self.directory / "snapshot-storage")
        args = {component["id"]: component.setdefault("args", {}) for component in resources["components"]}
        args["job_manager"]["uri_root"] = str(self.job_store)
        args["job_scheduler"]["min_schedule_interval"] = 1.0
        args["log_receiver"]["dest_dir"] = str(self.staging)

    def _start(
        self, name: str, module: str, arguments: list[str], env: Mapping[str, str], *, ready: str, words: list[str]
    ) -> None:
        if name in self._running:
            raise RuntimeError(f"{name} runs already")
        workspace = self.workspace(name)
        log = self._logs / f"{name}.log"
        words = ["secure_train=true", "org=sitelog", "config_folder=config", *words]
        python = [sys.executable, "-u", "-m", module, "-m", str(workspace), *arguments, "--set", *words]
        with log.open("wb") as out:
            self._running[name] = subprocess.Popen(
                [sys.executable, str(_LEASH), *python],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=workspace,
                env={**os.environ, **env, "LEASH_STARTER": str(os.getpid())},
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while ready not in self.log(name):
            if self._running[name].poll() is not None or time.monotonic() > deadline:
                self._stop(name)
                raise RuntimeError(f"{name} did not say {ready!r}\n{self._tails()}")
            time.sleep(0.05)

    def _stop(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.terminate()
            process.wait(timeout=60)

    def _tails(self, lines: int = 25) -> str:
        tails = []
        for path in sorted(self._logs.glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            tails.append("\n".join([f"--- {path} ---", *tail]))
        return "\n".join(tails)


def _free_port() -> int:
    """Find a port below those that outgoing connections get: it must stay free while the server is down."""
    while True:
        port = random.randint(10_000, 30_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
