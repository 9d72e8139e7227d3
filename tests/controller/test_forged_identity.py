"""Pods and upload Jobs that claim to be another site's, on a cluster: nothing is ever stored under another name."""

from collections.abc import Sequence
from typing import Any

from sitelog.core.names import WORKER_MODULE
from support.control_plane.api import Json
from support.federation.stand_in_uploader import StandInUploader
from support.pods.job_pods import BROKEN, LOG, JobPods, job_pod
from support.sitelog.installation import Installation
from support.wait import wait_for

OTHER_JOB = ["python3", "-m", WORKER_MODULE, "-n", "others-job", "-c", "site-2"]


def die(pods: JobPods, name: str, *more: str, body: Json | None = None, env: Sequence[Json] = ()) -> None:
    """Let a pod of site-1 with more words on its command line run, log an error and die."""
    body = body or job_pod(name)
    container = body["spec"]["containers"][0]
    container["args"] += more
    container.setdefault("env", []).extend(env)
    pods.api.create(f"/api/v1/namespaces/{pods.namespace}/pods", body)
    pods.kubelet.set_running(pods.namespace, name)
    pods.kubelet.append_log(pods.namespace, name, container["name"], LOG)
    pods.end(name, 137, "OOMKilled")


def test_a_log_is_stored_under_the_namespaces_own_client_or_not_at_all(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    installation.policy(pods.namespace, **spec)
    claims = job_pod("claims")
    claims["metadata"] |= {
        "labels": {"sitelog.dev/job": "others-job", "sitelog.dev/client": "site-2"},
        "annotations": {"sitelog.dev/job-id": "others-job", "sitelog.dev/client-name": "site-2"},
    }
    die(pods, "claims", body=claims)
    two = job_pod("two")
    two["spec"]["containers"].append({"name": "other", "image": "i", "command": OTHER_JOB})
    die(pods, "two", body=two)
    die(pods, "again", "-csite-2")
    die(pods, "expanded", "$(MORE)", env=[{"name": "MORE", "value": "-csite-2"}])
    die(pods, "path", "-n", "path/others-job")

    for name in ("claims", "two"):
        pods.wait(name, "Uploaded")
        ((client, log),) = uploader.stored(name)
        assert (client, log.startswith(BROKEN)) == ("site-1", True)
    assert pods.wait("again", "Skipped").startswith("ClientNameMismatch: it says it is client 'site-2'")
    assert pods.wait("expanded", "Skipped").startswith("CommandUnsupported: Kubernetes would put other values in")
    assert pods.wait("path", "Skipped").startswith("JobIdInvalid: its job id 'path/others-job'")
    for job in ("again", "expanded", "path", "others-job", "path/others-job"):
        assert uploader.stored(job.replace("/", "-")) == []
    assert len(pods.jobs()) == 2


def test_a_namespace_of_another_client_keeps_its_name(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    installation.policy(pods.namespace, **{**spec, "clientName": "site-2"})
    die(pods, "foreign")
    said = "ClientNameMismatch: it says it is client 'site-1', but spec.clientName is 'site-2'"
    assert pods.wait("foreign", "Skipped") == said
    assert (uploader.stored("foreign"), pods.jobs()) == ([], [])


def test_an_upload_job_made_by_hand_is_not_let_run_for_another_client(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    """Its annotations say what the policy wants to read, and its uploader is told something else."""
    installation.policy(pods.namespace, **spec)
    die(pods, "real")
    pods.wait("real", "Uploaded")
    (real,) = pods.jobs()
    template = real["spec"]["template"]
    for label in ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"):
        template["metadata"]["labels"].pop(label, None)
    (container,) = template["spec"]["containers"]
    container["args"] = [
        "--client-name=site-2" if word.startswith("--client-name=") else word.replace("--job-id=real", "--job-id=mine")
        for word in container["args"]
    ]
    forged = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "sitelog-upload-by-hand",
            "labels": real["metadata"]["labels"],
            "annotations": real["metadata"]["annotations"],
        },
        "spec": {"suspend": True, "template": template},
    }
    pods.api.create(f"/apis/batch/v1/namespaces/{pods.namespace}/jobs", forged)
    wait_for(lambda: len(pods.jobs()) == 1, 60, "the Job made by hand to be removed")
    assert pods.jobs()[0]["metadata"]["name"] == real["metadata"]["name"]
    assert uploader.stored("mine") == []
    assert [client for client, _ in uploader.stored("real")] == ["site-1"]
