"""From a job pod's end to the upload Job and its result, by the installed controller."""

import gzip
import re
from typing import Any

import pytest

from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane
from support.federation.federation import SITE, Federation
from support.federation.jobs import write_job
from support.federation.stand_in_uploader import StandInUploader
from support.pods.job_pods import BROKEN, CLEAN, JobPods
from support.sitelog.installation import Installation
from support.wait import wait_for

RECORD = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,000 - sitelog - CRITICAL - Pod %s: %s\n"
PARTIAL = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,000 - sitelog - ERROR - Pod %s: the job's own error log is partial: %s\n"
LOST = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,000 - sitelog - ERROR - Pod %s: the job's own error log is lost: %s\n"


def wait_totals(installation: Installation, namespace: str, **wanted: int) -> None:
    """Wait for the totals in a policy's status."""
    wanted = {"uploaded": 0, "skipped": 0, "failed": 0} | wanted

    def right() -> bool:
        seen.append(dict(installation.status(namespace).get("uploads", {})))
        return seen[-1] == wanted

    seen: list[dict[str, int]] = []
    try:
        wait_for(right, 60, f"the totals {wanted}")
    except TimeoutError as error:
        raise AssertionError(f"{error}: {seen[-1]}") from None


def counted(installation: Installation, result: str, reason: str) -> float:
    pattern = rf'sitelog_error_logs_total{{reason="{reason}",result="{result}"}} (\S+)'
    found = re.search(pattern, installation.metrics("controller"))
    return float(found[1]) if found else 0.0


def test_every_end_of_a_pod_brings_its_error_log_to_the_server(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    """NVFlare's launcher deletes some of them at once: those have left nothing but Events when their turn comes."""
    installation.policy(pods.namespace, **spec)
    before = counted(installation, "Uploaded", "ErrorLogUploaded")
    kubelet, namespace = pods.kubelet, pods.namespace
    made = {name: pods.run(name) for name in ("oom", "code", "caught", "evicted", "deleted")}
    made |= {name: pods.create(name) for name in ("image", "nowhere", "unstarted")}

    pods.end("oom", 137, "OOMKilled")
    pods.end("code", 3)
    pods.end("caught", 0)
    kubelet.evict(namespace, "evicted")
    kubelet.wait_followed(namespace, "deleted")
    kubelet.delete(namespace, "deleted")
    kubelet.set_waiting(namespace, "image", "ErrImagePull", "not found")
    kubelet.event(made["image"], "Failed", 'Failed to pull image "nvjob:1": not found')
    kubelet.delete(namespace, "image")
    kubelet.event(made["nowhere"], "FailedScheduling", "0/1 nodes are available: 1 Insufficient memory.")
    kubelet.delete(namespace, "nowhere")
    kubelet.bind(namespace, "unstarted")
    status = {"phase": "Failed", "reason": "Evicted", "message": "the node is short of memory"}
    pods.api.patch(f"/api/v1/namespaces/{namespace}/pods/unstarted/status", {"status": status})

    wanted: dict[str, tuple[bytes, str]] = {
        "oom": (BROKEN, RECORD % ("%s", r"OOMKilled: the container ran out of memory and was killed \(.*\)")),
        "code": (BROKEN, RECORD % ("%s", "Error: the process ended with exit code 3")),
        "caught": (BROKEN, ""),
        "evicted": (BROKEN, RECORD % ("%s", r"Evicted: .*low on resource.*")),
        "deleted": (  # a stream that ends is not yet a log that has ended, and nothing is left to be read again
            BROKEN,
            PARTIAL % ("%s", "it was not there to be read again, so its last records may be missing")
            + RECORD % ("%s", "Deleted: .* was deleted while the job was running, exit code 137"),
        ),
        "image": (b"", RECORD % ("%s", r'ImagePull: the image could not be pulled \(Failed: .*"nvjob:1": not found\)')),
        "nowhere": (b"", RECORD % ("%s", r"Unschedulable: no node could take the pod \(.*Insufficient memory.\)")),
        "unstarted": (
            b"",
            LOST % ("%s", "its container had not started")
            + RECORD % ("%s", r"Evicted: .*the node is short of memory\)"),
        ),
    }
    for name, (records, closing) in wanted.items():
        ((client, log),) = wait_for(lambda: uploader.stored(name), 60, f"the error log of {name}")  # noqa: B023 - at once
        assert client == "site-1"
        assert log.startswith(records)
        subject = f"{namespace}/{name}"
        assert re.fullmatch(closing.replace("%s", subject), log.removeprefix(records).decode()), (name, log)
    for name in ("oom", "code", "caught", "evicted"):
        size = len(uploader.stored(name)[0][1])
        assert pods.wait(name, "Uploaded") == f"ErrorLogUploaded: the FL server has {size} bytes"
    for name in wanted:
        wait_for(lambda: "ErrorLogUploaded" in pods.events(name), 60, f"the Event about {name}")  # noqa: B023 - at once
        started = pods.events(name)["UploadStarted"]
        size = len(uploader.stored(name)[0][1])
        assert re.search(rf"; {size} bytes of error log go to the FL server \(Job sitelog-upload-\S+\)$", started)

    wait_totals(installation, namespace, uploaded=8, skipped=0, failed=0)
    assert counted(installation, "Uploaded", "ErrorLogUploaded") == before + 8
    wait_for(lambda: not installation.status(namespace).get("pendingCounts"), 60, "the bookkeeping to be done")
    check_job(pods, made["oom"], uploader)
    for log in (installation.logs("controller"), installation.logs("webhook")):
        assert "Traceback: " not in log  # of a job's


def check_job(pods: JobPods, pod: Json, uploader: StandInUploader) -> None:
    """Look at what was made for one pod."""
    job, secret, name = pods.job(pod), pods.secret(pod), pod["metadata"]["name"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == uploader.image
    assert container["args"][0] == "upload"
    assert {f"--job-id={name}", "--client-name=site-1", "--retry-for=45m"} < set(container["args"])
    assert job["metadata"]["labels"]["sitelog.dev/job"] == name
    assert job["metadata"]["annotations"]["sitelog.dev/pod-uid"] == pod["metadata"]["uid"]
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert job["spec"]["suspend"] is False
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert secret["immutable"] is True
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", job["metadata"]["uid"])
    assert pods.captured(pod) == gzip.compress(uploader.stored(name)[0][1], mtime=0)


def test_what_is_not_sent_is_said(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    installation.policy(pods.namespace, **spec)
    before = {
        reason: counted(installation, "Skipped", reason)
        for reason in ("NothingToUpload", "ClientNameMismatch", "UploadDisabled", "UploadForbidden")
    }
    pods.run("clean", log=CLEAN)
    pods.end("clean")
    pods.die("foreign", client="site-2")
    assert pods.wait("clean", "Skipped") == ("NothingToUpload: the job came to its own end and its error log is empty")
    assert pods.wait("foreign", "Skipped") == (
        "ClientNameMismatch: it says it is client 'site-2', but spec.clientName is 'site-1'"
    )

    uploader.fail("refused")
    pods.die("refused")
    assert pods.wait("refused", "Failed") == "CertificateRefused: the FL server refuses the courier"
    assert pods.events("refused")["CertificateRefused"] == "the FL server refuses the courier"

    installation.policy(pods.namespace, clientName="site-1", errorLog={"upload": "Disabled"})
    pods.die("disabled")
    assert pods.wait("disabled", "Skipped") == "UploadDisabled: no policy in force has errorLog.upload Enabled"

    installation.policy(pods.namespace, logStreaming="Forbidden", **spec)
    pods.die("forbidden")
    said = f"SiteLogPolicy {pods.namespace}/site forbids log streaming"
    assert pods.wait("forbidden", "Skipped") == f"UploadForbidden: {said}"
    assert pods.events("forbidden") == {"UploadForbidden": said}

    wait_totals(installation, pods.namespace, uploaded=0, skipped=4, failed=1)
    assert {reason: counted(installation, "Skipped", reason) - n for reason, n in before.items()} == dict.fromkeys(
        before, 1
    )
    assert uploader.stored("refused") == []
    assert len(pods.jobs()) == 1  # of the one that failed


def test_an_upload_waits_for_its_turn_and_ends_with_the_permission(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    """The installed controller lets four run at a time, as these tests want it."""
    installation.policy(pods.namespace, **spec)
    names = [f"turn-{number}" for number in range(5)]
    uploader.hold("shared")
    made = {name: pods.die(name, "shared") for name in ("first", "second")}
    for name in names:
        uploader.hold(name)
        made[name] = pods.die(name)

    def suspended() -> int:
        return sum(job["spec"]["suspend"] for job in pods.jobs())

    wait_for(lambda: len(pods.secrets()) == 7 and len(uploader.running()) == 4, 60, "four uploads")
    assert suspended() == 3
    for name in names:
        uploader.release(name)
    for name in names:
        pods.wait(name, "Uploaded")
    # Of one job and client there is one at a time: the server has one place for both.
    assert uploader.running() == ["shared"]
    assert suspended() == 1

    installation.policy(pods.namespace, logStreaming="Forbidden", **spec)
    for name in ("first", "second"):
        said = f"UploadForbidden: SiteLogPolicy {pods.namespace}/site forbids log streaming"
        assert pods.wait(name, "Skipped") == said
    wait_totals(installation, pods.namespace, uploaded=5, skipped=2, failed=0)
    wait_for(lambda: len(pods.secrets()) == 5, 60, "the withdrawn logs to be gone with their Jobs")
    assert len(pods.jobs()) == 5
    assert uploader.stored("shared") == []


@pytest.mark.parametrize("log_streaming", ["Allowed", "ErrorLogOnly"])
def test_a_real_server_gets_it_when_its_courier_comes(
    control_plane: ControlPlane,
    installation: Installation,
    pods: JobPods,
    federation: Federation,
    tmp_path_factory: Any,
    log_streaming: str,
) -> None:
    job_id = federation.submit(write_job(tmp_path_factory.mktemp("job"), "quick"))
    error_log = {"upload": "Enabled", "courierSecretName": "courier", "capture": "ContainerLog"}
    installation.policy(pods.namespace, logStreaming=log_streaming, clientName=SITE, errorLog=error_log)
    pod = pods.die("real", job_id, client=SITE)

    def waits_for_its_kit() -> bool:
        selector = f"--selector=batch.kubernetes.io/job-name={pods.job(pod)['metadata']['name']}"
        said = control_plane.kubectl("logs", selector, f"--namespace={pods.namespace}", check=False)
        return "courier" in said and "fed_client.json" in said

    wait_for(lambda: pods.jobs() and waits_for_its_kit(), 60, "the uploader to say what it misses")
    files = [f"--from-file={file}" for file in federation.kit().iterdir()]
    control_plane.kubectl("create", "secret", "generic", "courier", *files, f"--namespace={pods.namespace}")
    said = pods.wait("real", "Uploaded", 60)

    assert said.startswith(("ErrorLogUploadedUnverified: ", "ErrorLogUploaded: "))
    sent = gzip.decompress(pods.captured(pod))
    assert sent.startswith(BROKEN)
    assert b" - CRITICAL - " in sent
    assert federation.stored(job_id)[f"ERRORLOG_{SITE}"] == sent
    federation.wait(job_id)


def test_a_namespace_can_be_deleted_while_its_jobs_run(
    control_plane: ControlPlane, installation: Installation, pods: JobPods, spec: dict[str, Any]
) -> None:
    installation.policy(pods.namespace, **spec)
    pods.run("running")
    pods.create("pending")
    assert pods.api.get(f"/api/v1/namespaces/{pods.namespace}/pods/pending")["metadata"]["finalizers"]
    control_plane.kubectl("delete", "namespace", pods.namespace, "--timeout=90s")
    assert not control_plane.exists(f"/api/v1/namespaces/{pods.namespace}")
