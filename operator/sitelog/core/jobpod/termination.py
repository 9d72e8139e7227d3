"""What a job pod's end means: how it came about, as a code and in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .pod import JobPod, PodEvent, Terminated, Waiting


class End(str, Enum):
    """How a job pod ended. Only `Completed` says that the process came to its own end without an error code.

    It does not say that the FL job succeeded: an executor that raises ends in exit code 0 as well.
    """

    COMPLETED = "Completed"
    ERROR = "Error"
    SIGNALLED = "Signalled"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NODE_LOST = "NodeLost"
    IMAGE_PULL = "ImagePull"
    START_ERROR = "StartError"
    UNSCHEDULABLE = "Unschedulable"
    DELETED = "Deleted"


@dataclass(frozen=True)
class Termination:
    """The end of a job pod: a code, a sentence, and when (RFC 3339, or empty where nobody knows)."""

    end: End
    message: str
    at: str = ""

    @property
    def died(self) -> bool:
        """Whether the job process did not come to its own end, so that NVFlare itself may have lost its error log."""
        return self.end is not End.COMPLETED


_STATUS_REASONS = {
    "Evicted": End.EVICTED,
    "Preempting": End.EVICTED,
    "DeadlineExceeded": End.DEADLINE_EXCEEDED,
    "NodeLost": End.NODE_LOST,
    "NodeShutdown": End.EVICTED,
    "Terminated": End.EVICTED,  # by a node that shuts down gracefully
    "DeletionByPodGC": End.NODE_LOST,
}
_DISRUPTIONS = {
    "EvictionByEvictionAPI": End.EVICTED,
    "PreemptionByScheduler": End.EVICTED,
    "TerminationByKubelet": End.EVICTED,
    "DeletionByTaintManager": End.NODE_LOST,
    "DeletionByPodGC": End.NODE_LOST,
}
_UNKNOWN = "ContainerStatusUnknown"  # a kubelet's reason for a container of which it knows nothing
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_START_REASONS = ("RunContainerError", "CreateContainerConfigError", "CreateContainerError", "StartError")


def termination_of(
    pod: JobPod, *, deleted: bool = False, node_silent: bool = False, events: Sequence[PodEvent] = ()
) -> Termination | None:
    """Tell how a pod ended, or None while it has not.

    Parameters
    ----------
    pod : as last seen.
    deleted : the API no longer has it, or it is being deleted and never starts.
    node_silent : it is being deleted, and its node has not said in good time that it has ended.
    events : about this pod; they outlive it, and are all that tells why one never started.
    """
    if isinstance(pod.state, Terminated) and pod.state.reason != _UNKNOWN:
        return _terminated(pod, pod.state, events)
    if node_silent:
        return Termination(
            End.NODE_LOST, "the pod was deleted, and its node did not say that it has ended", pod.deleted_at
        )
    if pod.finished and not _ended_by_deletion(pod):
        end = _STATUS_REASONS.get(pod.reason, End.ERROR if pod.phase == "Failed" else End.COMPLETED)
        return Termination(end, _said(f"the pod ended as {pod.phase}", pod.reason, pod.message), pod.deleted_at)
    if not deleted and not pod.finished:
        return None
    return _vanished(pod, events)


def never_ran(pod: JobPod, end: End) -> bool:
    """Whether it is certain that the job process of a pod that has ended so did not run: then it wrote nothing.

    A kubelet that has ended a deleted pod leaves those containers waiting that it had not started; where there are no
    init containers it says that it knows nothing of them. Where it ends a pod by itself it says so first: a busy one
    was seen to start the job of a pod seconds after it had called that evicted. What a pod waited for when it was last
    seen says less, but an image that was missing then hardly came in the last second.
    """
    if isinstance(pod.state, Terminated):
        unknown = pod.state.reason == _UNKNOWN and end in (End.IMAGE_PULL, End.START_ERROR)
        return unknown or pod.state.reason in _START_REASONS
    if isinstance(pod.state, Waiting) and pod.state.reason in _IMAGE_REASONS + _START_REASONS:
        return True
    told = _ended_by_deletion(pod) and _DISRUPTIONS.get(pod.disruption) is not End.NODE_LOST
    return not pod.running and (told or not pod.node)


def _ended_by_deletion(pod: JobPod) -> bool:
    """Whether the pod's phase is its node's answer to the deletion: no other reason for it is given."""
    return pod.finished and bool(pod.deleted_at) and pod.reason not in _STATUS_REASONS


def _terminated(pod: JobPod, state: Terminated, events: Sequence[PodEvent]) -> Termination:
    code = state.exit_code
    if pod.reason in _STATUS_REASONS:
        end = _STATUS_REASONS[pod.reason]
        message = _said(f"the pod was stopped, exit code {code}", pod.reason, pod.message)
    elif state.reason == "OOMKilled":
        end, message = End.OOM_KILLED, f"the container ran out of memory and was killed (OOMKilled, exit code {code})"
    elif state.reason in _START_REASONS:
        end, message = End.START_ERROR, f"the container could not start ({state.reason}, exit code {code})"
    elif code == 0:
        end, message = End.COMPLETED, "the process ended with exit code 0"
    elif 128 < code < 160 and _was_stopped(pod, state, events):  # noqa: PLR2004
        end = _DISRUPTIONS.get(pod.disruption, End.DELETED)
        message = _said(f"the pod was deleted while the job was running, exit code {code}", pod.disruption, "")
    elif 128 < code < 160:  # noqa: PLR2004 - 128 + the signal's number, as shells and runtimes write it
        end, message = End.SIGNALLED, f"the process was ended by signal {code - 128} (exit code {code})"
    else:
        end, message = End.ERROR, f"the process ended with exit code {code}"
    return Termination(end, message, state.finished_at)


def _was_stopped(pod: JobPod, state: Terminated, events: Sequence[PodEvent]) -> bool:
    """Whether the signal came of the pod's deletion.

    The time of the deletion alone does not tell: the kubelet's own, last one, without grace, writes over it.
    """
    if not pod.deleted_at:
        return False
    killing = f"Stopping container {pod.container}"
    killed = any(event.reason == "Killing" and event.message.startswith(killing) for event in events)
    return bool(pod.disruption) or killed or state.finished_at >= pod.deletion_asked_at


def _vanished(pod: JobPod, events: Sequence[PodEvent]) -> Termination:  # noqa: PLR0911 - one for each way to vanish
    """Tell about a pod that was deleted before its container ended."""
    if pod.running:
        end = _DISRUPTIONS.get(pod.disruption, End.DELETED)
        return Termination(
            end, _said("the pod was deleted while the job was running", pod.disruption, ""), pod.deleted_at
        )
    waiting = pod.state.reason if isinstance(pod.state, Waiting) else ""
    # What a node could be found for after all was not unschedulable.
    warnings = [
        event for event in events if event.type == "Warning" and not (pod.node and event.reason == "FailedScheduling")
    ]
    for event in warnings:
        text = f"{event.reason} {event.message}"
        if "pull" in text.lower() or any(reason in text for reason in _IMAGE_REASONS):
            return Termination(
                End.IMAGE_PULL, _said("the image could not be pulled", event.reason, event.message), pod.deleted_at
            )
    if waiting in _IMAGE_REASONS:
        message = _said(
            "the image could not be pulled", waiting, pod.state.message if isinstance(pod.state, Waiting) else ""
        )
        return Termination(End.IMAGE_PULL, message, pod.deleted_at)
    for event in warnings:
        if event.reason == "FailedScheduling":
            return Termination(
                End.UNSCHEDULABLE, _said("no node could take the pod", "", event.message), pod.deleted_at
            )
    if pod.unschedulable and not pod.node:
        return Termination(
            End.UNSCHEDULABLE, _said("no node could take the pod", "", pod.unschedulable), pod.deleted_at
        )
    if warnings or waiting in _START_REASONS:
        reason, text = (warnings[-1].reason, warnings[-1].message) if warnings else (waiting, "")
        return Termination(End.START_ERROR, _said("the container never started", reason, text), pod.deleted_at)
    when = "before the job started" if never_ran(pod, End.DELETED) else "before its node had said that the job runs"
    return Termination(End.DELETED, f"the pod was deleted {when}", pod.deleted_at)


def _said(what: str, reason: str, message: str) -> str:
    """Add what Kubernetes says about it, on one line."""
    said = ": ".join(part for part in (reason, " ".join(message.split())[:500]) if part)
    return f"{what} ({said})" if said else what
