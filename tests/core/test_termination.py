"""What a pod's end means, on every recorded case and on made-up ones."""

from dataclasses import replace

import pytest

from sitelog.core.jobpod.pod import JobPod, PodEvent, Terminated, Waiting
from sitelog.core.jobpod.termination import End, Termination, never_ran, termination_of
from support.pods import recorded

# case -> (its end, a part of the sentence, whether the watch alone tells before the pod is gone)
ENDS = {
    "ok": (End.COMPLETED, "exit code 0", True),
    "ok.exit1": (End.COMPLETED, "exit code 0", True),
    "ok.sf": (End.COMPLETED, "exit code 0", True),
    "ok.badcmd": (End.START_ERROR, "failed to create containerd task", False),
    "fail": (End.COMPLETED, "exit code 0", True),  # an executor that raises is no process that fails
    "fail.sf": (End.COMPLETED, "exit code 0", True),
    "oom": (End.OOM_KILLED, "out of memory", True),
    "oom.sf": (End.OOM_KILLED, "out of memory", True),
    "hard": (End.ERROR, "exit code 3", True),
    "cfgerr": (End.ERROR, "exit code 103", True),
    "cfgerr.sf": (End.ERROR, "exit code 103", True),
    "cfgerr.sfz": (End.ERROR, "exit code 103", True),
    "noimg": (End.IMAGE_PULL, "registry.invalid/nope/nvflare:2.9.0", False),
    "nosched": (End.UNSCHEDULABLE, "Insufficient memory", False),
    "slow.sf": (End.COMPLETED, "exit code 0", True),
    "stream": (End.COMPLETED, "exit code 0", True),
    "stuck": (End.DELETED, "while the job was running", False),
    "stuck.sf": (End.DELETED, "while the job was running", False),
    "stuck.sfz": (End.DELETED, "while the job was running, exit code 137", True),
}


def test_every_recorded_case_is_told() -> None:
    assert set(recorded.CASES) <= {*ENDS}


@pytest.mark.parametrize("case", recorded.CASES)
def test_a_recorded_pod_ends_once_and_as_it_did(case: str) -> None:
    end, part, told_by_watch = ENDS[case]
    seen = recorded.pods(case)
    told = [termination_of(pod) for kind, pod in seen if kind != "DELETED"]
    first = next((index for index, found in enumerate(told) if found), len(told))
    assert all(told[first:]), "what has ended stays ended"
    assert {found.end for found in told if found} == ({end} if told_by_watch else set())
    last = termination_of(seen[-1][1], deleted=True, events=recorded.events(case))
    assert last is not None
    assert (last.end, part in last.message) == (end, True)
    assert "\n" not in last.message
    assert last.died is (end is not End.COMPLETED)


@pytest.mark.parametrize("case", ["cfgerr", "cfgerr.sf", "stuck", "noimg", "nosched"])
def test_the_deletion_itself_tells_no_other_end(case: str) -> None:
    kind, pod = recorded.pods(case)[-1]
    assert kind == "DELETED"
    last = termination_of(pod, deleted=True, events=recorded.events(case))
    assert last is not None
    assert last.end is ENDS[case][0]
    assert last.at


def job_pod(**fields: object) -> JobPod:
    return JobPod("ns", "pod", "uid", "worker", (), **fields)  # type: ignore[arg-type]


MADE_UP = {
    "evicted before it ran": (job_pod(phase="Failed", reason="Evicted", message="low on memory"), End.EVICTED),
    "evicted while it ran": (job_pod(phase="Failed", reason="Evicted", state=Terminated(137, "Error")), End.EVICTED),
    "preempted": (job_pod(phase="Failed", reason="Preempting", state=Terminated(143, "Error")), End.EVICTED),
    "node shut down": (job_pod(phase="Failed", reason="Terminated", state=Terminated(143)), End.EVICTED),
    "deadline": (job_pod(phase="Failed", reason="DeadlineExceeded"), End.DEADLINE_EXCEEDED),
    "node lost": (job_pod(phase="Failed", reason="NodeLost"), End.NODE_LOST),
    "drained": (
        job_pod(
            state=Terminated(137, "Error", "2026-01-01T00:00:40Z"),
            deleted_at="2026-01-01T00:00:30Z",
            deletion_asked_at="2026-01-01T00:00:00Z",
            disruption="EvictionByEvictionAPI",
        ),
        End.EVICTED,
    ),
    "drained, as it looks when the kubelet has finished": (
        job_pod(
            state=Terminated(137, "Error", "2026-01-01T00:00:31Z"),
            deleted_at="2026-01-01T00:00:33Z",
            deletion_asked_at="2026-01-01T00:00:33Z",
            disruption="EvictionByEvictionAPI",
        ),
        End.EVICTED,
    ),
    "killed, and deleted afterwards": (
        job_pod(
            state=Terminated(137, "Error", "2026-01-01T00:00:10Z"),
            deleted_at="2026-01-01T00:00:50Z",
            deletion_asked_at="2026-01-01T00:00:20Z",
        ),
        End.SIGNALLED,
    ),
    "out of memory, and deleted": (
        job_pod(
            state=Terminated(137, "OOMKilled", "2026-01-01T00:00:30Z"),
            deleted_at="2026-01-01T00:00:50Z",
            deletion_asked_at="2026-01-01T00:00:20Z",
        ),
        End.OOM_KILLED,
    ),
    "failed without a word": (job_pod(phase="Failed"), End.ERROR),
    "succeeded without a word": (job_pod(phase="Succeeded"), End.COMPLETED),
    "SIGTERM": (job_pod(state=Terminated(143, "Error")), End.SIGNALLED),
    "SIGSEGV": (job_pod(state=Terminated(139, "Error")), End.SIGNALLED),
    "no signal": (job_pod(state=Terminated(255, "Error")), End.ERROR),
    "exit code 128": (job_pod(state=Terminated(128, "Error")), End.ERROR),
    "start error": (job_pod(state=Terminated(128, "StartError")), End.START_ERROR),
}


@pytest.mark.parametrize("case", MADE_UP)
def test_a_pod_that_is_still_there(case: str) -> None:
    pod, end = MADE_UP[case]
    found = termination_of(pod)
    assert found is not None
    assert found.end is end


NO_ROOM = PodEvent("Warning", "FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.")
GONE = {
    "no room": (job_pod(), (NO_ROOM,), End.UNSCHEDULABLE),
    "no room at first": (job_pod(node="worker-1", unschedulable="1 Insufficient cpu"), (NO_ROOM,), End.DELETED),
    "never started": (job_pod(), (), End.DELETED),
    "pulling, no events left": (job_pod(state=Waiting("ImagePullBackOff", "Back-off")), (), End.IMAGE_PULL),
    "bad image name": (job_pod(state=Waiting("InvalidImageName")), (), End.IMAGE_PULL),
    "creating": (job_pod(state=Waiting("ContainerCreating")), (), End.DELETED),
    "no config map": (
        job_pod(state=Waiting("CreateContainerConfigError", 'configmap "x" not found')),
        (),
        End.START_ERROR,
    ),
    "no volume": (job_pod(), (PodEvent("Warning", "FailedMount", 'secret "x" not found'),), End.START_ERROR),
    "normal events only": (job_pod(), (PodEvent("Normal", "Pulling", "Pulling image"),), End.DELETED),
}


@pytest.mark.parametrize("case", GONE)
def test_a_pod_that_is_gone(case: str) -> None:
    pod, events, end = GONE[case]
    assert termination_of(pod) is None
    found = termination_of(pod, deleted=True, events=events)
    assert found is not None
    assert found.end is end


def test_a_node_that_does_not_answer_is_lost() -> None:
    found = termination_of(job_pod(phase="Running", running=True, deleted_at="2026-01-01T00:00:30Z"), node_silent=True)
    assert found is not None
    assert (found.end, found.at) == (End.NODE_LOST, "2026-01-01T00:00:30Z")


@pytest.mark.parametrize(("container", "end"), [("worker", End.DELETED), ("sitelog-error-log", End.SIGNALLED)])
def test_a_container_that_the_kubelet_stopped_was_deleted(container: str, end: End) -> None:
    state = Terminated(137, "Error", "2026-01-01T00:00:31Z")
    late = "2026-01-01T00:00:33Z"
    pod = job_pod(phase="Failed", state=state, deleted_at=late, deletion_asked_at=late)
    found = termination_of(pod, events=(PodEvent("Normal", "Killing", f"Stopping container {container}"),))
    assert found is not None
    assert found.end is end


def test_a_container_of_which_the_kubelet_knows_nothing_ended_as_the_events_say() -> None:
    pod = job_pod(phase="Failed", state=Terminated(137, "ContainerStatusUnknown"), deleted_at="2026-01-01T00:00:30Z")
    found = termination_of(pod, events=(PodEvent("Warning", "Failed", "Failed to pull image x: not found"),))
    assert found is not None
    assert found.end is End.IMAGE_PULL


NEVER_RAN = {
    "no node": (job_pod(), End.DELETED, True),
    "a node that said nothing": (job_pod(node="worker-1"), End.DELETED, False),
    "ended before it started": (
        job_pod(node="w", phase="Failed", state=Waiting("PodInitializing"), deleted_at="2026-01-01T00:00:30Z"),
        End.DELETED,
        True,
    ),
    "evicted, and its node has yet to end it": (
        job_pod(node="w", phase="Failed", reason="Evicted", state=Waiting("PodInitializing")),
        End.EVICTED,
        False,
    ),
    "evicted, then deleted": (
        job_pod(node="w", phase="Failed", reason="Evicted", deleted_at="2026-01-01T00:00:30Z"),
        End.EVICTED,
        False,
    ),
    "refused by its node": (job_pod(node="worker-1", phase="Failed", reason="OutOfcpu"), End.ERROR, False),
    "waiting, and the node is lost": (
        job_pod(node="w", phase="Failed", disruption="DeletionByPodGC", deleted_at="2026-01-01T00:00:30Z"),
        End.NODE_LOST,
        False,
    ),
    "missing image": (job_pod(node="worker-1", state=Waiting("ErrImagePull")), End.IMAGE_PULL, True),
    "an image was missing once": (job_pod(node="w", state=Waiting("PodInitializing")), End.IMAGE_PULL, False),
    "no word of it, and no image": (
        job_pod(node="w", phase="Failed", state=Terminated(137, "ContainerStatusUnknown")),
        End.IMAGE_PULL,
        True,
    ),
    "no word of it": (
        job_pod(node="w", phase="Failed", state=Terminated(137, "ContainerStatusUnknown")),
        End.DELETED,
        False,
    ),
    "could not start": (job_pod(node="w", state=Terminated(128, "StartError")), End.START_ERROR, True),
    "ran to its end": (job_pod(node="w", phase="Succeeded", state=Terminated(0, "Completed")), End.COMPLETED, False),
    "running": (job_pod(node="w", phase="Running", running=True), End.DELETED, False),
}


@pytest.mark.parametrize("case", NEVER_RAN)
def test_only_a_job_that_surely_did_not_run_wrote_nothing(case: str) -> None:
    pod, end, expected = NEVER_RAN[case]
    assert never_ran(pod, end) is expected


def test_a_pod_with_a_node_that_is_being_deleted_ends_when_its_node_says_so() -> None:
    leaving = job_pod(node="worker-1", phase="Pending", deleted_at="2026-01-01T00:00:30Z")
    assert termination_of(leaving) is None
    found = termination_of(replace(leaving, phase="Failed", state=Waiting("PodInitializing")))
    assert found == Termination(End.DELETED, "the pod was deleted before the job started", "2026-01-01T00:00:30Z")


def test_what_kubernetes_says_fits_on_one_line() -> None:
    found = termination_of(job_pod(phase="Failed", reason="Evicted", message="a\n  b\t" + "c" * 2000))
    assert isinstance(found, Termination)
    assert "a b cc" in found.message
    assert len(found.message) < 700
