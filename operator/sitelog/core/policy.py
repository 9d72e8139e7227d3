"""Which policies are in force for an object, and what they say together.

A policy in the object's own namespace applies where its selector matches; one in the release namespace (the *root*)
applies to every namespace in the same way. The strictest wins: `Forbidden`, then `ErrorLogOnly`, then `Allowed`. Among
policies of the same word the first in rank gives the parameters: higher priority, then older, then name. Where it has
no section about error logs, the next one's counts: first of the same word, then of the laxer ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class LogStreaming(str, Enum):
    """What of a job's logs may go to the FL server; the later the stricter.

    `Allowed`: its log while it runs, and its error log. `ErrorLogOnly`: its error log after its end. `Forbidden`: none.
    """

    ALLOWED = "Allowed"
    ERROR_LOG_ONLY = "ErrorLogOnly"
    FORBIDDEN = "Forbidden"

    @property
    def prohibits_streamer(self) -> bool:
        """Whether no JobLogStreamer may be built or started."""
        return self is not LogStreaming.ALLOWED

    @property
    def allows_error_log(self) -> bool:
        """Whether a job's error log may go to the FL server after the job's end."""
        return self is not LogStreaming.FORBIDDEN

    @property
    def strictness(self) -> int:
        """Of several, the highest wins."""
        return tuple(LogStreaming).index(self)


class Mode(str, Enum):
    """`Enforce` acts. `DryRun` changes and refuses nothing, and says what it would do."""

    ENFORCE = "Enforce"
    DRY_RUN = "DryRun"


class OnRevoke(str, Enum):
    """What becomes of job pods that were started before a prohibition and cannot be stopped from streaming."""

    REPORT = "Report"
    DELETE_PODS = "DeletePods"


class Gate(str, Enum):
    """Whether the FL client's own pod gets Sitelog's gate when it is made."""

    NONE = "None"
    INJECTED = "Injected"


class Capture(str, Enum):
    """Where a job's error log is read from.

    `Sidecar`: a container beside the job that copies the very file. `ContainerLog`: the error records in the output of
    the job's own container.
    """

    SIDECAR = "Sidecar"
    CONTAINER_LOG = "ContainerLog"


@dataclass(frozen=True)
class Streamer:
    """Parameters of the injected JobLogStreamer; the defaults are those of NVFlare's class.

    Attributes
    ----------
    log_file_name : base name of the log file, in the job's folder.
    liveness_interval : seconds between heartbeats while nothing is written; below the receiver's idle timeout of 30 s.
    poll_interval : seconds between looks at the file.
    """

    log_file_name: str = "log.txt"
    liveness_interval: float = 10.0
    poll_interval: float = 0.5


@dataclass(frozen=True)
class Server:
    """Where the FL server is, when the courier's kit does not say it as this cluster sees it."""

    host: str
    port: int


@dataclass(frozen=True)
class ErrorLog:
    """What becomes of a job's error log.

    Attributes
    ----------
    upload : whether a non-empty error log, or the record of a pod that died, goes to the FL server.
    courier_secret_name : Secret in the job's namespace with the courier's startup kit.
    server : address of the FL server, or None for the kit's.
    capture : where the error log is read from.
    max_bytes : what is kept of a longer log: its end.
    image : image of the upload Job, or None for the operator's setting.
    ttl_seconds : how long a finished upload Job stays to be looked at.
    """

    upload: bool = False
    courier_secret_name: str = ""
    server: Server | None = None
    capture: Capture = Capture.SIDECAR
    max_bytes: int = 512 * 1024
    image: str | None = None
    ttl_seconds: int = 3600


@dataclass(frozen=True)
class Requirement:
    """One matchExpressions entry of a label selector."""

    key: str
    operator: str  # In | NotIn | Exists | DoesNotExist
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the requirement; an operator of another name never matches."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        return False


@dataclass(frozen=True)
class Selector:
    """A Kubernetes label selector; an empty one matches everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels match."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )

    @property
    def example(self) -> Mapping[str, str] | None:
        """Labels that match; None where none do: the selector contradicts itself."""
        labels = dict(self.match_labels)
        for each in self.match_expressions:
            if each.operator in {"In", "Exists"}:
                labels.setdefault(each.key, self._example(each))
        return labels if self.matches(labels) else None

    def _example(self, requirement: Requirement) -> str:
        others = [each for each in self.match_expressions if each.key == requirement.key]
        fresh = (f"x{number}" for number in range(sum(len(each.values) for each in others) + 1))
        meet = (
            value
            for value in (*requirement.values, *fresh)
            if all(each.matches({requirement.key: value}) for each in others)
        )
        return next(meet, "")


@dataclass(frozen=True)
class Policy:
    """A SiteLogPolicy as the decisions see it.

    `created` is the creationTimestamp as the API writes it (RFC 3339, UTC, whole seconds), which sorts as text.
    """

    namespace: str
    name: str
    generation: int = 0
    created: str = ""
    log_streaming: LogStreaming = LogStreaming.ALLOWED
    mode: Mode = Mode.ENFORCE
    priority: int = 0
    selector: Selector = field(default_factory=Selector)
    client_name: str | None = None
    streamer: Streamer = field(default_factory=Streamer)
    error_log: ErrorLog | None = None
    on_revoke: OnRevoke = OnRevoke.REPORT
    gate: Gate = Gate.NONE

    @property
    def key(self) -> str:
        """`namespace/name`, as messages and annotations name it."""
        return f"{self.namespace}/{self.name}"

    @property
    def rank(self) -> tuple[int, int, str, str, str]:
        """Sorts the policy that decides first."""
        return (-self.log_streaming.strictness, -self.priority, self.created, self.name, self.namespace)


@dataclass(frozen=True)
class InForce:
    """What the policies say together about one object; all are in rank order and in mode Enforce."""

    policies: tuple[Policy, ...] = ()

    @property
    def governing(self) -> Policy | None:
        """The policy that decides and that messages name, or None: nobody governs the object."""
        return max(self.policies, key=lambda policy: policy.log_streaming.strictness, default=None)

    @property
    def log_streaming(self) -> LogStreaming | None:
        """The word in force, or None where no policy governs."""
        return self.governing.log_streaming if self.governing else None

    @property
    def prohibits_streamer(self) -> bool:
        """Whether no JobLogStreamer may be built or started; False where no policy governs."""
        return self.log_streaming is not None and self.log_streaming.prohibits_streamer

    @property
    def error_log(self) -> ErrorLog | None:
        """The first error log section in rank order; None where nobody wrote one."""
        return next((policy.error_log for policy in self.policies if policy.error_log is not None), None)

    @property
    def gate_policy(self) -> Policy | None:
        """The first policy that wants the gate in the FL client's pod."""
        return next((policy for policy in self.policies if policy.gate is Gate.INJECTED), None)

    @property
    def deletes_pods(self) -> bool:
        """Whether a prohibition in force wants job pods removed that go on streaming."""
        return any(
            policy.log_streaming.prohibits_streamer and policy.on_revoke is OnRevoke.DELETE_PODS
            for policy in self.policies
        )

    @property
    def client_names(self) -> tuple[str, ...]:
        """Every FL identity that a policy in force binds this object to, without repeats."""
        return tuple(dict.fromkeys(policy.client_name for policy in self.policies if policy.client_name))


def applicable(
    policies: Iterable[Policy], *, root_namespace: str, namespace: str, labels: Mapping[str, str]
) -> tuple[Policy, ...]:
    """All policies that concern an object, of either mode, in rank order."""
    return tuple(
        sorted(
            (p for p in policies if p.namespace in (namespace, root_namespace) and p.selector.matches(labels)),
            key=lambda policy: policy.rank,
        )
    )


def in_force(concerned: Iterable[Policy]) -> InForce:
    """Keep what is enforced, out of what `applicable` returned."""
    return InForce(tuple(policy for policy in concerned if policy.mode is Mode.ENFORCE))


def if_enforced(concerned: Iterable[Policy]) -> InForce:
    """Keep what would be enforced if every DryRun policy were in mode Enforce."""
    return InForce(tuple(concerned))
