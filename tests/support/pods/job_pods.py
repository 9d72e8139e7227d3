"""Job pods as NVFlare's own Kubernetes launcher creates them, played by hand, and what becomes of their error logs."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from sitelog.core.names import ANNOTATION_UPLOAD, ANNOTATION_UPLOAD_REASON
from sitelog.kube.jobs import upload_name
from support.control_plane.api import Api, Json
from support.federation.stand_in_uploader import StandInUploader
from support.kubelet.kubelet import PlayedKubelet
from support.wait import wait_for

RECORDED = Path(__file__).parents[2] / "data" / "pods" / "launched.json"
BROKEN = b"2026-01-01 10:00:01,000 - Worker - ERROR - broken\nTraceback: \xff not UTF-8\n"
LOG = b"2026-01-01 10:00:00,000 - Worker - INFO - begun\n" + BROKEN + b"2026-01-01 10:00:02,000 - Worker - INFO - on\n"
CLEAN = b"2026-01-01 10:00:00,000 - Worker - INFO - all is well\n"


def job_pod(name: str, job_id: str | None = None, client: str | None = "site-1") -> Json:
    """Give a pod's manifest.

    Parameters
    ----------
    job_id, client
        What follows `-n` and `-c` on its command line; None: that option is missing. Without a job id, the name.
    """
    text = RECORDED.read_text()
    recorded = json.loads(text)["metadata"]["name"]
    pod: Json = json.loads(text.replace(recorded, name))
    arguments: list[str] = pod["spec"]["containers"][0]["args"]
    for option, value in (("-n", name if job_id is None else job_id), ("-c", client)):
        where = arguments.index(option)
        arguments[where : where + 2] = [option, value] if value else []
    return pod


@dataclass
class JobPods:
    """Job pods of one namespace, and what stands in the API about them."""

    kubelet: PlayedKubelet
    namespace: str

    @property
    def api(self) -> Api:
        return self.kubelet.api

    def create(self, name: str, job_id: str | None = None, client: str | None = "site-1") -> Json:
        return dict(self.api.create(f"/api/v1/namespaces/{self.namespace}/pods", job_pod(name, job_id, client)))

    def run(self, name: str, job_id: str | None = None, *, client: str = "site-1", log: bytes = LOG) -> Json:
        """Create one, let it run and write a log."""
        pod = self.create(name, job_id, client)
        self.kubelet.set_running(self.namespace, name)
        self.kubelet.append_log(self.namespace, name, None, log)
        return pod

    def end(self, name: str, exit_code: int = 0, reason: str | None = None) -> None:
        self.kubelet.terminate(self.namespace, name, exit_code=exit_code, reason=reason)

    def let_go(self, name: str) -> None:
        """Take the finalizer away, as somebody may who is tired of waiting."""
        self.api.patch(f"/api/v1/namespaces/{self.namespace}/pods/{name}", {"metadata": {"finalizers": None}})

    def die(self, name: str, job_id: str | None = None, *, client: str = "site-1") -> Json:
        """Create one that runs, logs and is killed for its memory."""
        pod = self.run(name, job_id, client=client)
        self.end(name, 137, "OOMKilled")
        return pod

    def annotations(self, name: str) -> dict[str, str]:
        pod = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return dict(pod["metadata"].get("annotations", {}))

    def wait(self, name: str, result: str, seconds: float = 30) -> str:
        """Wait for a pod's result; give the reason that stands beside it."""
        annotations = wait_for(
            lambda: ANNOTATION_UPLOAD in (found := self.annotations(name)) and found, seconds, f"the result of {name}"
        )
        assert annotations[ANNOTATION_UPLOAD] == result, annotations
        return annotations[ANNOTATION_UPLOAD_REASON]

    def events(self, name: str) -> dict[str, str]:
        """Message of each Event of Sitelog's about a pod, by reason; each is there once."""
        found = self.api.get(
            f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=f"involvedObject.name={name}"
        )["items"]
        ours = [event for event in found if event["source"].get("component") == "sitelog"]
        reasons = {event["reason"]: event["message"] for event in ours}
        assert len(ours) == len(reasons)
        return reasons

    def job(self, pod: Json) -> Json:
        name = upload_name(pod["metadata"]["uid"])
        return dict(self.api.get(f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"))

    def jobs(self) -> list[Json]:
        return list(self.api.get(f"/apis/batch/v1/namespaces/{self.namespace}/jobs")["items"])

    def secret(self, pod: Json) -> Json:
        name = upload_name(pod["metadata"]["uid"])
        return dict(self.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}"))

    def secrets(self) -> list[str]:
        found = self.api.get(f"/api/v1/namespaces/{self.namespace}/secrets")["items"]
        return [secret["metadata"]["name"] for secret in found]

    def captured(self, pod: Json) -> bytes:
        return base64.b64decode(self.secret(pod)["data"]["error_log.txt.gz"])


def received(uploader: StandInUploader, job_id: str, client: str = "site-1") -> bytes:
    """Wait for a job's error log on the server; there is one, and it is the client's."""
    ((of, log),) = wait_for(lambda: uploader.stored(job_id), 60, f"the error log of {job_id}")
    assert of == client
    return log
