"""The admin of a federation on a cluster: a pod that holds a session, for questions that cost no start of Python."""

import base64
import io
import json
import subprocess
import tarfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from support.kind.images import SITE
from support.kind.kind import Cluster

NAME = "fl-console"
PROGRAM = Path(__file__).with_name("fl_console_program.py")

_ANSWER = 60.0  # seconds for one answer
_PATIENCE = 120.0  # seconds for an answer without trouble, however often the session is begun again


class FlConsole:
    """Asks the program in the console's pod; starts it again after trouble. Any thread may ask."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def deploy(self, kit: Path, server_claim: str, server: str) -> None:
        """Create the pod, with an admin's kit and the server's disk."""
        here = f"--namespace={self._namespace}"
        archive = kit.parent / "admin.tar"
        with tarfile.open(archive, "w") as files:
            files.add(kit, kit.name)
        self._cluster.kubectl("create", "secret", "generic", NAME, f"--from-file={archive}", here)
        self._cluster.kubectl("create", "--filename=-", here, input=json.dumps(_pod(server_claim, server)))
        self._cluster.kubectl("wait", f"pod/{NAME}", "--for=condition=Ready", "--timeout=90s", here)

    def submit(self, job_folder: Path) -> str:
        """Submit a job and give its id."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as files:
            files.add(job_folder, job_folder.name)
        archive = base64.b64encode(buffer.getvalue()).decode()
        return str(self.ask("submit", name=job_folder.name, archive=archive, token=uuid.uuid4().hex))

    def files(self, what: str, job_id: str) -> dict[str, bytes]:
        """Give the files that the server has of a job: those `stored`, or those still `live`."""
        return {name: base64.b64decode(text) for name, text in self.ask(what, job=job_id).items()}

    def ask(self, do: str, **question: str) -> Any:
        """Ask one question, again after trouble: none of them does twice what is asked twice.

        Raises
        ------
        RuntimeError
            The server refuses, or trouble does not end.
        """
        line = json.dumps({"do": do, **question})
        end = time.monotonic() + _PATIENCE
        with self._lock:
            while True:
                answer = self._try(line)
                if "is" in answer:
                    return answer["is"]
                self.close()
                if answer["final"] or time.monotonic() > end:
                    raise RuntimeError(f"the FL server's admin could not {do}: {answer['error']}")
                time.sleep(0.5)

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _try(self, line: str) -> dict[str, Any]:
        if self._process is None:
            here = f"--namespace={self._namespace}"
            program = ["python3", "-u", "-c", PROGRAM.read_text()]
            self._process = subprocess.Popen(
                ["kubectl", "exec", "--stdin", NAME, here, f"--kubeconfig={self._cluster.kubeconfig}", "--", *program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        too_late = threading.Timer(_ANSWER, process.kill)
        too_late.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            too_late.cancel()
        if not answer:
            return {"error": "its program in the console's pod ended", "final": False}
        return dict(json.loads(answer))


def _pod(server_claim: str, server: str) -> dict[str, Any]:
    on_its_node = {
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": server}},
        "topologyKey": "kubernetes.io/hostname",
    }
    container = {
        "name": "console",
        "image": SITE.name,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "volumeMounts": [
            {"name": "kit", "mountPath": "/kit"},
            {"name": "server", "mountPath": "/server", "readOnly": True},
        ],
    }
    spec = {
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [on_its_node]}},
        "automountServiceAccountToken": False,
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "volumes": [
            {"name": "kit", "secret": {"secretName": NAME}},
            {"name": "server", "persistentVolumeClaim": {"claimName": server_claim}},
        ],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}
