"""Why the pod of an upload Job does not start, in Kubernetes' own words."""

from collections.abc import Sequence
from dataclasses import dataclass

from sitelog.core.jobpod.pod import PodEvent


@dataclass(frozen=True)
class UploadPod:
    """A pod of an upload Job.

    Attributes
    ----------
    started : its container runs, or ran.
    waits_for : why it does not, as the scheduler or the node says; empty where neither does.
    """

    uid: str
    created_at: str
    started: bool
    waits_for: str = ""


def why_not_started(pod: UploadPod | None, events: Sequence[PodEvent]) -> str:
    """Say why a pod does not start, or why there is none.

    Parameters
    ----------
    pod : the newest of a Job, None where it has none or that one has ended.
    events : about the pod; where there is none, about the Job.
    """
    if pod and pod.waits_for:
        return pod.waits_for
    warnings = [event for event in events if event.type == "Warning"]
    return f"{warnings[-1].reason}: {warnings[-1].message}" if warnings else "Kubernetes does not say why"
