"""Pods and Events from the API's JSON, whatever is missing in them."""

from typing import Any

from sitelog.core.jobpod.pod import PodEvent, Terminated, Waiting
from sitelog.core.names import WORKER_MODULE
from sitelog.kube.pods import parse_event, parse_job_pod
from support.pods import recorded

ARGS = ["-u", "-m", WORKER_MODULE, "-n", "job", "-c", "site-1"]
SIDECAR = {"name": "sidecar", "command": ["python", "-c", "pass"]}
WORKER = {"name": "worker", "command": ["python"], "args": ARGS}


def pod(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata, "spec": {"containers": [SIDECAR, WORKER]}, "status": status}


def test_the_job_container_is_found_among_others() -> None:
    found = parse_job_pod(pod(name="p", namespace="fl", uid="u"))
    assert found is not None
    assert (found.container, found.argv, str(found)) == ("worker", ("python", *ARGS), "Pod fl/p")
    assert (found.phase, found.state, found.running, found.unschedulable) == ("", None, False, "")


def test_other_pods_are_none() -> None:
    assert parse_job_pod({"spec": {"containers": [SIDECAR]}}) is None
    assert parse_job_pod({}) is None
    assert parse_job_pod({"metadata": None, "spec": None, "status": None}) is None


def test_the_state_is_the_job_containers() -> None:
    def state(worker: dict[str, Any]) -> tuple[object, bool]:
        ended = {"name": "sidecar", "state": {"terminated": {"exitCode": 9}}}
        found = parse_job_pod(pod({"containerStatuses": [ended, {"name": "worker", "state": worker}]}))
        assert found is not None
        return found.state, found.running

    assert state({"running": {"startedAt": "now"}}) == (None, True)
    assert state({"running": {}}) == (None, True)
    assert state({}) == (None, False)
    assert state({"waiting": {"reason": "ErrImagePull"}}) == (Waiting("ErrImagePull"), False)
    assert state({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "t"}}) == (
        Terminated(137, "OOMKilled", "t"),
        False,
    )


def test_every_recorded_object_is_read() -> None:
    for case in recorded.CASES:
        objects = list(recorded.watch(case))
        assert len(recorded.pods(case)) == len(objects) > 3
        for (_, found), event in zip(recorded.pods(case), objects, strict=True):
            metadata = event["object"]["metadata"]
            assert (found.name, found.uid, found.namespace) == tuple(metadata[k] for k in ("name", "uid", "namespace"))
            assert found.phase == event["object"]["status"]["phase"]


def test_events_of_both_apis_are_read() -> None:
    assert parse_event({"type": "Warning", "reason": "Failed", "message": "m"}) == PodEvent("Warning", "Failed", "m")
    assert parse_event({"note": "n"}) == PodEvent("", "", "n")
