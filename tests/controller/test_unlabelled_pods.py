"""A job pod that is made while no webhook pod answers is not missed."""

from typing import Any

from sitelog.core.names import FINALIZER_ERROR_LOG, LABEL_CLIENT, LABEL_JOB
from support.control_plane.api import Json
from support.federation.stand_in_uploader import StandInUploader
from support.pods.job_pods import BROKEN, JobPods, received
from support.sitelog.installation import Installation
from support.wait import wait_for


def test_it_is_held_from_the_start_and_labelled_by_the_controller(
    installation: Installation, pods: JobPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    installation.policy(pods.namespace, **spec)
    with installation.without_webhook():
        made = pods.create("unseen", "4711")
        assert made["metadata"]["labels"] == {LABEL_JOB: "unseen"}
        assert made["metadata"]["finalizers"] == [FINALIZER_ERROR_LOG]
        foreign = pods.create("foreign", "4712", client="site-2")
        assert foreign["metadata"]["finalizers"] == [FINALIZER_ERROR_LOG]

        labelled = {LABEL_JOB: "4711", LABEL_CLIENT: "site-1"}
        wait_for(lambda: metadata(pods, "unseen")["labels"] == labelled, 60, "the controller to label it")
    assert "JobPodLabelled" in pods.events("unseen")
    pods.kubelet.set_running(pods.namespace, "unseen")
    pods.kubelet.append_log(pods.namespace, "unseen", None, BROKEN)
    pods.kubelet.set_running(pods.namespace, "foreign")
    for name in ("unseen", "foreign"):
        pods.end(name, 3)

    assert received(uploader, "4711").startswith(BROKEN)
    assert pods.wait("foreign", "Skipped").startswith("ClientNameMismatch: ")
    for name in ("unseen", "foreign"):
        wait_for(lambda: not metadata(pods, name).get("finalizers"), 60, f"{name} to be let go")  # noqa: B023 - at once


def test_without_the_wish_for_error_logs_it_is_left_alone(installation: Installation, pods: JobPods) -> None:
    installation.policy(pods.namespace, clientName="site-1")
    with installation.without_webhook():
        made = pods.create("unseen", "4711")
    assert "labels" not in made["metadata"]
    assert "finalizers" not in made["metadata"]


def metadata(pods: JobPods, name: str) -> Json:
    return dict(pods.api.get(f"/api/v1/namespaces/{pods.namespace}/pods/{name}")["metadata"])
