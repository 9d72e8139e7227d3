"""The controller is killed at every step of an upload, and another one goes on where it was."""

import json
import re
from typing import Any

import pytest

from sitelog.kube.jobs import upload_name
from support.control_plane.api import Json
from support.federation.stand_in_uploader import StandInUploader
from support.pods.job_pods import BROKEN, CLEAN, JobPods, received
from support.sitelog.controllers import Controllers
from support.sitelog.installation import Installation
from support.sitelog.sitelog_process import SitelogProcess
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

# Killed after a step took effect is, but for the last one, killed before the next: both for some is enough.
ANSWER_LOST = ("job", "secret", "recorded", "skip-annotated")


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
        for forward in (False, True) if step in ANSWER_LOST else (False,):
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
    wait_for(lambda: all("ttlSecondsAfterFinished" in job["spec"] for job in pods.jobs()), 60, "all to be recorded")
    count = {"uploaded": len(uploaded), "skipped": len(made) - len(uploaded), "failed": 0}
    wait_for(lambda: installation.status(pods.namespace)["uploads"] == count, 60, "the totals")
    wait_for(lambda: not installation.status(pods.namespace).get("pendingCounts"), 60, "the bookkeeping to be done")
    names = sorted(upload_name(made[name]["metadata"]["uid"]) for name in uploaded)
    assert sorted(job["metadata"]["name"] for job in pods.jobs()) == names
    assert sorted(pods.secrets()) == names
    assert all(job["status"]["succeeded"] == 1 and "failed" not in job["status"] for job in pods.jobs())
    assert "Traceback" not in controller.log


@pytest.mark.parametrize(
    "change",
    [({"logStreaming": "Forbidden"}, "UploadForbidden"), ({"clientName": "site-2"}, "ClientNameMismatch")],
)
def test_an_upload_is_withdrawn_that_was_allowed_when_the_last_controller_lived(
    installation: Installation,
    controllers: Controllers,
    controller: SitelogProcess,
    pods: JobPods,
    uploader: StandInUploader,
    spec: dict[str, Any],
    change: tuple[dict[str, Any], str],
) -> None:
    installation.policy(pods.namespace, **spec)
    trap = controllers.proxy.trap("PATCH", f"/{pods.namespace}/jobs/", "suspend")
    pods.die("withdrawn")
    trap.wait()
    controllers.kill()
    trap.open()
    changed, reason = change
    patch = f"--patch={json.dumps({'spec': changed})}"
    installation.control_plane.kubectl("patch", "slp", "site", "--type=merge", patch, f"--namespace={pods.namespace}")
    controllers.start()

    assert pods.wait("withdrawn", "Skipped").startswith(f"{reason}: ")
    wait_for(lambda: pods.jobs() == pods.secrets() == [], 60, "the Job and its Secret to go")
    installation.wait_in_force(pods.namespace)
    # A round later nothing has been counted again.
    before = installation.status(pods.namespace)["uploads"]
    pods.run("next", log=CLEAN)
    pods.end("next")
    pods.wait("next", "Skipped")
    assert before == {"uploaded": 0, "skipped": 1, "failed": 0}
    count = {"uploaded": 0, "skipped": 2, "failed": 0}
    wait_for(lambda: installation.status(pods.namespace)["uploads"] == count, 60, "the totals")
    assert uploader.stored("withdrawn") == []


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
    pods.let_go("lost")
    pods.kubelet.delete(pods.namespace, "lost")
    assert pods.job(pod)["spec"]["suspend"] is True

    controllers.start_when(
        "sitelog.controller.errorlogs.upload_jobs._ORPHANED_SECONDS = 1.0"
    )  # nobody waits for a minute
    log = received(uploader, "lost")
    subject = re.escape(f"Pod {pods.namespace}/lost")
    first, last = log.decode().splitlines()
    why = "the controller was stopped before it had read it, and the pod is gone"
    assert re.search(f"ERROR - {subject}: the job's own error log is lost: {why}", first)
    assert re.search(f"CRITICAL - {subject}: OOMKilled: ", last)
    count = {"uploaded": 1, "skipped": 0, "failed": 0}
    wait_for(lambda: installation.status(pods.namespace)["uploads"] == count, 60, "the totals")


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
    log = received(uploader, "vanished")
    assert b"was deleted while the job was running" in log
    assert f"Pod {pods.namespace}/vanished: POST " in controller.log
