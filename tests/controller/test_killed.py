"""The controller is killed at every step of an upload, and another one goes on where it was."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sitelog.kube.jobs import upload_name
from support.api_proxy import ApiProxy
from support.control_plane import ControlPlane
from support.control_plane_api import Json
from support.installation import NAMESPACE, Installation
from support.job_pods import BROKEN, CLEAN, JobPods
from support.sitelog_process import SitelogProcess
from support.stand_in_uploader import StandInUploader
from support.wait import wait_for

# What the controller does for a pod, in this order: method, path, body, with JOB and POD for the names.
UPLOAD_STEPS = {
    "job": ("POST", "/jobs$", '"name": ?"JOB"'),
    "secret": ("POST", "/secrets$", '"name": ?"JOB"'),
    "captured": ("PATCH", "/jobs/JOB$", "captured"),
    "started": ("POST", "/events$", '"POD.*UploadStarted'),
    "resumed": ("PATCH", "/jobs/JOB$", "suspend"),
    "event": ("POST", "/events$", '"POD.*ErrorLogUploaded'),
    "annotated": ("PATCH", "/pods/POD$", "error-log"),
    "counted": ("PATCH", "/sitelogpolicies/site/status$", '"status": ?{"uploads": ?{"uploaded"'),
    "recorded": ("PATCH", "/jobs/JOB$", "ttlSecondsAfterFinished"),
}
SKIP_STEPS = {
    "skip-counted": ("PATCH", "/sitelogpolicies/site/status$", '"status": ?{"uploads": ?{"skipped"'),
    "skip-annotated": ("PATCH", "/pods/POD$", "error-log"),
}


# A process that has loaded everything, and begins when it is told to.
WAIT = """
import time, pathlib, sitelog.controller.process
while not pathlib.Path("{go}").exists():
    time.sleep(0.01)
"""


class Controllers:
    """One controller at a time, behind a door to the API server; the next one stands by."""

    def __init__(self, control_plane: ControlPlane, proxy: ApiProxy, directory: Path) -> None:
        self._directory = directory
        token = control_plane.service_account_token(NAMESPACE, "sitelog-controller")
        self.kubeconfig = proxy.kubeconfig(directory / "kubeconfig", token)
        self.proxy = proxy
        self.running: list[SitelogProcess] = []
        self._count = 0
        self._next, self._go = self._stand_by()

    def start(self) -> SitelogProcess:
        process, go = self._next, self._go
        self._next, self._go = self._stand_by()
        self.running.append(process)
        go.touch()
        return process

    def start_when(self, change: str) -> None:
        """Start one for which time is different."""
        self._next.kill()
        self._next, self._go = self._stand_by(change)
        self.start()

    def kill(self) -> None:
        while self.running:
            self.running.pop().kill()

    def close(self) -> None:
        self.kill()
        self._next.kill()

    def _stand_by(self, change: str = "") -> tuple[SitelogProcess, Path]:
        """Give a process, and the file that lets it begin."""
        self._count += 1
        go = self._directory / f"go-{self._count}"
        options = (f"--root-namespace={NAMESPACE}", "--upload-image=none", "--sweep-interval=1s")
        before = WAIT.format(go=go) + change
        process = SitelogProcess(
            "controller", *options, directory=self._directory, kubeconfig=self.kubeconfig, before=before
        )
        return process, go


@pytest.fixture(scope="module")
def controllers(
    control_plane: ControlPlane, installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Controllers]:
    """The installed controller stays away meanwhile."""
    scale = ("scale", "deployment", "sitelog-controller", f"--namespace={NAMESPACE}")
    control_plane.kubectl(*scale, "--replicas=0")
    wait_for(lambda: not installation.pods("controller"), 40, "the installed controller to go")
    with ApiProxy(control_plane) as proxy:
        controllers = Controllers(control_plane, proxy, tmp_path_factory.mktemp("controllers"))
        yield controllers
        controllers.close()
    control_plane.kubectl(*scale, "--replicas=1")
    control_plane.kubectl("rollout", "status", "deployment/sitelog-controller", f"-n{NAMESPACE}", "--timeout=60s")


@pytest.fixture
def controller(controllers: Controllers) -> Iterator[SitelogProcess]:
    yield controllers.start()
    controllers.kill()


def test_killed_at_every_step_of_an_upload(
    installation: Installation,
    controllers: Controllers,
    controller: SitelogProcess,
    pods: JobPods,
    uploader: StandInUploader,
    spec: dict[str, Any],
) -> None:
    installation.policy(pods.namespace, **spec)
    made: dict[str, Json] = {}
    for step, where in {**UPLOAD_STEPS, **SKIP_STEPS}.items():
        for forward in (False, True):
            name = f"{step}-{'after' if forward else 'before'}"
            skipped = step in SKIP_STEPS
            made[name] = pods.run(name, log=CLEAN if skipped else BROKEN)
            names = {"JOB": upload_name(made[name]["metadata"]["uid"]), "POD": name}
            method, path, body = (re.sub("JOB|POD", lambda word: names[word[0]], text) for text in where)  # noqa: B023 - at once
            trap = controllers.proxy.trap(method, path, body, forward=forward)
            pods.end(name, 0 if skipped else 3)
            trap.wait()
            controllers.kill()
            trap.open()
            controllers.start()

    uploaded = [name for name in made if not name.startswith("skip")]
    for name in made:
        reason = pods.wait(name, "Uploaded" if name in uploaded else "Skipped")
        assert reason.startswith("ErrorLogUploaded: " if name in uploaded else "NothingToUpload: ")
        events = {"UploadStarted", "ErrorLogUploaded"} if name in uploaded else {"NothingToUpload"}
        # An Event that a controller took along to its end says nothing that the next one does not.
        assert set(pods.events(name)) in (events, events - {"UploadStarted"})
    for name in uploaded:
        ((client, log),) = uploader.stored(name)
        assert client == "site-1"
        assert log.startswith(BROKEN)
        assert log.count(b"CRITICAL") == 1
    wait_for(lambda: all("ttlSecondsAfterFinished" in job["spec"] for job in pods.jobs()), 20, "all to be recorded")
    count = {"uploaded": len(uploaded), "skipped": len(made) - len(uploaded), "failed": 0}
    wait_for(lambda: installation.status(pods.namespace)["uploads"] == count, 20, "the totals")
    wait_for(lambda: not installation.status(pods.namespace).get("pendingCounts"), 20, "the bookkeeping to be done")
    names = sorted(upload_name(made[name]["metadata"]["uid"]) for name in uploaded)
    assert sorted(job["metadata"]["name"] for job in pods.jobs()) == names
    assert sorted(pods.secrets()) == names
    assert all(job["status"]["succeeded"] == 1 and "failed" not in job["status"] for job in pods.jobs())
    assert "Traceback" not in controller.log


def test_two_controllers_do_everything_once(
    installation: Installation,
    controllers: Controllers,
    controller: SitelogProcess,
    pods: JobPods,
    uploader: StandInUploader,
    spec: dict[str, Any],
) -> None:
    controllers.start().ready()
    controller.ready()
    installation.policy(pods.namespace, **spec)
    names = [f"both-{number}" for number in range(6)]
    for name in names:
        pods.die(name)
    for name in names:
        pods.wait(name, "Uploaded")
        assert len(uploader.stored(name)) == 1
    count = {"uploaded": 6, "skipped": 0, "failed": 0}
    wait_for(lambda: installation.status(pods.namespace)["uploads"] == count, 20, "the totals")
    assert len(pods.jobs()) == len(pods.secrets()) == 6


def test_a_job_without_its_log_whose_pod_is_gone_says_so(
    installation: Installation,
    controllers: Controllers,
    controller: SitelogProcess,
    pods: JobPods,
    uploader: StandInUploader,
    spec: dict[str, Any],
) -> None:
    installation.policy(pods.namespace, **spec)
    trap = controllers.proxy.trap("POST", f"/{pods.namespace}/secrets$")
    pod = pods.die("lost")
    trap.wait()
    controllers.kill()
    trap.open()
    pods.kubelet.delete(pods.namespace, "lost")
    assert pods.job(pod)["spec"]["suspend"] is True

    controllers.start_when("sitelog.controller.error_logs._ORPHANED = 1.0")  # nobody waits for a minute
    ((_, log),) = wait_for(lambda: uploader.stored("lost"), 30, "what can still be told")
    subject = re.escape(f"Pod {pods.namespace}/lost")
    first, last = log.decode().splitlines()
    why = "the controller was stopped before it had read it, and the pod is gone"
    assert re.search(f"ERROR - {subject}: the job's own error log is lost: {why}", first)
    assert re.search(f"CRITICAL - {subject}: OOMKilled: ", last)
    count = {"uploaded": 1, "skipped": 0, "failed": 0}
    wait_for(lambda: installation.status(pods.namespace)["uploads"] == count, 20, "the totals")


def test_a_pod_that_goes_while_the_api_does_not_answer_is_not_forgotten(
    installation: Installation,
    controllers: Controllers,
    controller: SitelogProcess,
    pods: JobPods,
    uploader: StandInUploader,
    spec: dict[str, Any],
) -> None:
    installation.policy(pods.namespace, **spec)
    pods.run("vanished")
    trap = controllers.proxy.trap("POST", f"/{pods.namespace}/jobs$")
    pods.kubelet.delete(pods.namespace, "vanished")
    trap.wait()
    trap.open()  # without an answer
    ((_, log),) = wait_for(lambda: uploader.stored("vanished"), 30, "the record of the pod that is gone")
    assert b"was deleted while the job was running" in log
    assert f"Pod {pods.namespace}/vanished: POST " in controller.log
