"""Why the pod of an upload Job does not start, as a kubelet, the scheduler and the Job controller say it."""

from typing import Any

import pytest

from sitelog.core.errorlog.upload_start import why_not_started
from sitelog.core.jobpod.pod import PodEvent
from sitelog.kube.upload_pods import parse_upload_pod

UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no memory"}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
MOUNT = PodEvent("Warning", "FailedMount", 'secret "log" not found')
PULLED = PodEvent("Normal", "Pulled", "the image is there")


def body(*conditions: Any, **state: Any) -> dict[str, Any]:
    statuses = [{"name": "upload", "state": state}] if state else []
    return {"metadata": {"uid": "u"}, "status": {"conditions": list(conditions), "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("pod", "events", "why"),
    [
        (body(UNSCHEDULED), [], "Unschedulable: 0/3 nodes: no memory"),
        (
            body(SCHEDULED, waiting={"reason": "ImagePullBackOff", "message": "no such image"}),
            [],
            "ImagePullBackOff: no such image",
        ),
        (
            body(SCHEDULED, waiting={"reason": "ContainerCreating"}),
            [MOUNT, PULLED],
            'FailedMount: secret "log" not found',
        ),
        (body({**UNSCHEDULED, "reason": None}), [], "Waiting: 0/3 nodes: no memory"),
        (body(), [PULLED], "Kubernetes does not say why"),
        ({"metadata": {"uid": "u"}}, [], "Kubernetes does not say why"),
    ],
)
def test_what_a_pod_waits_for_is_told(pod: dict[str, Any], events: list[PodEvent], why: str) -> None:
    parsed = parse_upload_pod(pod)
    assert not parsed.started
    assert why_not_started(parsed, events) == why


def test_where_there_is_no_pod_the_job_controller_tells() -> None:
    refused = PodEvent("Warning", "FailedCreate", 'pods "u" is forbidden: exceeded quota')
    assert why_not_started(None, [refused]) == 'FailedCreate: pods "u" is forbidden: exceeded quota'


def test_a_container_that_somebody_adds_does_not_count() -> None:
    pod = body(SCHEDULED, waiting={"reason": "ImagePullBackOff", "message": "no such image"})
    pod["status"]["containerStatuses"].insert(0, {"name": "mesh", "state": {"running": {}}})
    assert not parse_upload_pod(pod).started


@pytest.mark.parametrize("state", [{"running": {}}, {"terminated": {"exitCode": 1}}])
def test_a_pod_that_ran_has_started(state: dict[str, Any]) -> None:
    assert parse_upload_pod(body(SCHEDULED, **state)).started
