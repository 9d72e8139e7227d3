"""Upload Jobs whose pods cannot be made: they hold up nobody else, and end with the reason."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from support.control_plane.control_plane import ControlPlane
from support.federation.stand_in_uploader import StandInUploader
from support.pods.job_pods import JobPods
from support.sitelog.controllers import Controllers
from support.sitelog.installation import Installation
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

SLOTS = 8  # the default of --max-uploads


@pytest.fixture
def full(control_plane: ControlPlane, pods: JobPods) -> Iterator[JobPods]:
    """A namespace in which job pods run, and whose quota has no room for another pod."""
    for number in range(SLOTS):
        pods.run(f"stuck-{number}", f"stuck-{number}-{pods.namespace}")
    quotas = f"/api/v1/namespaces/{pods.namespace}/resourcequotas"
    hard = {"count/pods": str(SLOTS)}
    control_plane.api.create(quotas, {"metadata": {"name": "few-pods"}, "spec": {"hard": hard}})
    control_plane.api.patch(f"{quotas}/few-pods/status", {"status": {"hard": hard, "used": hard}})  # as its controller
    yield pods
    control_plane.api.delete(f"{quotas}/few-pods")


@pytest.fixture
def elsewhere(control_plane: ControlPlane, pods: JobPods) -> Iterator[JobPods]:
    """Another namespace."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_for(lambda: control_plane.exists(account), 60, f"the default service account of {name}")
    yield JobPods(pods.kubelet, name)
    control_plane.api.delete(f"/api/v1/namespaces/{name}")


def test_a_namespace_whose_uploads_cannot_start_holds_up_no_other(
    installation: Installation,
    controller: SitelogProcess,
    full: JobPods,
    elsewhere: JobPods,
    uploader: StandInUploader,
    spec: dict[str, Any],
) -> None:
    for namespace in (full.namespace, elsewhere.namespace):
        installation.policy(namespace, **spec)
    for number in range(SLOTS):
        full.end(f"stuck-{number}", 3)

    def resumed() -> int:
        return sum(not job["spec"]["suspend"] for job in full.jobs())

    wait_for(lambda: resumed() == SLOTS, 60, "its uploads to take all turns that it has")
    elsewhere.die("other")
    assert elsewhere.wait("other", "Uploaded", 60).startswith("ErrorLogUploaded")
    assert uploader.stored("other")


def test_an_upload_whose_pod_cannot_be_made_ends_with_the_reason(
    installation: Installation,
    controllers: Controllers,
    full: JobPods,
    spec: dict[str, Any],
) -> None:
    controllers.start_when("sitelog.controller.errorlogs.upload_jobs._START_SECONDS = 1.0")  # nobody waits for minutes
    installation.policy(full.namespace, **spec)
    full.end("stuck-0", 3)
    said = full.wait("stuck-0", "Failed", 60)
    assert said.startswith("UploadNotStarted: no upload pod has started for 1 s: FailedCreate: ")
    assert "exceeded quota: few-pods" in said
    assert full.events("stuck-0")["UploadNotStarted"] in said
    (job,) = full.jobs()
    assert [each["reason"] for each in job["status"]["conditions"] if each["type"] == "Failed"] == ["DeadlineExceeded"]
    count = {"uploaded": 0, "skipped": 0, "failed": 1}
    wait_for(lambda: installation.status(full.namespace)["uploads"] == count, 60, "the totals")
