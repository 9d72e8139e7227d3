"""A job pod as the decisions see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Terminated:
    """A container's end. `finished_at` is RFC 3339 as the API writes it, or empty."""

    exit_code: int
    reason: str = ""
    finished_at: str = ""


@dataclass(frozen=True)
class Waiting:
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class JobPod:
    """A pod whose container runs NVFlare's job process.

    Attributes
    ----------
    container, argv : name and whole command line of that container.
    phase, reason, message : the pod's status, as the API has it.
    state : what that container does: None while unknown or running.
    running : whether it was last seen running.
    unschedulable : the scheduler's message where it found no node, else empty.
    deleted_at : RFC 3339 time of the deletion, or empty.
    """

    namespace: str
    name: str
    uid: str
    container: str
    argv: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    phase: str = ""
    reason: str = ""
    message: str = ""
    state: Terminated | Waiting | None = None
    running: bool = False
    unschedulable: str = ""
    deleted_at: str = ""
    created_at: str = ""

    def __str__(self) -> str:
        return f"Pod {self.namespace}/{self.name}"


@dataclass(frozen=True)
class PodEvent:
    """A Kubernetes Event about a pod."""

    type: str
    reason: str
    message: str
