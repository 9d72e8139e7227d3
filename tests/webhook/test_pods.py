"""Job pods on their way into a real API server: labelled, so that their end is watched; never kept out."""

import json
from typing import Any

from support.pods.job_pods import job_pod
from support.sitelog.installation import Installation


def create(installation: Installation, namespace: str, pod: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Create a pod; give it as it is stored, and kubectl's words."""
    here = f"--namespace={namespace}"
    said = installation.control_plane.kubectl("create", "-f", "-", here, input=json.dumps(pod), check=False)
    name = pod["metadata"]["name"]
    stored = installation.control_plane.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
    return dict(stored["metadata"]), said


def test_a_job_pod_is_labelled(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, clientName="site-1")

    stored, said = create(installation, namespace, job_pod("launched", "47c8c6eb-7d37-4a0d-8e47-880d1e26c55d"))

    assert said == "pod/launched created\n"
    assert stored["labels"] == {
        "sitelog.dev/job": "47c8c6eb-7d37-4a0d-8e47-880d1e26c55d",
        "sitelog.dev/client": "site-1",
    }
    assert stored["annotations"]["sitelog.dev/job-id"] == "47c8c6eb-7d37-4a0d-8e47-880d1e26c55d"
    assert stored["annotations"]["sitelog.dev/client-name"] == "site-1"


def test_a_label_is_made_safe_and_the_annotation_stays_raw(installation: Installation, namespace: str) -> None:
    raw = "Job 7/é"
    installation.policy(namespace, clientName="site-1")
    stored, _ = create(installation, namespace, job_pod("odd", raw))
    assert stored["annotations"]["sitelog.dev/job-id"] == raw
    assert stored["labels"]["sitelog.dev/job"].startswith("Job-7-")


def test_a_pod_that_cannot_be_told_runs_and_its_owner_is_warned(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, clientName="site-1")
    cases = {
        "nameless": (job_pod("nameless", ""), "JobIdMissing", "its command line has no job id (-n)"),
        "clientless": (job_pod("clientless", client=None), "ClientNameMissing", "has no client name (-c)"),
    }
    for name, (pod, reason, words) in cases.items():
        stored, said = create(installation, namespace, pod)
        assert f"Warning: Pod {namespace}/{name}: " in said
        assert words in said
        assert "its error log will not be uploaded" in said
        assert f"pod/{name} created" in said
        assert "labels" not in stored
        assert stored["annotations"]["sitelog.dev/error-log"] == "Skipped"
        assert stored["annotations"]["sitelog.dev/error-log-reason"].startswith(f"{reason}: ")


def test_a_pod_of_another_client_is_labelled_and_its_owner_is_warned(
    installation: Installation, namespace: str
) -> None:
    installation.policy(namespace, clientName="site-1")
    stored, said = create(installation, namespace, job_pod("foreign", client="site-2"))
    assert (
        f"Warning: Pod {namespace}/foreign: it says it is client 'site-2', but spec.clientName is 'site-1'; "
        "its error log will not be uploaded"
    ) in said
    assert stored["labels"]["sitelog.dev/client"] == "site-2"


def test_pods_are_left_alone_where_no_policy_governs(installation: Installation, namespace: str) -> None:
    stored, said = create(installation, namespace, job_pod("ungoverned"))
    assert said == "pod/ungoverned created\n"
    assert "labels" not in stored
    assert "annotations" not in stored
