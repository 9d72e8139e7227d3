"""Job pods whose error log a sidecar copies, and the records that Sitelog adds to what it has read."""

import re

from sitelog.core.names import FINALIZER_ERROR_LOG, SIDECAR
from support.control_plane.api import Json
from support.pods.job_pods import CLEAN, JobPods
from support.wait import wait_for

_TIME = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,000"


class SidecarPods(JobPods):
    """Those of one namespace."""

    def begin(self, name: str, output: bytes = b"") -> Json:
        """Let a job run whose sidecar has printed this. What the job itself prints tells nothing of its errors."""
        pod = self.run(name, log=CLEAN)
        assert [container["name"] for container in pod["spec"]["initContainers"]] == [SIDECAR]
        self.say(name, output)
        return pod

    def begin_alone(self, name: str, log: bytes = b"") -> Json:
        """Let a job run, and print this, whose sidecar does not run."""
        pod = self.create(name)
        (job,) = pod["spec"]["containers"]
        self.kubelet.set_running(self.namespace, name, only=job["name"])
        self.kubelet.append_log(self.namespace, name, None, log)
        return pod

    def say(self, name: str, output: bytes) -> None:
        """Let a sidecar print this."""
        self.kubelet.append_log(self.namespace, name, SIDECAR, output)

    def wait_followed(self, name: str, times: int = 1) -> None:
        """Wait until somebody follows what a sidecar prints, for the n-th time."""
        self.kubelet.wait_followed(self.namespace, name, SIDECAR, times=times)

    def held(self, name: str) -> bool:
        """Whether the finalizer holds a pod."""
        pod = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return FINALIZER_ERROR_LOG in pod["metadata"].get("finalizers", [])

    def wait_gone(self, name: str) -> None:
        """Wait until the API has a pod no longer."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        wait_for(lambda: not self.kubelet.control_plane.exists(path), 60, f"{name} to go")

    def closing(self, name: str, text: str, kind: str = "CRITICAL") -> bytes:
        """Pattern of a record of ours about a pod."""
        subject = f"{self.namespace}/{name}".encode()
        return rb"%b - sitelog - %b - Pod %b: %b\n" % (_TIME, kind.encode(), subject, re.escape(text).encode())

    def partial(self, name: str, why: str) -> bytes:
        """Pattern of the notice that bytes are missing."""
        return self.closing(name, f"the job's own error log is partial: {why}", "ERROR")

    def lost(self, name: str, why: str) -> bytes:
        """Pattern of the notice that there is nothing."""
        return self.closing(name, f"the job's own error log is lost: {why}", "ERROR")
