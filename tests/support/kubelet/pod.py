"""One of Sitelog's own pods, run as local processes by a thread of its own."""

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Protocol

from support.control_plane.api import STRATEGIC_MERGE_PATCH, Api, ApiError, Json
from support.kubelet.container import Container, Ports
from support.kubelet.logs import PodLogs
from support.kubelet.status import pod_status
from support.kubelet.volumes import MountError, Volumes, reader

TICK = 0.05
REFRESH_EVERY = 1.0  # a real kubelet takes up to a minute to bring a Secret up to date
SHUTDOWN_GRACE = 3.0
NO_ANSWER = (OSError, http.client.HTTPException)


class Node(Protocol):
    """What a pod needs of its kubelet."""

    api: Api
    ports: Ports

    def write_pod_kubeconfig(self, pod: Json, path: Path) -> Path:
        """Write a kubeconfig for the pod's service account."""

    def pod_token(self, pod: Json) -> str:
        """Make a token that dies with the pod."""

    def event(self, pod: Json, reason: str, message: str) -> None:
        """Record a warning Event about the pod."""


class PodRunner:
    """Runs one pod until it is over or deleted; the thread ends with it.

    A pod's processes end with the thread that started them, so this thread starts, watches and stops them all.
    """

    def __init__(self, node: Node, pod: Json, directory: Path, logs: PodLogs) -> None:
        metadata = pod["metadata"]
        self.pod = pod
        self._node = node
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._directory = directory
        self._read = reader(node.api.get, metadata["namespace"])
        self._volumes = Volumes(pod, directory / "volumes", self._read, lambda: node.pod_token(pod))
        self.containers = [
            Container(pod, spec, directory / "containers", logs, node.ports) for spec in pod["spec"]["containers"]
        ]
        self._kubeconfig: Path | None = None
        self._mounted = False
        self._next_refresh = 0.0
        self._mount_message = ""
        self._sent = ""
        self._lock = threading.Lock()
        self._stop_deadline: float | None = None
        self._in_api = True  # False: deleted by force, nothing is left to report to
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pod-{metadata['name']}")
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether a Service sends connections to it: all containers are ready, and nobody has asked for its end."""
        return self._stop_deadline is None and all(container.status["ready"] for container in self.containers)

    def delete(self, grace: float) -> None:
        """End it as a deletion with a grace period asks."""
        self._stop(grace)

    def gone(self) -> None:
        """The API has forgotten it: end it without a word."""
        self._in_api = False
        self._stop(0)

    def shut_down(self) -> None:
        """The node goes away."""
        self._in_api = False
        self._stop(SHUTDOWN_GRACE)

    def join(self) -> None:
        """Wait for the end of its thread."""
        self._thread.join()

    def _stop(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        with self._lock:
            if self._stop_deadline is None or deadline < self._stop_deadline:
                self._stop_deadline = deadline
        self._woken.set()

    def _run(self) -> None:
        while self._stop_deadline is None and not self._reported_end():
            self._tend()
            self._report()
            self._woken.wait(TICK)
        while self._stop_deadline is None:  # it is over, but a deletion still has to be confirmed
            self._woken.wait()
        for container in self.containers:
            container.stop(self._stop_deadline)
        while self._in_api and not self._confirm_deletion():
            time.sleep(TICK)

    def _reported_end(self) -> bool:
        return all(container.finished for container in self.containers) and self._report()

    def _tend(self) -> None:
        try:
            self._refresh()
            if self._mounted:
                for container in self.containers:
                    container.tend(self._volumes, self._read, self._kubeconfig)
        except (ApiError, *NO_ANSWER):
            self._next_refresh = time.monotonic() + TICK  # the API is away: containers run on, we ask again

    def _refresh(self) -> None:
        if time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + REFRESH_EVERY
        try:
            self._volumes.mount()
        except MountError as error:
            if str(error) != self._mount_message:
                self._node.event(self.pod, "FailedMount", str(error))
                self._mount_message = str(error)
            return
        if not self._mounted:
            self._kubeconfig = self._node.write_pod_kubeconfig(self.pod, self._directory / "kubeconfig")
            self._mounted = True

    def _phase(self) -> str:
        states = [container.status["state"] for container in self.containers]
        if all("terminated" in state for state in states):
            return "Succeeded" if all(state["terminated"]["exitCode"] == 0 for state in states) else "Failed"
        started = any("waiting" not in state for state in states) or any(
            container.status["lastState"] for container in self.containers
        )
        return "Running" if started else "Pending"

    def _report(self) -> bool:
        """Write the status where it has changed; False while it could not be written."""
        statuses = [container.status for container in self.containers]
        phase = self._phase()
        news = json.dumps([phase, statuses])
        if news == self._sent:
            return True
        try:
            status = pod_status(self.pod, phase, statuses)
            self.pod = self._node.api.patch(f"{self._path}/status", {"status": status}, STRATEGIC_MERGE_PATCH)
        except ApiError as error:
            return error.status == 404  # gone by force: the watch will say so
        except NO_ANSWER:
            return False
        self._sent = news
        return True

    def _confirm_deletion(self) -> bool:
        """Report the end and let the API forget the pod, as the last word of a graceful deletion."""
        if not self._report():
            return False
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod["metadata"]["uid"]}}
        try:
            self._node.api.delete(self._path, options)
        except ApiError as error:
            return error.status in {404, 409}
        except NO_ANSWER:
            return False
        return True
