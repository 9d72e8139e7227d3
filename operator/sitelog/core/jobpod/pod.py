"""A job pod as the decisions see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


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
    node : the one that it was given to, or empty.
    phase, reason, message : the pod's status, as the API has it.
    state : what that container does: None while unknown or running.
    running : whether it was last seen running.
    unschedulable : the scheduler's message where it found no node, else empty.
    disruption : why something of the cluster's ends the pod (reason of its condition DisruptionTarget), or empty.
    deleted_at : RFC 3339 time at which a deletion takes effect, or empty.
    deletion_asked_at : when it was asked for: earlier by the grace period.
    sidecar : the sidecar that copies the error log; None where the pod has none.
    has_finalizer : whether its finalizer keeps the pod until its error log is captured.
    """

    namespace: str
    name: str
    uid: str
    container: str
    argv: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    state: Terminated | Waiting | None = None
    running: bool = False
    unschedulable: str = ""
    disruption: str = ""
    deleted_at: str = ""
    deletion_asked_at: str = ""
    created_at: str = ""
    sidecar: "Sidecar | None" = None
    has_finalizer: bool = False

    @property
    def finished(self) -> bool:
        """Whether its phase is a last one. A kubelet that evicts a pod says so before it has ended it."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def started(self) -> bool:
        """Whether the job's container was seen to run. A busy node says so late: it may have run all the same."""
        return self.running or isinstance(self.state, Terminated)

    @property
    def never_starts(self) -> bool:
        """Whether it is being deleted before it got a node: none gets it any more."""
        return bool(self.deleted_at) and not self.node

    def __str__(self) -> str:
        return f"Pod {self.namespace}/{self.name}"


class Sidecar(Enum):
    """What the sidecar does."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class PodEvent:
    """A Kubernetes Event about a pod."""

    type: str
    reason: str
    message: str
