"""Runs in the console's pod: an admin's session that stays, and a look at the FL server's disk.

Each line on stdin is a JSON question, each line on stdout its answer: {"is": value} or {"error": text, "final": bool}.
It gives up at the first trouble with its session: whoever asks starts it again.
"""

import base64
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

KIT = Path("/kit/admin.tar")
SERVER = Path("/server")  # the server's workspace, read only
WHAT_IS_KEPT = ("ERRORLOG_", "LOG_")

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # NVFlare prints


class Console:
    """Answers questions: a public method for each."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def submit(self, name: str, archive: str, token: str) -> str:
        """Submit a job; asked again with the same token, give the id of the same job."""
        folder = Path("/tmp/jobs") / token
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive))) as files:
            files.extractall(folder)
        return self._logged_in().submit_job(str(folder / name), submit_token=token)

    def abort(self, job: str) -> None:
        self._logged_in().abort_job(job)

    def clients(self) -> list[str]:
        """Names of the sites that the server knows now."""
        return [client.name for client in self._logged_in().get_system_info().client_info]

    def meta(self, job: str) -> dict[str, Any]:
        path = SERVER / "jobs-storage" / job / "meta"
        return json.loads(path.read_text()) if path.exists() else {}

    def stored(self, job: str) -> dict[str, str]:
        """What the server keeps of a job's logs, in base64."""
        files = (SERVER / "jobs-storage" / job).glob("*")
        return _contents(path for path in files if path.name.startswith(WHAT_IS_KEPT))

    def live(self, job: str) -> dict[str, str]:
        """The logs that stream in, as far as they are."""
        return _contents((SERVER / "staging" / job).glob("*/*"))

    def _logged_in(self) -> Session:
        if self._session is None:
            with tarfile.open(KIT) as files:
                files.extractall("/tmp/kit")
            (kit,) = Path("/tmp/kit").iterdir()
            os.chdir(kit)
            self._session = new_secure_session(kit.name, str(kit), timeout=10.0)
        return self._session


def _contents(paths: Iterable[Path]) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            found[path.name] = base64.b64encode(path.read_bytes()).decode()
        except FileNotFoundError:  # NVFlare writes NAME_<uuid> and renames it
            continue
    return found


def main() -> None:
    console = Console()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"is": getattr(console, question.pop("do"))(**question)}
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            about_the_job = type(error).__name__ in {"InvalidJobDefinition", "JobNotFound", "JobNotRunning"}
            answer = {"error": f"{type(error).__name__}: {error}", "final": about_the_job}
        print(json.dumps(answer), file=answers, flush=True)
        if not answer.get("final", True):
            break
    os._exit(0)  # NVFlare's session leaves threads behind


main()
